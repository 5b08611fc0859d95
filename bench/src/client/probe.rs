//! Asks again and again until an answer is the expected one, and says when that was.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::socket::{setsockopt, sockopt};

use crate::clock::Moment;

/// While it is not known that somebody answers there: so long each try may take, and so late an answer may be noticed.
const TRY: Duration = Duration::from_millis(20);
/// Once it is, only a busy machine makes a try take long.
const SURE: Duration = Duration::from_secs(1);
/// Between two tries, lest asking takes the processor from what is asked about.
const PAUSE: Duration = Duration::from_micros(500);

/// Waits until each answers, and then all in a row.
pub(super) fn await_all(sample: &[SocketAddrV4], patience: Duration) -> Result<Option<Moment>> {
    let deadline = Instant::now() + patience;
    loop {
        for target in sample {
            while connect(*target, TRY).is_none() {
                if Instant::now() > deadline {
                    return Ok(None);
                }
                thread::sleep(PAUSE);
            }
        }
        if sample.iter().all(|target| connect(*target, SURE).is_some()) {
            return Ok(Some(Moment::now()?));
        }
    }
}

/// Waits until a connection to `at` says that it reached `from`.
pub(super) fn await_answer(
    at: SocketAddrV4,
    from: Ipv4Addr,
    patience: Duration,
) -> Result<Option<Moment>> {
    let deadline = Instant::now() + patience;
    let wanted = from.to_string();
    while Instant::now() <= deadline {
        if reached(at).is_some_and(|reached| reached == wanted) {
            return Ok(Some(Moment::now()?));
        }
        thread::sleep(PAUSE);
    }
    Ok(None)
}

/// Which address a connection says that it reached.
fn reached(at: SocketAddrV4) -> Option<String> {
    let connection = connect(at, TRY)?;
    connection.set_read_timeout(Some(SURE)).ok()?;
    let mut line = String::new();
    BufReader::new(&connection).read_line(&mut line).ok()?;
    Some(line.trim_end().to_owned())
}

fn connect(target: SocketAddrV4, patience: Duration) -> Option<TcpStream> {
    let connection = TcpStream::connect_timeout(&SocketAddr::V4(target), patience).ok()?;
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&connection, sockopt::Linger, &linger).ok()?;
    Some(connection)
}
