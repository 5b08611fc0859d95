//! What is kept of each Service: what its groups need of it, and whether it is a group itself.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Service, ServicePort},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource as _;
use sluice_crds::TrafficSplit;
use sluice_model::{
    change::Object,
    facts::{
        self,
        group::{self, POLICY},
    },
    key::{Name, ServiceKey, SplitKey},
};

/// A Service: as a fact, and what is kept of it.
#[derive(Clone, Debug)]
pub struct SeenService {
    pub key: ServiceKey,
    pub object: Object,
    pub service: Box<Seen>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
    pub(super) selector: BTreeMap<String, String>,
    /// As the API server completed them, but for what it gave out.
    pub(super) ports: Vec<ServicePort>,
    pub(super) families: Option<Vec<String>>,
    pub(super) family_policy: Option<String>,
    pub(super) publishes_not_ready: bool,
    is_headless: bool,
    /// It is on its way out.
    pub(super) goes: bool,
    /// The value of the label that only groups have.
    label: Option<String>,
    /// Which TrafficSplit owns it, by name and uid.
    owner: Option<(String, String)>,
}

/// `None` for a Service without a name.
pub fn read(service: &Service) -> Option<SeenService> {
    Some(SeenService {
        key: ServiceKey(Name::of(&service.metadata)?),
        object: facts::service(service)?,
        service: Box::new(Seen::of(service)),
    })
}

impl Seen {
    pub(super) fn of(service: &Service) -> Self {
        let meta = &service.metadata;
        let labels = meta.labels.as_ref();
        let mut owners = meta.owner_references.iter().flatten();
        let owner = owners.find(|owner| {
            owner.kind == TrafficSplit::kind(&())
                && owner.api_version == TrafficSplit::api_version(&())
        });
        let owner = owner.map(|owner| (owner.name.clone(), owner.uid.clone()));
        let spec = service.spec.clone().unwrap_or_default();
        let mut ports = spec.ports.unwrap_or_default();
        for port in &mut ports {
            port.node_port = None;
        }
        Self {
            uid: meta.uid.clone(),
            version: meta.resource_version.clone(),
            selector: spec.selector.unwrap_or_default(),
            ports,
            families: spec.ip_families,
            family_policy: spec.ip_family_policy,
            publishes_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
            is_headless: spec.cluster_ip.as_deref() == Some("None"),
            goes: meta.deletion_timestamp.is_some(),
            label: labels.and_then(|labels| labels.get(POLICY)).cloned(),
            owner,
        }
    }

    /// The split that it is a group of, if it is one: the label alone anybody may write.
    pub(super) fn split(&self, key: &ServiceKey) -> Option<SplitKey> {
        let (name, _) = self.owner.as_ref()?;
        let split = key.0.sibling(name)?;
        (self.label.as_deref() == Some(group::label(&split).as_str())).then_some(SplitKey(split))
    }

    /// Whether it has all that is wanted. Other fields are of no interest, but that a selector has more is.
    pub(super) fn is_as(&self, wanted: &Service) -> bool {
        let wanted = Self::of(wanted);
        self.selector == wanted.selector
            && self.ports == wanted.ports
            && self.families == wanted.families
            && self.family_policy == wanted.family_policy
            && self.publishes_not_ready == wanted.publishes_not_ready
            && self.is_headless
            && self.label == wanted.label
            && self.owner == wanted.owner
    }

    /// Whether it can be changed to what is wanted: the API server lets nobody change the first family of a Service.
    pub(super) fn can_become(&self, wanted: &Service) -> bool {
        let first = |families: &Option<Vec<String>>| families.as_ref()?.first().cloned();
        self.is_headless && first(&self.families) == first(&Self::of(wanted).families)
    }

    /// Which object it is.
    pub(super) fn identity(&self, key: &ServiceKey) -> ObjectMeta {
        ObjectMeta {
            name: Some(key.0.name().to_owned()),
            namespace: Some(key.0.namespace().to_owned()),
            uid: self.uid.clone(),
            resource_version: self.version.clone(),
            ..ObjectMeta::default()
        }
    }
}
