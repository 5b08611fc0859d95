//! Reviews at a fixed rate, as an API server asks them: over TLS and HTTP/2, many at once over a few connections.
//!
//! Each is sent when it is due, whether earlier ones were answered or not, so a slow answer hides no other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::split;
use crate::processor;
use crate::stats::quantile;

const CONNECTIONS: usize = 4;

/// Milliseconds from when a review was due until it was answered.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latencies {
    pub(crate) count: u32,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
    /// Answers in a second.
    pub(crate) rate: f64,
}

pub(super) struct Reviewer {
    at: SocketAddr,
    connector: TlsConnector,
}

type Sender = SendRequest<Full<Bytes>>;

impl Reviewer {
    /// Of a webhook at this address whose certificate this authority signed.
    pub(super) fn new(authority: &str, at: SocketAddr) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            at,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// So many reviews, so many of them in a second; on the last processor.
    pub(super) fn review(&self, rate: u32, count: u32) -> Result<Latencies> {
        processor::stay_on_the_last()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.all(rate, count))
    }

    async fn all(&self, rate: u32, count: u32) -> Result<Latencies> {
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            senders.push(self.connect().await?);
        }
        let began = Instant::now();
        let mut asked = JoinSet::new();
        for (number, sender) in (0..count).zip(senders.iter().cycle()) {
            let due = began + Duration::from_secs(1) * number / rate;
            sleep_until(due.into()).await;
            asked.spawn(ask(sender.clone(), number, due));
        }
        let answered: Vec<_> = asked.join_all().await.into_iter().collect::<Result<_>>()?;
        let took = began.elapsed().as_secs_f64();
        let at = |share| quantile(&answered, share).context("no review was made");
        Ok(Latencies {
            count,
            p50: at(0.5)?,
            p99: at(0.99)?,
            most: at(1.0)?,
            rate: f64::from(count) / took,
        })
    }

    async fn connect(&self) -> Result<Sender> {
        let stream = TcpStream::connect(self.at).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.at.ip());
        let stream = self.connector.connect(name, stream).await?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// Milliseconds.
async fn ask(mut sender: Sender, number: u32, due: Instant) -> Result<f64> {
    let body = review(number).to_string();
    let request = Request::post("https://webhook/validate")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    let took = due.elapsed().as_secs_f64() * 1e3;
    let answer: Value = serde_json::from_slice(&answer)
        .with_context(|| format!("{status}: {}", String::from_utf8_lossy(&answer)))?;
    ensure!(answer["response"]["allowed"] == true, "{status}: {answer}");
    Ok(took)
}

/// What an API server asks when somebody creates a split.
fn review(number: u32) -> Value {
    let kind = json!({ "group": "sluice.dev", "version": "v1alpha1", "kind": "TrafficSplit" });
    let resource = json!({
        "group": "sluice.dev", "version": "v1alpha1", "resource": "trafficsplits",
    });
    let name = format!("checkout-{number}");
    let mut object = split(&name);
    object["metadata"]["namespace"] = "asked".into();
    object["spec"]["service"] = name.as_str().into();
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": format!("00000000-0000-4000-8000-{number:012x}"),
            "kind": kind, "resource": resource,
            "requestKind": kind, "requestResource": resource,
            "name": name, "namespace": "asked", "operation": "CREATE",
            "userInfo": { "username": "kubernetes-admin", "groups": ["system:authenticated"] },
            "object": object, "oldObject": null, "dryRun": false,
            "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
        },
    })
}
