//! Writes the report: at once after a quiet time, else at most once in `every`, later when only
//! numbers have moved, and never again what stands there.
//!
//! It is a task of its own, so a slow API server holds up nothing. Now and then everything is
//! applied anew, which changes nothing unless somebody else changed or deleted the report.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::Node as ClusterNode,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Api, Client};
use sluice_crds::{NodeReport, NodeReportSpec, NodeReportStatus};
use sluice_runtime::{
    apply::{self, Applied, ApplyError},
    pause::{Pause, jittered},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::News;
use crate::{
    agent::{Ended, Handle, status::Node},
    maps::Maps,
};

/// Who owns the fields of a report.
pub const MANAGER: &str = "sluice-node-agent";

/// How long numbers may wait for something worth telling, as a multiple of the shortest pause.
const COUNTS: u32 = 30;
/// A report of this size waits twice as long as a small one, one of twice the size three times as long.
const LARGE: usize = 128 * 1024;
/// How often everything is applied anew.
const RENEWAL: Duration = Duration::from_secs(300);
/// The agent is asked no more often than this, however fast it passes.
const ASKING: Duration = Duration::from_millis(50);
/// A new agent has so long to find out what it has to say, before it says that.
const HUSH: Duration = Duration::from_secs(20);
/// How long the API server may take to say who this node is.
const PATIENCE: Duration = Duration::from_secs(10);

const NOT_FOUND: u16 = 404;

/// Keeps the report of one node as the agent sees it.
pub struct Writer<M> {
    agent: Handle<M>,
    /// Told after each turn of the agent that may have something to report.
    turns: watch::Receiver<()>,
    client: Client,
    node: Node,
    schedule: Schedule,
    hushed_until: Instant,
    /// The report is known to exist, and to belong to its Node.
    made: bool,
    /// What stood in the way of the last write.
    obstacle: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("cannot ask who this node is")]
    WhoAmI(#[source] Box<kube::Error>),
    #[error("the API server did not say who this node is")]
    Unanswered,
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl<M: Maps + 'static> Writer<M> {
    /// Writes no more often than once in `every`, or half as often, as chance has it.
    pub fn new(
        agent: Handle<M>,
        turns: watch::Receiver<()>,
        client: Client,
        node: Node,
        every: Duration,
    ) -> Self {
        Self {
            agent,
            turns,
            client,
            node,
            schedule: Schedule::new(every),
            hushed_until: Instant::now() + HUSH,
            made: false,
            obstacle: None,
        }
    }

    /// Reports until the agent ends.
    pub async fn run(mut self) {
        // The only error is that the agent has ended.
        while self.turn().await.is_ok() {}
    }

    /// Looks at the agent once, and waits until there is a reason to look again.
    async fn turn(&mut self) -> Result<(), Ended> {
        self.turns.borrow_and_update();
        let asked = Instant::now();
        let hushed = asked < self.hushed_until;
        let node = self.node.clone();
        let report = self
            .agent
            .ask(move |agent| (agent.has_outcome() || !hushed).then(|| super::of(agent, &node)))
            .await?;
        let due = match report {
            Some(report) => {
                let due = self.schedule.due(&report);
                if due <= asked {
                    let outcome = self.write(&report).await;
                    return self.note(report, outcome).await;
                }
                due
            }
            None => self.hushed_until,
        };
        tokio::select! {
            turned = self.turns.changed() => turned.map_err(|_| Ended)?,
            () = sleep_until(due) => return Ok(()),
        }
        sleep_until(self.schedule.soonest().max(asked + ASKING)).await;
        Ok(())
    }

    async fn write(&mut self, report: &NodeReportStatus) -> Result<(), WriteError> {
        let writer = apply::Writer::new(self.client.clone(), MANAGER);
        if !self.made || self.schedule.is_renewal() {
            self.made = false;
            let object = self.object().await?;
            let applied = writer.object(&object, None).await?;
            debug!(?applied, "the report is there");
            self.made = true;
        }
        let of = ObjectMeta {
            name: Some(self.node.name.clone()),
            ..ObjectMeta::default()
        };
        let nothing_seen: Option<&NodeReportStatus> = None;
        match writer.status::<NodeReport>(&of, report, nothing_seen).await {
            Ok(Applied::Written { version, .. }) => debug!(version, "reported"),
            Ok(Applied::Unchanged) => {}
            Err(error) => {
                self.made &= !matches!(error, ApplyError::Missing { .. });
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// The report without its status. It goes with its Node; a host that is no Node of the cluster
    /// keeps its report.
    async fn object(&self) -> Result<NodeReport, WriteError> {
        let name = self.node.name.as_str();
        let nodes = Api::<ClusterNode>::all(self.client.clone());
        let node = match timeout(PATIENCE, nodes.get(name)).await {
            Ok(Ok(node)) => Some(node),
            Ok(Err(kube::Error::Api(status))) if status.code == NOT_FOUND => None,
            Ok(Err(error)) => return Err(WriteError::WhoAmI(Box::new(error))),
            Err(_) => return Err(WriteError::Unanswered),
        };
        let owner = node
            .and_then(|node| node.metadata.uid)
            .map(|uid| OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: name.to_owned(),
                uid,
                ..OwnerReference::default()
            });
        let mut report = NodeReport::new(name, NodeReportSpec::default());
        report.metadata.owner_references = owner.map(|owner| vec![owner]);
        Ok(report)
    }

    async fn note(
        &mut self,
        report: NodeReportStatus,
        outcome: Result<(), WriteError>,
    ) -> Result<(), Ended> {
        let written = outcome.is_ok();
        match outcome {
            Ok(()) => {
                if self.obstacle.take().is_some() {
                    info!("the report is written again");
                }
                self.schedule.wrote(report, Instant::now());
            }
            Err(error) => {
                self.schedule.failed(Instant::now());
                let text = format!("{:#}", anyhow::Error::from(error));
                // The same obstacle is met at every try.
                if self.obstacle.as_ref() != Some(&text) {
                    warn!(error = text, "cannot write the report; it is tried again");
                    self.obstacle = Some(text);
                }
            }
        }
        self.agent
            .ask(move |agent| agent.note_report(written))
            .await
    }
}

/// When to write what. Each pause is longer by a part at random, lest thousands of nodes that hear
/// of one change write in step ever after.
struct Schedule {
    began: Instant,
    every: Duration,
    written: Option<Written>,
    pause: Pause,
    /// After a failure nothing is written before.
    not_before: Option<Instant>,
}

struct Written {
    report: NodeReportStatus,
    outcome: Instant,
    counts: Instant,
    renewal: Instant,
}

impl Schedule {
    fn new(every: Duration) -> Self {
        Self {
            began: Instant::now(),
            every,
            written: None,
            pause: Pause::default(),
            not_before: None,
        }
    }

    /// When this may be written; in the past for at once.
    fn due(&self, report: &NodeReportStatus) -> Instant {
        match (&self.written, self.not_before) {
            (_, Some(not_before)) => not_before,
            (None, None) => self.began,
            (Some(written), None) => match super::news(&written.report, report) {
                News::Outcome => written.outcome,
                News::Counts => written.counts,
                News::None => written.renewal,
            },
        }
    }

    /// Nothing is due before.
    fn soonest(&self) -> Instant {
        let written = self.written.as_ref().map(|written| written.outcome);
        self.not_before.or(written).unwrap_or(self.began)
    }

    fn is_renewal(&self) -> bool {
        let written = self.written.as_ref();
        written.is_none_or(|written| written.renewal <= Instant::now())
    }

    fn wrote(&mut self, report: NodeReportStatus, now: Instant) {
        // Who makes very many policies makes all nodes write them all: the more there are, the more seldom.
        let parts = super::bytes(&report) / LARGE;
        let every = self.every * u32::try_from(1 + parts).unwrap_or(u32::MAX);
        // Between the whole of it and half as much again.
        let after = |pause: Duration| now + pause / 2 + jittered(pause);
        self.written = Some(Written {
            report,
            outcome: after(every),
            counts: after(every * COUNTS),
            renewal: after(RENEWAL),
        });
        self.pause.reset();
        self.not_before = None;
    }

    fn failed(&mut self, now: Instant) {
        self.not_before = Some(now + self.pause.longer());
    }
}

#[cfg(test)]
mod tests {
    use sluice_crds::{conditions::Reason, report::PolicyReport};

    use super::*;

    const EVERY: Duration = Duration::from_secs(1);

    fn report(drift: u64, ready: bool) -> NodeReportStatus {
        NodeReportStatus {
            drift,
            ready,
            ..NodeReportStatus::default()
        }
    }

    /// Whether a pause is this long, or up to half as much again.
    fn is_about(pause: Duration, expected: Duration) -> bool {
        (expected..=expected * 3 / 2).contains(&pause)
    }

    #[test]
    fn the_first_report_is_written_at_once_and_others_wait_their_turn() {
        let mut schedule = Schedule::new(EVERY);
        assert!(schedule.due(&report(0, true)) <= Instant::now());
        assert!(schedule.is_renewal());
        for _ in 0..100 {
            let now = Instant::now();
            schedule.wrote(report(0, true), now);
            assert!(!schedule.is_renewal());
            let due = |drift, ready| schedule.due(&report(drift, ready)) - now;
            assert!(is_about(due(0, false), EVERY));
            assert!(is_about(due(1, true), EVERY * COUNTS));
            assert!(is_about(due(0, true), RENEWAL));
            assert_eq!(schedule.soonest() - now, due(0, false));
        }
    }

    #[test]
    fn the_largest_report_is_written_seldom() {
        let policy = PolicyReport {
            kind: "TrafficSplit".to_owned(),
            namespace: "shop".to_owned(),
            name: "a".repeat(253),
            uid: "b".repeat(36),
            generation: 1,
            programmed: true,
            backends: 1,
            reason: Reason::Accepted,
            message: String::new(),
        };
        let large = NodeReportStatus {
            policies: vec![policy; 2_500],
            ..NodeReportStatus::default()
        };
        let mut schedule = Schedule::new(EVERY);
        let now = Instant::now();
        schedule.wrote(large, now);
        let due = schedule.due(&report(0, true)) - now;
        assert!(due >= EVERY * 10, "{due:?}");
        schedule.wrote(report(0, true), now);
        assert!(is_about(schedule.due(&report(0, false)) - now, EVERY));
    }

    #[test]
    fn after_failures_nothing_is_written_for_longer_and_longer() {
        let mut schedule = Schedule::new(EVERY);
        let now = Instant::now();
        schedule.wrote(report(0, true), now);
        let pauses: Vec<_> = (0..8)
            .map(|_| {
                schedule.failed(now);
                assert_eq!(schedule.soonest(), schedule.due(&report(0, true)));
                schedule.due(&report(0, false)) - now
            })
            .collect();
        assert!(pauses[7] > pauses[0] * 10, "{pauses:?}");
        schedule.wrote(report(0, false), now);
        schedule.failed(now);
        let again = schedule.due(&report(0, true)) - now;
        assert!(again < pauses[7] / 10, "{again:?} of {pauses:?}");
    }
}
