//! Load: connects from several threads, so many or as long as told, each of which asks who answers.
//!
//! The report counts answers by name, and gives every failure its time, stage and error number: "no gap" means that
//! the list of failures is empty, and the number of tries says what that is worth.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::errno::Code;
use crate::program::Transport;

pub use latencies::Latencies;
pub use look_up::{LookUp, Manner};

mod latencies;
mod look_up;
pub(crate) mod worker;

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    pub address: SocketAddr,
    pub transport: Transport,
}

/// What to do; the default is one connect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Taken in turn.
    pub targets: Vec<Target>,
    pub threads: u32,
    /// Ends after so many tries, if given.
    pub times: Option<u64>,
    /// Ends after this time, if given.
    pub lasting: Option<Duration>,
    /// Tries per second, of all threads together; as fast as possible if not given.
    pub rate: Option<f64>,
    /// How long a connect, and then an answer, may take.
    pub patience: Duration,
    /// Keeps the answers in the order in which they came.
    pub in_order: bool,
    /// Keeps when answers began to come from another version.
    pub stretches: bool,
    /// Reads each socket's entry in the socket storage map pinned here.
    pub storage: Option<PathBuf>,
    /// Asks the targets for a name, each thread as one client, instead of connecting to them.
    #[serde(default)]
    pub look_up: Option<LookUp>,
}

/// What has happened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub tries: u64,
    pub elapsed: Duration,
    /// Answers by the name of who answered.
    pub names: BTreeMap<String, u64>,
    /// Answers by the version of who answered.
    pub versions: BTreeMap<String, u64>,
    /// Questions of look-ups that were asked again.
    #[serde(default)]
    pub retries: u64,
    pub failures: Vec<Failure>,
    /// The answering names in order, if that was asked for.
    pub order: Vec<String>,
    /// The answering versions in order, if that was asked for.
    #[serde(default)]
    pub stretches: Vec<Stretch>,
    /// How often a name answered on a socket with this storage, if that was asked for.
    pub storages: Vec<Stored>,
    pub connects: Latencies,
    pub answers: Latencies,
}

/// A time in which all answers came from one version. Connects of several threads make stretches short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    pub version: String,
    /// When its first and its last connect began, since the epoch, by the wall clock.
    pub first: Duration,
    pub last: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Since the epoch, by the wall clock.
    pub at: Duration,
    pub target: Target,
    pub stage: Stage,
    /// ETIMEDOUT also where our own patience ended.
    pub code: Code,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    Open,
    Connect,
    Answer,
    Storage,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub name: String,
    /// None: the socket had no entry.
    pub value: Option<Vec<u8>>,
    pub count: u64,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Answer {
    pub name: String,
    pub version: String,
}

impl Target {
    pub fn tcp(address: impl Into<SocketAddr>) -> Self {
        Self {
            address: address.into(),
            transport: Transport::Tcp,
        }
    }

    pub fn udp(address: impl Into<SocketAddr>) -> Self {
        Self {
            address: address.into(),
            transport: Transport::Udp,
        }
    }
}

impl FromStr for Target {
    type Err = String;

    /// Reads `ADDRESS:PORT`, `tcp/ADDRESS:PORT` or `udp/ADDRESS:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (transport, address) = match text.split_once('/') {
            None | Some(("tcp", _)) => (Transport::Tcp, text.trim_start_matches("tcp/")),
            Some(("udp", address)) => (Transport::Udp, address),
            Some((other, _)) => return Err(format!("{other:?} is neither tcp nor udp")),
        };
        let address = address.parse().map_err(|_| {
            format!("{address:?} is no address with a port, such as 10.0.0.1:80 or [fd00::1]:80")
        })?;
        Ok(Self { address, transport })
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::tcp(address)
    }
}

impl Load {
    pub fn on(targets: impl IntoIterator<Item = impl Into<Target>>) -> Self {
        Self {
            targets: targets.into_iter().map(Into::into).collect(),
            threads: 1,
            times: Some(1),
            lasting: None,
            rate: None,
            patience: Duration::from_secs(5),
            in_order: false,
            stretches: false,
            storage: None,
            look_up: None,
        }
    }

    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    pub fn lasting(mut self, duration: Duration) -> Self {
        (self.times, self.lasting) = (None, Some(duration));
        self
    }

    /// Goes on until it is stopped, see [`Orders::start_load`](crate::pod::Orders::start_load).
    pub fn until_stopped(mut self) -> Self {
        (self.times, self.lasting) = (None, None);
        self
    }

    pub fn threads(mut self, threads: u32) -> Self {
        self.threads = threads;
        self
    }

