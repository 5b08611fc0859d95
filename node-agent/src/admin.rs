//! Health, metrics and answers over HTTP, for probes, scrapes and `kubectl-sluice`.

use std::{net::IpAddr, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    response::IntoResponse,
    routing::get,
};
use serde::Deserialize;
use sluice_model::key::Port;
use sluice_runtime::{
    admin::{self, Refused, Vitals},
    metrics,
};

use crate::{
    agent::{Agent, Handle, explain::Caller, status::Node},
    maps::{Maps, kernel::Kernel},
};

/// An agent that does not answer for this long is not alive.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Admin {
    agent: Handle<Kernel>,
    node: Node,
}

pub fn router(agent: Handle<Kernel>, node: Node) -> Router {
    admin::router()
        .route("/explain", get(explain))
        .route("/choices", get(choices))
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
            Ok(answer) => answer.map_err(Refused::unavailable),
            Err(_) => Err(Refused::unavailable("the agent is stuck in a pass")),
        }
    }
}

impl Vitals for Admin {
    async fn alive(&self) -> Result<(), Refused> {
        self.ask(|_| ()).await
    }

    async fn ready(&self) -> Result<(), Refused> {
        let ready = self.ask(|agent| agent.is_ready()).await?;
        ready.map_err(Refused::unavailable)
    }

    async fn metrics(&self) -> Result<String, Refused> {
        let sample = self.ask(|agent| agent.sample()).await?;
        metrics::encode("sluice_agent", sample).map_err(Refused::unavailable)
    }
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
        .map_err(Refused::unavailable)?;
    Ok(format!("{image:#}\n"))
}

async fn status(State(admin): State<Admin>) -> Result<impl IntoResponse, Refused> {
    let node = admin.node.clone();
    Ok(Json(admin.ask(move |agent| agent.status(node)).await?))
}

/// How often each version of a split was chosen, counted since the agent started or longer.
async fn choices(State(admin): State<Admin>) -> Result<impl IntoResponse, Refused> {
    Ok(Json(admin.ask(|agent| agent.choices()).await?))
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
    let caller = Caller::parse(&caller)
        .ok_or_else(|| Refused::wrong("the caller is `host`, POD or NAMESPACE/POD"))?;
    let port = match port {
        Some(number) => {
            Some(Port::new(number).ok_or_else(|| Refused::wrong("there is no port 0"))?)
        }
        None => None,
    };
    let node = admin.node.name.clone();
    let answers = admin
        .ask(move |agent| agent.explain(&node, &caller, ip, port))
        .await?;
    Ok(Json(answers.map_err(|error| Refused::failed(&error))?))
}
