//! The answer of `/debug/status`, splits apart.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub node: Node,
    pub ready: bool,
    pub not_ready_because: Option<String>,
    pub self_test: Option<SelfTest>,
    pub input: Input,
    pub findings: Vec<Finding>,
    pub services: usize,
    pub lagging: Vec<String>,
    pub maps: Vec<MapUse>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub name: String,
    pub version: String,
    pub features: Features,
    pub refusal: String,
    pub cgroup_root: PathBuf,
    pub pins: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Features {
    pub kernel: String,
    pub missing: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SelfTest {
    pub addresses: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Input {
    pub view: View,
    pub problems: Vec<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum View {
    Whole,
    Partial,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    #[serde(flatten)]
    pub place: Place,
    pub text: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// A manifest that a person has to correct.
    File { file: PathBuf, line: Option<usize> },
    /// A watch of this kind of objects that is behind.
    Watch {
        watch: String,
        since: Option<String>,
    },
}

#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    pub subject: Subject,
    pub reason: String,
    #[serde(default)]
    pub field: String,
    pub detail: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Subject {
    pub kind: String,
    pub name: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct MapUse {
    pub map: String,
    pub used: u64,
    pub capacity: u64,
}
