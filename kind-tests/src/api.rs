//! The API server asked without kubectl: by tests that ask often, at the same time, or want an answer as it comes.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use sluice_runtime::client::Way;
use sluice_testbed::cluster::Access;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Where the kinds of Sluice are.
pub const SLUICE: &str = "/apis/sluice.dev/v1alpha1";

/// A way to the API server of its own: two of them are two clients.
pub struct Api {
    runtime: Runtime,
    client: kube::Client,
}

/// One question, with its body.
pub type Question = Request<Vec<u8>>;

/// One answer.
#[derive(Debug)]
pub struct Said {
    pub status: StatusCode,
    pub warnings: Vec<String>,
    pub body: Value,
}

/// How many questions at a time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub at_once: usize,
    /// The time from one to the next; none is waited for otherwise.
    pub every: Option<Duration>,
}

impl Api {
    pub fn of(access: &Access) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let way = Way {
            kubeconfig: Some(access.kubeconfig().to_owned()),
            api_server: None,
        };
        let client = runtime.block_on(way.open())?.client;
        Ok(Self { runtime, client })
    }

    pub fn ask(&self, question: Question) -> Result<Said> {
        self.runtime.block_on(self.answer(question))
    }

    /// What is at a path.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.ask(get(path)?)?.good()
    }

    /// Asks everything, and gives each answer, with the number of its question, as soon as it is there.
    pub fn ask_all(
        &self,
        pace: Pace,
        questions: impl IntoIterator<Item = Question>,
        mut hear: impl FnMut(usize, Result<Said>),
    ) -> Result<()> {
        self.runtime.block_on(async {
            let mut due = pace.every.map(|every| {
                let mut due = interval(every);
                due.set_missed_tick_behavior(MissedTickBehavior::Burst);
                due
            });
            let mut asked = JoinSet::new();
            for (number, question) in questions.into_iter().enumerate() {
                if let Some(due) = &mut due {
                    due.tick().await;
                }
                while asked.len() >= pace.at_once {
                    let (number, said) = asked.join_next().await.context("one is under way")??;
                    hear(number, said);
                }
                while let Some(answered) = asked.try_join_next() {
                    let (number, said) = answered?;
                    hear(number, said);
                }
                let answer = self.answer(question);
                asked.spawn(async move { (number, answer.await) });
            }
            while let Some(answered) = asked.join_next().await {
                let (number, said) = answered?;
                hear(number, said);
            }
            Ok(())
        })
    }

    fn answer(&self, question: Question) -> impl Future<Output = Result<Said>> + use<> {
        let client = self.client.clone();
        async move {
            let response = client.send(question.map(kube::client::Body::from)).await?;
            let (head, body) = response.into_parts();
            let body = body.collect_bytes().await?;
            let body = String::from_utf8_lossy(&body);
            Ok(Said {
                status: head.status,
                warnings: warnings(&head.headers),
                body: serde_json::from_str(&body)
                    .with_context(|| format!("no JSON with {}: {body}", head.status))?,
            })
        }
    }
}

impl Said {
    /// The body; an error, with what it says, for what is no success.
    pub fn good(self) -> Result<Value> {
        let Self { status, body, .. } = self;
        ensure!(status.is_success(), "{status}: {body}");
        Ok(body)
    }

    /// Whether the API server had no time or no room for it. What was asked for may have come about all the same.
    pub fn is_undecided(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// What a refusal says.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

pub fn get(path: &str) -> Result<Question> {
    Ok(Request::get(path).body(Vec::new())?)
}

/// The creation of an object, as this text has it, in a collection.
pub fn post(path: &str, text: String) -> Result<Question> {
    let request = Request::post(path).header("Content-Type", "application/json");
    Ok(request.body(text.into_bytes())?)
}

/// A change of what is at a path, as a merge patch.
pub fn merge(path: &str, patch: &Value) -> Result<Question> {
    let request = Request::patch(path).header("Content-Type", "application/merge-patch+json");
    Ok(request.body(patch.to_string().into_bytes())?)
}

pub fn delete(path: &str) -> Result<Question> {
    Ok(Request::delete(path).body(Vec::new())?)
}

/// The texts of `Warning: 299 - "text"`.
fn warnings(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all("warning").into_iter();
    let texts = all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    texts
        .map(|text| text.replace("\\\"", "\"").replace("\\\\", "\\"))
        .collect()
}
