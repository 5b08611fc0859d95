//! The steps: what is promised, what is done, what is measured.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use sluice_testbed::{
    Errno,
    load::{Load, Report},
    pod::{Pod, RunningLoad},
    tier::eventually,
};

use crate::{
    manifests::PORT,
    shop::{CLI, PATIENCE, Shop, said, service_v4, service_v6},
    story::Story,
};

const CONNECTS: u64 = 1_000;
const KILLS: usize = 5;
const LOAD_PER_SECOND: f64 = 500.0;
/// What the words "at once" and "soon" are held to, on a machine that also does other things.
const AT_ONCE: Duration = Duration::from_millis(20);
const SOON: Duration = Duration::from_secs(1);

/// Node, pods, manifests, agent.
pub(crate) fn open(story: &mut Story) -> Result<Shop> {
    story.step(
        "A node, without a cluster",
        "the agent reads a folder of manifests and says when the kernel does what they say",
    );
    let mut shop = Shop::build()?;
    story.tell("Service checkout (10.96.0.10, fd00:96::a) before 3 pods of v1 and 1 pod of v2, split 90/10");
    let began = Instant::now();
    shop.start_agent()?;
    shop.await_ready()?;
    shop.await_backends(&[shop.all_v1(), vec![&shop.v2]].concat())?;
    let took = in_words(began.elapsed());
    story.measure(
        true,
        &format!("ready, self-tested and programmed {took} after the agent's start"),
    );
    Ok(shop)
}

pub(crate) fn exact_shares(shop: &mut Shop, story: &mut Story) -> Result<()> {
    story.step(
        "Exact shares",
        "of 1,000 connects at 90/10 v1 gets 900 and v2 gets 100, give or take one",
    );
    for ip in [service_v4()?, service_v6()?] {
        let report = shop.connects(ip, CONNECTS)?;
        story.measure(
            is_split(&report, [900, 100]),
            &format!("{ip}: {}", counts(&report)),
        );
    }
    Ok(())
}

pub(crate) fn an_edit(shop: &mut Shop, story: &mut Story) -> Result<()> {
    story.step(
        "An edit is one switch",
        "a file edited to 50/50 is in the kernel at once (a second at most), and holds for the next connect",
    );
    let maps = shop.maps()?;
    let port = shop.port_id(&maps)?;
    let before = maps.ports.read(port)?;
    let began = Instant::now();
    shop.manifests.split([50, 50])?;
    let deadline = began + PATIENCE;
    while maps.ports.read(port)? == before {
        ensure!(
            Instant::now() < deadline,
            "the edit never came to the kernel"
        );
        thread::yield_now();
    }
    let took = began.elapsed();
    let report = shop.connects(service_v4()?, CONNECTS)?;
    story.measure(
        took < SOON && is_split(&report, [500, 500]),
        &format!(
            "in the kernel {} after the file was written; then {}",
            in_words(took),
            counts(&report)
        ),
    );
    shop.manifests.split([90, 10])
}

pub(crate) fn kills_under_load(shop: &mut Shop, story: &mut Story) -> Result<()> {
    story.step(
        "Never a gap",
        "kill -9 of the agent under load while endpoints change: no connect fails, the next agent goes on",
    );
    let fourth = shop.node.pod("v1-d").version("v1").port(PORT).start()?;
    shop.v1.push(fourth);
    let target = SocketAddr::new(service_v4()?, PORT);
    let load = Load::on([target])
        .until_stopped()
        .rate(LOAD_PER_SECOND)
        .threads(4);
    // The client is borrowed by its load, the shop changes meanwhile.
    let client = shop.node.pod("load").start()?;
    let running = client.start_load(&load)?;
    let mut slowest = Duration::ZERO;
    for round in 0..KILLS {
        // One of the four is not ready in each round, and another one while no agent runs.
        shop.endpoints(&all_but(&shop.v1, round), &[&shop.v2])?;
        some_connects(&running, 20)?;
        shop.kill_agent()?;
        let ready = all_but(&shop.v1, round + 1);
        shop.endpoints(&ready, &[&shop.v2])?;
        some_connects(&running, 100)?;
        let began = Instant::now();
        shop.start_agent()?;
        shop.await_backends(&[all_but(&shop.v1, round + 1), vec![&shop.v2]].concat())?;
        slowest = slowest.max(began.elapsed());
    }
    let report = running.stop()?;
    story.measure(
        report.failures.is_empty(),
        &format!(
            "{KILLS} kills, {} endpoint changes, {} connects, {} failed",
            2 * KILLS,
            report.tries,
            report.failures.len()
        ),
    );
    for failure in report.failures.iter().take(3) {
        story.tell(&failure.to_string());
    }
    let report = shop.connects(service_v4()?, CONNECTS)?;
    let absent = &shop.v1[KILLS % shop.v1.len()];
    let is_right = is_split(&report, [900, 100]) && report.of(absent.name()) == 0;
    story.measure(
        is_right,
        &format!(
            "maps right at most {} after each start; {}, none to {}, which is not ready",
            in_words(slowest),
            counts(&report),
            absent.name(),
        ),
    );
    shop.await_ready()
}

