//! How a program is asked to end: SIGTERM, as kubelet sends it, or SIGINT, as a terminal does.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::info;

/// Whether the program shall end. Every part of it has one, and sees it at the same time.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Asked for by the first signal that comes from now on.
    pub fn on_signal() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (ask, asked) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            info!("ending");
            ask.send_replace(true);
        });
        Ok(Self(asked))
    }

    /// Waits until it is asked for.
    pub async fn asked(mut self) {
        // An error means that nobody can ask any more, which is the end too.
        let _ = self.0.wait_for(|asked| *asked).await;
    }

    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}
