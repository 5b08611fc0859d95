//! The API server, asked whether it would take an object: its answer, its warnings, what it would store.

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use sluice_runtime::client::Way;
use tokio::runtime::Runtime;

use crate::bed::Bed;

/// Who refused an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Schema,
    Policy,
    Webhook,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) warnings: Vec<String>,
    pub(crate) outcome: Result<Value, (Layer, String)>,
}

/// A connection that is kept, since a table asks often.
pub(crate) struct Server {
    runtime: Runtime,
    client: kube::Client,
}

impl Server {
    pub(crate) fn of(bed: &Bed) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let way = Way {
            kubeconfig: Some(bed.cluster.kubeconfig().to_owned()),
            api_server: None,
        };
        let client = runtime.block_on(way.open())?.client;
        Ok(Self { runtime, client })
    }

    /// Whether it would take this text as a new object; nothing is stored.
    pub(crate) fn would_create(&self, resource: &str, text: String) -> Result<Answer> {
        let uri = format!("/apis/sluice.dev/v1alpha1/{resource}?dryRun=All&fieldValidation=Strict");
        let request = Request::post(uri)
            .header("Content-Type", "application/json")
            .body(kube::client::Body::from(text.into_bytes()))?;
        let (status, warnings, body) = self.runtime.block_on(async {
            let response = self.client.send(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect_bytes().await?;
            anyhow::Ok((head.status, warnings(&head.headers), body))
        })?;
        let body: Value = serde_json::from_slice(&body).context("an answer in JSON")?;
        let outcome = if status.is_success() {
            Ok(body)
        } else {
            let said = body["message"].as_str().context("a reason")?.to_owned();
            Err((layer(status, &said)?, said))
        };
        Ok(Answer { warnings, outcome })
    }
}

fn layer(status: StatusCode, said: &str) -> Result<Layer> {
    ensure!(status.is_client_error(), "{status}: {said}");
    if said.contains("ValidatingAdmissionPolicy '") {
        Ok(Layer::Policy)
    } else if said.contains("admission webhook \"") {
        ensure!(said.contains("denied the request"), "{said}");
        Ok(Layer::Webhook)
    } else if matches!(
        status,
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST
    ) {
        Ok(Layer::Schema)
    } else {
        bail!("{status}: {said}")
    }
}

/// The texts of `Warning: 299 - "text"`.
fn warnings(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all("warning").into_iter();
    let texts = all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    texts
        .map(|text| text.replace("\\\"", "\"").replace("\\\\", "\\"))
        .collect()
}
