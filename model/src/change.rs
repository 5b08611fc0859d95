//! What an input tells the index: set, gone, relisted.

use std::collections::BTreeSet;

use crate::{
    facts::{Parsed, endpoints, namespace, node, pod, service, split},
    finding::Finding,
    key::{Kind, NamespaceKey, NodeKey, PodKey, ServiceKey, SliceKey, SplitKey, Subject},
};

/// One parsed object of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    Service(ServiceKey, Parsed<service::Fact>),
    Slice(SliceKey, Parsed<endpoints::Fact>),
    Split(SplitKey, Parsed<split::Fact>),
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

impl Object {
    pub fn subject(&self) -> Subject {
        match self {
            Self::Service(key, _) => key.clone().into(),
            Self::Slice(key, _) => key.clone().into(),
            Self::Split(key, _) => key.clone().into(),
            Self::Pod(key, _) => key.clone().into(),
            Self::Node(key, _) => key.clone().into(),
            Self::Namespace(key, _) => key.clone().into(),
        }
    }

    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Service(_, parsed) => &parsed.findings,
            Self::Slice(_, parsed) => &parsed.findings,
            Self::Split(_, parsed) => &parsed.findings,
            Self::Pod(_, parsed) => &parsed.findings,
            Self::Node(_, parsed) => &parsed.findings,
            Self::Namespace(_, parsed) => &parsed.findings,
        }
    }

    pub(crate) fn findings_mut(&mut self) -> &mut Vec<Finding> {
        match self {
            Self::Service(_, parsed) => &mut parsed.findings,
            Self::Slice(_, parsed) => &mut parsed.findings,
            Self::Split(_, parsed) => &mut parsed.findings,
            Self::Pod(_, parsed) => &mut parsed.findings,
            Self::Node(_, parsed) => &mut parsed.findings,
            Self::Namespace(_, parsed) => &mut parsed.findings,
        }
    }

    /// Whether there is a fact, that is, whether the object acts at all.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::Service(_, parsed) => parsed.fact.is_some(),
            Self::Slice(_, parsed) => parsed.fact.is_some(),
            Self::Split(_, parsed) => parsed.fact.is_some(),
            Self::Pod(_, parsed) => parsed.fact.is_some(),
            Self::Node(_, parsed) => parsed.fact.is_some(),
            Self::Namespace(_, parsed) => parsed.fact.is_some(),
        }
    }
}
