//! HTTP/1.1 without encryption, over one connection that stays open, into a namespace.
//!
//! etcd's gateway takes it, and so does `kubectl proxy`, which then speaks to the API server as anybody does. A socket
//! belongs to the namespace in which it was made, so only the opening happens there.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sluice_testbed::netns::Inside;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

#[derive(Debug)]
pub(crate) struct Caller {
    to: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
    runtime: Runtime,
}

impl Caller {
    /// Opens a connection to an address inside the namespace.
    pub(crate) fn open(inside: &Inside, to: SocketAddr) -> Result<Self> {
        inside.run(|| {
            let runtime = Builder::new_current_thread().enable_io().build()?;
            let sender = runtime.block_on(async {
                let stream = TcpStream::connect(to).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                anyhow::Ok(sender)
            });
            Ok(Self {
                to,
                sender: sender.with_context(|| format!("connecting to {to}"))?,
                runtime,
            })
        })
    }

    /// Asks; what is answered, unless that is no success.
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        content: &str,
        body: String,
    ) -> Result<String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.to.to_string())
            .header("content-type", content)
            .body(Full::new(Bytes::from(body)))?;
        self.runtime.block_on(async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            let answer = response.into_body().collect().await?.to_bytes();
            let answer = String::from_utf8_lossy(&answer).into_owned();
            ensure!(status.is_success(), "{method} {path}: {status}: {answer}");
            Ok(answer)
        })
    }
}
