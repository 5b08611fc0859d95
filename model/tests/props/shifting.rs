//! Ending connections after a shift: as many as it needs, of those that were open, at the pace that was asked for.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use sluice_model::{
    facts::{amount::Percent, split::Shift},
    shift::{Connection, Course, SETTLED, View},
};

use crate::config;

/// When the weights changed.
const BEGAN: Duration = Duration::from_secs(1_000);
/// What a pause between two looks may let through late.
const GRACE: Duration = Duration::from_secs(1);

/// What is open, and how it should be shared out.
#[derive(Clone, Debug)]
struct Node {
    shares: Vec<u64>,
    connections: Vec<Connection>,
    opened: u64,
}

impl Node {
    /// So many connections to each pool, from before the shift.
    fn with(shares: Vec<u64>, counts: &[usize]) -> Self {
        let mut node = Self {
            shares,
            connections: Vec::new(),
            opened: 0,
        };
        for (pool, count) in counts.iter().enumerate() {
            for _ in 0..*count {
                node.open(pool, BEGAN - Duration::from_nanos(1));
            }
        }
        node
    }

    fn open(&mut self, pool: usize, since: Duration) {
        self.opened += 1;
        self.connections.push(Connection {
            cookie: self.opened,
            pool,
            home: None,
            since,
        });
    }

    fn look(&mut self, course: &mut Course, policy: Shift, now: Duration) -> BTreeSet<u64> {
        let view = View {
            now,
            policy,
            shares: &self.shares,
            connections: &self.connections,
        };
        let ended = course.look(&view);
        let known = |cookie: &u64| self.connections.iter().any(|c| c.cookie == *cookie);
        assert!(ended.iter().all(known), "ended what is not there");
        self.connections.retain(|c| !ended.contains(&c.cookie));
        ended
    }

    fn counts(&self) -> Vec<usize> {
        let of = |pool| self.connections.iter().filter(|c| c.pool == pool).count();
        (0..self.shares.len()).map(of).collect()
    }

    /// What each pool may keep of so many, to the next whole one.
    fn parts(&self, total: usize) -> Vec<usize> {
        let whole: u64 = self.shares.iter().sum();
        let part = |share: &u64| (total as u64 * share).div_ceil(whole.max(1)) as usize;
        self.shares.iter().map(part).collect()
    }
}

fn nodes() -> impl Strategy<Value = Node> {
    let pool = (prop_oneof![1 => Just(0), 4 => 1..100_u64], 0..60_usize);
    prop::collection::vec(pool, 1..6).prop_map(|pools| {
        let (mut shares, counts): (Vec<_>, Vec<_>) = pools.into_iter().unzip();
        if shares.iter().all(|share| *share == 0) {
            shares[0] = 1;
        }
        Node::with(shares, &counts)
    })
}

fn pauses() -> impl Strategy<Value = Vec<Duration>> {
    let pause = prop_oneof![
        4 => (0..1_500_u64).prop_map(Duration::from_millis),
        1 => (0..40_u64).prop_map(Duration::from_secs),
    ];
    prop::collection::vec(pause, 1..200)
}

