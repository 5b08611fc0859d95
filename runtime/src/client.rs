//! The way to the API server, as a person or a pod describes it.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
pub use http::Uri;
use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// Where a pod finds what its service account may use.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

const KUBECONFIG: &str = "KUBECONFIG";

/// How long a connection may take, and how long a server may say nothing at all. Watches end
/// earlier than that by themselves.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
const READ_PATIENCE: Duration = Duration::from_secs(55);

/// What a command line says about the way; with nothing said it is found.
#[derive(Args, Clone, Debug, Default)]
pub struct Way {
    /// The kubeconfig of the cluster. Without one KUBECONFIG counts, then the service account of the
    /// pod.
    #[arg(long, env = "SLUICE_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Where the API server is, whatever the kubeconfig or the pod's environment say. Needed where
    /// Sluice itself carries the Service `kubernetes`.
    #[arg(
        long,
        env = "SLUICE_API_SERVER",
        value_name = "URL",
        value_parser = server,
    )]
    pub api_server: Option<Uri>,
}

/// A client and where it leads; nothing has been asked yet.
#[derive(Clone)]
pub struct Server {
    pub client: Client,
    pub url: Uri,
    /// Whether the address is that of the Service `kubernetes`, which somebody has to carry.
    pub through_service: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot use the kubeconfig {path}")]
    Kubeconfig {
        path: PathBuf,
        source: Box<KubeconfigError>,
    },
    #[error("cannot use the kubeconfig that {KUBECONFIG} names")]
    FromEnvironment(#[source] Box<KubeconfigError>),
    #[error("cannot use this pod's service account")]
    ServiceAccount(#[source] Box<InClusterError>),
    #[error(
        "there is no cluster to be found: name a kubeconfig with --kubeconfig or {KUBECONFIG}, or run in a pod that has a service account"
    )]
    Nowhere,
    #[error("cannot make a client for {url}")]
    Client { url: Uri, source: Box<kube::Error> },
}

impl Way {
    /// Reads the configuration. That the server answers is for the watches to find out, again and
    /// again.
    pub async fn open(&self) -> Result<Server, ClientError> {
        let (mut config, through_service) = self.config().await?;
        if let Some(url) = &self.api_server {
            config.cluster_url = url.clone();
        }
        config.connect_timeout = Some(CONNECT_PATIENCE);
        config.read_timeout = Some(READ_PATIENCE);
        config.write_timeout = Some(READ_PATIENCE);
        // A pooled connection may have been idle for longer than that before it is used again.
        config.reset_reader_on_write = true;
        // The watches have pauses of their own, and say why they wait.
        config.default_retry = false;
        let url = config.cluster_url.clone();
        let client = Client::try_from(config).map_err(|source| ClientError::Client {
            url: url.clone(),
            source: Box::new(source),
        })?;
        Ok(Server {
            client,
            url,
            through_service: through_service && self.api_server.is_none(),
        })
    }

    async fn config(&self) -> Result<(Config, bool), ClientError> {
        let options = KubeConfigOptions::default();
        if let Some(path) = &self.kubeconfig {
            let failed = |source| ClientError::Kubeconfig {
                path: path.clone(),
                source: Box::new(source),
            };
            let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            return Ok((config.map_err(failed)?, false));
        }
        if env::var_os(KUBECONFIG).is_some_and(|value| !value.is_empty()) {
            let failed = |source| ClientError::FromEnvironment(Box::new(source));
            let config = Config::from_kubeconfig(&options).await;
            return Ok((config.map_err(failed)?, false));
        }
        if !Path::new(TOKEN).exists() {
            return Err(ClientError::Nowhere);
        }
        // With a server named, the pod's environment need not name one.
        let config = match self.api_server {
            Some(_) => Config::incluster_dns(),
            None => Config::incluster(),
        };
        let failed = |source| ClientError::ServiceAccount(Box::new(source));
        Ok((config.map_err(failed)?, true))
    }
}

/// Reads a server's address from a command line.
pub fn server(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (url.scheme_str(), url.host()) {
        (Some("https" | "http"), Some(_)) => Ok(url),
        _ => Err("a server such as https://192.0.2.1:6443".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_with_its_scheme() {
        assert!(server("https://192.0.2.1:6443").is_ok());
        assert!(server("https://[2001:db8::1]:6443").is_ok());
        for wrong in ["192.0.2.1:6443", "api", "ftp://api", ""] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }
}
