//! The operator in time: what watches tell, what is due, what became of writes.

use std::{collections::BTreeSet, error::Error, panic};

use jiff::Timestamp;
use sluice_crds::{BalancingPolicy, FrontendGrant, LocalRedirectPolicy, TrafficSplit};
use sluice_model::key::{Kind, Subject};
use sluice_runtime::{
    apply::{Applied, ApplyError, Retry, Writer},
    shutdown::Shutdown,
    watch::Watches,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tracing::{debug, warn};

use crate::{
    admin::{Counts, Fate, Sample},
    events::{self, Events},
    inputs::Told,
    leader::Leadership,
    queue::Queue,
    view::{self, View, Wanted},
};

/// So many writes are under way at a time.
const AT_ONCE: usize = 8;

pub struct Operator {
    view: View,
    queue: Queue<Subject>,
    leadership: Leadership,
    leads: bool,
    writer: Writer,
    events: Events,
    writes: JoinSet<Write>,
    under_way: BTreeSet<Subject>,
    counts: Counts,
}

/// A write that has ended. `None` if the lease was lost before it was sent.
struct Write {
    policy: Subject,
    wanted: Wanted,
    outcome: Option<Result<Applied, ApplyError>>,
}

/// Asks for how it is going.
#[derive(Clone)]
pub struct Handle(mpsc::Sender<oneshot::Sender<Sample>>);

/// Where questions arrive.
pub type Questions = mpsc::Receiver<oneshot::Sender<Sample>>;

/// What asks, and the other end of it.
pub fn handle() -> (Handle, Questions) {
    let (sender, questions) = mpsc::channel(16);
    (Handle(sender), questions)
}

impl Handle {
    /// `None` when the operator is ending.
    pub async fn sample(&self) -> Option<Sample> {
        let (sender, answer) = oneshot::channel();
        self.0.send(sender).await.ok()?;
        answer.await.ok()
    }
}

impl Operator {
    pub fn new(writer: Writer, events: Events, leadership: Leadership) -> Self {
        Self {
            view: View::default(),
            queue: Queue::default(),
            leadership,
            leads: false,
            writer,
            events,
            writes: JoinSet::new(),
            under_way: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    pub async fn run(
        mut self,
        mut watches: Watches<Told>,
        mut questions: Questions,
        shutdown: Shutdown,
    ) {
        let mut asked = std::pin::pin!(shutdown.asked());
        loop {
            let due = self.due();
            tokio::select! {
                () = &mut asked => return,
                told = watches.next() => self.hear(told),
                () = self.leadership.changed() => self.note_leadership(),
                Some(ended) = self.writes.join_next() => self.note(ended),
                () = wait_until(due) => self.start_writes(),
                Some(question) = questions.recv() => {
                    // Fails only when the one who asked went away.
                    let _ = question.send(self.sample());
                }
            }
        }
    }

    /// When a write can be started; never while others lead or enough are under way.
    fn due(&self) -> Option<Instant> {
        let next = self.queue.next()?;
        (self.leads && self.writes.len() < AT_ONCE).then_some(next)
    }

    fn hear(&mut self, told: Vec<Told>) {
        for told in told {
            self.view.hear(told);
        }
        let touched = self.view.take_touched();
        if self.leads {
            let now = Instant::now();
            for policy in touched {
                self.queue.push(policy, now);
            }
        }
    }

    /// A new leader looks at everything: the last one may have left anything half done.
    fn note_leadership(&mut self) {
        self.leads = self.leadership.may_write();
        self.queue.clear();
        if self.leads && self.view.is_complete().is_ok() {
            let now = Instant::now();
            for policy in self.view.policies() {
                self.queue.push(policy.clone(), now);
            }
        }
    }

    fn start_writes(&mut self) {
        let now = Instant::now();
        while self.writes.len() < AT_ONCE {
            let Some(policy) = self.queue.pop(now) else {
                return;
            };
            if self.under_way.contains(&policy) {
                // The answer may change what is wanted. It comes before long.
                self.queue.push_soon(policy, now);
                continue;
            }
            let Some(wanted) = self.view.wanted(&policy, Timestamp::now()) else {
                self.queue.forgive(&policy);
                continue;
            };
            self.under_way.insert(policy.clone());
            let leadership = self.leadership.clone();
            let writer = self.writer.clone();
            let events = self.events.clone();
            self.writes.spawn(async move {
                let outcome = write(&leadership, &writer, &events, policy.kind, &wanted).await;
                Write {
                    policy,
                    wanted,
                    outcome,
                }
            });
        }
    }

    fn note(&mut self, ended: Result<Write, JoinError>) {
        let Write {
            policy,
            wanted,
            outcome,
        } = match ended {
            Ok(write) => write,
            // A fault of the program; to go on would hide it.
            Err(error) => match error.try_into_panic() {
                Ok(fault) => panic::resume_unwind(fault),
                Err(_) => return,
            },
        };
        self.under_way.remove(&policy);
        let now = Instant::now();
        match outcome {
            None => {}
            Some(Ok(Applied::Unchanged)) => {
                self.counts.note(Fate::Unchanged);
                self.queue.forgive(&policy);
            }
            Some(Ok(Applied::Written { fields, version })) => {
                debug!(%policy, ?fields, "wrote the status");
                self.counts.note(Fate::Written);
                self.queue.forgive(&policy);
                self.view.note_written(&policy, &wanted, &version);
            }
            Some(Err(error)) => {
                self.counts.note(Fate::of(&error));
                let retry = error.retry();
                let error = &error as &dyn Error;
                match retry {
                    Retry::Never => {
                        debug!(%policy, error, "the status cannot be written");
                        self.queue.forgive(&policy);
                    }
                    Retry::Soon => {
                        debug!(%policy, error, "the status will be written later");
                        self.queue.push_soon(policy, now);
                    }
                    Retry::Seldom => {
                        warn!(%policy, error, "the status cannot be written");
                        self.queue.push_seldom(policy, now);
                    }
                }
            }
        }
    }

    fn sample(&self) -> Sample {
        Sample {
            complete: self.view.is_complete(),
            leads: self.leadership.may_write(),
            behind: self.view.troubles() as u64,
            policies: self.view.policies().count() as u64,
            nodes: self.view.nodes() as u64,
            queued: self.queue.len() as u64,
            counts: self.counts.clone(),
        }
    }
}

async fn write(
    leadership: &Leadership,
    writer: &Writer,
    events: &Events,
    kind: Kind,
    wanted: &Wanted,
) -> Option<Result<Applied, ApplyError>> {
    if !leadership.may_write() {
        return None;
    }
    let Wanted { meta, status, seen } = wanted;
    let before = view::conditions(seen);
    let seen = Some(seen);
    let outcome = match kind {
        Kind::TrafficSplit => writer.status::<TrafficSplit>(meta, status, seen).await,
        Kind::LocalRedirectPolicy => {
            let outcome = writer.status::<LocalRedirectPolicy>(meta, status, seen);
            outcome.await
        }
        Kind::BalancingPolicy => writer.status::<BalancingPolicy>(meta, status, seen).await,
        Kind::FrontendGrant => writer.status::<FrontendGrant>(meta, status, seen).await,
        _ => return None,
    };
    if let Ok(Applied::Written { .. }) = outcome {
        let happenings = events::between(&before, status.conditions());
        events.publish(kind, meta, happenings).await;
    }
    Some(outcome)
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
