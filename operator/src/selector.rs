//! A choice of nodes by their labels, as `kubectl --selector` reads one, without sets.

use std::{collections::BTreeMap, str::FromStr};

/// All of these hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

impl Selector {
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let value = |key| labels.and_then(|labels| labels.get(key));
        self.0.iter().all(|term| match term {
            Term::Is(key, wanted) => value(key) == Some(wanted),
            Term::IsNot(key, unwanted) => value(key) != Some(unwanted),
            Term::Has(key) => value(key).is_some(),
            Term::HasNot(key) => value(key).is_none(),
        })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let terms = text.split(',').map(str::trim);
        let terms = terms.filter(|_| !text.trim().is_empty()).map(term);
        terms.collect::<Result<_, _>>().map(Self)
    }
}

fn term(text: &str) -> Result<Term, String> {
    let term = if let Some((key, value)) = text.split_once("!=") {
        Term::IsNot(key.trim().to_owned(), value.trim().to_owned())
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        Term::Is(key.trim().to_owned(), value.trim().to_owned())
    } else if let Some(key) = text.strip_prefix('!') {
        Term::HasNot(key.trim().to_owned())
    } else {
        Term::Has(text.to_owned())
    };
    let (Term::Is(key, value) | Term::IsNot(key, value)) = &term else {
        let (Term::Has(key) | Term::HasNot(key)) = &term else {
            return Ok(term);
        };
        return is_key(key).then(|| term.clone()).ok_or_else(|| wrong(text));
    };
    let fits = is_key(key) && (value.is_empty() || is_name(value));
    fits.then(|| term.clone()).ok_or_else(|| wrong(text))
}

fn wrong(text: &str) -> String {
    format!("{text:?} is none of key=value, key!=value, key, !key")
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => {
            let domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            !prefix.is_empty() && prefix.len() <= 253 && prefix.chars().all(domain) && is_name(name)
        }
        None => is_name(key),
    }
}

/// What keys without their prefix, and values, are made of.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let mut chars = text.chars();
    text.len() <= 63
        && text.chars().all(inner)
        && end(chars.clone().next())
        && end(chars.next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_reads_as_for_kubectl() {
        let labels = [
            ("kubernetes.io/os", "linux"),
            ("pool", "edge"),
            ("empty", ""),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let labels = BTreeMap::from(labels);
        for (text, matches) in [
            ("", true),
            ("kubernetes.io/os=linux", true),
            ("kubernetes.io/os==linux, pool=edge", true),
            ("kubernetes.io/os=windows", false),
            ("pool=edge,kubernetes.io/os!=linux", false),
            ("zone!=a", true),
            ("pool", true),
            ("zone", false),
            ("!zone", true),
            ("!pool", false),
            ("empty=", true),
            ("zone=", false),
        ] {
            let selector: Result<Selector, _> = text.parse();
            let selector = selector.expect(text);
            assert_eq!(selector.matches(Some(&labels)), matches, "{text}");
        }
        let all: Selector = "".parse().expect("empty");
        assert!(all.matches(None));
        for wrong in [
            ",", "a,", "=b", "a in (b)", "a=b=c", "A/b=c", "a b", "-a", "!", "/a",
        ] {
            assert!(wrong.parse::<Selector>().is_err(), "{wrong}");
        }
    }
}
