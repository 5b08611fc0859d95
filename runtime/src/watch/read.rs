//! What the API server is asked for, and how a split becomes a fact whatever is in it.

use kube::{
    Api, Resource,
    core::{ApiResource, DynamicObject},
};
use sluice_crds::TrafficSplit;
use sluice_model::{
    change::Object,
    facts::{self, Parsed},
    finding::{Finding, Reason},
    key::{Name, SplitKey},
};

use super::Asked;
use crate::client::Server;

/// Every object of a kind that is always there.
pub fn all<K: Resource<DynamicType = ()>>(server: &Server) -> Asked<K> {
    Asked::all(Api::all(server.client.clone()))
}

/// Splits without a type: one that another version of the CRD let in must not hide the others.
pub fn splits(server: &Server) -> Asked<DynamicObject> {
    let resource = ApiResource::erase::<TrafficSplit>(&());
    Asked::all(Api::all_with(server.client.clone(), &resource)).optional()
}

/// A split as a fact; as a finding where it does not fit the type.
pub fn split(object: &DynamicObject) -> Option<Object> {
    let key = SplitKey(Name::of(&object.metadata)?);
    match object.clone().try_parse::<TrafficSplit>() {
        Ok(split) => facts::split(&split),
        Err(error) => {
            let finding = Finding::new(key.clone(), Reason::Invalid, error.to_string());
            let parsed = Parsed {
                fact: None,
                findings: vec![finding],
            };
            Some(Object::Split(key, parsed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_that_does_not_fit_the_type_is_a_finding() {
        let resource = ApiResource::erase::<TrafficSplit>(&());
        let object = |versions| {
            DynamicObject::new("checkout", &resource)
                .within("shop")
                .data(k8s_openapi::serde_json::json!({
                    "spec": {"service": "checkout", "versions": versions},
                }))
        };
        let versions = k8s_openapi::serde_json::json!([{"name": "a", "service": "a", "weight": 1}]);
        let good = split(&object(versions));
        assert!(good.is_some_and(|good| good.is_usable() && good.findings().is_empty()));
        let bad = split(&object("none".into()));
        let Some(bad) = bad else { panic!("an object") };
        assert_eq!(bad.subject().to_string(), "TrafficSplit shop/checkout");
        assert!(!bad.is_usable());
        assert_eq!(bad.findings()[0].reason, Reason::Invalid);
    }
}
