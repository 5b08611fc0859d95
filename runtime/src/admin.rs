//! The admin address that every program has: health for probes, metrics for scrapes.
//!
//! A program adds answers of its own to the router.

use std::{error::Error, fmt, net::SocketAddr};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use k8s_openapi::serde_json::json;
use tokio::net::TcpListener;

use crate::{metrics::OPEN_METRICS, shutdown::Shutdown};

/// What a program knows about itself.
pub trait Vitals: Clone + Send + Sync + 'static {
    /// Refused when only a restart can help.
    fn alive(&self) -> impl Future<Output = Result<(), Refused>> + Send;

    /// Refused, with the reason, as long as it does not do its work.
    fn ready(&self) -> impl Future<Output = Result<(), Refused>> + Send;

    /// In the text format that Prometheus reads.
    fn metrics(&self) -> impl Future<Output = Result<String, Refused>> + Send;
}

/// A problem as a program reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: StatusCode,
    pub reason: String,
}

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("cannot listen on {address} (--admin)")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("the admin endpoints ended")]
    Serve(#[source] std::io::Error),
}

/// An address that is listened on, so that a wrong one is known before anything else begins.
#[derive(Debug)]
pub struct Admin(TcpListener);

/// `/livez`, `/readyz` and `/metrics`.
pub fn router<V: Vitals>() -> Router<V> {
    Router::new()
        .route("/livez", get(livez::<V>))
        .route("/readyz", get(readyz::<V>))
        .route("/metrics", get(metrics::<V>))
}

impl Admin {
    pub async fn listen(address: SocketAddr) -> Result<Self, AdminError> {
        let listener = TcpListener::bind(address).await;
        listener
            .map(Self)
            .map_err(|source| AdminError::Listen { address, source })
    }

    /// The address, with the port that the system chose if none was named.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until the program ends.
    pub async fn serve(self, router: Router, shutdown: Shutdown) -> Result<(), AdminError> {
        axum::serve(self.0, router)
            .with_graceful_shutdown(shutdown.asked())
            .await
            .map_err(AdminError::Serve)
    }
}

async fn livez<V: Vitals>(State(vitals): State<V>) -> Result<&'static str, Refused> {
    vitals.alive().await.map(|()| "alive\n")
}

async fn readyz<V: Vitals>(State(vitals): State<V>) -> Result<&'static str, Refused> {
    vitals.ready().await.map(|()| "ready\n")
}

async fn metrics<V: Vitals>(State(vitals): State<V>) -> Result<impl IntoResponse, Refused> {
    let text = vitals.metrics().await?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text))
}

impl Refused {
    /// The question makes no sense.
    pub fn wrong(reason: impl fmt::Display) -> Self {
        Self::with(StatusCode::BAD_REQUEST, reason)
    }

    /// There is no answer now.
    pub fn unavailable(reason: impl fmt::Display) -> Self {
        Self::with(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// There is no answer, because of this and of all that led to it.
    pub fn failed(error: &dyn Error) -> Self {
        let mut reason = error.to_string();
        let mut next = error.source();
        while let Some(source) = next {
            reason = format!("{reason}: {source}");
            next = source.source();
        }
        Self::unavailable(reason)
    }

    fn with(code: StatusCode, reason: impl fmt::Display) -> Self {
        Self {
            code,
            reason: reason.to_string(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self { code, reason } = self;
        (code, Json(json!({ "error": reason }))).into_response()
    }
}
