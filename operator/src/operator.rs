//! The operator in time: what watches tell, what is due, what became of writes.

use std::{collections::BTreeSet, error::Error, panic};

use jiff::Timestamp;
use sluice_runtime::{
    apply::{ApplyError, Retry, Writer},
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
    events::Events,
    inputs::Told,
    leader::Leadership,
    queue::Queue,
    view::View,
    work::{Done, Hands, Order, Work},
};

/// So many writes are under way at a time.
const AT_ONCE: usize = 8;

pub struct Operator {
    view: View,
    queue: Queue<Work>,
    leadership: Leadership,
    leads: bool,
    hands: Hands,
    writes: JoinSet<Write>,
    under_way: BTreeSet<Work>,
    statuses: Counts,
    groups: Counts,
}

/// A write that has ended. `None` if the lease was lost before it was sent.
struct Write {
    work: Work,
    order: Order,
    outcome: Option<Result<Done, ApplyError>>,
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
            leadership: leadership.clone(),
            leads: false,
            hands: Hands {
                leadership,
                writer,
                events,
            },
            writes: JoinSet::new(),
            under_way: BTreeSet::new(),
            statuses: Counts::default(),
            groups: Counts::default(),
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
        let policies = self.view.take_touched();
        let groups = self.view.take_touched_groups();
        if self.leads {
            let now = Instant::now();
            let work = policies.into_iter().map(Work::Status);
            for work in work.chain(groups.into_iter().map(Work::Group)) {
                self.queue.push(work, now);
            }
        }
    }

    /// A new leader looks at everything: the last one may have left anything half done.
    fn note_leadership(&mut self) {
        self.leads = self.leadership.may_write();
        self.queue.clear();
        if self.leads && self.view.is_complete().is_ok() {
            let now = Instant::now();
            let work = self.view.policies().cloned().map(Work::Status);
            let groups = self.view.groups().into_iter().map(Work::Group);
            for work in work.chain(groups) {
                self.queue.push(work, now);
            }
        }
    }

    fn start_writes(&mut self) {
        let now = Instant::now();
        while self.writes.len() < AT_ONCE {
            let Some(work) = self.queue.pop(now) else {
                return;
            };
            if self.under_way.contains(&work) {
                // The answer may change what is wanted. It comes before long.
                self.queue.push_soon(work, now);
                continue;
            }
            let Some(order) = self.order(&work) else {
                self.queue.settle(&work);
                continue;
            };
            self.under_way.insert(work.clone());
            let hands = self.hands.clone();
            self.writes.spawn(async move {
                let outcome = hands.carry_out(&work, &order).await;
                Write {
                    work,
                    order,
                    outcome,
                }
            });
        }
    }

    fn order(&self, work: &Work) -> Option<Order> {
        match work {
            Work::Status(policy) => {
                let wanted = self.view.wanted(policy, Timestamp::now())?;
                Some(Order::Status(Box::new(wanted)))
            }
            Work::Group(service) => self.view.deed(service).map(Order::Group),
        }
    }

    fn note(&mut self, ended: Result<Write, JoinError>) {
        let Write {
            work,
            order,
            outcome,
        } = match ended {
            Ok(write) => write,
            // A fault of the program; to go on would hide it.
            Err(error) => match error.try_into_panic() {
                Ok(fault) => panic::resume_unwind(fault),
                Err(_) => return,
            },
        };
        self.under_way.remove(&work);
        let Some(outcome) = outcome else {
            return;
        };
        let counts = match &work {
            Work::Status(_) => &mut self.statuses,
            Work::Group(_) => &mut self.groups,
        };
        counts.note(Fate::of(&outcome));
        match outcome {
            Ok(done) => {
                debug!(%work, ?done, "looked after");
                self.queue.forgive(&work);
                if done == Done::Removed {
                    // Should the next thing be to make it again, that has time.
                    self.queue.rest(work.clone(), Instant::now());
                }
                if let (Work::Status(policy), Order::Status(wanted)) = (&work, &order)
                    && let Done::Written { version, .. } = &done
                {
                    self.view.note_written(policy, wanted, version);
                }
            }
            Err(error) => self.note_failure(work, &error),
        }
    }

    fn note_failure(&mut self, work: Work, error: &ApplyError) {
        let now = Instant::now();
        let retry = error.retry();
        let error = error as &dyn Error;
        match retry {
            Retry::Never => {
                debug!(%work, error, "it cannot be written");
                self.queue.forgive(&work);
            }
            Retry::Soon => {
                debug!(%work, error, "it will be written later");
                self.queue.push_soon(work, now);
            }
            Retry::Seldom => {
                warn!(%work, error, "it cannot be written");
                self.queue.push_seldom(work, now);
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
            statuses: self.statuses.clone(),
            groups: self.groups.clone(),
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
