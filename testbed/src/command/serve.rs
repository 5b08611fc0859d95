//! `serve`: what runs inside a container.

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;

use crate::serve::{Behaviour, Naming, Server, Service};
use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::gethostname;

/// Serve: answer every connection and datagram with who answers, and fail on command.
///
/// An echo port greets a TCP connection with the line `NAME VERSION` and then sends back what comes; a datagram is
/// answered with that line and its own content. An HTTP port has GET / (the same line), /peer (who asks), /ready and
/// /behaviour, and takes POST /ready, /unready and /behave/BEHAVIOUR, where a behaviour of the echo ports is answer,
/// refuse, reset, hang, slow=MILLISECONDS or black-hole. Ends at SIGTERM. Needs no root (black-hole does on some
/// kernels).
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(super) struct Args {
    /// Who answers [default: the host's name, which in a pod is the pod's]
    #[arg(long, env = "POD_NAME")]
    name: Option<String>,
    /// Which version answers
    #[arg(long, env = "POD_VERSION", default_value = "-")]
    version: String,
    /// Add the echo port that was reached to the name, and say it for the version
    #[arg(long)]
    named_by_port: bool,
    /// An echo port, TCP and UDP; may be given several times
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// An HTTP port; may be given several times
    #[arg(long = "http-port", value_name = "PORT")]
    http_ports: Vec<u16>,
    /// Where to listen; may be given several times. On a host with several addresses name them, so that a datagram's
    /// answer comes from where it was sent to
    #[arg(long = "address", value_name = "ADDRESS", default_value = "::")]
    addresses: Vec<IpAddr>,
    /// What the echo ports do from the start
    #[arg(long, value_name = "BEHAVIOUR", default_value_t)]
    behaviour: Behaviour,
    /// Start not ready
    #[arg(long)]
    unready: bool,
}

pub(super) fn run(args: Args) -> Result<ExitCode> {
    let Args {
        name,
        version,
        named_by_port,
        ports,
        http_ports,
        addresses,
        behaviour,
        unready,
    } = args;
    // As process 1 of a container there is no default action: the signals are waited for, in all threads alike.
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    ends.thread_block()?;
    let name = match name {
        Some(name) => name,
        None => gethostname()?
            .into_string()
            .map_err(|_| io::Error::other("the host's name is no text"))?,
    };
    let naming = if named_by_port {
        Naming::ByPort
    } else {
        Naming::Own
    };
    let service = Service {
        name: name.clone(),
        version,
        naming,
        addresses,
        ports,
        http_ports,
    };
    let server = Server::start(service)?;
    server.behave(behaviour)?;
    server.set_ready(!unready)?;
    eprintln!("{name} serves");
    let signal = ends.wait()?;
    eprintln!("{name} ends at {signal}");
    Ok(ExitCode::SUCCESS)
}
