//! Health, metrics and answers over HTTP, for probes, scrapes and `kubectl-sluice`.

use std::{fmt, net::IpAddr, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use sluice_model::key::Port;

use crate::{
    agent::{Agent, Ended, Handle, explain::Caller, status::Node},
    maps::{Maps, kernel::Kernel},
};

/// An agent that does not answer for this long is not alive.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Admin {
    agent: Handle<Kernel>,
    node: Node,
}

/// A problem as a program reads it.
struct Refused(StatusCode, String);

pub fn router(agent: Handle<Kernel>, node: Node) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/explain", get(explain))
        .route("/debug/facts", get(facts))
        .route("/debug/desired", get(desired))
        .route("/debug/maps", get(maps))
        .route("/debug/status", get(status))
        .with_state(Admin { agent, node })
}

impl Admin {
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Agent<Kernel>) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        match tokio::time::timeout(PATIENCE, self.agent.ask(question)).await {
            Ok(answer) => answer.map_err(Refused::from),
            Err(_) => Err(unavailable("the agent is stuck in a pass")),
        }
    }
}

async fn livez(State(admin): State<Admin>) -> Result<&'static str, Refused> {
    admin.ask(|_| "alive\n").await
}

async fn readyz(State(admin): State<Admin>) -> Result<&'static str, Refused> {
    admin
        .ask(|agent| agent.is_ready())
        .await?
        .map(|()| "ready\n")
        .map_err(unavailable)
}

async fn metrics(State(admin): State<Admin>) -> Result<impl IntoResponse, Refused> {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let sample = admin.ask(|agent| agent.sample()).await?;
    let text = sample.encode().map_err(unavailable)?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text))
}

async fn facts(State(admin): State<Admin>) -> Result<String, Refused> {
    admin.ask(|agent| format!("{:#?}\n", agent.index())).await
}

async fn desired(State(admin): State<Admin>) -> Result<String, Refused> {
    admin
        .ask(|agent| format!("{:#?}\n", agent.state().desired()))
        .await
}

/// What the kernel holds now, not what was written once.
async fn maps(State(admin): State<Admin>) -> Result<String, Refused> {
    let image = admin
        .ask(|agent| agent.maps().read())
        .await?
        .map_err(unavailable)?;
    Ok(format!("{image:#}\n"))
}

async fn status(State(admin): State<Admin>) -> Result<impl IntoResponse, Refused> {
    let node = admin.node.clone();
    Ok(Json(admin.ask(move |agent| agent.status(node)).await?))
}

#[derive(Deserialize)]
struct Explain {
    caller: String,
    ip: IpAddr,
    port: Option<u16>,
}

async fn explain(
    State(admin): State<Admin>,
    Query(Explain { caller, ip, port }): Query<Explain>,
) -> Result<impl IntoResponse, Refused> {
    let wrong = |text: &str| Refused(StatusCode::BAD_REQUEST, text.to_owned());
    let caller = Caller::parse(&caller)
        .ok_or_else(|| wrong("the caller is `host`, POD or NAMESPACE/POD"))?;
    let port = match port {
        Some(number) => Some(Port::new(number).ok_or_else(|| wrong("there is no port 0"))?),
        None => None,
    };
    let node = admin.node.name.clone();
    let answers = admin
        .ask(move |agent| agent.explain(&node, &caller, ip, port))
        .await?;
    Ok(Json(answers.map_err(failed)?))
}

/// With everything that led to it.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Refused {
    unavailable(format_args!("{:#}", anyhow::Error::from(error)))
}

fn unavailable(reason: impl fmt::Display) -> Refused {
    Refused(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}"))
}

impl From<Ended> for Refused {
    fn from(ended: Ended) -> Self {
        unavailable(ended)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
        }
        (self.0, Json(Body { error: self.1 })).into_response()
    }
}
