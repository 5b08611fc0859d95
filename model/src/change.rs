//! What an input tells the index: set, gone, relisted.

use std::collections::BTreeSet;

use crate::{
    facts::{Parsed, balancing, endpoints, grant, namespace, node, pod, redirect, service, split},
    finding::{Finding, Reason},
    key::{
        BalancingKey, GrantKey, Kind, NamespaceKey, NodeKey, PodKey, RedirectKey, ServiceKey,
        SliceKey, SplitKey, Subject,
    },
};

/// One parsed object of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    Service(ServiceKey, Parsed<service::Fact>),
    Slice(SliceKey, Parsed<endpoints::Fact>),
    Split(SplitKey, Parsed<split::Fact>),
    Redirect(RedirectKey, Parsed<redirect::Fact>),
    Balancing(BalancingKey, Parsed<balancing::Fact>),
    Grant(GrantKey, Parsed<grant::Fact>),
    Pod(PodKey, Parsed<pod::Fact>),
    Node(NodeKey, Parsed<node::Fact>),
    Namespace(NamespaceKey, Parsed<namespace::Fact>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The object is there, new or not.
    Set(Object),
    /// The object is not there any more.
    Gone(Subject),
    /// A whole list of this kind was told by `Set`, and these are all there are: the others are
    /// gone, whatever was missed in between.
    Relisted(Kind, BTreeSet<Subject>),
}

/// What to do with the parsed part, whatever kind it is of.
macro_rules! of_each {
    ($object:expr, $parsed:ident => $what:expr) => {
        match $object {
            Object::Service(_, $parsed) => $what,
            Object::Slice(_, $parsed) => $what,
            Object::Split(_, $parsed) => $what,
            Object::Redirect(_, $parsed) => $what,
            Object::Balancing(_, $parsed) => $what,
            Object::Grant(_, $parsed) => $what,
            Object::Pod(_, $parsed) => $what,
            Object::Node(_, $parsed) => $what,
            Object::Namespace(_, $parsed) => $what,
        }
    };
}

impl Object {
    /// An object that does not fit its kind's type: it is there, and nothing of it can be used.
    pub fn unreadable(subject: Subject, why: impl Into<String>) -> Self {
        let finding = Finding::new(subject.clone(), Reason::Invalid, why);
        let Subject { kind, name } = subject;
        match kind {
            Kind::Service => Self::Service(ServiceKey(name), Parsed::nothing(finding)),
            Kind::EndpointSlice => Self::Slice(SliceKey(name), Parsed::nothing(finding)),
            Kind::TrafficSplit => Self::Split(SplitKey(name), Parsed::nothing(finding)),
            Kind::LocalRedirectPolicy => {
                Self::Redirect(RedirectKey(name), Parsed::nothing(finding))
            }
            Kind::BalancingPolicy => Self::Balancing(BalancingKey(name), Parsed::nothing(finding)),
            Kind::FrontendGrant => Self::Grant(GrantKey(name), Parsed::nothing(finding)),
            Kind::Pod => Self::Pod(PodKey(name), Parsed::nothing(finding)),
            Kind::Node => Self::Node(NodeKey(name), Parsed::nothing(finding)),
            Kind::Namespace => Self::Namespace(NamespaceKey(name), Parsed::nothing(finding)),
        }
    }

    pub fn subject(&self) -> Subject {
        match self {
            Self::Service(key, _) => key.clone().into(),
            Self::Slice(key, _) => key.clone().into(),
            Self::Split(key, _) => key.clone().into(),
            Self::Redirect(key, _) => key.clone().into(),
            Self::Balancing(key, _) => key.clone().into(),
            Self::Grant(key, _) => key.clone().into(),
            Self::Pod(key, _) => key.clone().into(),
            Self::Node(key, _) => key.clone().into(),
            Self::Namespace(key, _) => key.clone().into(),
        }
    }

    pub fn findings(&self) -> &[Finding] {
        of_each!(self, parsed => &parsed.findings)
    }

    pub(crate) fn findings_mut(&mut self) -> &mut Vec<Finding> {
        of_each!(self, parsed => &mut parsed.findings)
    }

    /// Whether there is a fact, that is, whether the object acts at all.
    pub fn is_usable(&self) -> bool {
        of_each!(self, parsed => parsed.fact.is_some())
    }
}
