//! What to do about a Lease, from what was seen of it and when: no I/O, the time is passed in.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use nix::time::{ClockId, clock_gettime};

/// A holder that does not say for how long it holds.
const UNSAID: Duration = Duration::from_secs(15);

/// A time on this machine's clock since boot, which goes on while the machine sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

/// Looks at a Lease again and again for one candidate.
#[derive(Debug)]
pub(super) struct Observer {
    identity: String,
    /// What somebody else's Lease said last, and when it began to say so.
    seen: Option<(LeaseSpec, Moment)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    Wait,
    /// The Lease is free.
    Take {
        transitions: i32,
    },
    /// It is ours.
    Renew,
}

impl Moment {
    pub fn now() -> Self {
        // Linux has this clock; without it nobody would lead.
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Self(Duration::MAX), |time| Self(time.into()))
    }

    pub fn after(self, pause: Duration) -> Self {
        Self(self.0.saturating_add(pause))
    }
}

impl Observer {
    pub(super) fn new(identity: &str) -> Self {
        Self {
            identity: identity.to_owned(),
            seen: None,
        }
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// `None` for a Lease that does not exist, or says nothing.
    pub(super) fn decide(&mut self, lease: Option<&LeaseSpec>, now: Moment) -> Move {
        let free = |lease: Option<&LeaseSpec>| Move::Take {
            transitions: lease
                .and_then(|lease| lease.lease_transitions)
                .map_or(0, |transitions| transitions.saturating_add(1)),
        };
        let Some(lease) = lease else {
            return free(None);
        };
        match lease.holder_identity.as_deref() {
            None | Some("") => return free(Some(lease)),
            Some(holder) if holder == self.identity => return Move::Renew,
            Some(_) => {}
        }
        let since = match &self.seen {
            Some((seen, since)) if seen == lease => *since,
            _ => {
                self.seen = Some((lease.clone(), now));
                now
            }
        };
        let seconds = lease.lease_duration_seconds;
        let duration = seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(UNSAID, Duration::from_secs);
        if now >= since.after(duration) {
            free(Some(lease))
        } else {
            Move::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    /// Renewed at this second of a clock that has nothing to do with ours.
    fn held(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Timestamp::from_second(renewed).ok().map(MicroTime),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_has_not_changed_for_its_duration_on_our_own_clock() {
        let mut me = Observer::new("me");
        for (second, renewed, expected) in [
            // The holder's clock is an hour behind ours, or ahead, and goes backwards.
            (100, -3600, Move::Wait),
            (110, -3600, Move::Wait),
            (114, 7200, Move::Wait),
            (128, 7200, Move::Wait),
            (128, 7100, Move::Wait),
            (142, 7100, Move::Wait),
            (143, 7100, Move::Take { transitions: 4 }),
        ] {
            let lease = held("other", renewed);
            assert_eq!(me.decide(Some(&lease), at(second)), expected, "{second}");
        }
    }

    #[test]
    fn a_lease_that_nobody_holds_is_taken_at_once() {
        let mut me = Observer::new("me");
        assert_eq!(me.decide(None, at(0)), Move::Take { transitions: 0 });
        let given_back = held("", 0);
        let taken = Move::Take { transitions: 4 };
        assert_eq!(me.decide(Some(&given_back), at(0)), taken);
        assert_eq!(me.decide(Some(&held("me", 0)), at(0)), Move::Renew);
    }

    #[test]
    fn whoever_took_it_starts_the_count_anew() {
        let mut me = Observer::new("me");
        assert_eq!(me.decide(Some(&held("a", 0)), at(0)), Move::Wait);
        assert_eq!(me.decide(Some(&held("b", 0)), at(15)), Move::Wait);
        assert_eq!(me.decide(Some(&held("a", 0)), at(29)), Move::Wait);
        let taken = Move::Take { transitions: 4 };
        assert_eq!(me.decide(Some(&held("a", 0)), at(44)), taken);
    }
}
