//! Which pods a Service selects, as one text: there are very many Services, and all of them have a selector.

use std::collections::BTreeMap;

/// Labels that pods need, ordered, as `key=value,key=value`. Neither sign can be in a key or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selects(Box<str>);

impl Selects {
    /// The API server has checked keys and values; of files, what cannot be a label is in no pod either.
    pub(super) fn parse(selector: Option<&BTreeMap<String, String>>) -> Self {
        let pairs = selector.into_iter().flatten();
        let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        Self(pairs.join(",").into())
    }

    /// Nothing is selected: somebody else writes the Service's endpoints.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.split(',');
        pairs.filter_map(|pair| pair.split_once('='))
    }
}
