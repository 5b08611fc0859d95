//! The webhook's certificates: an authority of our own, a serving certificate, and the authority's
//! certificate where the API server looks for it.
//!
//! They are in two Secrets, so that the webhook need not see the authority's key. What somebody
//! deletes or breaks is put right when it is seen. New trust is written before what needs it.

pub mod material;
pub mod rotation;
mod stored;

use std::{collections::BTreeSet, error::Error, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::Secret,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use sluice_runtime::{
    apply::{Applied, ApplyError, Writer},
    client::Server,
    pause::Pause,
    shutdown::Shutdown,
    watch::Watches,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use crate::leader::Leadership;
use material::Certificate;
use rotation::{Lifetimes, Wanted};
use stored::{AUTHORITY, Hooks, Kept, SERVICE, SERVING, Seen, Told};

/// Who owns the fields of Secrets and the configurations' `caBundle`.
const MANAGER: &str = "sluice-operator-certificates";

/// At least so often everything is looked at, whatever the clock was set to meanwhile.
const LOOK: Duration = Duration::from_secs(3600);

/// At most so often.
const SHORTEST: Duration = Duration::from_secs(1);

/// When the certificates in force expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiries {
    pub authority: Option<Timestamp>,
    pub serving: Option<Timestamp>,
}

/// Looks after the certificates.
pub struct Keeper {
    namespace: String,
    names: BTreeSet<String>,
    lifetimes: Lifetimes,
    leadership: Leadership,
    writer: Writer,
    watches: Watches<Told>,
    seen: Seen,
    expiries: watch::Sender<Expiries>,
    pause: Pause,
}

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("others lead now")]
    LeadsNoMore,
}

impl Keeper {
    /// For the webhook in this namespace.
    pub fn new(
        server: &Server,
        namespace: &str,
        leadership: Leadership,
    ) -> (Self, watch::Receiver<Expiries>) {
        let (expiries, receiver) = watch::channel(Expiries::default());
        let names = ["", ".svc", ".svc.cluster.local"];
        let keeper = Self {
            namespace: namespace.to_owned(),
            names: names
                .map(|domain| format!("{SERVICE}.{namespace}{domain}"))
                .into(),
            lifetimes: Lifetimes::default(),
            leadership,
            writer: Writer::new(server.client.clone(), MANAGER),
            watches: stored::watch(server, namespace),
            seen: Seen::default(),
            expiries,
            pause: Pause::default(),
        };
        (keeper, receiver)
    }

    /// Until the program ends.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut asked = std::pin::pin!(shutdown.asked());
        let mut again = Instant::now() + LOOK;
        loop {
            tokio::select! {
                () = &mut asked => return,
                told = self.watches.next() => told.into_iter().for_each(|told| self.seen.hear(told)),
                () = self.leadership.changed() => {}
                () = sleep_until(again) => {}
            }
            self.publish();
            if !self.seen.is_complete() || !self.leadership.may_write() {
                again = Instant::now() + LOOK;
                continue;
            }
            again = Instant::now()
                + match self.keep().await {
                    Ok(pause) => {
                        self.pause.reset();
                        pause.min(LOOK)
                    }
                    Err(error) => {
                        let error = &error as &dyn Error;
                        warn!(error, "the certificates cannot be looked after");
                        self.pause.longer()
                    }
                };
            self.publish();
        }
    }

    /// Puts right what is not; gives the time until something is due.
    async fn keep(&mut self) -> Result<Duration, KeepError> {
        let now = Timestamp::now();
        let stored = self.seen.stored();
        let wanted = Wanted::of(stored, &self.names, now, &self.lifetimes)?;
        let bundle = wanted.bundle();

        let authority = self.seen.authority.wanted(
            AUTHORITY,
            &self.namespace,
            [
                ("ca.crt", wanted.authority.certificate.pem()),
                ("ca.key", wanted.authority.key()),
                ("former.crt", &wanted.former()),
            ],
        );
        let written = self.apply(&authority, self.seen.authority.get()).await?;
        self.seen.authority.note(authority, written);

        // Without the webhook there is nothing to be told whom to trust. Where telling it fails, the
        // server gets its certificate all the same: it may have none.
        let told = self.tell_whom_to_trust(&bundle).await;

        let serving = self.seen.serving.wanted(
            SERVING,
            &self.namespace,
            [
                ("tls.crt", wanted.serving.certificate.pem()),
                ("tls.key", wanted.serving.key()),
                ("ca.crt", &bundle),
            ],
        );
        let written = self.apply(&serving, self.seen.serving.get()).await?;
        self.seen.serving.note(serving, written);
        told?;
        let pause = wanted.until.duration_since(now);
        Ok(Duration::try_from(pause).unwrap_or_default().max(SHORTEST))
    }

    async fn apply(&self, wanted: &Secret, seen: Option<&Secret>) -> Result<Applied, KeepError> {
        if !self.leadership.may_write() {
            return Err(KeepError::LeadsNoMore);
        }
        let applied = self.writer.object(wanted, seen).await?;
        if let Applied::Written { fields, .. } = &applied {
            let secret = wanted.metadata.name.as_deref().unwrap_or_default();
            info!(secret, ?fields, "wrote certificates");
        }
        Ok(applied)
    }

    async fn tell_whom_to_trust(&mut self, bundle: &str) -> Result<(), KeepError> {
        let validating = self.seen.validating.clone();
        let mutating = self.seen.mutating.clone();
        self.trust::<ValidatingWebhookConfiguration>(&validating, bundle)
            .await?;
        self.trust::<MutatingWebhookConfiguration>(&mutating, bundle)
            .await
    }

    async fn trust<K: Resource<DynamicType = ()>>(
        &self,
        hooks: &Kept<Hooks>,
        bundle: &str,
    ) -> Result<(), KeepError> {
        let Some(hooks) = hooks.get() else {
            return Ok(());
        };
        let Some(fields) = hooks.fields(bundle) else {
            return Ok(());
        };
        if !self.leadership.may_write() {
            return Err(KeepError::LeadsNoMore);
        }
        let of = ObjectMeta {
            name: Some(SERVICE.to_owned()),
            resource_version: hooks.version.clone(),
            ..ObjectMeta::default()
        };
        let applied = self.writer.fields::<K>(&of, fields).await?;
        debug!(kind = %K::kind(&()), ?applied, "said whom to trust");
        Ok(())
    }

    fn publish(&self) {
        let stored = self.seen.stored();
        let expires = |certificate: &Certificate| certificate.expires();
        self.expiries.send_replace(Expiries {
            authority: stored.authority.map(|pair| expires(&pair.certificate)),
            serving: stored.serving.map(|pair| expires(&pair.certificate)),
        });
    }
}
