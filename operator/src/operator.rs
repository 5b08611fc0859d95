//! The operator in time: what watches tell, what is due, what became of writes.

use std::{collections::BTreeSet, error::Error, panic};

use jiff::Timestamp;
use sluice_crds::TrafficSplit;
use sluice_model::key::SplitKey;
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
    queue: Queue<SplitKey>,
    leadership: Leadership,
    leads: bool,
    writer: Writer,
    events: Events,
    writes: JoinSet<Write>,
    under_way: BTreeSet<SplitKey>,
    counts: Counts,
}

/// A write that has ended. `None` if the lease was lost before it was sent.
struct Write {
    key: SplitKey,
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
            for split in touched {
                self.queue.push(split, now);
            }
        }
    }

    /// A new leader looks at everything: the last one may have left anything half done.
    fn note_leadership(&mut self) {
        self.leads = self.leadership.may_write();
        self.queue.clear();
        if self.leads && self.view.is_complete().is_ok() {
            let now = Instant::now();
            for split in self.view.splits() {
                self.queue.push(split.clone(), now);
            }
        }
    }

    fn start_writes(&mut self) {
        let now = Instant::now();
        while self.writes.len() < AT_ONCE {
            let Some(key) = self.queue.pop(now) else {
                return;
            };
            if self.under_way.contains(&key) {
                // The answer may change what is wanted. It comes before long.
                self.queue.push_soon(key, now);
                continue;
            }
            let Some(wanted) = self.view.wanted(&key, Timestamp::now()) else {
                self.queue.forgive(&key);
                continue;
            };
            self.under_way.insert(key.clone());
            let leadership = self.leadership.clone();
            let writer = self.writer.clone();
            let events = self.events.clone();
            self.writes.spawn(async move {
                let outcome = write(&leadership, &writer, &events, &wanted).await;
                Write {
                    key,
                    wanted,
                    outcome,
                }
            });
        }
    }

    fn note(&mut self, ended: Result<Write, JoinError>) {
        let Write {
            key,
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
        self.under_way.remove(&key);
        let now = Instant::now();
        match outcome {
            None => {}
            Some(Ok(Applied::Unchanged)) => {
                self.counts.note(Fate::Unchanged);
                self.queue.forgive(&key);
            }
            Some(Ok(Applied::Written { fields, version })) => {
                debug!(split = %key, ?fields, "wrote the status");
                self.counts.note(Fate::Written);
                self.queue.forgive(&key);
                self.view.note_written(&key, &wanted, &version);
            }
            Some(Err(error)) => {
                self.counts.note(Fate::of(&error));
                let retry = error.retry();
                let error = &error as &dyn Error;
                match retry {
                    Retry::Never => {
                        debug!(split = %key, error, "the status cannot be written");
                        self.queue.forgive(&key);
                    }
                    Retry::Soon => {
                        debug!(split = %key, error, "the status will be written later");
                        self.queue.push_soon(key, now);
                    }
                    Retry::Seldom => {
                        warn!(split = %key, error, "the status cannot be written");
                        self.queue.push_seldom(key, now);
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
            splits: self.view.splits().count() as u64,
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
    wanted: &Wanted,
) -> Option<Result<Applied, ApplyError>> {
    if !leadership.may_write() {
        return None;
    }
    let Wanted { meta, status, seen } = wanted;
    let outcome = writer
        .status::<TrafficSplit>(meta, status, Some(seen))
        .await;
    if let Ok(Applied::Written { .. }) = outcome {
        let before = view::conditions(seen);
        let happenings = events::between(&before, &status.conditions);
        events.publish(meta, happenings).await;
    }
    Some(outcome)
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
