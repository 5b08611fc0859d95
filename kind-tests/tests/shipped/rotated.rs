//! Reviews at a fixed rate while certificates are replaced, the authority changes, and the webhook's pods restart.
//!
//! Everything is as shipped: the operator makes the certificates, kubelets bring them into the pods. A kubelet looks
//! at its pods' files about once a minute, and sooner at a pod that was changed: so pods are changed here.

mod pods;
mod reviews;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use sluice_kind_tests::api::{Api, delete};
use sluice_testbed::cluster::{Access, Cluster, shipped};
use sluice_testbed::tier::{eventually, is_long};

use crate::bed::{PATIENCE, alone};
use pods::Pods;
use reviews::{RATE, Reviews};

const SERVING: &str = "sluice-webhook-tls";
const AUTHORITY: &str = "sluice-webhook-ca";
const WORKLOAD: &str = "deployment/sluice-webhook";
const KINDS: [&str; 2] = [
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
];
/// The API server's patience with the webhook while the machine is busy with the tests.
const SECONDS: u64 = 30;
/// So many seconds a pod goes on after it was told to end, and may take for that: on a busy machine it takes a while
/// until all agents have heard of it.
const LINGER: u64 = 30;
const GRACE: u64 = 90;
const ENVIRONMENT: &str = "SLUICE_LINGER";
/// Each old pod goes on for a while, one after the other.
const ROLLOUT: Duration = Duration::from_secs(180);
/// So many reviews are asked between two changes of the certificate.
const REVIEWS: u32 = 5 * RATE;

/// In which rounds what is done beside the change of the certificate.
struct Form {
    rounds: u32,
    restarts: &'static [u32],
    rotations: &'static [u32],
}

const SHORT: Form = Form {
    rounds: 3,
    restarts: &[2],
    rotations: &[1, 2],
};

const LONG: Form = Form {
    rounds: 36,
    restarts: &[6, 18, 30],
    rotations: &[12, 24],
};

pub(crate) fn reviews_go_on_while_certificates_change_and_pods_restart() -> Result<()> {
    let bed = alone()?;
    let cluster = &bed.own()?.cluster;
    let form = if is_long() { LONG } else { SHORT };
    let reviews = Reviews::prepare(&bed)?;
    let began = Instant::now();
    let tally = with_patience(cluster, || {
        reviews.are_answered(&bed)?;
        thread::scope(|scope| {
            let asking = scope.spawn(|| reviews.ask(&bed));
            let done = Deeds::of(cluster, &reviews).and_then(|deeds| deeds.run(&form));
            reviews.end();
            let asked = asking.join().map_err(|_| anyhow!("the reviewer failed"));
            let tally = asked??;
            // What went wrong says more than what was then waited for in vain.
            tally.check()?;
            done.map(|()| tally)
        })
    })?;
    let took = began.elapsed().as_secs_f64();
    println!(
        "{} reviews in {took:.0} s, {:.0} a second: {} changes of the certificate in every pod, {} of the authority, \
         {} restarts; 0 calls failed, 0 verdicts were wrong, {} calls the webhook had no time for",
        tally.answered,
        f64::from(tally.answered) / took,
        form.rounds,
        form.rotations.len(),
        form.restarts.len(),
        tally.impatient,
    );
    bed.kubectl(["delete", "namespace", reviews::NAMESPACE])
        .map(drop)
}

/// What is done while reviews are asked.
struct Deeds<'a> {
    cluster: &'a Cluster,
    api: Api,
    reviews: &'a Reviews,
    pods: Pods<'a>,
}

impl<'a> Deeds<'a> {
    fn of(cluster: &'a Cluster, reviews: &'a Reviews) -> Result<Self> {
        Ok(Self {
            cluster,
            api: Api::of(cluster)?,
            reviews,
            pods: Pods::of(cluster)?,
        })
    }

    fn run(&self, form: &Form) -> Result<()> {
        let rolled_out = || {
            self.cluster
                .rolled_out(shipped::NAMESPACE, WORKLOAD, ROLLOUT)
        };
        for round in 1..=form.rounds {
            self.reviews.await_number(round * REVIEWS)?;
            if form.restarts.contains(&round) {
                rolled_out()?;
                let restart = ["rollout", "restart", WORKLOAD, "--namespace"];
                self.cluster
                    .kubectl([&restart[..], &[shipped::NAMESPACE]].concat())?;
            }
            self.replace().with_context(|| format!("round {round}"))?;
            // What the new authority signs comes with the next round: by then everybody trusts it.
            if form.rotations.contains(&round) {
                self.rotate().with_context(|| format!("round {round}"))?;
            }
        }
        rolled_out()
    }

