//! What the operator watches, and what it keeps of each object.

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject},
};
use serde_json::Value;
use sluice_crds::{
    BalancingPolicy, FrontendGrant, LocalRedirectPolicy, NodeReport, NodeReportStatus, TrafficSplit,
};
use sluice_model::{
    change::Object,
    facts::{self, command},
    key::{Kind, Name, NodeKey, Subject},
    rollup::Boot,
};
use sluice_runtime::{
    client::Server,
    watch::{self, Asked, Heard, Watches, read},
};

use crate::{
    groups::{self, SeenService},
    selector::Selector,
};

/// The kinds that decide what policies compile to. Pods do not: backends come from EndpointSlices.
pub const FACTS: [Kind; 8] = [
    Kind::Service,
    Kind::EndpointSlice,
    Kind::TrafficSplit,
    Kind::LocalRedirectPolicy,
    Kind::BalancingPolicy,
    Kind::FrontendGrant,
    Kind::Node,
    Kind::Namespace,
];

/// What some watch has to say.
#[derive(Clone, Debug)]
pub enum Told {
    Facts(watch::Told),
    Service(Heard<SeenService>),
    Node(Heard<SeenNode>),
    Policy(Kind, Heard<SeenPolicy>),
    Report(Heard<SeenReport>),
}

/// A node, and the start that it lives in if it should carry Sluice.
#[derive(Clone, Debug)]
pub struct SeenNode {
    pub key: NodeKey,
    pub object: Object,
    pub should: Option<Boot>,
}

/// A policy as it is stored: as a fact, and what its status says.
#[derive(Clone, Debug)]
pub struct SeenPolicy {
    pub subject: Subject,
    pub object: Object,
    pub stored: Box<Stored>,
}

/// Of a stored policy what is needed to write its status.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Name, namespace, uid, version and generation only.
    pub meta: ObjectMeta,
    /// What somebody told its rollout to do.
    pub command: Option<String>,
    /// As it came, so that nothing in it escapes a comparison.
    pub status: Value,
}

#[derive(Clone, Debug)]
pub struct SeenReport {
    pub node: NodeKey,
    /// `None` if there is none, or one that cannot be read.
    pub report: Option<Box<NodeReportStatus>>,
}

/// Starts all watches.
pub fn watch(server: &Server, nodes: Selector) -> Watches<Told> {
    let mut watches = Watches::of(server);
    let facts_of = |kind| move |heard| Told::Facts(watch::Told::of(kind, heard));
    watches.add(read::all::<Service>(server), groups::read, Told::Service);
    watches.add(
        read::all::<EndpointSlice>(server),
        facts::slice,
        facts_of(Kind::EndpointSlice),
    );
    watches.add(
        read::all::<Namespace>(server),
        facts::namespace,
        facts_of(Kind::Namespace),
    );
    let node = move |node: &Node| {
        Some(SeenNode {
            key: NodeKey(Name::of(&node.metadata)?),
            object: facts::node(node)?,
            should: nodes
                .matches(node.metadata.labels.as_ref())
                .then(|| boot(node)),
        })
    };
    watches.add(read::all::<Node>(server), node, Told::Node);
    policies::<TrafficSplit>(&mut watches, server, Kind::TrafficSplit, read::split);
    let redirects = Kind::LocalRedirectPolicy;
    policies::<LocalRedirectPolicy>(&mut watches, server, redirects, read::redirect);
    policies::<BalancingPolicy>(&mut watches, server, Kind::BalancingPolicy, read::balancing);
    policies::<FrontendGrant>(&mut watches, server, Kind::FrontendGrant, read::grant);
    let reports = ApiResource::erase::<NodeReport>(&());
    let reports = Api::all_with(server.client.clone(), &reports);
    watches.add(Asked::all(reports).optional(), report, Told::Report);
    watches
}

fn policies<K: Resource<DynamicType = ()>>(
    watches: &mut Watches<Told>,
    server: &Server,
    kind: Kind,
    fact: fn(&DynamicObject) -> Option<Object>,
) {
    let seen = move |object: &DynamicObject| Some(seen(object, fact(object)?));
    watches.add(read::loosely::<K>(server), seen, move |heard| {
        Told::Policy(kind, heard)
    });
}

fn seen(stored: &DynamicObject, object: Object) -> SeenPolicy {
    let meta = &stored.metadata;
    let annotations = meta.annotations.as_ref();
    SeenPolicy {
        subject: object.subject(),
        object,
        stored: Box::new(Stored {
            meta: ObjectMeta {
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                generation: meta.generation,
                ..ObjectMeta::default()
            },
            command: annotations
                .and_then(|all| all.get(command::ANNOTATION))
                .cloned(),
            status: stored.data.get("status").cloned().unwrap_or_default(),
        }),
    }
}

/// What the kubelet says; nothing before it has said anything.
fn boot(node: &Node) -> Boot {
    let info = node
        .status
        .as_ref()
        .and_then(|status| status.node_info.as_ref());
    info.map_or("", |info| &info.boot_id).into()
}

fn report(object: &DynamicObject) -> Option<SeenReport> {
    let status = object.data.get("status").cloned();
    Some(SeenReport {
        node: NodeKey(Name::of(&object.metadata)?),
        report: status.and_then(|status| serde_json::from_value(status).ok()),
    })
}
