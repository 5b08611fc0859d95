//! Groups: parts of a Service's pods, which Kubernetes finds for us.
//!
//! The operator keeps one headless Service for each group, and so Kubernetes' own controller writes the EndpointSlices of it.
//! Agents never see pods of other nodes; all that they need is the group's name, and that is computed here from the
//! policy's and the version's. Whose a Service of that name is says its label. A user can write both by hand: what
//! that reaches are pods of the user's own namespace.

use std::sync::Arc;

use super::{labels::Labels, service::Selects};
use crate::{
    hash::fnv,
    key::{Name, ServiceKey},
};

/// The label of a Service that the operator keeps: whose group it is.
pub const POLICY: &str = "sluice.dev/policy";

/// So many characters of names that people gave are in a group's name: with `sluice-`, hyphens and the digest
/// they make 63.
const OF_POLICY: usize = 20;
const OF_PART: usize = 18;

/// A label's value may have 63 characters, a policy's name 253.
const LONGEST_LABEL: usize = 63;
const OF_LONG_LABEL: usize = 46;

/// Those pods of a Service that have these labels too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The headless Service that has its endpoints.
    pub service: ServiceKey,
    pub labels: Labels,
}

impl Group {
    /// The group of a policy's part of this name. `None` if there is no such name.
    pub(super) fn new(policy: &Name, part: &str, labels: Labels) -> Option<Self> {
        let service = service(policy, part)?;
        Some(Self { service, labels })
    }

    /// What its Service selects: the pods of the parent that have the labels too. Of a label that both ask for
    /// there is the parent's value; see [`Group::contradiction`].
    pub fn selector(&self, parent: &Selects) -> Labels {
        let own = self.labels.iter();
        let own = own.map(|(key, value)| (Arc::clone(key), Arc::clone(value)));
        let parents = parent.pairs();
        own.chain(parents.map(|(key, value)| (key.into(), value.into())))
            .collect()
    }

    /// A label that parent and group want to have different values: no pod has both.
    pub fn contradiction<'a>(&'a self, parent: &'a Selects) -> Option<(&'a str, &'a str, &'a str)> {
        parent.pairs().find_map(|(key, value)| {
            let own = self.labels.get(key).map(|own| &**own)?;
            (own != value).then_some((key, value, own))
        })
    }
}

/// The headless Service of a policy's part of this name. `None` if there is no such name.
pub fn service(policy: &Name, part: &str) -> Option<ServiceKey> {
    let digest = fnv(format!("{}/{part}", policy.name()).into_bytes());
    let readable = policy.name().replace('.', "-");
    let name = format!("sluice-{readable:.OF_POLICY$}-{part:.OF_PART$}-{digest:016x}");
    policy.sibling(&name).map(ServiceKey)
}

/// The label's value on the groups of a policy.
pub fn label(policy: &Name) -> String {
    let name = policy.name();
    if name.len() <= LONGEST_LABEL {
        return name.to_owned();
    }
    format!("{name:.OF_LONG_LABEL$}-{:016x}", fnv(name.bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{facts::split::is_service, key::is_label_value};

    fn group(policy: &str, part: &str) -> String {
        let policy = Name::parse("shop", policy).expect("a name");
        let group = Group::new(&policy, part, Labels::new()).expect("a group");
        group.service.0.name().to_owned()
    }

    #[test]
    fn each_part_of_each_policy_has_a_name_of_its_own_that_a_service_can_have() {
        let long = "a".repeat(63);
        let longer = format!("{}.{}.{}b", "a".repeat(60), "a".repeat(60), "a".repeat(60));
        let longest = format!("{}.{}.{}c", "a".repeat(60), "a".repeat(60), "a".repeat(60));
        let mut names = BTreeSet::new();
        let policies = ["a", "a-b", "0", "a.b", &long, &longer, &longest];
        for policy in policies {
            for part in ["b", "b-b", "0", &long] {
                let name = group(policy, part);
                assert!(is_service(&name), "{name}");
                assert!(names.insert(name), "{policy} {part}");
            }
            let policy = Name::parse("shop", policy).expect("a name");
            assert!(is_label_value(&label(&policy)), "{}", label(&policy));
        }
        assert_eq!(names.len(), policies.len() * 4);
    }

    #[test]
    fn a_name_is_the_same_in_every_version_of_sluice() {
        assert_eq!(
            group("checkout", "canary"),
            "sluice-checkout-canary-fd8843ac07859ea6"
        );
    }
}
