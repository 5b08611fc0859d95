//! Objects by name: `NAME` in the namespace that was given, or `NAMESPACE/NAME`; and who connects.

use std::str::FromStr;

/// Kubernetes' own answer to a name without a namespace.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The name of a namespaced object, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub namespace: Option<String>,
    pub name: String,
}

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A process of the node that is in no pod.
    Host,
    Pod(Name),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is NAME or NAMESPACE/NAME, of lower-case letters, digits, `-` and `.`")]
pub struct NoName;

impl Name {
    /// `NAMESPACE/NAME`; its own namespace counts before the given one.
    pub fn within(&self, namespace: &str) -> String {
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        format!("{namespace}/{}", self.name)
    }
}

impl Caller {
    /// As the agent reads it. A pod called `host` is told from the host by its namespace.
    pub fn within(&self, namespace: &str) -> String {
        match self {
            Self::Host => "host".to_owned(),
            Self::Pod(name) => name.within(namespace),
        }
    }
}

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        if ![Some(name), namespace].into_iter().flatten().all(is_name) {
            return Err(NoName);
        }
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

impl FromStr for Caller {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        match text {
            "host" => Ok(Self::Host),
            _ => text.parse().map(Self::Pod),
        }
    }
}

fn is_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_well = |byte: Option<&u8>| byte.is_some_and(|byte| inside(*byte));
    let bytes = text.as_bytes();
    ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes
            .iter()
            .all(|&byte| inside(byte) || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_namespace_is_in_the_given_one() {
        let caller =
            |text: &str, namespace: &str| text.parse::<Caller>().unwrap().within(namespace);
        assert_eq!(caller("cart", DEFAULT_NAMESPACE), "default/cart");
        assert_eq!(caller("cart", "shop"), "shop/cart");
        assert_eq!(caller("find/cart", "shop"), "find/cart");
        assert_eq!(caller("host", "shop"), "host");
        assert_eq!(caller("shop/host", "find"), "shop/host");
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for text in [
            "", "/", "a/", "/a", "a/b/c", "A", "a b", "-a", "a&ip=1", "é",
        ] {
            assert_eq!(text.parse::<Name>(), Err(NoName), "{text:?}");
        }
    }
}