    pub fn rate(mut self, per_second: f64) -> Self {
        self.rate = Some(per_second);
        self
    }

    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub fn in_order(mut self) -> Self {
        self.in_order = true;
        self
    }

    pub fn stretches(mut self) -> Self {
        self.stretches = true;
        self
    }

    pub fn storage(mut self, pin: impl AsRef<Path>) -> Self {
        self.storage = Some(pin.as_ref().to_owned());
        self
    }

    /// Looks a name up, instead of connecting.
    pub fn looking_up(mut self, name: impl Into<String>, manner: Manner) -> Self {
        let name = name.into();
        self.look_up = Some(LookUp { name, manner });
        self
    }

    /// Runs it in this process.
    pub fn run(self) -> Report {
        worker::Course::new(self).run()
    }
}

impl Report {
    pub fn answered(&self) -> u64 {
        self.names.values().sum()
    }

    /// How often this name answered.
    pub fn of(&self, name: &str) -> u64 {
        self.names.get(name).copied().unwrap_or(0)
    }

    /// How often this version answered.
    pub fn of_version(&self, version: &str) -> u64 {
        self.versions.get(version).copied().unwrap_or(0)
    }

    pub(crate) fn count(&mut self, answer: &Answer) {
        *self.names.entry(answer.name.clone()).or_default() += 1;
        *self.versions.entry(answer.version.clone()).or_default() += 1;
    }

    pub(crate) fn stretch(&mut self, version: &str, at: Duration) {
        match self.stretches.last_mut() {
            Some(stretch) if stretch.version == version => stretch.last = at,
            _ => self.stretches.push(Stretch {
                version: version.to_owned(),
                first: at,
                last: at,
            }),
        }
    }

    /// Adds what another client has seen.
    pub fn merge(&mut self, other: Self) {
        let Self {
            tries,
            elapsed,
            names,
            versions,
            retries,
            failures,
            order,
            stretches,
            storages,
            connects,
            answers,
        } = other;
        self.tries += tries;
        self.retries += retries;
        self.elapsed = self.elapsed.max(elapsed);
        for (name, count) in names {
            *self.names.entry(name).or_default() += count;
        }
        for (version, count) in versions {
            *self.versions.entry(version).or_default() += count;
        }
        self.failures.extend(failures);
        self.failures.sort_by_key(|failure| failure.at);
        self.order.extend(order);
        self.stretches.extend(stretches);
        self.storages = merged(self.storages.drain(..).chain(storages));
        self.connects.merge(&connects);
        self.answers.merge(&answers);
    }
}

/// Equal entries become one.
fn merged(storages: impl Iterator<Item = Stored>) -> Vec<Stored> {
    let mut counts = BTreeMap::<_, u64>::new();
    for Stored { name, value, count } in storages {
        *counts.entry((name, value)).or_default() += count;
    }
    let entry = |((name, value), count)| Stored { name, value, count };
    counts.into_iter().map(entry).collect()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.transport, self.address)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            target,
            stage,
            code,
        } = self;
        write!(f, "{:.6} {target} {stage:?}: {code}", at.as_secs_f64())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tries, failed) = (self.tries, self.failures.len());
        write!(
            f,
            "{tries} tries in {:.3} s, {failed} failed",
            self.elapsed.as_secs_f64()
        )?;
        if self.retries > 0 {
            write!(f, ", {} asked again", self.retries)?;
        }
        for (name, count) in &self.names {
            write!(f, ", {name} {count}")?;
        }
        if self.connects.count() > 0 {
            let [middle, high] = [0.5, 0.99].map(|share| self.connects.quantile(share));
            write!(f, "; connect p50 {middle:?} p99 {high:?}")?;
        }
        for failure in self.failures.iter().take(10) {
            write!(f, "\n  {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_one_version_in_a_row_are_one_stretch() {
        let mut report = Report::default();
        for (version, at) in [("old", 1), ("old", 2), ("new", 3), ("old", 4)] {
            report.stretch(version, Duration::from_secs(at));
        }
        let stretches: Vec<_> = report
            .stretches
            .iter()
            .map(|stretch| {
                (
                    &*stretch.version,
                    stretch.first.as_secs(),
                    stretch.last.as_secs(),
                )
            })
            .collect();
        assert_eq!(stretches, [("old", 1, 2), ("new", 3, 3), ("old", 4, 4)]);
    }

    #[test]
    fn targets_are_read_as_they_are_written() {
        for text in ["tcp/10.0.0.1:80", "udp/[fd00::1]:53"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!("10.0.0.1:80".parse(), Ok(Target::tcp(([10, 0, 0, 1], 80))));
        for text in ["10.0.0.1", "sctp/10.0.0.1:80", "udp/", ""] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
