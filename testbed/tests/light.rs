//! The testbed proves itself: runs, nodes and pods are what they claim to be, and leave nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use sluice_testbed::fabric::Fabric;
use sluice_testbed::load::{Failure, Load, Stage, Target};
use sluice_testbed::pod::{Driver, Pod, Qos};
use sluice_testbed::program::{Family, Seen, Step, Transport};
use sluice_testbed::run::leftovers;
use sluice_testbed::serve::Behaviour;
use sluice_testbed::tier::{self, Tier, test};
use sluice_testbed::{Errno, Run};

const PORT: u16 = 80;
const PATIENT: Duration = Duration::from_secs(10);
const IMPATIENT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    tier::main(
        Tier::Kernel,
        vec![
            test!(pods_reach_each_other_on_one_node_and_across_nodes),
            test!(pods_on_the_network_of_their_node_answer_from_where_they_were_asked),
            test!(a_pod_with_many_addresses_stands_for_many_backends),
            test!(a_pod_lies_where_kubelet_puts_it),
            test!(a_pod_fails_on_command),
            test!(a_program_of_socket_calls_shows_what_an_application_sees),
            test!(a_load_counts_answers_and_ends_when_told),
            test!(two_runs_with_the_same_addresses_do_not_meet),
            test!(a_killed_pod_is_an_error_and_not_a_hang),
            test!(a_panic_tears_down),
        ],
    )
}

fn pods_reach_each_other_on_one_node_and_across_nodes() -> Result<()> {
    let fabric = Fabric::start()?;
    let (one, two) = (fabric.node("node-1")?, fabric.node("node-2")?);
    let client = one.pod("client").start()?;
    let near = one.pod("near").version("v1").port(PORT).start()?;
    let far = two.pod("far").version("v2").port(PORT).start()?;
    for server in [&near, &far] {
        for address in server.at(PORT) {
            for target in [Target::tcp(address), Target::udp(address)] {
                let answer = client.connect(target)?;
                ensure!(answer.name == server.name(), "{target} is {answer:?}");
            }
        }
    }
    ensure!(client.connect(far.at(PORT)[0])?.version == "v2");
    Ok(())
}

fn pods_on_the_network_of_their_node_answer_from_where_they_were_asked() -> Result<()> {
    let fabric = Fabric::start()?;
    let (one, two) = (fabric.node("node-1")?, fabric.node("node-2")?);
    let shared = one.pod("shared").host_network().port(PORT).start()?;
    let process = one.pod("process").on_the_host().port(PORT + 1).start()?;
    for client in [
        one.pod("near").start()?,
        two.pod("far").start()?,
        two.pod("daemon").on_the_host().start()?,
    ] {
        for (server, port) in [(&shared, PORT), (&process, PORT + 1)] {
            for address in server.at(port) {
                ensure!(client.connect(Target::tcp(address))?.name == server.name());
                ensure!(client.connect(Target::udp(address))?.name == server.name());
            }
        }
    }
    Ok(())
}

fn a_pod_with_many_addresses_stands_for_many_backends() -> Result<()> {
    let fabric = Fabric::start()?;
    let (one, two) = (fabric.node("node-1")?, fabric.node("node-2")?);
    let backends = one
        .pod("backends")
        .addresses(20)
        .port(PORT)
        .port(PORT + 1)
        .named_by_address()
        .start()?;
    let client = two.pod("client").start()?;
    ensure!(backends.addresses().len() == 20);
    for (v4, v6) in backends.addresses() {
        for address in [SocketAddr::from((*v4, PORT)), (*v6, PORT + 1).into()] {
            for target in [Target::tcp(address), Target::udp(address)] {
                ensure!(client.connect(target)?.name == address.to_string());
            }
        }
    }
    Ok(())
}

fn a_pod_lies_where_kubelet_puts_it() -> Result<()> {
    let fabric = Fabric::start()?;
    let node = fabric.node("node-1")?;
    let uid = "0dc2f1a7-7a3f-4a56-b5c5-3a1c5d1e5a11";
    for (driver, qos, pod_path) in [
        (
            Driver::Cgroupfs,
            Qos::Burstable,
            format!("kubepods/burstable/pod{uid}"),
        ),
        (
            Driver::Cgroupfs,
            Qos::Guaranteed,
            format!("kubepods/pod{uid}"),
        ),
        (
            Driver::Systemd,
            Qos::BestEffort,
            format!(
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{}.slice",
                uid.replace('-', "_")
            ),
        ),
    ] {
        let pod = node.pod("a").uid(uid).cgroup(driver, qos).start()?;
        ensure!(pod.cgroup().path() == node.cgroup().path().join(pod_path));
        ensure!(pod.container_cgroup().path().parent() == Some(pod.cgroup().path()));
        let processes = pod.container_cgroup().processes()?;
        ensure!(
            processes == BTreeSet::from([pod.pid().cast_signed()]),
            "{processes:?}"
        );
        let path = pod.cgroup().path().to_owned();
        drop(pod);
        ensure!(!path.exists());
    }
    Ok(())
}

