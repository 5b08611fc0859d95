//! The API server, asked whether it would take an object: its answer, its warnings, what it would store.

use anyhow::{Context as _, Result, bail, ensure};
use http::StatusCode;
use serde_json::Value;
use sluice_kind_tests::api::{Api, SLUICE, Said, post};

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
pub(crate) struct Server(Api);

impl Server {
    pub(crate) fn of(bed: &Bed) -> Result<Self> {
        Api::of(&bed.cluster).map(Self)
    }

    /// Whether it would take this text as a new object; nothing is stored.
    pub(crate) fn would_create(&self, resource: &str, text: String) -> Result<Answer> {
        let path = format!("{SLUICE}/{resource}?dryRun=All&fieldValidation=Strict");
        let Said {
            status,
            warnings,
            body,
        } = self.0.ask(post(&path, text)?)?;
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
