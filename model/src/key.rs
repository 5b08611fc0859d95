//! Names and numbers that are valid by construction.
//!
//! Names are made only by parsing, so a key can be printed as `namespace/name` without ambiguity.

mod frontend;

use std::{fmt, num::NonZeroU16, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Serialize, Serializer};
use sluice_node_abi::keys;

pub use frontend::{Family, Frontend};

/// The kinds of objects that facts are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    Service,
    EndpointSlice,
    TrafficSplit,
    LocalRedirectPolicy,
    BalancingPolicy,
    FrontendGrant,
    Pod,
    Node,
    Namespace,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Service,
        Self::EndpointSlice,
        Self::TrafficSplit,
        Self::LocalRedirectPolicy,
        Self::BalancingPolicy,
        Self::FrontendGrant,
        Self::Pod,
        Self::Node,
        Self::Namespace,
    ];

    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::FrontendGrant | Self::Node | Self::Namespace)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An object's namespace and name. The namespace of a cluster-scoped object is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    namespace: Arc<str>,
    name: Arc<str>,
}

impl Name {
    /// `None` when either part could not be a name in Kubernetes.
    pub fn parse(namespace: &str, name: &str) -> Option<Self> {
        let namespaced = namespace.is_empty() || is_label(namespace);
        (namespaced && is_subdomain(name)).then(|| Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    pub fn of(meta: &ObjectMeta) -> Option<Self> {
        Self::parse(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref()?,
        )
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Another object of the same namespace.
    pub fn sibling(&self, name: &str) -> Option<Self> {
        is_subdomain(name).then(|| Self {
            namespace: Arc::clone(&self.namespace),
            name: name.into(),
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

macro_rules! keys {
    ($($key:ident is a $kind:ident),+ $(,)?) => {
        $(
            /// The name of an object of this kind.
            #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
            #[serde(transparent)]
            pub struct $key(pub Name);

            impl $key {
                pub fn parse(namespace: &str, name: &str) -> Option<Self> {
                    Name::parse(namespace, name).map(Self)
                }
            }

            impl fmt::Display for $key {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Display::fmt(&self.0, f)
                }
            }

            impl fmt::Debug for $key {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, "{} {}", Kind::$kind, self.0)
                }
            }

            impl From<$key> for Subject {
                fn from(key: $key) -> Self {
                    Self { kind: Kind::$kind, name: key.0 }
                }
            }
        )+
    };
}

keys! {
    ServiceKey is a Service,
    SliceKey is a EndpointSlice,
    SplitKey is a TrafficSplit,
    RedirectKey is a LocalRedirectPolicy,
    BalancingKey is a BalancingPolicy,
    GrantKey is a FrontendGrant,
    PodKey is a Pod,
    NodeKey is a Node,
    NamespaceKey is a Namespace,
}

/// The API server's own Service, by Kubernetes' convention.
const API_SERVER: (&str, &str) = ("default", "kubernetes");

impl ServiceKey {
    /// Whether it is the API server's own.
    pub fn is_api_server(&self) -> bool {
        (self.0.namespace(), self.0.name()) == API_SERVER
    }

    /// The API server's own.
    pub fn of_api_server() -> Option<Self> {
        Self::parse(API_SERVER.0, API_SERVER.1)
    }
}

/// Any object, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Subject {
    pub kind: Kind,
    pub name: Name,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// When an object was created. One without a time counts as the youngest, so that among files
/// without times the name alone decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Created(i64);

impl Created {
    pub fn of(meta: &ObjectMeta) -> Self {
        Self(
            meta.creation_timestamp
                .as_ref()
                .map_or(i64::MAX, |time| time.0.as_second()),
        )
    }
}

/// A port number: 1 to 65535.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }

    pub fn parse(number: i32) -> Option<Self> {
        u16::try_from(number).ok().and_then(Self::new)
    }

    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The protocols that are steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Protocol {
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "UDP")]
    Udp,
}

impl Protocol {
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => keys::TCP,
            Self::Udp => keys::UDP,
        }
    }

    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            keys::TCP => Some(Self::Tcp),
            keys::UDP => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// Whether this is a DNS label: what namespaces, Services and versions are called.
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_label_part(text)
}

/// Whether a label of an object can have this key: a name, maybe after a DNS name and a slash.
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_qualified(name),
        None => is_qualified(text),
    }
}

/// Whether a label of an object can have this value.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified(text)
}

fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 63
        && ends
            .iter()
            .all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Whether this is a DNS name: what most objects are called.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label_part)
}

fn is_label_part(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            alphanumeric(first)
                && alphanumeric(last)
                && bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-')
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, Port};

    #[test]
    fn names_that_kubernetes_would_refuse_are_no_names() {
        for (namespace, name) in [
            ("shop", ""),
            ("shop", "a/b"),
            ("shop", "-a"),
            ("shop", "a."),
            ("shop", "A"),
            ("sh.op", "a"),
            ("shop", "é"),
            ("shop", "a\0b"),
        ] {
            assert_eq!(Name::parse(namespace, name), None, "{namespace} {name:?}");
        }
        assert_eq!(Name::parse("shop", &"a".repeat(254)), None);
        assert!(Name::parse("shop", "checkout.v1-2").is_some());
        assert!(Name::parse("", "node-1").is_some());
    }

    #[test]
    fn ports_are_1_to_65535() {
        for number in [i32::MIN, -1, 0, 65_536, i32::MAX] {
            assert_eq!(Port::parse(number), None);
        }
        assert_eq!(Port::parse(65_535).map(Port::get), Some(65_535));
    }
}
