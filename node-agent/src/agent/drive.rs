//! The agent in time: news, questions, retries, and looking after itself.

use std::{error::Error, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::{debug, error, info, warn};

use super::{Agent, Done};
use crate::{
    inputs::{Input, Problem},
    maps::Maps,
    memory,
    program::AttachError,
};

/// A write that failed is tried again after this, then after twice as long, and so on.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// A pass over so many Services leaves much that was freed.
const MANY: usize = 1_000;

type Question<M> = Box<dyn FnOnce(&mut Agent<M>) + Send>;

/// Asks the agent from elsewhere; answered between two passes.
pub struct Handle<M>(mpsc::Sender<Question<M>>);

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The agent has ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the agent is ending")]
pub struct Ended;

impl<M: 'static> Handle<M> {
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Agent<M>) -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let (sender, answer) = oneshot::channel();
        let question: Question<M> = Box::new(move |agent| {
            // Fails only when the one who asked went away.
            let _ = sender.send(question(agent));
        });
        self.0.send(question).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }
}

/// What asks, and the other end of it.
pub fn handle<M>() -> (Handle<M>, mpsc::Receiver<Question<M>>) {
    let (sender, questions) = mpsc::channel(64);
    (Handle(sender), questions)
}

/// Puts the programs where they belong; says how many were not.
pub trait Attach {
    fn attach(&mut self) -> Result<usize, AttachError>;
}

/// Runs the agent until `stop` is done. The kernel goes on as it was left.
///
/// Programs are attached after the first pass: before, they would look into maps that may be empty.
/// `turns` is told after everything that may have changed what the agent would report.
pub async fn drive<M: Maps>(
    mut agent: Agent<M>,
    mut input: impl Input,
    mut programs: impl Attach,
    mut questions: mpsc::Receiver<Question<M>>,
    turns: watch::Sender<()>,
    check_every: Duration,
    stop: impl Future<Output = ()>,
) {
    let mut stop = std::pin::pin!(stop);
    let mut check = interval(check_every);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retry = Retry::default();
    let mut attached = false;
    loop {
        let done = tokio::select! {
            () = &mut stop => return,
            news = input.next() => {
                report_problems(agent.problems(), &news.problems);
                agent.hear(news);
                pass(&mut agent)
            }
            () = retry.due() => pass(&mut agent),
            Some(question) = questions.recv() => {
                question(&mut agent);
                // Most only ask; who follows the cgroups brings news.
                if !agent.has_news() {
                    continue;
                }
                pass(&mut agent)
            }
            _ = check.tick(), if attached => {
                look_after(&mut agent, &mut programs);
                pass(&mut agent)
            }
        };
        if done.as_ref().is_some_and(|done| done.compiled >= MANY) {
            memory::give_back();
        }
        if done.is_some() && !attached {
            attached = true;
            check.reset_immediately();
        }
        retry.note(done);
        turns.send_replace(());
    }
}

/// Puts right what somebody else changed, and asks whether connects are steered at all.
fn look_after<M: Maps>(agent: &mut Agent<M>, programs: &mut impl Attach) {
    match agent.reread() {
        Ok(0) => {}
        Ok(places) => warn!(places, "the maps had been changed by somebody else"),
        Err(error) => error!(error = &error as &dyn Error, "cannot read the maps"),
    }
    match programs.attach() {
        Ok(0) => {}
        Ok(programs) => info!(programs, "attached"),
        Err(error) => error!(error = &error as &dyn Error, "cannot attach"),
    }
    match agent.test_self() {
        Ok(passed) => debug!(addresses = ?passed.addresses, "self-test passed"),
        Err(failure) => error!(%failure, "self-test failed"),
    }
}

/// One pass, and another if it gave back room that a Service was waiting for.
fn pass<M: Maps>(agent: &mut Agent<M>) -> Option<Done> {
    let done = turn(agent)?;
    if done.failed.is_empty() && agent.state().wants_pass() {
        return turn(agent);
    }
    Some(done)
}

fn turn<M: Maps>(agent: &mut Agent<M>) -> Option<Done> {
    let done = agent.pass()?;
    for error in &done.failed {
        debug!(error = error as &dyn Error, "a write failed");
    }
    if !done.is_idle() {
        info!(
            compiled = done.compiled,
            changed = done.changed,
            written = done.written,
            failed = done.failed.len(),
            skipped = done.skipped,
            in_force_us = done.in_force.as_micros(),
            took_us = done.took.as_micros(),
            "pass",
        );
    }
    Some(done)
}

fn report_problems(before: &[Problem], now: &[Problem]) {
    for problem in now.iter().filter(|problem| !before.contains(problem)) {
        warn!(%problem, "an input has a problem");
    }
    for problem in before.iter().filter(|problem| !now.contains(problem)) {
        info!(place = %problem.place, "no longer a problem");
    }
}

/// When to try failed writes again.
#[derive(Debug, Default)]
struct Retry {
    at: Option<Instant>,
    pause: Duration,
}

impl Retry {
    fn note(&mut self, done: Option<Done>) {
        let Some(done) = done else { return };
        if done.failed.is_empty() {
            *self = Self::default();
            return;
        }
        self.pause = (self.pause * 2).clamp(RETRY_FIRST, RETRY_LAST);
        self.at = Some(Instant::now() + self.pause);
        warn!(failed = done.failed.len(), again_in = ?self.pause, "some writes failed");
    }

    async fn due(&self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
