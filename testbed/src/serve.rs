//! The small server inside pods, and the content of a container image: it says who answers, and fails on command.
//!
//! Echo ports speak TCP and UDP. A TCP connection is greeted with the line `NAME VERSION`, then all that comes is
//! sent back; a datagram is answered by that line with the datagram's own content after it. HTTP ports give the same
//! line, readiness, and take the commands. Nothing but the black hole may need root.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, mpsc as sync};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};

use self::ports::Ports;

mod filter;
mod http;
mod ports;

/// Who serves, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    pub version: String,
    pub naming: Naming,
    /// Where to listen; `::` stands for all addresses of both families. A process that has several addresses names
    /// them, so that a datagram's answer comes from the address it was sent to.
    pub addresses: Vec<IpAddr>,
    /// Echo ports, TCP and UDP.
    pub ports: Vec<u16>,
    pub http_ports: Vec<u16>,
}

/// What the echo ports give as the name of who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Naming {
    #[default]
    Own,
    /// The address and port that was reached: one process stands for many backends.
    ByAddress,
    /// The own name and the port that was reached, which is the version too: one process stands for a backend of each of
    /// many versions.
    ByPort,
}

/// What the echo ports do with a new connection or a datagram. Connections that are being served go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    #[default]
    Answer,
    /// Nobody listens: ECONNREFUSED at once.
    Refuse,
    /// Accepted and reset at once; for UDP as [`Behaviour::Refuse`].
    Reset,
    /// Accepted and never answered.
    Hang,
    /// Answered after this time.
    Slow(Duration),
    /// Packets vanish: a connect gets no answer at all. Some kernels let only root do that.
    BlackHole,
}

/// A server that runs in a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Server {
    commands: mpsc::UnboundedSender<Command>,
}

/// What the parts of a server look at.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    behaviour: Behaviour,
    unready: bool,
}

#[derive(Debug)]
enum Command {
    Behave(Behaviour, sync::Sender<Result<()>>),
    Ready(bool, sync::Sender<Result<()>>),
}

impl Service {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: "-".to_owned(),
            naming: Naming::Own,
            addresses: vec![Ipv6Addr::UNSPECIFIED.into()],
            ports: Vec::new(),
            http_ports: Vec::new(),
        }
    }

    /// The line that says who answers.
    pub fn greeting(&self) -> String {
        format!("{} {}\n", self.name, self.version)
    }

    /// The line that says who answers on the echo port there.
    fn greeting_at(&self, address: SocketAddr) -> String {
        match self.naming {
            Naming::Own => self.greeting(),
            Naming::ByAddress => format!("{address} {}\n", self.version),
            Naming::ByPort => format!("{}:{port} {port}\n", self.name, port = address.port()),
        }
    }
}

impl Server {
    /// Starts serving; when this returns, all ports are open.
    pub fn start(service: Service) -> Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        let (started, start) = sync::channel();
        let for_http = commands.downgrade();
        thread::Builder::new()
            .name("serve".to_owned())
            .spawn(move || {
                let runtime = match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(started.send(Err(error.into()))),
                };
                runtime.block_on(serve(Arc::new(service), received, &for_http, &started));
            })?;
        start.recv().context("the server's thread ended")??;
        Ok(Self { commands })
    }

    /// Changes what the echo ports do; when this returns, they do it.
    pub fn behave(&self, behaviour: Behaviour) -> Result<()> {
        self.command(|done| Command::Behave(behaviour, done))
    }

    /// Changes what `/ready` on the HTTP ports answers.
    pub fn set_ready(&self, ready: bool) -> Result<()> {
        self.command(|done| Command::Ready(ready, done))
    }

    fn command(&self, make: impl FnOnce(sync::Sender<Result<()>>) -> Command) -> Result<()> {
        let (done, answer) = sync::channel();
        self.commands
            .send(make(done))
            .map_err(|_| anyhow!("the server has ended"))?;
        answer.recv().context("the server has ended")?
    }
}

