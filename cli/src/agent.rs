//! An agent's admin endpoint, asked over plain HTTP.

use std::{io, net::SocketAddr, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longer than the agent lets a question wait for the end of a pass.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where an agent listens.
#[derive(Clone, Debug)]
pub struct Agent {
    admin: SocketAddr,
    client: ureq::Agent,
}

/// An agent's answer, as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(pub Value);

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(
        "no agent answers at {admin} ({reason}): start sluice-node-agent there, or name another address with --admin"
    )]
    Unreachable {
        admin: SocketAddr,
        reason: io::Error,
    },
    #[error("the agent at {admin} gave no answer")]
    Http {
        admin: SocketAddr,
        source: Box<ureq::Error>,
    },
    #[error("the agent at {admin} says: {text}")]
    Refused { admin: SocketAddr, text: String },
    #[error("what answers at {admin} is no agent of this version; -o json shows what it says")]
    Foreign {
        admin: SocketAddr,
        source: serde_json::Error,
    },
    #[error("what answers at {admin} is no agent: its answer is not JSON")]
    NoJson {
        admin: SocketAddr,
        source: serde_json::Error,
    },
}

impl Agent {
    pub fn at(admin: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            // The agent is asked itself, whatever the environment says about the web.
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build();
        Self {
            admin,
            client: config.into(),
        }
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Asks once.
    pub fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, AgentError> {
        let admin = self.admin;
        let request = self
            .client
            .get(format!("http://{admin}{path}"))
            .query_pairs(query.iter().copied());
        let failed = |error| match error {
            ureq::Error::Io(reason) => AgentError::Unreachable { admin, reason },
            source => AgentError::Http {
                admin,
                source: Box::new(source),
            },
        };
        let mut response = request.call().map_err(failed)?;
        let text = response.body_mut().read_to_string().map_err(failed)?;
        if !response.status().is_success() {
            return Err(AgentError::Refused {
                admin,
                text: refusal(&text),
            });
        }
        let document = serde_json::from_str(&text);
        let document = document.map_err(|source| AgentError::NoJson { admin, source })?;
        Ok(Answer(document))
    }

    /// The answer as what a text is made of.
    pub fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, AgentError> {
        let admin = self.admin;
        T::deserialize(&answer.0).map_err(|source| AgentError::Foreign { admin, source })
    }
}

/// The agent's own sentence, without the document around it.
fn refusal(body: &str) -> String {
    let document = serde_json::from_str::<Value>(body).unwrap_or_default();
    let text = document.get("error").and_then(Value::as_str);
    text.unwrap_or(body).trim().to_owned()
}