pub(crate) fn a_version_goes(shop: &mut Shop, story: &mut Story) -> Result<()> {
    story.step(
        "A version without pods",
        "the pods of v2 go: its share goes to v1, and the status says so",
    );
    shop.endpoints(&shop.all_v1(), &[])?;
    shop.await_backends(&shop.all_v1())?;
    let report = shop.connects(service_v4()?, CONNECTS)?;
    story.measure(is_split(&report, [1_000, 0]), &counts(&report));
    let output = shop.cli(&["get"])?;
    let text = said(&output);
    story.quote(&format!("{CLI} get"), &text);
    story.measure(
        output.status.success() && text.contains("Redistributed"),
        "v2 was asked to get 10, gets 0, and the reason is named",
    );
    Ok(())
}

pub(crate) fn nothing_is_left(shop: &mut Shop, story: &mut Story) -> Result<()> {
    story.step(
        "A true refusal",
        "with no pod at all a connect is refused at once: ECONNREFUSED, no timeout",
    );
    shop.endpoints(&[], &[])?;
    shop.await_backends(&[])?;
    for ip in [service_v4()?, service_v6()?] {
        let began = Instant::now();
        let report = shop.connects(ip, 100)?;
        let each = began.elapsed() / 100;
        let refused = report
            .failures
            .iter()
            .filter(|failure| failure.code == Errno::ECONNREFUSED)
            .count();
        story.measure(
            refused == 100 && each < AT_ONCE,
            &format!("{ip}: {refused} of 100 refused, {} each", in_words(each)),
        );
    }
    shop.endpoints(&shop.all_v1(), &[&shop.v2])?;
    shop.await_backends(&[shop.all_v1(), vec![&shop.v2]].concat())
}

pub(crate) fn it_explains_itself(shop: &mut Shop, story: &mut Story) -> Result<()> {
    story.step(
        "It explains itself",
        "one command names the rule, the shares and the backends, and checks them against the kernel's maps",
    );
    let target = SocketAddr::new(service_v4()?, PORT).to_string();
    let output = shop.cli(&["explain", "shop/client", &target])?;
    story.quote(
        &format!("{CLI} explain shop/client {target}"),
        &said(&output),
    );
    story.measure(
        output.status.success(),
        "wanted and live maps agree (else the exit code were 1)",
    );
    Ok(())
}

/// The pods without the one of this number, counted round and round.
fn all_but(pods: &[Pod], number: usize) -> Vec<&Pod> {
    let absent = number % pods.len();
    let others = pods
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != absent);
    others.map(|(_, pod)| pod).collect()
}

/// Lets this many connects pass.
fn some_connects(running: &RunningLoad<'_>, count: u64) -> Result<()> {
    let until = running.so_far()?.tries + count;
    eventually(PATIENCE, "connects go on", || {
        ensure!(running.so_far()?.tries >= until);
        Ok(())
    })
}

/// Whether nothing failed and both versions got theirs, give or take one.
fn is_split(report: &Report, [v1, v2]: [u64; 2]) -> bool {
    let is_near = |version, ideal: u64| report.of_version(version).abs_diff(ideal) <= 1;
    report.failures.is_empty() && is_near("v1", v1) && is_near("v2", v2)
}

fn counts(report: &Report) -> String {
    format!(
        "v1 {}, v2 {}, failed {}",
        report.of_version("v1"),
        report.of_version("v2"),
        report.failures.len()
    )
}

fn in_words(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros < 1_000 {
        format!("{micros} µs")
    } else {
        format!("{:.1} ms", 1_000.0 * duration.as_secs_f64())
    }
}