async fn serve(
    service: Arc<Service>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    for_http: &mpsc::WeakUnboundedSender<Command>,
    started: &sync::Sender<Result<()>>,
) {
    let (state, watched) = watch::channel(State::default());
    let opened = http::open(&service, for_http, &watched)
        .and_then(|http| Ok((http, Ports::open(&service, &watched)?)));
    let (_http, mut ports) = match opened {
        Ok(opened) => opened,
        Err(error) => return drop(started.send(Err(error))),
    };
    if started.send(Ok(())).is_err() {
        return;
    }
    while let Some(command) = commands.recv().await {
        let (done, result) = match command {
            Command::Behave(behaviour, done) => {
                state.send_modify(|state| state.behaviour = behaviour);
                (done, ports.behave(behaviour).await)
            }
            Command::Ready(ready, done) => {
                state.send_modify(|state| state.unready = !ready);
                (done, Ok(()))
            }
        };
        let _ = done.send(result);
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer => f.write_str("answer"),
            Self::Refuse => f.write_str("refuse"),
            Self::Reset => f.write_str("reset"),
            Self::Hang => f.write_str("hang"),
            Self::Slow(delay) => write!(f, "slow={}", delay.as_millis()),
            Self::BlackHole => f.write_str("black-hole"),
        }
    }
}

impl FromStr for Behaviour {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "answer" => Self::Answer,
            "refuse" => Self::Refuse,
            "reset" => Self::Reset,
            "hang" => Self::Hang,
            "black-hole" => Self::BlackHole,
            other => match other.strip_prefix("slow=").map(str::parse) {
                Some(Ok(milliseconds)) => Self::Slow(Duration::from_millis(milliseconds)),
                _ => bail!(
                    "{other:?} is no behaviour: answer, refuse, reset, hang, slow=MILLISECONDS or black-hole"
                ),
            },
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

    use super::*;

    /// A server on a free port of loopback; another process could take the port in between, so it is tried again.
    pub(crate) fn server() -> (Server, u16, u16) {
        for _ in 0..10 {
            let free = || {
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                    .unwrap()
                    .local_addr()
                    .unwrap()
                    .port()
            };
            let (port, http) = (free(), free());
            let mut service = Service::new("a");
            service.version = "v1".to_owned();
            service.addresses = vec![Ipv4Addr::LOCALHOST.into()];
            service.ports.push(port);
            service.http_ports.push(http);
            if let Ok(server) = Server::start(service) {
                return (server, port, http);
            }
        }
        panic!("no free port");
    }

    fn connect(port: u16) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    fn http(port: u16, request: &str) -> String {
        let mut stream = connect(port);
        write!(stream, "{request} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_connection_is_greeted_and_echoed() {
        let (_server, port, _) = server();
        let mut stream = connect(port);
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "a v1\nhello");
    }

    #[test]
    fn a_datagram_is_answered_with_the_name_and_itself() {
        let (_server, port, _) = server();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket
            .send_to(b"hello", (Ipv4Addr::LOCALHOST, port))
            .unwrap();
        let mut answer = [0; 64];
        let length = socket.recv(&mut answer).unwrap();
        assert_eq!(&answer[..length], b"a v1\nhello");
    }

    #[test]
    fn refuse_reset_and_answer_follow_each_other() {
        let (server, port, _) = server();
        server.behave(Behaviour::Refuse).unwrap();
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        server.behave(Behaviour::Reset).unwrap();
        let reset = connect(port).read(&mut [0]).unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        server.behave(Behaviour::Answer).unwrap();
        assert_eq!(connect(port).read(&mut [0]).unwrap(), 1);
    }

    #[test]
    fn http_tells_the_name_and_readiness_and_takes_commands() {
        let (_server, port, http_port) = server();
        assert!(http(http_port, "GET /").ends_with("\r\n\r\na v1\n"));
        assert!(http(http_port, "GET /peer").contains("\r\n\r\n127.0.0.1:"));
        assert!(http(http_port, "GET /ready").starts_with("HTTP/1.1 200 "));
        assert!(http(http_port, "POST /unready").starts_with("HTTP/1.1 200 "));
        assert!(http(http_port, "GET /ready").starts_with("HTTP/1.1 503 "));
        assert!(http(http_port, "POST /behave/refuse").starts_with("HTTP/1.1 200 "));
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        assert!(http(http_port, "POST /behave/dance").starts_with("HTTP/1.1 400 "));
        assert!(http(http_port, "GET /nothing").starts_with("HTTP/1.1 404 "));
    }

    #[test]
    fn behaviours_are_read_as_they_are_written() {
        for text in [
            "answer",
            "refuse",
            "reset",
            "hang",
            "slow=250",
            "black-hole",
        ] {
            assert_eq!(text.parse::<Behaviour>().unwrap().to_string(), text);
        }
        assert!("slow=soon".parse::<Behaviour>().is_err());
    }
}
