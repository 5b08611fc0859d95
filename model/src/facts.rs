//! Facts: the parts of an object that matter here, parsed and comparable. Equal fact, no work.
//!
//! There is one parser per kind. Watches hand typed objects to it, manifests and admission reviews
//! come through [`parse`]; so what the webhook admits is exactly what the index can read. Parsing
//! never fails as a whole for the sake of a part: a bad port is a finding and the others are used.
//! Only for Sluice's own kinds does any fault leave no fact at all.

pub mod amount;
pub mod balancing;
pub mod command;
pub mod endpoints;
mod faults;
pub mod frontend;
pub mod grant;
pub mod group;
pub mod ip;
pub mod labels;
pub mod namespace;
pub mod node;
pub mod origin;
pub mod peer;
pub mod pod;
pub mod redirect;
pub mod selector;
pub mod service;
pub mod split;

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_crds::{BalancingPolicy, FrontendGrant, LocalRedirectPolicy, TrafficSplit};

use crate::{
    change::{Change, Object},
    finding::{Finding, Reason},
    key::{
        BalancingKey, GrantKey, Kind, Name, NamespaceKey, NodeKey, PodKey, RedirectKey, ServiceKey,
        SliceKey, SplitKey, Subject,
    },
};

pub(crate) use ip::address;

/// What parsing gave: a fact where one can be had, and what was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<F> {
    pub fact: Option<F>,
    pub findings: Vec<Finding>,
}

impl<F> Parsed<F> {
    pub(crate) fn nothing(because: Finding) -> Self {
        Self {
            fact: None,
            findings: vec![because],
        }
    }
}

/// Why a manifest is not an object that we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A kind that is none of our business. Not a problem.
    Foreign { kind: String },
    /// What a person has to correct.
    Malformed { detail: String },
}

/// The namespace of a namespaced manifest that names none, as for `kubectl`.
const DEFAULT_NAMESPACE: &str = "default";

const OPT_OUT: &str = "sluice.dev/opt-out";
const BREAK_GLASS: &str = "sluice.dev/break-glass";

/// The one parser of manifests: picks the kind by `apiVersion` and `kind`.
pub fn parse(mut manifest: Value) -> Result<Change, Unreadable> {
    let text = |field: &str| manifest.get(field).and_then(Value::as_str);
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return Err(malformed("apiVersion and kind are missing"));
    };
    let kind = match (version, kind) {
        ("v1", "Service") => Kind::Service,
        ("v1", "Pod") => Kind::Pod,
        ("v1", "Node") => Kind::Node,
        ("v1", "Namespace") => Kind::Namespace,
        ("discovery.k8s.io/v1", "EndpointSlice") => Kind::EndpointSlice,
        ("sluice.dev/v1alpha1", "TrafficSplit") => Kind::TrafficSplit,
        ("sluice.dev/v1alpha1", "LocalRedirectPolicy") => Kind::LocalRedirectPolicy,
        ("sluice.dev/v1alpha1", "BalancingPolicy") => Kind::BalancingPolicy,
        ("sluice.dev/v1alpha1", "FrontendGrant") => Kind::FrontendGrant,
        (version, kind) => {
            return Err(Unreadable::Foreign {
                kind: format!("{version} {kind}"),
            });
        }
    };
    let subject = place(kind, &mut manifest)?;
    let object = match kind {
        Kind::Service => read::<Service, _>(manifest, &subject, service)?,
        Kind::EndpointSlice => read::<EndpointSlice, _>(manifest, &subject, slice)?,
        Kind::TrafficSplit => read::<TrafficSplit, _>(manifest, &subject, split)?,
        Kind::LocalRedirectPolicy => read::<LocalRedirectPolicy, _>(manifest, &subject, redirect)?,
        Kind::BalancingPolicy => read::<BalancingPolicy, _>(manifest, &subject, balancing)?,
        Kind::FrontendGrant => read::<FrontendGrant, _>(manifest, &subject, grant)?,
        Kind::Pod => read::<Pod, _>(manifest, &subject, pod)?,
        Kind::Node => read::<Node, _>(manifest, &subject, node)?,
        Kind::Namespace => read::<Namespace, _>(manifest, &subject, namespace)?,
    };
    Ok(Change::Set(object))
}

