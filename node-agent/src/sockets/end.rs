//! Ends what was condemned, namespace by namespace.

use std::{io, thread};

use tokio::sync::oneshot;

use super::{Look, spaces::Space};
use crate::diag::{Connected, Diag, Protocol};

/// The sockets of one network namespace that end.
pub(super) struct Condemned {
    pub(super) space: Space,
    /// Their backend has gone.
    pub(super) gone: Vec<Connected>,
    /// Weights have shifted.
    pub(super) shifted: Vec<Connected>,
}

/// Why a socket ends.
#[derive(Clone, Copy)]
enum Cause {
    Gone,
    Shifted,
}

/// What came of it, and what stood in the way.
pub(super) async fn all(condemned: Vec<Condemned>) -> (Look, Vec<io::Error>) {
    if condemned.is_empty() {
        return (Look::default(), Vec::new());
    }
    let ended = on_a_thread(move || {
        let (mut look, mut failures) = (Look::default(), Vec::new());
        for Condemned {
            space,
            gone,
            shifted,
        } in condemned
        {
            let diag = space.enter().and_then(|()| Diag::open());
            let gone = gone.into_iter().map(|socket| (socket, Cause::Gone));
            let shifted = shifted.into_iter().map(|socket| (socket, Cause::Shifted));
            for (socket, cause) in gone.chain(shifted) {
                let ended = match &diag {
                    Ok(diag) => diag.end(&socket),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                };
                match (ended, cause, socket.protocol) {
                    (Ok(false), _, _) => {}
                    (Ok(true), Cause::Shifted, _) => look.shifted += 1,
                    (Ok(true), Cause::Gone, Protocol::Udp) => look.ended_udp += 1,
                    (Ok(true), Cause::Gone, Protocol::Tcp) => look.ended_tcp += 1,
                    (Err(error), _, _) => {
                        look.failed += 1;
                        failures.push(error);
                    }
                }
            }
        }
        (look, failures)
    });
    ended.await.unwrap_or_else(|error| {
        (
            Look {
                failed: 1,
                ..Look::default()
            },
            vec![error],
        )
    })
}

/// Runs on a thread that ends with the work: it may go from one network namespace to another.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, done) = oneshot::channel();
    thread::Builder::new()
        .name("sockets".to_owned())
        .spawn(move || {
            // Fails only when the one who asked went away.
            let _ = sender.send(work());
        })?;
    done.await.map_err(io::Error::other)
}
