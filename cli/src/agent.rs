//! An agent's admin endpoint, asked over plain HTTP: at its address, or through the API server to its pod.

mod http;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

/// Longer than the agent lets a question wait for the end of a pass.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where an agent listens if it is not told otherwise.
const ORDINARY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9876);

/// An agent, and how it is reached.
pub struct Agent {
    name: String,
    road: Road,
}

enum Road {
    Address(SocketAddr),
    /// The same, but nobody has named it.
    Guess(SocketAddr),
    Pod(Box<Forwarded>),
}

/// A pod's port, through the API server and the pod's kubelet.
pub struct Forwarded {
    pub pods: Api<Pod>,
    pub pod: String,
    pub port: u16,
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
    #[error(
        "no agent answers at {admin} ({reason}), and no cluster is known: name one with --kubeconfig or KUBECONFIG, or an agent with --admin"
    )]
    Nowhere {
        admin: SocketAddr,
        reason: io::Error,
    },
    #[error("the API server opens no way to the port {port} of the pod {pod}: {text}")]
    Forward {
        pod: String,
        port: u16,
        text: String,
    },
    #[error("the port {port} of the pod {pod} cannot be reached: {text}")]
    Closed {
        pod: String,
        port: u16,
        text: String,
    },
    #[error("the agent at {agent} gave no answer")]
    Http {
        agent: String,
        source: http::HttpError,
    },
    #[error("the agent at {agent} gave no answer within {} s", PATIENCE.as_secs())]
    Silent { agent: String },
    #[error("the agent at {agent} says: {text}")]
    Refused { agent: String, text: String },
    #[error("what answers at {agent} is no agent of this version; -o json shows what it says")]
    Foreign {
        agent: String,
        source: serde_json::Error,
    },
    #[error("what answers at {agent} is no agent: its answer is not JSON")]
    NoJson {
        agent: String,
        source: serde_json::Error,
    },
}

impl Agent {
    pub fn at(admin: SocketAddr) -> Self {
        Self {
            name: admin.to_string(),
            road: Road::Address(admin),
        }
    }

    pub fn of_this_machine() -> Self {
        Self {
            name: ORDINARY.to_string(),
            road: Road::Guess(ORDINARY),
        }
    }

    pub fn in_pod(namespace: &str, forwarded: Forwarded) -> Self {
        Self {
            name: format!("pod {namespace}/{}", forwarded.pod),
            road: Road::Pod(Box::new(forwarded)),
        }
    }

    /// How a person calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks once.
    pub async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, AgentError> {
        let agent = || self.name.clone();
        let response = timeout(PATIENCE, self.get(&http::target(path, query))).await;
        let response = response.map_err(|_| AgentError::Silent { agent: agent() })??;
        if !response.status.is_success() {
            return Err(AgentError::Refused {
                agent: agent(),
                text: refusal(&String::from_utf8_lossy(&response.body)),
            });
        }
        let document = serde_json::from_slice(&response.body);
        let document = document.map_err(|source| AgentError::NoJson {
            agent: agent(),
            source,
        })?;
        Ok(Answer(document))
    }

    /// The answer as what a text is made of.
    pub fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, AgentError> {
        T::deserialize(&answer.0).map_err(|source| AgentError::Foreign {
            agent: self.name.clone(),
            source,
        })
    }

    async fn get(&self, target: &str) -> Result<http::Response, AgentError> {
        match &self.road {
            &Road::Address(admin) => {
                let unreachable = |reason| AgentError::Unreachable { admin, reason };
                self.get_at(admin, target, unreachable).await
            }
            &Road::Guess(admin) => {
                let unreachable = |reason| AgentError::Nowhere { admin, reason };
                self.get_at(admin, target, unreachable).await
            }
            Road::Pod(forwarded) => self.get_through(forwarded, target).await,
        }
    }

    async fn get_at(
        &self,
        admin: SocketAddr,
        target: &str,
        unreachable: impl Fn(io::Error) -> AgentError,
    ) -> Result<http::Response, AgentError> {
        let stream = TcpStream::connect(admin).await.map_err(unreachable)?;
        let response = http::get(stream, target).await;
        response.map_err(|source| self.unanswered(source))
    }

    async fn get_through(
        &self,
        forwarded: &Forwarded,
        target: &str,
    ) -> Result<http::Response, AgentError> {
        let Forwarded { pods, pod, port } = forwarded;
        let ways = pods.portforward(pod, &[*port]).await;
        let mut ways = ways.map_err(|error| AgentError::Forward {
            pod: pod.clone(),
            port: *port,
            text: match error {
                kube::Error::Api(status) => status.message.clone(),
                error => error.to_string(),
            },
        })?;
        let closed = |text: Option<String>| AgentError::Closed {
            pod: pod.clone(),
            port: *port,
            text: text.unwrap_or_else(|| "nothing listens there".to_owned()),
        };
        let (Some(stream), Some(complaint)) = (ways.take_stream(*port), ways.take_error(*port))
        else {
            return Err(closed(None));
        };
        match http::get(stream, target).await {
            Ok(response) => Ok(response),
            // The way itself opens even if the port is closed; that is told beside the stream.
            Err(source) => match complaint.await {
                Some(text) => Err(closed(Some(text.trim().to_owned()))),
                None => Err(self.unanswered(source)),
            },
        }
    }

    fn unanswered(&self, source: http::HttpError) -> AgentError {
        AgentError::Http {
            agent: self.name.clone(),
            source,
        }
    }
}

/// The agent's own sentence, without the document around it.
fn refusal(body: &str) -> String {
    let document = serde_json::from_str::<Value>(body).unwrap_or_default();
    let text = document.get("error").and_then(Value::as_str);
    text.unwrap_or(body).trim().to_owned()
}
