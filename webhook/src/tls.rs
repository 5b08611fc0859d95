//! The certificate, taken anew whenever its files change, without a connection noticing.
//!
//! What does not work is never taken: half a file, a key of another certificate, one that is not
//! valid now. The certificate before it stays in use, and log and metrics say so.

mod certificate;
mod follow;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tracing::{info, warn};

pub use certificate::{Certificate, CertificateError};
pub use follow::WatchError;

use crate::metrics::Metrics;

/// The certificate in use, if there is one.
pub struct Certificates {
    dir: PathBuf,
    provider: Arc<CryptoProvider>,
    metrics: Arc<Metrics>,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    used: Option<Certificate>,
    /// Why what the files hold now is not in use.
    trouble: Option<String>,
}

impl Certificates {
    pub fn new(dir: PathBuf, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            dir,
            provider: Arc::new(ring::default_provider()),
            metrics,
            state: RwLock::default(),
        })
    }

    /// TLS 1.2 or later, HTTP/2 preferred.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Takes what the files hold, if it is another certificate and works. Reads files.
    pub fn reload(&self, now: SystemTime) {
        let read = Certificate::read(&self.dir, &self.provider);
        let read = read.and_then(|new| new.valid_at(now).map(|()| new));
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(new) => {
                state.trouble = None;
                if state.used.as_ref().is_some_and(|used| used.is_same(&new)) {
                    return;
                }
                info!(until = %new.until(), "a certificate is taken into use");
                self.metrics.certificates_taken.inc();
                self.metrics.not_after.set(new.not_after());
                state.used = Some(new);
            }
            Err(error) => {
                let trouble = error.to_string();
                if state.trouble.as_ref() != Some(&trouble) {
                    let kept = state.used.is_some();
                    warn!(kept, "the certificate cannot be taken: {trouble}");
                    self.metrics.certificates_broken.inc();
                    state.trouble = Some(trouble);
                }
            }
        }
    }

    /// Whether callers can trust what they are shown.
    pub fn is_valid(&self, now: SystemTime) -> Result<(), String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let trouble = || {
            state
                .trouble
                .clone()
                .unwrap_or_else(|| "none was read".to_owned())
        };
        match &state.used {
            None => Err(format!("there is no certificate: {}", trouble())),
            Some(used) => used.valid_at(now).map_err(|error| match &state.trouble {
                Some(trouble) => format!("{error}, and the new one cannot be taken: {trouble}"),
                None => error.to_string(),
            }),
        }
    }

    fn key(&self) -> Option<Arc<CertifiedKey>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.used.as_ref().map(Certificate::key)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}
