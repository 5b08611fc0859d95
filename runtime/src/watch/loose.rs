//! Objects as the API server gives them, whether they fit their type or not.
//!
//! One object must not hide all others of its kind: whoever may write a single one could else stop
//! every watch of the cluster. So each is read by itself, and one that cannot be read is as if it were
//! not there. What has no bearing on anything is not even looked at: who managed which fields, which
//! users may change to contain times that no clock of ours can show.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    serde::{
        Deserialize, Deserializer,
        de::{DeserializeOwned, Error},
    },
    serde_json::{self, Value},
};
use sluice_model::key::Name;
use tracing::warn;

use super::Heard;

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Loose<K> {
    /// Name, namespace and version only.
    meta: ObjectMeta,
    /// Else why it cannot be read.
    object: Result<K, String>,
}

impl<K> Loose<K> {
    pub(super) fn version(&self) -> Option<String> {
        self.meta.resource_version.clone()
    }

    pub(super) fn name(&self) -> Option<Name> {
        Name::of(&self.meta)
    }

    /// The object, unless it cannot be read, which is said.
    pub(super) fn readable(&self) -> Option<&K> {
        match &self.object {
            Ok(object) => Some(object),
            Err(error) => {
                let ObjectMeta {
                    namespace, name, ..
                } = &self.meta;
                let (namespace, name) = (namespace.as_deref(), name.as_deref());
                warn!(
                    kind = std::any::type_name::<K>(),
                    namespace, name, error, "an object cannot be read, and is left out"
                );
                None
            }
        }
    }

    /// What an event with it says.
    pub(super) fn heard<T>(&self, read: impl Fn(&K) -> Option<T>) -> Option<Heard<T>> {
        match self.readable() {
            Some(object) => read(object).map(Heard::Set),
            None => self.name().map(Heard::Gone),
        }
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Loose<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let meta = value.get_mut("metadata").and_then(Value::as_object_mut);
        let meta = meta.ok_or_else(|| D::Error::custom("an object without metadata"))?;
        meta.remove("managedFields");
        let text = |field| meta.get(field).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            meta: ObjectMeta {
                name: text("name"),
                namespace: text("namespace"),
                resource_version: text("resourceVersion"),
                ..ObjectMeta::default()
            },
            object: serde_json::from_value(value).map_err(|error| error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::Service, serde_json::json};
    use kube::{
        api::WatchEvent,
        core::{DynamicObject, ObjectList},
    };

    use super::*;

    /// A time that the API server stores, and that is beyond the clock here.
    const LATE: &str = "9999-12-31T23:59:59Z";

    fn service(name: &str) -> Value {
        json!({
            "metadata": {"namespace": "shop", "name": name, "resourceVersion": "7"},
            "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]},
        })
    }

    fn names<K: Clone + DeserializeOwned>(items: &[Value]) -> Vec<String> {
        let list = json!({"metadata": {"resourceVersion": "9"}, "items": items});
        let list: ObjectList<Loose<K>> = serde_json::from_value(list).expect("a list");
        let readable = list.items.iter().filter(|item| item.readable().is_some());
        readable
            .map(|item| item.name().expect("a name").to_string())
            .collect()
    }

    #[test]
    fn who_managed_fields_when_hides_no_object() {
        let mut odd = service("odd");
        odd["metadata"]["managedFields"] = json!([{
            "manager": "x", "operation": "Update", "apiVersion": "v1", "time": LATE,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:ports": {}}},
        }]);
        let typed = serde_json::from_value::<Service>(odd.clone());
        assert!(typed.is_err(), "the type alone takes it: {typed:?}");
        let items = [service("a"), odd, service("b")];
        assert_eq!(names::<Service>(&items), ["shop/a", "shop/odd", "shop/b"]);
        let dynamic = items.map(|mut item| {
            item["apiVersion"] = "sluice.dev/v1alpha1".into();
            item["kind"] = "TrafficSplit".into();
            item
        });
        assert_eq!(names::<DynamicObject>(&dynamic).len(), 3);
    }

    #[test]
    fn one_that_cannot_be_read_hides_no_other_and_is_gone() {
        let mut odd = service("odd");
        odd["spec"]["ports"] = "none".into();
        let items = [service("a"), odd.clone(), service("b")];
        assert_eq!(names::<Service>(&items), ["shop/a", "shop/b"]);

        let event = |kind: &str, object: &Value| {
            let event = json!({"type": kind, "object": object});
            serde_json::from_value::<WatchEvent<Loose<Service>>>(event).expect("an event")
        };
        let WatchEvent::Modified(object) = event("MODIFIED", &odd) else {
            panic!("another event");
        };
        assert_eq!(object.version().as_deref(), Some("7"));
        let heard = object.heard(|_| Some(()));
        let Some(Heard::Gone(name)) = heard else {
            panic!("{heard:?}");
        };
        assert_eq!(name.to_string(), "shop/odd");
        let WatchEvent::Added(object) = event("ADDED", &service("a")) else {
            panic!("another event");
        };
        assert!(matches!(object.heard(|_| Some(())), Some(Heard::Set(()))));
    }
}
