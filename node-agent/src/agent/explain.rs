//! Which rule decides for a connect, from what is wanted, held against what the maps hold.

use std::net::IpAddr;

use serde::Serialize;
use sluice_model::{
    caller,
    explain::Explanation,
    key::{Family, Frontend, Name, PodKey, Port, Protocol},
    oracle::{self, Answer},
};

use super::Agent;
use crate::maps::{Maps, MapsError};

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    Host,
    Pod(Name),
}

/// The answer for every port and protocol of the address that was asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answers {
    pub node: String,
    pub caller: String,
    /// Whether the agent knows the caller. No rule looks at the caller so far.
    pub caller_known: bool,
    pub answers: Vec<Checked>,
}

/// What is wanted, and whether the maps say the same.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    #[serde(flatten)]
    pub explanation: Explanation,
    /// What the maps would do, in words.
    pub kernel: String,
    /// Where the maps do something else; absent when they agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

impl Caller {
    /// `host`, `pod` of the default namespace, or `namespace/pod`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "host" {
            return Some(Self::Host);
        }
        let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
        Name::parse(namespace, name).map(Self::Pod)
    }
}

impl<M: Maps> Agent<M> {
    /// Without a port: every port that the address has, wanted or held.
    pub fn explain(
        &self,
        node: &str,
        caller: &Caller,
        ip: IpAddr,
        port: Option<Port>,
    ) -> Result<Answers, MapsError> {
        let ip = ip.to_canonical();
        let live = self.maps.read()?;
        let mut frontends: Vec<Frontend> = match port {
            Some(port) => [Protocol::Tcp, Protocol::Udp]
                .map(|protocol| Frontend { ip, port, protocol })
                .into(),
            None => {
                let wanted = self.state.image().frontends.keys();
                let keys = wanted
                    .chain(live.frontends.keys())
                    .filter_map(Frontend::of_key);
                let family = Family::of(ip);
                let answers_at = |frontend: &Frontend| {
                    frontend.ip == ip
                        || frontend.is_on_every_node() && Family::of(frontend.ip) == family
                };
                let keys = keys.filter(answers_at);
                keys.map(|frontend| Frontend { ip, ..frontend }).collect()
            }
        };
        frontends.sort_unstable();
        frontends.dedup();
        let asking = match caller {
            Caller::Host => caller::Caller::HOST,
            Caller::Pod(name) => self.index.caller(&PodKey(name.clone())),
        };
        let mut answers: Vec<_> = frontends
            .into_iter()
            .map(|frontend| {
                let wanted = oracle::by_desired(self.state.desired(), asking, frontend);
                let held = oracle::by_image(&live, asking, frontend);
                let (kernel, difference) = match held {
                    Ok(held) => (in_words(&held), wanted.check(&held).err()),
                    Err(dangling) => ("refuses: its rows are broken".into(), Some(dangling.0)),
                };
                Checked {
                    explanation: self.state.explain(asking, frontend),
                    kernel,
                    difference,
                }
            })
            .collect();
        // Asked by port, a protocol that is nobody's says nothing beside one that is.
        let is_ours =
            |checked: &Checked| checked.explanation.rule.is_some() || checked.difference.is_some();
        if answers.iter().any(is_ours) {
            answers.retain(is_ours);
        } else {
            answers.truncate(1);
        }
        Ok(Answers {
            node: node.to_owned(),
            caller: match caller {
                Caller::Host => "host".into(),
                Caller::Pod(name) => name.to_string(),
            },
            caller_known: match caller {
                Caller::Host => true,
                Caller::Pod(name) => self.index.pods().contains_key(&PodKey(name.clone())),
            },
            answers,
        })
    }
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Passed => "leaves it alone".into(),
        Answer::Decided(odds) => odds.to_string(),
    }
}
