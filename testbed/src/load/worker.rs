//! Carries out a load in this process.

use std::mem;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use super::look_up::Resolver;
use super::{Answer, Failure, Load, Report, Stage, Stored, Target};
use crate::bpf;
use crate::program::{Family, Transport, socket};

/// A thread looks for the wish to stop at least this often while it waits for its turn.
const GLANCE: Duration = Duration::from_millis(20);

/// What is common to the threads of a load.
#[derive(Debug)]
pub(crate) struct Course {
    load: Load,
    started: Instant,
    taken: AtomicU64,
    stopped: AtomicBool,
    report: Mutex<Report>,
}

/// One answer and how long it took.
pub(super) struct Asked {
    pub(super) answer: Answer,
    pub(super) storage: Option<Option<Vec<u8>>>,
    pub(super) connect: Option<Duration>,
    pub(super) whole: Duration,
}

impl Course {
    pub(crate) fn new(load: Load) -> Arc<Self> {
        Arc::new(Self {
            load,
            started: Instant::now(),
            taken: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            report: Mutex::default(),
        })
    }

    /// Runs the load to its end.
    pub(crate) fn run(&self) -> Report {
        if !self.load.targets.is_empty() {
            thread::scope(|scope| {
                for _ in 0..self.load.threads {
                    scope.spawn(|| self.work());
                }
            });
        }
        let report = mem::take(&mut *self.report.lock().unwrap_or_else(PoisonError::into_inner));
        let mut whole = Report::default();
        whole.merge(report);
        whole.elapsed = self.started.elapsed();
        whole
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// What all threads have seen until now, without the lists that grow with every try.
    pub(crate) fn so_far(&self) -> Report {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            tries: report.tries,
            elapsed: self.started.elapsed(),
            names: report.names.clone(),
            versions: report.versions.clone(),
            retries: report.retries,
            failures: report.failures.clone(),
            connects: report.connects.clone(),
            answers: report.answers.clone(),
            ..Report::default()
        }
    }

    fn work(&self) {
        let mut resolver = self.load.look_up.as_ref().map(Resolver::new);
        while let Some(turn) = self.next_turn() {
            let target =
                self.load.targets[usize::try_from(turn).unwrap_or(0) % self.load.targets.len()];
            let asked = match &mut resolver {
                None => ask(target, &self.load),
                Some(resolver) => resolver.look_up(target),
            };
            let at = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.tries += 1;
            report.retries += resolver.as_mut().map_or(0, Resolver::take_retries);
            match asked {
                Ok(asked) => {
                    report.count(&asked.answer);
                    if let Some(connect) = asked.connect {
                        report.connects.add(connect);
                    }
                    report.answers.add(asked.whole);
                    if let Some(value) = asked.storage {
                        let name = asked.answer.name.clone();
                        report.storages.push(Stored {
                            name,
                            value,
                            count: 1,
                        });
                    }
                    if self.load.stretches {
                        let began = at.saturating_sub(asked.whole);
                        report.stretch(&asked.answer.version, began);
                    }
                    if self.load.in_order {
                        report.order.push(asked.answer.name);
                    }
                }
                Err((stage, errno)) => {
                    report.failures.push(Failure {
                        at,
                        target,
                        stage,
                        code: errno.into(),
                    });
                }
            }
        }
    }

    /// Waits for the next turn; none when the load is over.
    fn next_turn(&self) -> Option<u64> {
        let turn = self.taken.fetch_add(1, Ordering::Relaxed);
        if self.load.times.is_some_and(|times| turn >= times) {
            return None;
        }
        let due = self.load.rate.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(turn as f64 / rate).unwrap_or(Duration::MAX)
        });
        loop {
            let now = self.started.elapsed();
            if self.stopped.load(Ordering::Relaxed)
                || self.load.lasting.is_some_and(|lasting| now >= lasting)
            {
                return None;
            }
            if now >= due {
                return Some(turn);
            }
            thread::sleep((due - now).min(GLANCE));
        }
    }
}

/// Asks once who answers there.
pub(crate) fn ask_once(target: Target) -> Result<Answer, Errno> {
    ask(target, &Load::on([target]))
        .map(|asked| asked.answer)
        .map_err(|(_, errno)| errno)
}

fn ask(target: Target, load: &Load) -> Result<Asked, (Stage, Errno)> {
    let at = |stage| move |errno| (stage, by_patience(errno));
    let open = || {
        let socket = socket::open(Family::of(target.address), target.transport, false)?;
        socket::set_patience(&socket, load.patience)?;
        if target.transport == Transport::Tcp {
            socket::reset_on_close(&socket)?;
        }
        Ok(socket)
    };
    let socket = open().map_err(at(Stage::Open))?;
    let before = Instant::now();
    socket::connect(&socket, target.address).map_err(at(Stage::Connect))?;
    let connect = before.elapsed();
    let answer = hear(&socket, target.transport).map_err(at(Stage::Answer))?;
    let whole = before.elapsed();
    let storage = load
        .storage
        .as_ref()
        .map(|pin| match bpf::socket_storage(pin, socket.as_fd()) {
            Ok(value) => Ok(Some(value)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err((Stage::Storage, errno)),
        })
        .transpose()?;
    Ok(Asked {
        answer,
        storage,
        connect: Some(connect),
        whole,
    })
}

/// Hears the line that says who answers; for UDP a datagram has to ask first.
fn hear(socket: &OwnedFd, transport: Transport) -> Result<Answer, Errno> {
    if transport == Transport::Udp {
        socket::send(socket, b"?")?;
    }
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        let more = socket::receive(socket, 1024)?;
        if more.is_empty() {
            return Err(Errno::EPIPE);
        }
        line.extend(more);
    }
    let text = String::from_utf8_lossy(&line);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    match (words.next(), words.next()) {
        (Some(name), Some(version)) => Ok(Answer {
            name: name.to_owned(),
            version: version.to_owned(),
        }),
        _ => Err(Errno::EPROTO),
    }
}

/// A blocking call that our own time limit ended says EINPROGRESS or EAGAIN.
pub(super) fn by_patience(errno: Errno) -> Errno {
    if matches!(errno, Errno::EINPROGRESS | Errno::EAGAIN) {
        Errno::ETIMEDOUT
    } else {
        errno
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::program::socket::tests::closed_port;
    use crate::serve::tests::server;

    #[test]
    fn answers_are_counted_and_failures_told_apart() {
        let (_server, port, _) = server();
        let open = Target::tcp((Ipv4Addr::LOCALHOST, port));
        let (_held, closed) = closed_port();
        let load = Load::on([
            open,
            Target {
                transport: Transport::Udp,
                ..open
            },
            Target::tcp(closed),
        ])
        .times(300)
        .threads(3);
        let report = Course::new(load).run();
        assert_eq!(
            (report.tries, report.of("a"), report.failures.len()),
            (300, 200, 100)
        );
        assert!(report.failures.iter().all(|failure| {
            failure.code == Errno::ECONNREFUSED
                && failure.stage == Stage::Connect
                && failure.target.address == closed
        }));
        assert_eq!(report.connects.count(), 200);
    }

    #[test]
    fn a_load_without_end_ends_when_stopped() {
        let course = Course::new(
            Load::on([Target::tcp((Ipv4Addr::LOCALHOST, 1))])
                .until_stopped()
                .rate(100.0),
        );
        let running = Arc::clone(&course);
        let load = thread::spawn(move || running.run());
        while course.so_far().tries < 3 {
            thread::yield_now();
        }
        course.stop();
        assert!(load.join().unwrap().tries >= 3);
    }
}
