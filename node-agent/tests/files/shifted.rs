//! What becomes of open connections when weights change.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_testbed::{
    Errno,
    errno::Code,
    load::Load,
    pod::{Pod, Program},
    program::{Family, Step},
    tier::{eventually, is_long},
};

use crate::{
    bed::{PATIENCE, SERVICE, Shop, at, split},
    dns::name,
};

/// What the agent calls its count of moved connections.
const SHIFTED: &str = "connections_shifted";
/// A pace is kept to this: what adds up between two looks.
const GRACE: Duration = Duration::from_secs(1);

/// Connections of one pod, each with the name of the pod that answers.
struct Open<'pod> {
    program: Program<'pod>,
    with: Vec<String>,
}

impl<'pod> Open<'pod> {
    fn to(pod: &'pod Pod, address: &str, count: usize) -> Result<Self> {
        let mut open = Self {
            program: pod.program(),
            with: Vec::new(),
        };
        open.more(address, count)?;
        Ok(open)
    }

    fn more(&mut self, address: &str, count: usize) -> Result<()> {
        let address = at(address)?;
        for _ in 0..count {
            let socket = self.with.len();
            let seen = self.program.run(&[
                Step::tcp(Family::of(address)),
                Step::connect(socket, address),
                Step::receive(socket),
            ])?;
            let with = name(&seen[2]).with_context(|| format!("{address}: {seen:?}"))?;
            self.with.push(with);
        }
        Ok(())
    }

    /// Which of them are open; the others were ended as if the network had.
    fn alive(&self) -> Result<Vec<bool>> {
        let names: Vec<_> = (0..self.with.len()).map(Step::peer_name).collect();
        let seen = self.program.run(&names)?;
        let gone = Err(Code::from(Errno::ENOTCONN));
        let odd = seen.iter().find(|seen| seen.is_err() && **seen != gone);
        ensure!(odd.is_none(), "{odd:?}");
        Ok(seen.iter().map(Result::is_ok).collect())
    }

    fn count(&self) -> Result<usize> {
        Ok(self.alive()?.into_iter().filter(|alive| *alive).count())
    }

    /// How many of those that are open are with this pod.
    fn with(&self, pod: &str) -> Result<usize> {
        let all = self.with.iter().zip(self.alive()?);
        Ok(all.filter(|(with, alive)| *alive && *with == pod).count())
    }

    /// They carry data to where they always did.
    fn goes_on(&self) -> Result<()> {
        let sockets = 0..self.with.len();
        let asked = sockets.flat_map(|socket| [Step::send(socket, "!"), Step::receive(socket)]);
        let seen = self.program.run(&asked.collect::<Vec<_>>())?;
        ensure!(seen.iter().all(Result::is_ok), "{seen:?}");
        Ok(())
    }
}

impl Shop {
    /// The split with these weights, and what shall become of open connections.
    fn weigh(&self, v1: u32, v2: u32, on_shift: &Value) -> Result<()> {
        let mut split = split(&[("v1", v1), ("v2", v2)]);
        split["spec"]["onShift"] = on_shift.clone();
        self.bed.write("split.yaml", &[split])
    }

    /// Waits until so many connects in a row meet this pod.
    fn await_connects_to(&self, pod: &Pod, times: u64) -> Result<()> {
        eventually(PATIENCE, "connects go elsewhere", || {
            let report = self.client.load(&Load::on([at(SERVICE)?]).times(times))?;
            ensure!(report.of(pod.name()) == times, "{report}");
            Ok(())
        })
    }

    fn await_shifted(&self, count: u64) -> Result<()> {
        eventually(PATIENCE, "so many were moved", || {
            let shifted = self.bed.counter(SHIFTED)?;
            ensure!(shifted == count, "{shifted} of {count}");
            Ok(())
        })?;
        self.bed.await_looks()?;
        let shifted = self.bed.counter(SHIFTED)?;
        ensure!(shifted == count, "{shifted} and not {count}");
        Ok(())
    }
}

/// A pod, by whose label it opts out.
fn pod(pod: &Pod, apart: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod.name(), "namespace": "shop", "uid": pod.uid(),
            "labels": {"sluice.dev/opt-out": apart.to_string()},
        },
        "spec": {"nodeName": "node-1", "containers": []},
    })
}

fn keep() -> Value {
    json!({"connections": "Keep"})
}

fn cut() -> Value {
    json!({"connections": "Cut"})
}

