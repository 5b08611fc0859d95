//! Notices that the certificate's files changed.
//!
//! A Secret's volume changes by one rename: of the link `..data`, through which all files are seen. So
//! the directory is watched, not the files, and any event in it is a reason to look.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{sync::Notify, task::spawn_blocking, time::timeout};

use super::Certificates;

/// How often to look without a reason: a certificate becomes valid by itself, and some file systems
/// tell nothing.
const LOOK_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
#[error("cannot watch {dir} (--cert-dir)")]
pub struct WatchError {
    dir: PathBuf,
    source: notify::Error,
}

/// Tells when something happened in the directory; dropping it ends the watch.
pub struct Reasons {
    happened: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Certificates {
    /// Watches the directory from now on.
    pub fn watch(&self) -> Result<Reasons, WatchError> {
        let happened = Arc::new(Notify::new());
        let tell = Arc::clone(&happened);
        let failed = |source| WatchError {
            dir: self.dir.clone(),
            source,
        };
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // To look is what is done about a loss of events too. Reading the files is an event of
            // its own kind, and no reason to read them.
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            tell.notify_one();
        });
        let mut watcher = watcher.map_err(failed)?;
        watcher
            .watch(&self.dir, RecursiveMode::NonRecursive)
            .map_err(failed)?;
        Ok(Reasons {
            happened,
            _watcher: watcher,
        })
    }

    /// Keeps up with the files; never ends.
    pub async fn follow(self: Arc<Self>, reasons: Reasons) {
        loop {
            // Whether there was a reason or it is time makes no difference.
            let _ = timeout(LOOK_EVERY, reasons.happened.notified()).await;
            let certificates = Arc::clone(&self);
            let look = spawn_blocking(move || certificates.reload(SystemTime::now()));
            if let Err(fault) = look.await
                && let Ok(fault) = fault.try_into_panic()
            {
                std::panic::resume_unwind(fault);
            }
        }
    }
}
