//! The headless Service of a group as it should be: a pure function of the policy, the group and the parent.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Service, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource as _;
use sluice_crds::TrafficSplit;
use sluice_model::{
    facts::{
        group::{self, Group, POLICY},
        service::Selects,
    },
    key::SplitKey,
};

use super::seen::Seen;

/// The policy that a group is of, as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) split: &'a SplitKey,
    pub(super) uid: &'a str,
}

/// The Service of a group. `None` when the parent has no pods that could be in it.
pub(super) fn service(
    owner: Owner<'_>,
    group: &Group,
    selects: &Selects,
    parent: &Seen,
) -> Option<Service> {
    if selects.is_nothing() || group.contradiction(selects).is_some() {
        return None;
    }
    // An ExternalName keeps its selector and loses its families.
    let families = parent.families.clone()?;
    let selector = group.selector(selects);
    let selector = selector.iter();
    let selector = selector.map(|(key, value)| (key.to_string(), value.to_string()));
    let labels = [
        (POLICY, group::label(&owner.split.0)),
        ("app.kubernetes.io/managed-by", "sluice-operator".to_owned()),
        ("app.kubernetes.io/part-of", "sluice".to_owned()),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value));
    Some(Service {
        metadata: ObjectMeta {
            name: Some(group.service.0.name().to_owned()),
            namespace: Some(group.service.0.namespace().to_owned()),
            labels: Some(BTreeMap::from(labels)),
            owner_references: Some(vec![OwnerReference {
                api_version: TrafficSplit::api_version(&()).into_owned(),
                kind: TrafficSplit::kind(&()).into_owned(),
                name: owner.split.0.name().to_owned(),
                uid: owner.uid.to_owned(),
                controller: Some(true),
                block_owner_deletion: Some(false),
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(selector.collect()),
            ports: Some(parent.ports.clone()),
            ip_families: Some(families),
            ip_family_policy: parent.family_policy.clone(),
            publish_not_ready_addresses: Some(parent.publishes_not_ready),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    })
}