pub(crate) fn a_cut_moves_what_the_shift_needs_and_nothing_else() -> Result<()> {
    let shop = Shop::open()?;
    let apart = shop.bed.node.pod("apart").start()?;
    shop.bed.write("pods.yaml", &[pod(&apart, false)])?;
    shop.weigh(1, 0, &keep())?;
    let _agent = shop.bed.ready_agent()?;
    let through = Open::to(&shop.client, SERVICE, 100)?;
    let v1 = shop.v1.address4().to_string();
    let others = [
        Open::to(&shop.client, &v1, 3)?,
        Open::to(&shop.client, "198.18.0.2", 3)?,
        Open::to(&apart, SERVICE, 3)?,
    ];
    shop.bed.write("pods.yaml", &[pod(&apart, true)])?;
    eventually(PATIENCE, "the pod has opted out", || {
        ensure!(apart.try_connect(at(SERVICE)?)?.is_err());
        Ok(())
    })?;

    // Keep, which is also what holds when nothing is said.
    shop.weigh(0, 1, &keep())?;
    shop.await_connects_to(&shop.v2, 1)?;
    shop.await_shifted(0)?;
    // What shall become of connections is no shift, and neither are weights in the same proportion.
    shop.weigh(0, 2, &cut())?;
    shop.await_shifted(0)?;
    shop.weigh(1, 0, &keep())?;
    shop.await_connects_to(&shop.v1, 1)?;
    ensure!(through.count()? == 100, "Keep has ended something");

    shop.weigh(30, 70, &cut())?;
    shop.await_shifted(70)?;
    ensure!(through.count()? == 30, "{}", through.count()?);
    // An endpoint that goes or comes is no shift either. No three connects in a row meet the first pod while the second is there.
    shop.endpoints(true, false)?;
    shop.await_connects_to(&shop.v1, 3)?;
    shop.endpoints(true, true)?;
    shop.await_connects_to(&shop.v2, 1)?;
    shop.await_shifted(70)?;

    shop.weigh(0, 1, &cut())?;
    shop.await_shifted(100)?;
    ensure!(through.count()? == 0, "{}", through.count()?);
    for open in &others {
        open.goes_on()?;
    }
    Ok(())
}

/// The new weights choose for who comes back, and may choose as before: then another has to go.
pub(crate) fn clients_that_come_back_after_a_cut_share_as_asked() -> Result<()> {
    const ALL: usize = 60;
    let shop = Shop::open()?;
    shop.weigh(1, 0, &cut())?;
    let _agent = shop.bed.ready_agent()?;
    let mut open = Open::to(&shop.client, SERVICE, ALL)?;
    shop.weigh(1, 1, &cut())?;
    let counts = eventually(PATIENCE * 4, "both have the same", || {
        let missing = ALL - open.count()?;
        open.more(SERVICE, missing)?;
        let counts = [open.with("v1")?, open.with("v2")?];
        ensure!(
            missing == 0 && counts[0].abs_diff(counts[1]) <= 2,
            "{counts:?}"
        );
        Ok(counts)
    })?;
    let shifted = shop.bed.counter(SHIFTED)?;
    ensure!(shifted <= ALL as u64, "{shifted} were moved");
    println!("{ALL} connections are now {counts:?}, after {shifted} were moved");
    Ok(())
}

/// The pace is held against the time since the weights were written, which was before the agent saw them.
pub(crate) fn a_drain_keeps_its_pace_until_it_is_done_or_cut_short() -> Result<()> {
    const ALL: usize = 500;
    // All of them in a minute.
    const PER_SECOND: f64 = ALL as f64 / 60.0;
    let drain = json!({"connections": "Drain", "drain": {"perMinute": "100%", "jitter": "500ms"}});
    let shop = Shop::open()?;
    shop.weigh(1, 0, &drain)?;
    let _agent = shop.bed.ready_agent()?;
    let open = Open::to(&shop.client, SERVICE, ALL)?;
    let enough = if is_long() { ALL } else { ALL / 10 } as u64;
    let written = Instant::now();
    shop.weigh(0, 1, &drain)?;
    let mut histogram: Vec<u64> = Vec::new();
    let mut before = 0;
    eventually(PATIENCE * 4, "the drain is under way or done", || {
        let shifted = shop.bed.counter(SHIFTED)?;
        let since = written.elapsed();
        let most = 1.0 + PER_SECOND * (since + GRACE).as_secs_f64();
        let second = since.as_secs() as usize;
        if histogram.len() <= second {
            histogram.resize(second + 1, 0);
        }
        histogram[second] += shifted - before;
        before = shifted;
        // Not to be tried again: it ends the wait.
        if shifted as f64 > most {
            return Ok(Err(format!("{shifted} were moved after {since:?}")));
        }
        ensure!(shifted >= enough, "{shifted} of {enough}");
        Ok(Ok(()))
    })?
    .map_err(anyhow::Error::msg)?;
    println!("moved in each second: {histogram:?}");
    if !is_long() {
        shop.weigh(0, 1, &cut())?;
    }
    shop.await_shifted(ALL as u64)?;
    ensure!(open.count()? == 0, "{}", open.count()?);
    Ok(())
}
