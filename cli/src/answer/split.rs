//! TrafficSplits: as the API has them, and as an agent tells of them. Both become one value.

use serde::{Deserialize, Deserializer};

/// One TrafficSplit: what was asked, and what was observed.
#[derive(Clone, Debug)]
pub struct Split {
    pub name: String,
    /// Absent when an agent cannot parse the split.
    pub service: Option<String>,
    pub asked: Vec<Asked>,
    /// What only the API knows.
    pub object: Option<Object>,
    /// Absent until somebody has observed it.
    pub status: Option<Status>,
}

/// What a version was asked to get.
#[derive(Clone, Debug, Deserialize)]
pub struct Asked {
    pub name: String,
    pub weight: u32,
}

#[derive(Clone, Debug)]
pub struct Object {
    pub generation: i64,
    pub selection: String,
    pub when_unavailable: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub observed_generation: Option<i64>,
    #[serde(default)]
    pub versions: Vec<Version>,
    pub nodes: Option<Nodes>,
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// What a version was asked to get and what it gets.
#[derive(Clone, Debug, Deserialize)]
pub struct Version {
    pub name: String,
    pub weight: u32,
    pub effective: u32,
    pub share: String,
    pub ready: u32,
    pub reason: String,
}

/// How far the nodes are with a generation.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    pub desired: u32,
    pub programmed: u32,
    #[serde(default)]
    pub failed: u32,
    pub oldest_generation: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(deserialize_with = "status")]
    pub status: String,
    pub reason: String,
    #[serde(default)]
    pub message: String,
}

impl Split {
    /// Whether the status is about an older spec than the one that is shown.
    pub fn is_outdated(&self) -> bool {
        let asked = self.object.as_ref().map(|object| object.generation);
        let observed = self
            .status
            .as_ref()
            .map(|status| status.observed_generation);
        asked
            .zip(observed)
            .is_some_and(|(asked, observed)| observed != Some(asked))
    }
}

/// As an agent tells of it.
#[derive(Deserialize)]
struct OfAgent {
    name: String,
    service: Option<String>,
    status: Status,
}

/// As the API has it.
#[derive(Deserialize)]
struct OfApi {
    metadata: Metadata,
    spec: Spec,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    generation: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    service: String,
    #[serde(default)]
    versions: Vec<Asked>,
    #[serde(default)]
    selection: String,
    #[serde(default)]
    when_unavailable: String,
}

impl From<OfAgent> for Split {
    fn from(split: OfAgent) -> Self {
        let OfAgent {
            name,
            service,
            status,
        } = split;
        let asked = status.versions.iter().map(|version| Asked {
            name: version.name.clone(),
            weight: version.weight,
        });
        Self {
            name,
            service,
            asked: asked.collect(),
            object: None,
            status: Some(status),
        }
    }
}

impl From<OfApi> for Split {
    fn from(split: OfApi) -> Self {
        let OfApi {
            metadata,
            spec,
            status,
        } = split;
        let namespace = metadata.namespace;
        Self {
            name: format!("{namespace}/{}", metadata.name),
            service: Some(format!("{namespace}/{}", spec.service)),
            asked: spec.versions,
            object: Some(Object {
                generation: metadata.generation,
                selection: spec.selection,
                when_unavailable: spec.when_unavailable,
            }),
            status,
        }
    }
}

impl<'de> Deserialize<'de> for Split {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Told {
            Api(OfApi),
            Agent(OfAgent),
        }
        Ok(match Told::deserialize(deserializer)? {
            Told::Api(split) => split.into(),
            Told::Agent(split) => split.into(),
        })
    }
}

/// The API says it by a word, an agent by yes or no.
fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Word(String),
        YesNo(bool),
    }
    Ok(match Told::deserialize(deserializer)? {
        Told::Word(word) => word,
        Told::YesNo(true) => "True".to_owned(),
        Told::YesNo(false) => "False".to_owned(),
    })
}
