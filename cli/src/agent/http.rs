//! One question over a connection that is there already.

use ::http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("the question is none")]
    Question(#[from] ::http::Error),
    #[error("the connection was of no use")]
    Connection(#[from] hyper::Error),
}

/// The target of a request. The values need no escapes: they are names, addresses and numbers.
pub(super) fn target(path: &str, query: &[(&str, &str)]) -> String {
    let mut target = path.to_owned();
    for (index, (name, value)) in query.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(&format!("{name}={value}"));
    }
    target
}

pub(super) async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    target: &str,
) -> Result<Response, HttpError> {
    let request = Request::get(target)
        .header(header::HOST, "localhost")
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong here is told to the sender as well.
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok(Response { status, body })
}