fn a_pod_fails_on_command() -> Result<()> {
    let fabric = Fabric::start()?;
    let node = fabric.node("node-1")?;
    let server = node.pod("server").port(PORT).http_port(8080).start()?;
    let client = node.pod("client").start()?;
    for (behaviour, tcp, udp) in [
        (Behaviour::Refuse, Errno::ECONNREFUSED, Errno::ECONNREFUSED),
        (Behaviour::Reset, Errno::ECONNRESET, Errno::ECONNREFUSED),
        (Behaviour::Hang, Errno::ETIMEDOUT, Errno::ETIMEDOUT),
        (
            Behaviour::Slow(Duration::from_secs(60)),
            Errno::ETIMEDOUT,
            Errno::ETIMEDOUT,
        ),
        (Behaviour::BlackHole, Errno::ETIMEDOUT, Errno::ETIMEDOUT),
    ] {
        server.behave(behaviour)?;
        for address in server.at(PORT) {
            for (target, errno) in [(Target::tcp(address), tcp), (Target::udp(address), udp)] {
                // What is to fail at once has time, what is to hang is not waited for.
                let patience = if errno == Errno::ETIMEDOUT {
                    IMPATIENT
                } else {
                    PATIENT
                };
                let report = client.load(&Load::on([target]).patience(patience))?;
                let [failure] = &report.failures[..] else {
                    bail!("{behaviour}: {report}")
                };
                ensure!(failure.code == errno, "{behaviour}: {failure}");
                // A reset may come before connect has returned or after.
                let in_connect = matches!(behaviour, Behaviour::Refuse | Behaviour::BlackHole);
                if target.transport == Transport::Tcp && behaviour != Behaviour::Reset {
                    ensure!(
                        (failure.stage == Stage::Connect) == in_connect,
                        "{behaviour}: {failure}"
                    );
                }
            }
        }
        server.behave(Behaviour::Answer)?;
        for address in server.at(PORT) {
            ensure!(
                client.connect(Target::tcp(address))?.name == "server",
                "after {behaviour}"
            );
            ensure!(
                client.connect(Target::udp(address))?.name == "server",
                "after {behaviour}"
            );
        }
    }
    server.behave(Behaviour::Slow(Duration::from_millis(20)))?;
    let report = client.load(&Load::on(server.at(PORT)).times(2))?;
    ensure!(
        report.of("server") == 2 && report.answers.quantile(0.0) >= Duration::from_millis(19),
        "{report}"
    );

    ensure!(http(&client, server.at(8080)[0], "/ready")?.starts_with("HTTP/1.1 200 "));
    server.set_ready(false)?;
    ensure!(http(&client, server.at(8080)[1], "/ready")?.starts_with("HTTP/1.1 503 "));
    Ok(())
}

fn http(client: &Pod, address: SocketAddr, path: &str) -> Result<String> {
    let results = client.run(&[
        Step::tcp(Family::of(address)),
        Step::connect(0, address),
        Step::send(0, format!("GET {path} HTTP/1.1\r\nHost: server\r\n\r\n")),
        Step::receive(0),
    ])?;
    let answer = results
        .last()
        .and_then(|result| result.as_ref().ok()?.text());
    Ok(answer.with_context(|| format!("{results:?}"))?.to_owned())
}

fn a_program_of_socket_calls_shows_what_an_application_sees() -> Result<()> {
    let fabric = Fabric::start()?;
    let node = fabric.node("node-1")?;
    let server = node.pod("server").version("v1").port(PORT).start()?;
    let client = node.pod("client").start()?;
    for (open, closed) in server.at(PORT).into_iter().zip(server.at(PORT + 1)) {
        let family = Family::of(open);
        let results = client.run(&[
            Step::tcp(family),
            Step::connect(0, closed),
            Step::connect(0, open),
            Step::peer_name(0),
            Step::receive(0),
            Step::connect(0, open),
        ])?;
        ensure!(results[1] == Err(Errno::ECONNREFUSED.into()), "{results:?}");
        ensure!(
            results[2..4] == [Ok(Seen::Done), Ok(Seen::Name(open))],
            "{results:?}"
        );
        ensure!(
            results[4].as_ref().ok().and_then(Seen::text) == Some("server v1\n"),
            "{results:?}"
        );
        ensure!(results[5] == Err(Errno::EISCONN.into()), "{results:?}");

        let results = client.run(&[
            Step::Open {
                family,
                transport: Transport::Tcp,
                nonblocking: true,
            },
            Step::connect(0, closed),
            Step::AwaitWritable { socket: 0 },
            Step::TakeError { socket: 0 },
        ])?;
        ensure!(results[1] == Err(Errno::EINPROGRESS.into()), "{results:?}");
        ensure!(
            results[3] == Ok(Seen::Pending(Errno::ECONNREFUSED.into())),
            "{results:?}"
        );

        let results = client.run(&[
            Step::udp(family),
            Step::SendTo {
                socket: 0,
                data: b"hello".to_vec(),
                address: open,
            },
            Step::ReceiveFrom {
                socket: 0,
                most: 100,
            },
        ])?;
        let expected = Seen::DataFrom(b"server v1\nhello".to_vec(), open);
        ensure!(results[2] == Ok(expected), "{results:?}");
    }
    Ok(())
}