fn drain(tenths: u16, jitter: Duration) -> Shift {
    let text = format!("{}.{}%", tenths / 10, tenths % 10);
    let text = text.replace(".0%", "%");
    let per_minute = Percent::parse(&text).expect("a part");
    Shift::Drain { per_minute, jitter }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_cut_takes_what_is_above_the_new_shares_and_nothing_else(mut node in nodes()) {
        let before = node.counts();
        let parts = node.parts(before.iter().sum());
        let mut course = Course::begin(BEGAN);
        node.look(&mut course, Shift::Cut, BEGAN);
        for ((after, before), part) in node.counts().iter().zip(&before).zip(&parts) {
            prop_assert_eq!(*after, *before.min(part));
        }
        // Nobody comes back: nothing more has to go, whatever shares of the rest look like.
        for second in 1..5 {
            prop_assert!(node.look(&mut course, Shift::Cut, BEGAN + Duration::from_secs(second)).is_empty());
        }
        prop_assert!(!course.is_over(BEGAN + SETTLED - Duration::from_nanos(1)));
        prop_assert!(course.is_over(BEGAN + SETTLED + Duration::from_secs(1)));
    }

    #[test]
    fn keeping_ends_nothing(mut node in nodes(), pauses in pauses()) {
        let mut course = Course::begin(BEGAN);
        let mut now = BEGAN;
        for pause in pauses {
            prop_assert!(node.look(&mut course, Shift::Keep, now).is_empty());
            now += pause;
        }
    }

    #[test]
    fn clients_that_come_back_are_moved_until_shares_match_and_never_twice(
        mut node in nodes(),
        absent in 0..4_usize,
    ) {
        let all = node.connections.len();
        let mut course = Course::begin(BEGAN);
        let (mut now, mut turn, mut ended) = (BEGAN, 0_u64, BTreeSet::new());
        let mut waiting = 0_usize;
        while !course.is_over(now) {
            // The new weights choose, one after the other; some clients are late.
            let back = waiting.checked_div(absent).unwrap_or(waiting);
            for _ in 0..back {
                let whole: u64 = node.shares.iter().sum();
                let place = turn * 7_919 % whole;
                let sums = node.shares.iter().scan(0, |sum, share| { *sum += share; Some(*sum) });
                let pool = sums.take_while(|sum| *sum <= place).count();
                node.open(pool, now);
                turn += 1;
            }
            waiting -= back;
            for cookie in node.look(&mut course, Shift::Cut, now) {
                prop_assert!(cookie <= all as u64, "one that the new weights have chosen");
                prop_assert!(ended.insert(cookie), "twice");
                waiting += 1;
            }
            now += Duration::from_secs(1);
            prop_assert!(now < BEGAN + Duration::from_secs(3_600), "it goes on for ever");
        }
        let parts = node.parts(all);
        for (pool, (count, part)) in node.counts().iter().zip(&parts).enumerate() {
            let old = node.connections.iter().filter(|c| c.pool == pool && c.since < BEGAN);
            prop_assert!(count <= part || old.count() == 0, "pool {pool} has {count} of {part}");
        }
    }

    #[test]
    fn a_drain_is_never_faster_than_its_pace_and_ends_where_a_cut_does(
        mut node in nodes(),
        tenths in 1..=1_000_u16,
        jitter in prop_oneof![Just(0), 1..5_000_u64],
        pauses in pauses(),
    ) {
        let jitter = Duration::from_millis(jitter);
        let policy = drain(tenths, jitter);
        let mut cut = node.clone();
        let all = cut.look(&mut Course::begin(BEGAN), Shift::Cut, BEGAN);
        let per_second = all.len() as f64 * f64::from(tenths) / 1000.0 / 60.0;
        let mut course = Course::begin(BEGAN);
        let (mut now, mut ends) = (BEGAN, Vec::new());
        // One that waits out its delay ends with the first look after that.
        let late = match jitter {
            Duration::ZERO => Duration::ZERO,
            jitter => jitter + pauses.iter().max().copied().unwrap_or_default(),
        };
        for pause in pauses {
            let ended = node.look(&mut course, policy, now);
            prop_assert!(ended.is_subset(&all));
            ends.extend(ended.iter().map(|_| now));
            now += pause;
        }
        for (first, from) in ends.iter().enumerate() {
            for (last, to) in ends.iter().enumerate().skip(first) {
                let most = per_second * (*to - *from + GRACE + late).as_secs_f64() + 1.0;
                let moved = last - first + 1;
                prop_assert!(moved as f64 <= most + 1e-6, "{moved} from {from:?} to {to:?}");
            }
        }
        // A cut of the rest, and both are where they would have been.
        node.look(&mut course, Shift::Cut, now);
        prop_assert_eq!(node.counts(), cut.counts());
    }
}

#[test]
fn clients_that_keep_their_version_are_moved_when_it_is_another() {
    let mut node = Node::with(vec![1, 1, 0], &[4, 1, 1]);
    for (connection, home) in node.connections.iter_mut().zip([0, 0, 0, 1, 1, 0]) {
        connection.home = Some(home);
    }
    // Opened since: it met what its client has now, and what was known of it is older.
    node.open(0, BEGAN);
    node.connections[6].home = Some(1);
    let mut course = Course::begin(BEGAN);
    let ended = node.look(&mut course, Shift::Cut, BEGAN);
    assert_eq!(ended, BTreeSet::from([4, 6]));
    assert!(node.look(&mut course, Shift::Cut, BEGAN + GRACE).is_empty());
}

#[test]
fn a_drain_takes_its_time_and_then_shares_match() {
    let mut node = Node::with(vec![1, 1], &[500, 0]);
    let mut course = Course::begin(BEGAN);
    let policy = drain(200, Duration::ZERO);
    // 250 have to go, 20 % of them in a minute.
    let mut per_minute = [0; 7];
    for second in 0..7 * 60_u64 {
        let ended = node.look(&mut course, policy, BEGAN + Duration::from_secs(second));
        per_minute[second as usize / 60] += ended.len();
    }
    assert_eq!(per_minute.iter().sum::<usize>(), 250);
    assert!(
        per_minute[..5]
            .iter()
            .all(|count| (49..=51).contains(count)),
        "{per_minute:?}"
    );
    assert_eq!(per_minute[6], 0);
    assert_eq!(node.counts(), [250, 0]);
}