/// A typed Service as it comes from a watch. `None` if it has no usable name.
pub fn service(object: &Service) -> Option<Object> {
    let key = ServiceKey(Name::of(&object.metadata)?);
    let parsed = service::parse(&key, object);
    Some(Object::Service(key, parsed))
}

/// A typed EndpointSlice as it comes from a watch.
pub fn slice(object: &EndpointSlice) -> Option<Object> {
    let key = SliceKey(Name::of(&object.metadata)?);
    let parsed = endpoints::parse(&key, object);
    Some(Object::Slice(key, parsed))
}

/// A typed TrafficSplit as it comes from a watch.
pub fn split(object: &TrafficSplit) -> Option<Object> {
    let key = SplitKey(Name::of(&object.metadata)?);
    let parsed = split::parse(&key, object);
    Some(Object::Split(key, parsed))
}

/// A typed LocalRedirectPolicy as it comes from a watch.
pub fn redirect(object: &LocalRedirectPolicy) -> Option<Object> {
    let key = RedirectKey(Name::of(&object.metadata)?);
    let parsed = redirect::parse(&key, object);
    Some(Object::Redirect(key, parsed))
}

/// A typed BalancingPolicy as it comes from a watch.
pub fn balancing(object: &BalancingPolicy) -> Option<Object> {
    let key = BalancingKey(Name::of(&object.metadata)?);
    let parsed = balancing::parse(&key, object);
    Some(Object::Balancing(key, parsed))
}

/// A typed FrontendGrant as it comes from a watch.
pub fn grant(object: &FrontendGrant) -> Option<Object> {
    let key = GrantKey(Name::of(&object.metadata)?);
    let parsed = grant::parse(&key, object);
    Some(Object::Grant(key, parsed))
}

/// A typed Pod as it comes from a watch.
pub fn pod(object: &Pod) -> Option<Object> {
    let key = PodKey(Name::of(&object.metadata)?);
    let parsed = pod::parse(&key, object);
    Some(Object::Pod(key, parsed))
}

/// A typed Node as it comes from a watch.
pub fn node(object: &Node) -> Option<Object> {
    let key = NodeKey(Name::of(&object.metadata)?);
    let parsed = node::parse(&key, object);
    Some(Object::Node(key, parsed))
}

/// A typed Namespace as it comes from a watch.
pub fn namespace(object: &Namespace) -> Option<Object> {
    let key = NamespaceKey(Name::of(&object.metadata)?);
    let parsed = namespace::parse(&key, object);
    Some(Object::Namespace(key, parsed))
}

/// Finds the manifest's name and gives it the default namespace where it has none.
fn place(kind: Kind, manifest: &mut Value) -> Result<Subject, Unreadable> {
    let Some(Value::Object(meta)) = manifest.get_mut("metadata") else {
        return Err(malformed("metadata is missing"));
    };
    if kind.is_namespaced() {
        meta.entry("namespace")
            .or_insert_with(|| DEFAULT_NAMESPACE.into());
    } else {
        meta.remove("namespace");
    }
    let text = |field: &str| meta.get(field).and_then(Value::as_str);
    let namespace = text("namespace").unwrap_or_default();
    let Some(name) = text("name") else {
        return Err(malformed("metadata.name is missing"));
    };
    match Name::parse(namespace, name) {
        Some(name) => Ok(Subject { kind, name }),
        None => Err(Unreadable::Malformed {
            detail: format!("metadata: {namespace:?} / {name:?} is not a namespace and a name"),
        }),
    }
}