    /// Takes the serving certificate away, and waits until every pod serves with the one that replaces it.
    fn replace(&self) -> Result<()> {
        let before = self.pods.taken()?;
        ensure!(!before.is_empty(), "no pod serves");
        let old = self.secret(SERVING)?;
        self.api.ask(delete(&path(SERVING))?)?.good()?;
        eventually(PATIENCE, "another serving certificate", || {
            let new = self.secret(SERVING)?;
            is_another(&new, &old)
        })?;
        let mut looked_at = None;
        eventually(PATIENCE, "every pod has the new certificate", || {
            // Once a second: a kubelet may have looked before it heard of the new Secret.
            let second = self.reviews.number() / RATE;
            if looked_at != Some(second) {
                self.pods.let_kubelets_look()?;
                looked_at = Some(second);
            }
            let now = self.pods.taken()?;
            for (pod, count) in &before {
                let taken = now.get(pod).is_none_or(|now| now > count);
                ensure!(taken, "{pod} has not");
            }
            Ok(())
        })
    }

    /// Takes the authority away, and waits until the API server is told to trust the next one too.
    fn rotate(&self) -> Result<()> {
        let (old, trusted) = (self.secret(AUTHORITY)?, self.secret(SERVING)?);
        self.api.ask(delete(&path(AUTHORITY))?)?.good()?;
        eventually(PATIENCE, "another authority is trusted", || {
            is_another(&self.secret(AUTHORITY)?, &old)?;
            let bundle = self.secret(SERVING)?["data"]["ca.crt"].clone();
            ensure!(bundle != trusted["data"]["ca.crt"], "the bundle is old");
            for configuration in configurations(&self.api)? {
                let hooks = configuration["webhooks"].as_array().context("webhooks")?;
                let told = hooks
                    .iter()
                    .all(|hook| hook["clientConfig"]["caBundle"] == bundle);
                ensure!(told, "the API server is not told");
            }
            Ok(())
        })
    }

    fn secret(&self, name: &str) -> Result<Value> {
        self.api.get(&path(name))
    }
}

fn path(secret: &str) -> String {
    format!("/api/v1/namespaces/{}/secrets/{secret}", shipped::NAMESPACE)
}

fn is_another(new: &Value, old: &Value) -> Result<()> {
    let uids = [new, old].map(|secret| &secret["metadata"]["uid"]);
    ensure!(uids[0] != uids[1], "it is the old one");
    Ok(())
}

fn configurations(api: &Api) -> Result<[Value; 2]> {
    let [validating, mutating] = KINDS.map(|kind| {
        api.get(&format!(
            "/apis/admissionregistration.k8s.io/v1/{kind}/sluice-webhook"
        ))
    });
    Ok([validating?, mutating?])
}

/// Lets the API server wait longer for the webhook, and the webhook's pods go on longer when they are told to end;
/// both as long as before in the end.
fn with_patience<T>(cluster: &Cluster, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let api = Api::of(cluster)?;
    let shipped = configurations(&api)?;
    let deployment = api.get(&format!(
        "/apis/apps/v1/namespaces/{}/deployments/sluice-webhook",
        shipped::NAMESPACE
    ))?;
    let grace = &deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
    wait(cluster, &shipped, &|_| SECONDS.into())?;
    let linger = json!({"name": ENVIRONMENT, "value": LINGER.to_string()});
    linger_on(cluster, &GRACE.into(), &linger)?;
    let outcome = work();
    linger_on(
        cluster,
        grace,
        &json!({"name": ENVIRONMENT, "$patch": "delete"}),
    )?;
    wait(cluster, &shipped, &|hook| hook["timeoutSeconds"].clone())?;
    outcome
}

fn wait(access: &Access, shipped: &[Value; 2], seconds: &dyn Fn(&Value) -> Value) -> Result<()> {
    for (kind, configuration) in KINDS.into_iter().zip(shipped) {
        let hooks = configuration["webhooks"].as_array().context("webhooks")?;
        let patch = hooks.iter().enumerate().map(|(i, hook)| {
            let path = format!("/webhooks/{i}/timeoutSeconds");
            json!({"op": "replace", "path": path, "value": seconds(hook)})
        });
        let patch = patch.collect::<Value>().to_string();
        let words = ["patch", kind, "sluice-webhook", "--type=json", "--patch"];
        access.kubectl([&words[..], &[&patch]].concat())?;
    }
    Ok(())
}

/// Waits until only pods that were made so are there: an old one ends too early.
fn linger_on(cluster: &Cluster, grace: &Value, variable: &Value) -> Result<()> {
    let patch = json!({"spec": {"template": {"spec": {
        "terminationGracePeriodSeconds": grace,
        "containers": [{"name": "webhook", "env": [variable]}],
    }}}});
    let patch = patch.to_string();
    let words = ["patch", WORKLOAD, "--namespace", shipped::NAMESPACE];
    cluster.kubectl([&words[..], &["--patch", &patch]].concat())?;
    cluster.rolled_out(shipped::NAMESPACE, WORKLOAD, ROLLOUT)?;
    let pods = Pods::of(cluster)?;
    eventually(ROLLOUT, "no old pod is left", || {
        let going = pods.going()?;
        ensure!(going.is_empty(), "{going:?}");
        Ok(())
    })
}
