//! Two clients who create what conflicts at the same time: whoever is asked names the same winner.
//!
//! Of each pair the one client creates the one policy and the other the other. Where the webhook is asked, it keeps
//! out what it hears of late; where it is not, both are stored. Either way the older one wins, then the first by name.

mod pairs;
mod words;

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use http::StatusCode;
use sluice_kind_tests::api::{Api, Pace, Said, delete, get, post};
use sluice_testbed::cluster::Access;
use sluice_testbed::tier::{eventually, is_long};

use crate::bed::{PATIENCE, alone};
use pairs::{Policy, Race};
use words::{is_named_as, owns};

/// A thousand pairs keep everybody busy for a while.
const LONG_PATIENCE: Duration = Duration::from_secs(300);
/// What one client asks at a time.
const PACE: Pace = Pace {
    at_once: 8,
    every: None,
};

/// What became of a pair.
struct Outcome {
    winner: Stored,
    loser: Loser,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Stored {
    /// What decides: the older comes first, then the first by namespace and name.
    created: String,
    policy: Policy,
    uid: String,
}

enum Loser {
    Stored(Stored),
    /// By the webhook.
    KeptOut(Policy),
}

pub(crate) fn everybody_names_the_same_winner_of_a_race() -> Result<()> {
    let bed = alone()?;
    let (pairs, patience) = (if is_long() { 1000 } else { 50 }, LONG_PATIENCE);
    for guarded in [true, false] {
        let race = Race { guarded, pairs };
        race.prepare(&bed)?;
        let began = Instant::now();
        let outcomes = run(&bed, &race)?;
        let created = began.elapsed();
        tell(&race, &outcomes);
        let api = Api::of(&bed)?;
        is_agreed(&api, patience, &outcomes)?;
        let agreed = began.elapsed();
        let began = Instant::now();
        let losers = take_over(&api, patience, &outcomes)?;
        println!(
            "  created in {:.1} s, agreed on after {:.1} s; {losers} losers took over within {:.1} s",
            created.as_secs_f64(),
            agreed.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
        race.clear(&bed)?;
    }
    Ok(())
}

/// Lets both clients start at once, and judges what they were told.
fn run(access: &Access, race: &Race) -> Result<Vec<Outcome>> {
    let start = Barrier::new(2);
    let create = |client: usize| -> Result<Vec<Said>> {
        let creation = |pair| {
            let policy = race.policy(client, pair);
            post(&policy.collection(), policy.object())
        };
        let creations: Result<Vec<_>> = (0..race.pairs).map(creation).collect();
        let api = Api::of(access);
        // Whatever went wrong, the other one waits here.
        start.wait();
        let (api, creations) = (api?, creations?);
        let mut answers = BTreeMap::new();
        api.ask_all(PACE, creations, |pair, said| {
            answers.insert(pair, said);
        })?;
        let again = |(pair, said): (usize, Result<Said>)| {
            let said = said?;
            // On a machine that has much to do etcd or the webhook may have had no time to say anything.
            match said.is_undecided() {
                true => ask_again(&api, &race.policy(client, pair), PATIENCE),
                false => Ok(said),
            }
        };
        answers.into_iter().map(again).collect()
    };
    let [one, other] = thread::scope(|scope| {
        [0, 1]
            .map(|client| scope.spawn(move || create(client)))
            .map(|client| client.join().map_err(|_| anyhow!("a client failed")))
    });
    let answers = one??.into_iter().zip(other??).enumerate();
    let outcomes = answers.map(|(pair, answers)| {
        let policies = [0, 1].map(|client| race.policy(client, pair));
        judge(race, &policies, &answers.into()).with_context(|| format!("pair {pair}"))
    });
    outcomes.collect()
}

/// Creates it until that is decided. What the last try has stored is kept out of this one by others, or by its name:
/// so what is there counts, and not what is said.
fn ask_again(api: &Api, policy: &Policy, patience: Duration) -> Result<Said> {
    eventually(patience, "an answer", || {
        let said = api.ask(post(&policy.collection(), policy.object())?)?;
        let there = api.ask(get(&policy.path())?)?;
        match there.status {
            StatusCode::OK => Ok(Said {
                status: StatusCode::CREATED,
                ..there
            }),
            StatusCode::NOT_FOUND if said.status == StatusCode::FORBIDDEN => Ok(said),
            _ => bail!("{said:?}, and {there:?}"),
        }
    })
}

/// Who has to win, by what the API server said to both.
fn judge(race: &Race, policies: &[Policy; 2], answers: &[Said; 2]) -> Result<Outcome> {
    let mut stored = Vec::new();
    let mut kept_out = Vec::new();
    for (policy, said) in policies.iter().zip(answers) {
        if said.status == StatusCode::CREATED {
            stored.push(Stored::of(policy, said)?);
        } else {
            ensure!(race.guarded, "{policy}: {said:?}");
            kept_out.push((policy, said));
        }
    }
    stored.sort();
    let mut stored = stored.into_iter();
    let winner = stored.next().context("both were kept out")?;
    let loser = match (stored.next(), kept_out.pop()) {
        (Some(loser), None) => Loser::Stored(loser),
        (None, Some((policy, said))) => {
            let conflict = format!("{} comes first", winner.policy);
            ensure!(
                said.status == StatusCode::FORBIDDEN && said.message().contains(&conflict),
                "{policy}: {said:?}"
            );
            Loser::KeptOut(policy.clone())
        }
        _ => bail!("two policies have two answers"),
    };
    Ok(Outcome { winner, loser })
}

impl Stored {
    fn of(policy: &Policy, said: &Said) -> Result<Self> {
        let text = |field: &str| {
            let text = said.body["metadata"][field].as_str();
            text.map(str::to_owned).context("it was created")
        };
        Ok(Self {
            created: text("creationTimestamp")?,
            policy: policy.clone(),
            uid: text("uid")?,
        })
    }
}

fn tell(race: &Race, outcomes: &[Outcome]) {
    let (mut both, mut by_name) = (0, 0);
    for outcome in outcomes {
        if let Loser::Stored(loser) = &outcome.loser {
            both += 1;
            by_name += usize::from(loser.created == outcome.winner.created);
        }
    }
    println!(
        "{} pairs, {}: of {both} both are stored, {by_name} of these are decided by name",
        outcomes.len(),
        match race.guarded {
            true => "the webhook asked",
            false => "the webhook not asked",
        }
    );
}

/// Waits until operator and agents say of each pair what has to be.
fn is_agreed(api: &Api, patience: Duration, outcomes: &[Outcome]) -> Result<()> {
    // One after the other, lest asking takes the time that answering needs.
    for Outcome { winner, loser } in outcomes {
        eventually(patience, "the winner acts", || owns(api, &winner.policy))?;
        if let Loser::Stored(loser) = loser {
            eventually(patience, "the loser is told", || {
                is_named_as(api, &loser.policy, &winner.policy)
            })?;
        }
    }
    eventually(patience, "all agents name the same winners", || {
        let reports = words::reports(api)?;
        for report in &reports {
            for Outcome { winner, loser } in outcomes {
                report.owner(&winner.uid, &winner.policy)?;
                if let Loser::Stored(loser) = loser {
                    report.conflicted(&loser.uid, &loser.policy, &winner.policy)?;
                }
            }
        }
        Ok(())
    })
}

/// Deletes all winners and waits until each loser acts; gives their number.
fn take_over(api: &Api, patience: Duration, outcomes: &[Outcome]) -> Result<usize> {
    let winners = outcomes.iter().map(|outcome| &outcome.winner.policy);
    let deletions = winners.map(|winner| delete(&winner.path()));
    let deletions = deletions.collect::<Result<Vec<_>>>()?;
    let mut answers = BTreeMap::new();
    api.ask_all(PACE, deletions, |number, said| {
        answers.insert(number, said);
    })?;
    for (outcome, said) in outcomes.iter().zip(answers.into_values()) {
        let said = said?;
        if !said.is_undecided() {
            said.good()?;
            continue;
        }
        eventually(patience, "a winner is deleted", || {
            let said = api.ask(delete(&outcome.winner.policy.path())?)?;
            if said.status != StatusCode::NOT_FOUND {
                said.good()?;
            }
            Ok(())
        })?;
    }
    let mut uids = Vec::new();
    for Outcome { loser, .. } in outcomes {
        uids.push(match loser {
            Loser::Stored(loser) => (&loser.policy, loser.uid.clone()),
            // The webhook may not have heard yet that the winner is gone.
            Loser::KeptOut(policy) => {
                let created = eventually(patience, "the loser is let in", || {
                    let said = ask_again(api, policy, patience)?;
                    ensure!(said.status == StatusCode::CREATED, "{policy}: {said:?}");
                    Stored::of(policy, &said)
                })?;
                (policy, created.uid)
            }
        });
    }
    for (policy, _) in &uids {
        eventually(patience, "the loser takes over", || owns(api, policy))?;
    }
    eventually(patience, "all agents let the losers act", || {
        let reports = words::reports(api)?;
        for report in &reports {
            for (policy, uid) in &uids {
                report.owner(uid, policy)?;
            }
        }
        Ok(uids.len())
    })
}
