//! What is asked, and what has to be answered.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluice_kind_tests::api::{Api, Pace, Question, SLUICE, Said, post};
use sluice_testbed::cluster::Access;
use sluice_testbed::tier::eventually;

pub(super) const NAMESPACE: &str = "rotated";
/// In a second.
pub(super) const RATE: u32 = 200;
const PACE: Pace = Pace {
    at_once: 16,
    every: Some(Duration::from_micros(1_000_000 / RATE as u64)),
};
/// How long a machine that is busy may take for what is asked within seconds.
const ASKING: Duration = Duration::from_secs(300);
/// So many questions at the beginning.
const BATCH: u32 = 100;
/// What API servers say of a webhook that has no time for a question, which is a 408 or a 503. On a machine that has
/// much to do that is no fault of the webhook.
const IMPATIENT: [&str; 3] = [
    "the server responded with the status code 408",
    "the server is currently unable to handle the request",
    "too many questions at once",
];
/// So many of what went wrong are told.
const TOLD: usize = 10;

/// Questions with known answers, asked until somebody ends it.
#[derive(Default)]
pub(super) struct Reviews {
    asked: AtomicU32,
    ended: AtomicBool,
}

#[derive(Default)]
pub(super) struct Tally {
    pub(super) answered: u32,
    /// What the webhook itself had no time for. It was reached, which is what matters here.
    pub(super) impatient: u32,
    failed: Vec<String>,
    wrong: Vec<String>,
}

/// What a question is about.
#[derive(Debug, Clone, Copy)]
enum About {
    /// Nothing to be said.
    Sound,
    /// It names no Service, and is given one.
    Filled,
    /// Its Service is not there: a warning.
    Early,
    /// Another one comes first: a denial.
    Rival,
    /// The API server's own address: a denial.
    Reserved,
}

const ALL: [About; 5] = [
    About::Sound,
    About::Filled,
    About::Early,
    About::Rival,
    About::Reserved,
];

