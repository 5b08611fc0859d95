//! The forms of text in fields: names, spans of time, parts of a whole. Regular expressions, as schemas have them.

/// A name of a Service: unlike other labels it starts with a letter.
pub const SERVICE: &str = r"^[a-z]([-a-z0-9]*[a-z0-9])?$";
/// A DNS label.
pub const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A DNS subdomain: the name of most objects.
pub const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A value of a label.
pub const LABEL_VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// A whole number and one unit: `500ms`, `30s`, `5m`, `2h`.
pub const DURATION: &str = r"^[0-9]{1,6}(ms|s|m|h)$";
/// Up to one decimal: `0.5%`, `5%`, `100%`.
pub const PERCENT: &str = r"^(100|[1-9]?[0-9](\.[0-9])?)%$";
/// A number that is not negative, without an exponent: `0.01`.
pub const DECIMAL: &str = r"^[0-9]{1,9}(\.[0-9]{1,9})?$";
/// What tells one release from the next: a version, a commit, a time.
pub const REVISION: &str = r"^[A-Za-z0-9]([-A-Za-z0-9_.:+]*[A-Za-z0-9])?$";

/// What is said of keys of labels.
pub const LABEL_KEYS: &str =
    "each key is a label's, such as `version` or `app.kubernetes.io/version`";
/// Only a rule can look at the keys of a map.
pub(crate) const LABEL_KEYS_RULE: &str =
    "self.all(key, !format.qualifiedName().validate(key).hasValue())";
/// The same of one key.
pub(crate) const LABEL_KEY_RULE: &str = "!format.qualifiedName().validate(self).hasValue()";
