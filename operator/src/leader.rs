//! Who of several operators leads: the holder of a Lease.
//!
//! A leader may write for a little less time than the others wait. Both sides measure on their own
//! clock, from what they themselves saw: no clock is compared with another machine's, and the clock
//! in use goes on while the process or the machine is stopped. Each change of the Lease names the
//! version that it is based on, so of two who try only one gets it.

mod lease;

use std::{error::Error, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};
use sluice_runtime::{client::Server, pause::jittered, shutdown::Shutdown};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

pub use lease::Moment;
use lease::{Move, Observer};

/// The name of the Lease.
pub const LEASE: &str = "sluice-operator";

/// The others take over when the Lease has not changed for so long.
const DURATION: Duration = Duration::from_secs(15);
/// The leader stops writing when it has not renewed for so long.
const TENURE: Duration = Duration::from_secs(10);
/// How often the leader renews, and the others look.
const EVERY: Duration = Duration::from_secs(2);
/// How long the API server may take to answer one request.
const PATIENCE: Duration = Duration::from_secs(4);

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;

/// Whether this process leads, for everybody in it who writes.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Tenure>);

#[derive(Clone, Copy, Debug, Default)]
struct Tenure {
    leads: bool,
    until: Moment,
}

/// Tries to become the leader, and to stay it.
pub struct Candidate {
    api: Api<Lease>,
    observer: Observer,
    tenure: watch::Sender<Tenure>,
    /// The Lease as it was written last, to give it back.
    held: Option<Lease>,
    troubled: bool,
}

#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("cannot read or write the Lease {LEASE}")]
    Request(#[from] kube::Error),
    #[error("the API server did not answer about the Lease {LEASE}")]
    Unanswered,
}

impl Leadership {
    /// To be asked right before each write.
    pub fn may_write(&self) -> bool {
        let Tenure { leads, until } = *self.0.borrow();
        leads && Moment::now() < until
    }

    /// Waits until this process becomes the leader, or is none any more.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The candidate has ended, which is said before.
            std::future::pending::<()>().await;
        }
    }
}

impl Candidate {
    pub fn new(server: &Server, namespace: &str, identity: &str) -> (Self, Leadership) {
        let (tenure, leadership) = watch::channel(Tenure::default());
        let candidate = Self {
            api: Api::namespaced(server.client.clone(), namespace),
            observer: Observer::new(identity),
            tenure,
            held: None,
            troubled: false,
        };
        (candidate, Leadership(leadership))
    }

    /// Until the program ends; then gives the Lease back, so that another need not wait.
    pub async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_asked() {
            match self.attempt().await {
                Ok(()) => self.troubled = false,
                Err(error) => {
                    if !std::mem::replace(&mut self.troubled, true) {
                        warn!(
                            error = &error as &dyn Error,
                            "the lease cannot be looked after"
                        );
                    }
                }
            }
            self.expire();
            tokio::select! {
                () = shutdown.clone().asked() => {}
                () = sleep(jittered(EVERY)) => {}
            }
        }
        self.resign().await;
    }

    async fn attempt(&mut self) -> Result<(), LeaseError> {
        let began = Moment::now();
        let lease = match within(self.api.get(LEASE)).await {
            Err(LeaseError::Request(error)) if code(&error) == Some(NOT_FOUND) => None,
            lease => Some(lease?),
        };
        let spec = lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let spec = match self.observer.decide(spec, began) {
            Move::Wait => {
                self.lose("another one holds the lease");
                return Ok(());
            }
            Move::Take { transitions } => LeaseSpec {
                acquire_time: Some(MicroTime(Timestamp::now())),
                lease_transitions: Some(transitions),
                ..self.spec()
            },
            Move::Renew => LeaseSpec {
                acquire_time: spec.and_then(|spec| spec.acquire_time.clone()),
                lease_transitions: spec.and_then(|spec| spec.lease_transitions),
                ..self.spec()
            },
        };
        let params = PostParams::default();
        let written = match lease {
            Some(mut lease) => {
                lease.spec = Some(spec);
                within(self.api.replace(LEASE, &params, &lease)).await
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(LEASE.to_owned()),
                    ..ObjectMeta::default()
                };
                let lease = Lease {
                    metadata,
                    spec: Some(spec),
                };
                within(self.api.create(&params, &lease)).await
            }
        };
        match written {
            Ok(lease) => {
                self.held = Some(lease);
                self.win(began);
                Ok(())
            }
            Err(LeaseError::Request(error)) if code(&error) == Some(CONFLICT) => {
                debug!("another one was faster");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn spec(&self) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.observer.identity().to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }
    }

    /// The others count from when they see the Lease change, which is after `began`.
    fn win(&self, began: Moment) {
        let won = self.tenure.send_if_modified(|tenure| {
            // Who asked in between was told not to write, and has to know that it may again.
            let lapsed = Moment::now() >= tenure.until;
            tenure.until = began.after(TENURE);
            !std::mem::replace(&mut tenure.leads, true) || lapsed
        });
        if won {
            info!(identity = self.observer.identity(), "leading");
        }
    }

    fn lose(&self, why: &str) {
        let lost = self
            .tenure
            .send_if_modified(|tenure| std::mem::replace(&mut tenure.leads, false));
        if lost {
            warn!(why, "leading no more");
        }
    }

    fn expire(&self) {
        if Moment::now() >= self.tenure.borrow().until {
            self.lose("the lease could not be renewed in time");
        }
    }

    async fn resign(&mut self) {
        let led = self.tenure.borrow().leads;
        self.lose("the program ends");
        let Some(mut lease) = self.held.take().filter(|_| led) else {
            return;
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        let params = PostParams::default();
        let released = self.api.replace(LEASE, &params, &lease);
        if let Err(error) = within(released).await {
            debug!(error = &error as &dyn Error, "the lease was not given back");
        }
    }
}

async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
    match timeout(PATIENCE, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(LeaseError::Unanswered),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
