//! Defaults that stay out of the schema: those of fields within lists.
//!
//! A schema's default is written into what is stored. Tools that compare a manifest with what is stored
//! take a list as one value, so one that was filled in inside of it looks like a change by somebody
//! else. A field whose default is not serialised has none in the schema either; readers know it.

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