impl Reviews {
    /// Makes what the questions meet.
    pub(super) fn prepare(access: &Access) -> Result<Self> {
        access.namespace(NAMESPACE)?;
        let service = |name: &str| {
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"ports": [{"port": 80}]},
            })
        };
        let owner = split("owner", Some("owned"));
        let items = [service("free"), service("owned"), owner];
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        access.apply(&list.to_string())?;
        Ok(Self::default())
    }

    /// Waits until every pod of the webhook knows what there is: so many questions at once reach them all, and a
    /// whole batch of them is answered right.
    pub(super) fn are_answered(&self, access: &Access) -> Result<()> {
        let api = Api::of(access)?;
        // At a fixed rate one connection may be enough for all of them.
        let at_once = Pace {
            every: None,
            ..PACE
        };
        eventually(ASKING, "right answers", || {
            let questions = (0..BATCH).map(|number| about(number).question(number));
            let questions = questions.collect::<Result<Vec<_>>>()?;
            let mut tally = Tally::default();
            api.ask_all(at_once, questions, |number, said| {
                tally.count(u32::try_from(number).unwrap_or(u32::MAX), said);
            })?;
            tally.check()?;
            ensure!(tally.impatient == 0, "{} were not heard", tally.impatient);
            Ok(())
        })
    }

    /// Asks at a fixed rate until the end.
    pub(super) fn ask(&self, access: &Access) -> Result<Tally> {
        let api = Api::of(access)?;
        let mut tally = Tally::default();
        let mut broken = None;
        let questions = std::iter::from_fn(|| {
            if self.ended.load(Ordering::Relaxed) {
                return None;
            }
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            let question = about(number).question(number);
            question.map_err(|error| broken = Some(error)).ok()
        });
        api.ask_all(PACE, questions, |number, said| {
            tally.count(u32::try_from(number).unwrap_or(u32::MAX), said);
        })?;
        broken.map_or(Ok(tally), Err)
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// How many were asked.
    pub(super) fn number(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn await_number(&self, number: u32) -> Result<()> {
        eventually(ASKING, "reviews are asked", || {
            let asked = self.number();
            ensure!(asked >= number, "{asked} and not {number}");
            Ok(())
        })
    }
}

impl Tally {
    fn count(&mut self, number: u32, said: Result<Said>) {
        self.answered += 1;
        match said {
            Err(error) => self.failed.push(format!("{number}: {error:#}")),
            Ok(said) if is_impatient(&said) => self.impatient += 1,
            Ok(said) if said.status.is_server_error() => {
                self.failed.push(format!("{number}: {said:?}"));
            }
            Ok(said) => {
                let wrong = about(number).check(number, &said).err();
                self.wrong.extend(wrong.map(|error| format!("{error:#}")));
            }
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let Self {
            answered,
            failed,
            wrong,
            impatient,
        } = self;
        let told: Vec<_> = failed.iter().chain(wrong).take(TOLD).collect();
        ensure!(
            told.is_empty(),
            "of {answered} reviews {} failed and {} were answered wrong: {told:#?}",
            failed.len(),
            wrong.len()
        );
        ensure!(
            impatient < answered,
            "the webhook had time for none of {answered} reviews"
        );
        Ok(())
    }
}

fn is_impatient(said: &Said) -> bool {
    let message = said.message();
    let of_webhook = message.contains("failed calling webhook");
    of_webhook && IMPATIENT.iter().any(|text| message.contains(text))
}

fn about(number: u32) -> About {
    ALL[number as usize % ALL.len()]
}

impl About {
    fn question(self, number: u32) -> Result<Question> {
        let (plural, object) = match self {
            Self::Reserved => ("localredirectpolicies", reserved(number)),
            Self::Sound => ("trafficsplits", split(&named(number), Some("free"))),
            Self::Filled => ("trafficsplits", split("free", None)),
            Self::Early => ("trafficsplits", split(&named(number), Some(&named(number)))),
            Self::Rival => ("trafficsplits", split(&named(number), Some("owned"))),
        };
        let path = format!("{SLUICE}/namespaces/{NAMESPACE}/{plural}?dryRun=All");
        post(&path, object.to_string())
    }

    /// Whether that is the answer.
    fn check(self, number: u32, said: &Said) -> Result<()> {
        let is_stored = said.status.is_success();
        let warned = |text: &str| said.warnings.iter().any(|warning| warning.contains(text));
        let denied = |text: &str| {
            said.status.is_client_error()
                && said.message().contains("denied the request")
                && said.message().contains(text)
        };
        let right = match self {
            Self::Sound => is_stored && said.warnings.is_empty(),
            Self::Filled => is_stored && said.body["spec"]["service"] == "free",
            Self::Early => {
                let missing = format!("there is no Service {NAMESPACE}/{}", named(number));
                is_stored && warned(&missing)
            }
            Self::Rival => denied(&format!("TrafficSplit {NAMESPACE}/owner comes first")),
            Self::Reserved => denied("spec.frontend.address"),
        };
        ensure!(right, "{number}, {self:?}: {said:?}");
        Ok(())
    }
}

fn named(number: u32) -> String {
    format!("review-{number}")
}

fn split(name: &str, service: Option<&str>) -> Value {
    let mut spec = json!({"versions": [{"name": "all", "service": "free", "weight": 1}]});
    if let Some(service) = service {
        spec["service"] = json!(service);
    }
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    })
}

fn reserved(number: u32) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "LocalRedirectPolicy",
        "metadata": {"name": named(number), "namespace": NAMESPACE},
        "spec": {
            "frontend": {"address": {
                "ip": "10.96.0.1", "ports": [{"name": "it", "port": 443, "protocol": "TCP"}],
            }},
            "backend": {
                "pods": {"matchLabels": {"app": "nobody"}},
                "ports": [{"name": "it", "port": 8080}],
            },
        },
    })
}
