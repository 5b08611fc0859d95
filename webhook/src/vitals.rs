//! What probes and scrapes are told.

use std::{sync::Arc, time::SystemTime};

use sluice_runtime::{
    admin::{Refused, Vitals},
    shutdown::Shutdown,
};

use crate::{metrics::Metrics, store::Store, tls::Certificates};

#[derive(Clone)]
pub struct Health {
    pub store: Store,
    pub certificates: Arc<Certificates>,
    pub metrics: Arc<Metrics>,
    pub shutdown: Shutdown,
}

impl Vitals for Health {
    async fn alive(&self) -> Result<(), Refused> {
        Ok(())
    }

    /// Questions are answered in full: the cluster is known and the certificate holds. What is known
    /// may be old: an API server that cannot be watched asks nothing either.
    async fn ready(&self) -> Result<(), Refused> {
        if self.shutdown.is_asked() {
            return Err(Refused::unavailable("ending"));
        }
        let awaited: Vec<_> = self
            .store
            .awaited()
            .iter()
            .map(ToString::to_string)
            .collect();
        if !awaited.is_empty() {
            let awaited = awaited.join(", ");
            return Err(Refused::unavailable(format_args!(
                "not listed yet: {awaited}"
            )));
        }
        let valid = self.certificates.is_valid(SystemTime::now());
        valid.map_err(Refused::unavailable)
    }

    async fn metrics(&self) -> Result<String, Refused> {
        self.metrics.encode().map_err(Refused::unavailable)
    }
}