fn read<T, F>(manifest: Value, subject: &Subject, fact: F) -> Result<Object, Unreadable>
where
    T: DeserializeOwned,
    F: Fn(&T) -> Option<Object>,
{
    let mut unknown = Vec::new();
    let typed: T = serde_ignored::deserialize(manifest, |path| unknown.push(field(&path)))
        .map_err(|error| Unreadable::Malformed {
            detail: format!("{subject}: {error}"),
        })?;
    let Some(mut object) = fact(&typed) else {
        return Err(malformed("metadata.name is missing"));
    };
    // These two chose the type; a custom resource's type does not have them again.
    unknown.retain(|path| path != "apiVersion" && path != "kind");
    object
        .findings_mut()
        .extend(unknown.into_iter().map(|path| {
            Finding::new(
                subject.clone(),
                Reason::UnknownField,
                "no such field; it is ignored",
            )
            .at(path)
        }));
    Ok(object)
}

/// A path as findings write it: `spec.ports[0].port`.
fn field(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", field(parent)),
        Path::Map { parent, key } => match field(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => field(parent),
    }
}

fn malformed(detail: &str) -> Unreadable {
    Unreadable::Malformed {
        detail: detail.to_owned(),
    }
}

/// Whether an object's labels ask that the connects of what it stands for be left alone.
pub(crate) fn opts_out(labels: Option<&BTreeMap<String, String>>) -> bool {
    let label = labels.and_then(|labels| labels.get(OPT_OUT));
    label.is_some_and(|value| value == "true")
}

/// Labels of ours that mean something only as `true`: what is said of any other value.
fn misread(
    subject: impl Into<Subject>,
    labels: Option<&BTreeMap<String, String>>,
    ours: &[&str],
) -> Vec<Finding> {
    let subject = subject.into();
    let present = ours
        .iter()
        .filter_map(|name| Some((name, labels?.get(*name)?)));
    let wrong = present.filter(|(_, value)| *value != "true");
    wrong
        .map(|(name, value)| {
            let detail = format!("{value:?} means nothing; only \"true\" does");
            let finding = Finding::new(subject.clone(), Reason::Invalid, detail);
            finding.at(format!("metadata.labels[{name}]"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Unreadable, parse};
    use crate::{change::Change, key::Kind};

    #[test]
    fn labels_that_mean_nothing_are_findings() {
        let namespace = |labels| {
            let manifest = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "a", "labels": labels},
            });
            match parse(manifest) {
                Ok(Change::Set(object)) => object.findings().to_vec(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            namespace(json!({"sluice.dev/opt-out": "true", "x": "yes"})),
            []
        );
        let found = namespace(json!({"sluice.dev/opt-out": "yes", "sluice.dev/break-glass": ""}));
        let fields: Vec<_> = found.iter().map(|finding| finding.field.as_str()).collect();
        let expected = ["sluice.dev/opt-out", "sluice.dev/break-glass"];
        assert_eq!(
            fields,
            expected.map(|name| format!("metadata.labels[{name}]"))
        );
    }

    #[test]
    fn a_manifest_without_a_namespace_is_in_the_default_one() {
        let manifest = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}});
        let Ok(Change::Set(object)) = parse(manifest) else {
            panic!("a Service")
        };
        assert_eq!(object.subject().to_string(), "Service default/a");
        let manifest = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "namespace": "b"},
        });
        let Ok(Change::Set(object)) = parse(manifest) else {
            panic!("a Node")
        };
        assert_eq!(object.subject().to_string(), "Node a");
        assert_eq!(object.subject().kind, Kind::Node);
    }

    #[test]
    fn what_is_no_object_of_ours_is_said_or_skipped() {
        let foreign = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}});
        assert!(matches!(parse(foreign), Err(Unreadable::Foreign { .. })));
        for manifest in [
            json!(null),
            json!([]),
            json!({"kind": "Service"}),
            json!({"apiVersion": "v1", "kind": "Service"}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a/b"}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": 1}),
            json!({
                "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
                "metadata": {"name": "a"},
                "spec": {"service": "a", "versions": [{"name": "b", "service": "c", "weight": -1}]},
            }),
        ] {
            let read = parse(manifest.clone());
            assert!(
                matches!(read, Err(Unreadable::Malformed { .. })),
                "{manifest}: {read:?}"
            );
        }
    }
}
