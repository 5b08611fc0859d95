//! A caller: TLS by rustls, HTTP by hyper, each connection its own.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::Body,
    http::{Request, Response, Version},
};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use crate::files::{NAME, Pair};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where a webhook is and whom to believe.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    pub(crate) roots: RootCertStore,
    /// Who it says it is: a certificate and its key.
    pub(crate) shows: Option<(CertificateDer<'static>, String)>,
}

impl Caller {
    /// The same, as somebody.
    pub(crate) fn showing(&self, shows: Option<&Pair>) -> Self {
        let shows = shows.map(|pair| (pair.der.clone(), pair.key.clone()));
        Self {
            shows,
            ..self.clone()
        }
    }

    pub(crate) async fn connect(&self, protocol: &[u8]) -> Result<TlsStream<TcpStream>, Failure> {
        self.secure(protocol, TcpStream::connect(self.address).await?)
            .await
    }

    /// TLS over a connection that there is.
    async fn secure(
        &self,
        protocol: &[u8],
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let config = self.config(protocol)?;
        secure_as(config, stream).await
    }

    /// How it speaks TLS, and what it remembers of that.
    pub(crate) fn config(&self, protocol: &[u8]) -> Result<Arc<ClientConfig>, Failure> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.shows {
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
                config.with_client_auth_cert(vec![certificate.clone()], key)?
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }

    /// A connection by a configuration that remembers those before it.
    pub(crate) async fn again(
        &self,
        config: &Arc<ClientConfig>,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let stream = TcpStream::connect(self.address).await?;
        secure_as(Arc::clone(config), stream).await
    }

    /// The certificate that a new connection is shown.
    pub(crate) async fn certificate(&self) -> Result<Vec<u8>, Failure> {
        let stream = self.connect(b"h2").await?;
        let shown = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first);
        Ok(shown.ok_or("no certificate")?.to_vec())
    }

    /// A connection from another address of loopback, as another host would make it.
    pub(crate) async fn http2_from(&self, ip: IpAddr) -> Result<http2::SendRequest<Body>, Failure> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(ip, 0))?;
        let stream = self
            .secure(b"h2", socket.connect(self.address).await?)
            .await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A connection that many questions can go over, as an API server's.
    pub(crate) async fn http2(&self) -> Result<http2::SendRequest<Body>, Failure> {
        self.http2_as(&self.config(b"h2")?).await
    }

    pub(crate) async fn http2_as(
        &self,
        config: &Arc<ClientConfig>,
    ) -> Result<http2::SendRequest<Body>, Failure> {
        let stream = TokioIo::new(self.again(config).await?);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    pub(crate) async fn http1(&self) -> Result<http1::SendRequest<Body>, Failure> {
        let stream = TokioIo::new(self.connect(b"http/1.1").await?);
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn secure_as(
    config: Arc<ClientConfig>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Failure> {
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(NAME)?;
    Ok(TlsConnector::from(config).connect(name, stream).await?)
}

pub(crate) fn question(body: impl Into<Body>) -> Request<Body> {
    Request::post(format!("https://{NAME}/validate"))
        .header("content-type", "application/json")
        .body(body.into())
        .expect("a request")
}

/// An answer that allows.
pub(crate) async fn allowed(answer: Response<Incoming>) -> Result<Version, Failure> {
    let (code, version) = (answer.status(), answer.version());
    let body = answer.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    if text.contains("\"allowed\":true") {
        Ok(version)
    } else {
        Err(format!("{code}: {text}").into())
    }
}
