//! What is filled in for a user: scalars that the schema cannot express, never inside a list.
//!
//! A schema's default is a constant. Here is what depends on the object itself: a split that names
//! no Service stands on the one of its own name. What is filled in is not in anybody's manifest, so a
//! three-way comparison finds no difference; what is there is never changed, so filling in twice is
//! filling in once.

use json_patch::{AddOperation, Patch, PatchOperation, jsonptr::PointerBuf};
use kube::core::DynamicObject;
use sluice_model::{facts::split, key::Kind};

/// What is missing in the object. Nothing, mostly.
pub fn missing(kind: Kind, object: &DynamicObject) -> Patch {
    let default = match kind {
        Kind::TrafficSplit => own_service(object),
        _ => None,
    };
    Patch(default.into_iter().collect())
}

fn own_service(object: &DynamicObject) -> Option<PatchOperation> {
    let spec = object.data.get("spec")?.as_object()?;
    let name = object.metadata.name.as_deref()?;
    let absent = spec.get("service").is_none_or(serde_json::Value::is_null);
    (absent && split::is_service(name)).then(|| {
        PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(["spec", "service"]),
            value: name.into(),
        })
    })
}
