//! What the API server is asked for, and how a policy becomes a fact whatever is in it.

use k8s_openapi::serde::de::DeserializeOwned;
use kube::{
    Api, Resource,
    core::{ApiResource, DynamicObject},
};
use sluice_model::{
    change::Object,
    facts,
    key::{Kind, Name, Subject},
};

use super::Asked;
use crate::client::Server;

/// Every object of a kind that is always there.
pub fn all<K: Resource<DynamicType = ()>>(server: &Server) -> Asked<K> {
    Asked::all(Api::all(server.client.clone()))
}

/// Policies without a type: one that another version of the CRD let in must not hide the others.
pub fn loosely<K: Resource<DynamicType = ()>>(server: &Server) -> Asked<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    Asked::all(Api::all_with(server.client.clone(), &resource)).optional()
}

/// A TrafficSplit as a fact; as a finding where it does not fit the type.
pub fn split(object: &DynamicObject) -> Option<Object> {
    fitting(object, Kind::TrafficSplit, facts::split)
}

/// The same of a LocalRedirectPolicy.
pub fn redirect(object: &DynamicObject) -> Option<Object> {
    fitting(object, Kind::LocalRedirectPolicy, facts::redirect)
}

/// The same of a BalancingPolicy.
pub fn balancing(object: &DynamicObject) -> Option<Object> {
    fitting(object, Kind::BalancingPolicy, facts::balancing)
}

/// The same of a FrontendGrant.
pub fn grant(object: &DynamicObject) -> Option<Object> {
    fitting(object, Kind::FrontendGrant, facts::grant)
}

fn fitting<K: Resource + DeserializeOwned>(
    object: &DynamicObject,
    kind: Kind,
    fact: fn(&K) -> Option<Object>,
) -> Option<Object> {
    let name = Name::of(&object.metadata)?;
    match object.clone().try_parse::<K>() {
        Ok(typed) => fact(&typed),
        Err(error) => Some(Object::unreadable(
            Subject { kind, name },
            error.to_string(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use sluice_crds::TrafficSplit;
    use sluice_model::finding::Reason;

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
