//! The certificate, taken anew whenever its files change, without a connection noticing.
//!
//! What does not work is never taken: half a file, a key of another certificate, one that is not
//! valid now. The certificate before it stays in use, and log and metrics say so.

mod callers;
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
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use tracing::{info, warn};

use callers::Callers;
pub use certificate::{Certificate, CertificateError};
pub use follow::WatchError;

use crate::metrics::Metrics;

/// The certificate in use, if there is one.
pub struct Certificates {
    dir: PathBuf,
    provider: Arc<CryptoProvider>,
    metrics: Arc<Metrics>,
    state: RwLock<State>,
    /// Everybody may ask where there are none.
    callers: Option<Arc<Callers>>,
}

#[derive(Default)]
struct State {
    used: Option<Certificate>,
    /// Why what the files hold now is not in use.
    trouble: Option<String>,
}

impl Certificates {
    /// Callers need a certificate if a file with their authorities is given: of one of these common names,
    /// where any are.
    pub fn new(
        dir: PathBuf,
        callers: Option<(PathBuf, Vec<String>)>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let provider = Arc::new(ring::default_provider());
        let callers =
            callers.map(|(file, names)| Arc::new(Callers::new(file, names, Arc::clone(&provider))));
        Arc::new(Self {
            dir,
            provider,
            metrics,
            state: RwLock::default(),
            callers,
        })
    }

    /// TLS 1.2 or later, HTTP/2 preferred.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?;
        let config = match &self.callers {
            Some(callers) => {
                let callers = Arc::clone(callers);
                config.with_client_cert_verifier(callers as Arc<dyn ClientCertVerifier>)
            }
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        if self.callers.is_some() {
            // A session that is taken up again asks for no certificate: it would outlive its authority.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Takes what the files hold, if it is another certificate and works. Reads files.
    pub fn reload(&self, now: SystemTime) {
        if let Some(callers) = &self.callers {
            callers.reload();
        }
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

    /// Whether callers can trust what they are shown, and can be let in.
    pub fn is_valid(&self, now: SystemTime) -> Result<(), String> {
        if let Some(callers) = &self.callers {
            callers.is_known()?;
        }
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
