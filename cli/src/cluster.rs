//! A cluster, as the kubeconfig leads to it.

mod agents;

use std::{env, error::Error, path::PathBuf, time::Duration};

use http::{Request, Uri};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use agents::AGENT_LABEL;

/// How long a connection may take, and how long a server may say nothing.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
const READ_PATIENCE: Duration = Duration::from_secs(30);

/// What was said about the way to the cluster.
#[derive(Clone, Debug)]
pub struct Named {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    /// The namespace of the agents.
    pub agents: String,
}

pub struct Cluster {
    client: Client,
    url: Uri,
    /// The context's.
    namespace: String,
    agents: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("cannot use the kubeconfig{}", named(path.as_ref()))]
    Kubeconfig {
        path: Option<PathBuf>,
        source: Box<KubeconfigError>,
    },
    #[error("cannot make a client for {url}")]
    Client { url: Uri, source: Box<kube::Error> },
    #[error(
        "no API server answers at {url} ({reason}): is the cluster up, and is it the one that you mean (--kubeconfig, --context)?"
    )]
    Unreachable { url: Uri, reason: String },
    #[error("the API server at {url} does not know you: {text}")]
    Stranger { url: Uri, text: String },
    #[error("you have no right to that: {text}")]
    Forbidden { text: String },
    #[error(
        "the cluster at {url} does not know the kind {kind}: Sluice is not installed there (kubectl apply -k config/default)"
    )]
    NotInstalled { url: Uri, kind: &'static str },
    #[error("there is no {kind} {name}")]
    NoSuch { kind: &'static str, name: String },
    #[error("the pod {pod} is on no node yet: `kubectl describe pod` says why")]
    OnNoNode { pod: String },
    #[error(
        "no agent is on node {node}: no pod of namespace {namespace} there has the label {AGENT_LABEL}. Is that the node's name (`kubectl get nodes`), and is Sluice in another namespace (--agent-namespace)?"
    )]
    NoAgent { node: String, namespace: String },
    #[error(
        "the agent of node {node}, the pod {namespace}/{pod}, is {phase} and not running: `kubectl describe pod -n {namespace} {pod}` says why"
    )]
    AgentDown {
        node: String,
        namespace: String,
        pod: String,
        phase: String,
    },
    #[error(
        "`host` is any process of a node outside its pods: name the node with --node, such as `--node node-1`"
    )]
    WhichNode,
    #[error(
        "--node names a node of a cluster, and {agent} is asked itself: name a cluster with --kubeconfig, or leave --node out"
    )]
    NodeWithoutCluster { agent: String },
    #[error("what the API server at {url} says of a {kind} is not understood; -o json shows it")]
    Foreign {
        url: Uri,
        kind: &'static str,
        source: serde_json::Error,
    },
    #[error("the API server at {url} says: {text}")]
    Refused { url: Uri, text: String },
    #[error("the API server at {url} gave no answer to be used")]
    Other { url: Uri, source: Box<kube::Error> },
}

impl Named {
    /// Whether there is anything that names a cluster.
    pub fn leads_somewhere(&self) -> bool {
        let variable = env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
        let ordinary = env::home_dir().map(|home| home.join(".kube/config"));
        self.kubeconfig.is_some()
            || self.context.is_some()
            || variable
            || ordinary.is_some_and(|path| path.exists())
    }
}

impl Cluster {
    /// Reads the kubeconfig; nothing has been asked yet.
    pub async fn open(named: Named) -> Result<Self, ClusterError> {
        let Named {
            kubeconfig: path,
            context,
            agents,
        } = named;
        let options = KubeConfigOptions {
            context,
            ..KubeConfigOptions::default()
        };
        let config = match &path {
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
                Err(error) => Err(error),
            },
            None => Config::from_kubeconfig(&options).await,
        };
        let mut config = config.map_err(|source| ClusterError::Kubeconfig {
            path,
            source: Box::new(source),
        })?;
        config.connect_timeout = Some(CONNECT_PATIENCE);
        config.read_timeout = Some(READ_PATIENCE);
        let url = config.cluster_url.clone();
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|source| ClusterError::Client {
            url: url.clone(),
            source: Box::new(source),
        })?;
        Ok(Self {
            client,
            url,
            namespace,
            agents,
        })
    }

    /// The namespace of names that are given without one.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Gets an object of this name, or the list at this path without one, as it is sent.
    pub async fn get(
        &self,
        kind: &'static str,
        name: &str,
        path: &str,
    ) -> Result<Value, ClusterError> {
        let request = Request::get(path).body(Vec::new());
        let request = request.map_err(|error| self.other(kube::Error::HttpError(error)))?;
        let answer = self.client.request(request).await;
        answer.map_err(|error| self.failed(kind, name, error))
    }

    /// A document as what a text is made of.
    pub fn read<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        document: &Value,
    ) -> Result<T, ClusterError> {
        T::deserialize(document).map_err(|source| ClusterError::Foreign {
            url: self.url.clone(),
            kind,
            source,
        })
    }

    /// What went wrong, as far as a person can do something about it.
    fn failed(&self, kind: &'static str, name: &str, error: kube::Error) -> ClusterError {
        let url = self.url.clone();
        match error {
            kube::Error::Api(status) => {
                let text = status.message.clone();
                // Of a kind that it does not know the server names no object.
                let details = status.details.as_ref();
                let is_known = details.is_some_and(|details| !details.name.is_empty());
                match status.code {
                    401 => ClusterError::Stranger { url, text },
                    403 => ClusterError::Forbidden { text },
                    404 if is_known => ClusterError::NoSuch {
                        kind,
                        name: name.to_owned(),
                    },
                    404 => ClusterError::NotInstalled { url, kind },
                    _ => ClusterError::Refused { url, text },
                }
            }
            kube::Error::Service(error) => self.unreachable(&*error),
            kube::Error::HyperError(error) => self.unreachable(&error),
            error => self.other(error),
        }
    }

    fn unreachable(&self, error: &(dyn Error + 'static)) -> ClusterError {
        let mut innermost = error;
        while let Some(cause) = innermost.source() {
            innermost = cause;
        }
        ClusterError::Unreachable {
            url: self.url.clone(),
            reason: innermost.to_string(),
        }
    }

    fn other(&self, source: kube::Error) -> ClusterError {
        ClusterError::Other {
            url: self.url.clone(),
            source: Box::new(source),
        }
    }
}

fn named(path: Option<&PathBuf>) -> String {
    path.map(|path| format!(" {}", path.display()))
        .unwrap_or_default()
}