fn a_load_counts_answers_and_ends_when_told() -> Result<()> {
    let fabric = Fabric::start()?;
    let node = fabric.node("node-1")?;
    let client = node.pod("client").start()?;
    let servers = ["a", "b"].map(|name| node.pod(name).version("v1").port(PORT).start());
    let [a, b] = servers;
    let (a, b) = (a?, b?);
    let targets = [a.at(PORT), b.at(PORT)].concat();

    let report = client.load(&Load::on(targets.clone()).times(400).threads(4))?;
    ensure!(
        report.failures.is_empty() && report.of("a") == 200 && report.of("b") == 200,
        "{report}"
    );
    ensure!(report.of_version("v1") == 400);
    let report = client.load(&Load::on([b.at(PORT)[0], a.at(PORT)[1]]).times(4).in_order())?;
    ensure!(report.order == ["b", "a", "b", "a"]);

    let running = client.start_load(&Load::on(targets).until_stopped().threads(2).rate(1000.0))?;
    tier::eventually(Duration::from_secs(10), "answers come", || {
        let report = running.so_far()?;
        ensure!(report.answered() >= 20, "{report}");
        Ok(())
    })?;
    ensure!(
        client.connect(a.at(PORT)[0])?.name == "a",
        "a pod does several things at once"
    );
    b.behave(Behaviour::Refuse)?;
    tier::eventually(Duration::from_secs(10), "refusals are counted", || {
        let report = running.so_far()?;
        let refused = |failure: &Failure| {
            failure.code == Errno::ECONNREFUSED && failure.stage == Stage::Connect
        };
        ensure!(report.failures.iter().any(refused), "{report}");
        Ok(())
    })?;
    let report = running.stop()?;
    let of_b = |failure: &Failure| b.at(PORT).contains(&failure.target.address);
    ensure!(report.failures.iter().all(of_b), "{report}");
    ensure!(
        report.answered() + report.failures.len() as u64 == report.tries,
        "{report}"
    );
    Ok(())
}

fn two_runs_with_the_same_addresses_do_not_meet() -> Result<()> {
    let fabrics = [Fabric::start()?, Fabric::start()?];
    let mut pods = Vec::new();
    for (fabric, name) in fabrics.iter().zip(["left", "right"]) {
        let node = fabric.node("node-1")?;
        pods.push((
            node.pod("client").start()?,
            node.pod(name).port(PORT).start()?,
        ));
    }
    ensure!(pods[0].1.at(PORT) == pods[1].1.at(PORT));
    for (client, server) in &pods {
        for address in server.at(PORT) {
            ensure!(client.connect(address)?.name == server.name());
        }
    }
    let [first, second] = fabrics;
    let ended = first.run().id();
    pods.remove(0);
    drop(first);
    let left = leftovers()?;
    ensure!(!left.contains_key(&ended), "{left:?}");
    let (client, server) = &pods[0];
    ensure!(client.connect(server.at(PORT)[0])?.name == "right");
    drop(second);
    Ok(())
}

fn a_killed_pod_is_an_error_and_not_a_hang() -> Result<()> {
    let fabric = Fabric::start()?;
    let pod = fabric.node("node-1")?.pod("a").port(PORT).start()?;
    let running = pod.start_load(&Load::on([pod.at(PORT)[0]]).until_stopped().rate(100.0))?;
    pod.kill()?;
    ensure!(running.finish().is_err());
    ensure!(pod.connect(pod.at(PORT)[0]).is_err());
    Ok(())
}

fn a_panic_tears_down() -> Result<()> {
    let (sender, id) = mpsc::channel();
    let panic = catch_unwind(move || -> Result<()> {
        let run = Run::start()?;
        sender.send(run.id())?;
        let fabric = Fabric::create(&run)?;
        let _pod = fabric.node("node-1")?.pod("a").port(PORT).start()?;
        resume_unwind(Box::new("on purpose"));
    });
    ensure!(panic.is_err());
    let id = id.recv()?;
    let left = leftovers()?;
    ensure!(!left.contains_key(&id), "{left:?}");
    Ok(())
}
