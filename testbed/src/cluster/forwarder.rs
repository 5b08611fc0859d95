//! A door from the host into the fabric: a port of the host's loopback whose connections go on inside.
//!
//! A socket belongs to the namespace in which it was made, and not to that of the thread that uses it: so one thread
//! inside the fabric accepts on the host's listener and connects in its own namespace.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::netns::Inside;

/// The open door; dropping it closes it.
#[derive(Debug)]
pub(super) struct Forwarder {
    address: SocketAddr,
    close: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Forwarder {
    /// Opens a free port that leads to `target` inside.
    pub(super) fn open(inside: &Inside, target: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening on the loopback")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let inside = inside.again()?;
        let (close, closed) = oneshot::channel();
        let thread = thread::spawn(move || inside.run(move || forward(listener, target, closed)));
        Ok(Self {
            address,
            close: Some(close),
            thread: Some(thread),
        })
    }

    /// The address on the host.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        drop(self.close.take());
        if let Some(thread) = self.thread.take()
            && let Ok(Err(error)) = thread.join()
        {
            eprintln!("the door to the API server was closed: {error:#}");
        }
    }
}

fn forward(
    listener: TcpListener,
    target: SocketAddr,
    mut closed: oneshot::Receiver<()>,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = &mut closed => return Ok(()),
            };
            // A caller that is gone before it is accepted, or no descriptors for now: the next one may do better.
            let Ok((mut caller, _)) = accepted else {
                continue;
            };
            tokio::spawn(async move {
                if let Ok(mut inner) = TcpStream::connect(target).await {
                    // However a connection ends, both its ends learn of it by the close.
                    let _ = copy_bidirectional(&mut caller, &mut inner).await;
                }
            });
        }
    })
}
