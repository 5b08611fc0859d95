//! Which object a policy is, and which of its specs.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::key::Created;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// One that was deleted and made again is another. Manifests in files have none.
    pub uid: Option<Arc<str>>,
    pub created: Created,
    pub generation: Option<i64>,
}

impl Origin {
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.as_deref().map(Into::into),
            created: Created::of(meta),
            generation: meta.generation,
        }
    }
}
