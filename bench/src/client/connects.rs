//! Blocking connects, one after the other, each timed by itself.

use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::Connects;
use crate::stats::quantile;

/// How many connects go first and are not counted.
const UNCOUNTED: u32 = 32;
/// However long they take, so many are made.
const LEAST: usize = 20;
const PATIENCE_SECONDS: i64 = 5;

pub(super) fn measure(
    targets: &[SocketAddrV4],
    times: u32,
    longest: Duration,
    seed: u64,
) -> Result<Connects> {
    ensure!(!targets.is_empty(), "there is nothing to connect to");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut microseconds = Vec::with_capacity(times as usize);
    let began = Instant::now();
    for turn in 0..UNCOUNTED + times {
        if microseconds.len() >= LEAST && began.elapsed() > longest {
            break;
        }
        let target = targets[random.usize(..targets.len())];
        let took = connect(target).with_context(|| format!("connecting to {target}"))?;
        if turn >= UNCOUNTED {
            microseconds.push(took.as_secs_f64() * 1e6);
        }
    }
    let at = |share| quantile(&microseconds, share).context("nothing was measured");
    Ok(Connects {
        count: u32::try_from(microseconds.len())?,
        p50: at(0.5)?,
        p90: at(0.9)?,
        p99: at(0.99)?,
    })
}

/// Only the call itself is timed, not making the socket nor closing it.
fn connect(target: SocketAddrV4) -> Result<Duration> {
    let socket = open(SockFlag::SOCK_CLOEXEC)?;
    let address = SockaddrIn::from(target);
    let before = Instant::now();
    socket::connect(socket.as_raw_fd(), &address)?;
    Ok(before.elapsed())
}

/// A socket that ends by a reset, so that its port is free again at once.
pub(super) fn open(flags: SockFlag) -> Result<OwnedFd> {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    socket::setsockopt(&socket, sockopt::Linger, &linger)?;
    let patience = TimeVal::seconds(PATIENCE_SECONDS);
    socket::setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    socket::setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    Ok(socket)
}
