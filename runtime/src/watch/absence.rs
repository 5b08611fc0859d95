//! Does a server that answers 404 really not serve this kind?
//!
//! What was told about a kind is dropped when the kind is gone, so a 404 alone does not count: a
//! server that has just started may give it too, or one behind a proxy that lost its way. The server
//! has to say that it is ready, and its own directory must not have the kind.

use std::time::Duration;

use http::Request;
use kube::{Api, Client, Resource};
use tokio::time::timeout;

use super::{Asked, follow::describe};

/// How long each question may take.
const PATIENCE: Duration = Duration::from_secs(10);

const NOT_FOUND: u16 = 404;

/// Why a 404 is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Doubt {
    #[error("it is not ready: {0}")]
    NotReady(String),
    #[error("it lists the kind as served")]
    Listed,
    #[error("it does not say what it serves: {0}")]
    NoDirectory(String),
    #[error("it does not answer whether it is so")]
    Unanswered,
}

impl<K> Asked<K> {
    /// From a server that does not know Services, nothing is to be learned about them.
    pub(super) fn lacks(&self, error: &kube::Error) -> bool {
        self.optional && code(error) == Some(NOT_FOUND)
    }
}

/// Succeeds if the server is sure that it does not serve the kind.
pub(super) async fn confirm<K: Resource + Clone>(asked: &Asked<K>) -> Result<(), Doubt> {
    let client = asked.api.clone().into_client();
    let (directory, plural) = directory(&asked.api);
    let asking = async {
        is_ready(&client).await?;
        match client.list_api_group_resources(&directory).await {
            Ok(list) if list.resources.iter().any(|kind| kind.name == plural) => Err(Doubt::Listed),
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some(NOT_FOUND) => Ok(()),
            Err(error) => Err(Doubt::NoDirectory(describe(&error))),
        }
    };
    match timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(Doubt::Unanswered),
    }
}

pub(super) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

async fn is_ready(client: &Client) -> Result<(), Doubt> {
    let request = Request::get("/readyz").body(Vec::new());
    let request = request.map_err(|error| Doubt::NotReady(error.to_string()))?;
    match client.request_text(request).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Doubt::NotReady(describe(&error))),
    }
}

/// `group/version` and the plural name, from `/apis/group/version/…/plural`.
fn directory<K: Resource>(api: &Api<K>) -> (String, String) {
    let url = api.resource_url();
    let parts: Vec<_> = url.trim_start_matches("/apis/").split('/').collect();
    let directory = parts.iter().take(2).copied().collect::<Vec<_>>().join("/");
    let plural = parts.last().copied().unwrap_or_default();
    (directory, plural.to_owned())
}
