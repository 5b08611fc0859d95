//! One question by HTTP, asked from the network that the thread is in: of admin addresses, of etcd's gateway.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The body; an error, with what it says, for any status but 200.
    pub fn good(self) -> Result<String> {
        let Self { status, body } = self;
        ensure!(status == 200, "{status}: {body}");
        Ok(body)
    }
}

pub fn get(at: SocketAddr, path: &str) -> Result<Answer> {
    ask(at, "GET", path, "")
}

pub fn post(at: SocketAddr, path: &str, body: &str) -> Result<Answer> {
    ask(at, "POST", path, body)
}

fn ask(at: SocketAddr, method: &str, path: &str, body: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    // By 1.0 the server ends its answer by closing, and cuts it into no chunks.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {at}\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let parts = answer.split_once("\r\n\r\n");
    let (head, body) = parts.with_context(|| format!("half an answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok(Answer {
        status: status.with_context(|| format!("no status: {head:?}"))?,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::serve::tests::server;

    #[test]
    fn questions_get_their_answers() {
        let (_server, _, port) = server();
        let at = (Ipv4Addr::LOCALHOST, port).into();
        assert_eq!(get(at, "/ready").unwrap().good().unwrap(), "ready\n");
        assert_eq!(post(at, "/unready", "").unwrap().status, 200);
        let unready = get(at, "/ready").unwrap();
        assert_eq!(unready.status, 503);
        assert!(unready.good().is_err());
    }
}
