//! The program against a real agent on a light node.
//!
//! The agent is this very test program in another role, so that no other package's binary has to be
//! built first.

#[path = "live/bed.rs"]
mod bed;

use std::{env, process::ExitCode};

use anyhow::{Context, Result, anyhow, ensure};
use sluice_cli::args::Args;
use sluice_node_agent::{args, maps::kernel::Kernel, object, program::Pins};
use sluice_testbed::{
    load::Load,
    requirements::Missing,
    tier::{self, Tier, eventually, test},
};

use bed::{AGENT, Bed, PATIENCE};

/// The one that shows only where there are agents' pods: in `kind-tests`.
const IN_A_CLUSTER: &str = "agent_namespace";

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some(AGENT) {
        let args: args::Args = clap::Parser::parse_from(env::args().skip(1));
        return sluice_node_agent::run(&args).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        });
    }
    sluice_testbed::entry();
    let compiled = || {
        object::bytes()
            .map(drop)
            .map_err(|missing| Missing(missing.to_string()))
    };
    tier::main_if(
        Tier::Files,
        Tier::Files.check().and_then(|()| compiled()),
        vec![
            test!(every_option_and_argument_of_the_help_acts),
            test!(what_a_real_agent_says_is_understood),
            test!(a_difference_between_wanted_and_live_maps_is_a_failure),
            test!(watch_measures_what_connects_had),
            test!(what_cannot_be_asked_is_a_sentence),
            test!(the_example_of_the_documentation_is_what_happens),
        ],
    )
}

fn every_option_and_argument_of_the_help_acts() -> Result<()> {
    let bed = Bed::start()?;
    let at = |args: &str| bed.good(&format!("--admin 127.0.0.1:9000 {args}"));
    let mut command = <Args as clap::CommandFactory>::command();
    command.build();
    let verbs = command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help");
    let of_verbs = verbs.flat_map(|verb| {
        let name = verb.get_name();
        verb.get_arguments()
            .filter(|argument| !argument.is_global_set())
            .map(move |argument| format!("{name} {}", argument.get_id()))
    });
    let global = command
        .get_arguments()
        .map(|argument| argument.get_id().to_string());
    let here = |argument: &String| argument != IN_A_CLUSTER;
    for argument in of_verbs.chain(global).filter(here) {
        let acts = match argument.as_str() {
            "admin" => {
                let variables = [("SLUICE_ADMIN", "127.0.0.1:9000")];
                !bed.run("status")?.status.success()
                    && bed.run_with("status", &variables)?.status.success()
            }
            // Two contexts, and nothing listens where they lead: what is said names the address.
            "kubeconfig" => bed
                .complaint("--kubeconfig CONFIG get")?
                .contains("127.0.0.1:9101"),
            "context" => bed
                .complaint("--kubeconfig CONFIG --context other get")?
                .contains("127.0.0.1:9102"),
            "namespace" => {
                at("get -n find")?.lines().count() == 2
                    && at("get -n shop checkout")? == at("get shop/checkout")?
                    && at("-n shop explain cart 10.96.0.10")?.contains("shop/cart -> ")
                    && at("status")?.contains("TrafficSplit find/search")
                    && !at("status -n shop")?.contains("TrafficSplit find/search")
                    && !at("status -n shop -o json")?.contains("find/search")
            }
            "all_namespaces" => {
                let variables = [("SLUICE_NAMESPACE", "find")];
                let of_one = bed.run_with("--admin 127.0.0.1:9000 get", &variables)?;
                let of_all = bed.run_with("--admin 127.0.0.1:9000 get -A", &variables)?;
                of_one.stdout != of_all.stdout && of_all.stdout == at("get")?.into_bytes()
            }
            "explain node" => bed
                .complaint("--admin 127.0.0.1:9000 explain --node node-1 host 10.96.0.10")?
                .contains("leave --node out"),
            "status node" => bed
                .complaint("--admin 127.0.0.1:9000 status --node node-1")?
                .contains("leave --node out"),
            "output" => {
                at("get -o json")?.starts_with('[')
                    && at("get -o yaml")?.starts_with("- ")
                    && at("get -o table")? == at("get")?
                    && at("get -o wide")? == at("get")?
            }
            "explain caller" => {
                at("explain host 10.96.0.10")?.starts_with("host -> ")
                    && at("explain shop/cart 10.96.0.10")?.contains("shop/cart -> ")
            }
            "explain target" => {
                at("explain host 10.96.0.10:80")?.contains("TrafficSplit shop/checkout")
                    && at("explain host 10.96.0.11:80")?.contains("Service shop/checkout-v1")
                    && at("explain host 10.96.0.10:81")?.contains("left alone")
            }
            "get kind" => {
                at("get splits")? == at("get")?
                    && bed
                        .complaint("--admin 127.0.0.1:9000 get lrp")?
                        .contains("no list of any LocalRedirectPolicy")
            }
            "get name" => {
                at("get split shop/checkout")?.contains("CONDITION")
                    && at("get shop/checkout")? == at("get split shop/checkout")?
                    && !bed
                        .run("--admin 127.0.0.1:9000 get shop/none")?
                        .status
                        .success()
            }
            "watch name" => at("watch shop/checkout --looks 1")?.contains("stable"),
            "watch looks" => at("watch shop/checkout --looks 2 --every 1")?
                .matches("TrafficSplit shop/checkout")
                .count()
                .eq(&2),
            "watch every" => {
                let looks = at("watch shop/checkout --looks 2 --every 2 -o json")?;
                let last = looks.lines().last().context("a look is a line")?;
                let last: serde_json::Value = serde_json::from_str(last)?;
                last["seconds"].as_f64() >= Some(2.0)
            }
            // Asked in the node's network, where nothing is needed of the agent.
            "help" | "explain help" | "get help" | "status help" | "watch help" => bed
                .good(&argument.replace("help", "--help"))?
                .contains("Usage:"),
            "version" => bed.good("--version")?.starts_with("kubectl-sluice "),
            other => return Err(anyhow!("nothing proves that {other} acts")),
        };
        ensure!(acts, "{argument} does not act");
    }
    Ok(())
}

fn what_a_real_agent_says_is_understood() -> Result<()> {
    let bed = Bed::start()?;
    let at = |args: &str| bed.good(&format!("--admin 127.0.0.1:9000 {args}"));
    let explained = at("explain host 10.96.0.10:80")?;
    for expected in [
        "90.0%",
        "10.0%",
        "10.244.1.2:8080",
        "10.244.1.3:8080",
        "as wanted",
    ] {
        ensure!(explained.contains(expected), "{explained}");
    }
    let splits = at("get")?;
    for expected in ["find/search", "shop/checkout", "ServiceNotFound", "yes"] {
        ensure!(splits.contains(expected), "{splits}");
    }
    let status = at("status")?;
    for expected in [
        "Node node-1: ready",
        "self-test",
        "TrafficSplit find/search",
        "FRONTENDS",
    ] {
        ensure!(status.contains(expected), "{status}");
    }
    Ok(())
}

fn watch_measures_what_connects_had() -> Result<()> {
    let bed = Bed::start()?;
    let server = |version: &str| bed.node.pod(version).version(version).port(8080).start();
    let servers = [server("v1")?, server("v2")?];
    let addresses = servers.each_ref().map(|pod| pod.address4().to_string());
    ensure!(
        addresses == ["10.244.1.2", "10.244.1.3"],
        "the manifests name others than {addresses:?}"
    );
    let client = bed.node.pod("client").start()?;
    let address: std::net::SocketAddr = "10.96.0.10:80".parse()?;
    let running = client.start_load(&Load::on([address]).until_stopped())?;
    eventually(PATIENCE, "connects within a window", || {
        let watch = "--admin 127.0.0.1:9000 watch shop/checkout --every 1 --looks 2 -o json";
        let looks = bed.good(watch)?;
        let looks: Vec<serde_json::Value> = looks
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        let [first, second] = &looks[..] else {
            return Err(anyhow!("two looks are not {looks:?}"));
        };
        ensure!(first["versions"][0]["measured"].is_null(), "{first:#}");
        let chosen = |version: usize| {
            let version = &second["versions"][version];
            version["chosen"]
                .as_u64()
                .with_context(|| format!("{second:#}"))
        };
        let (stable, canary) = (chosen(0)?, chosen(1)?);
        ensure!(stable + canary > 100, "{second:#}");
        // Exact, but for one connect at each end of the window for each version.
        ensure!(stable.abs_diff(9 * canary) <= 9 * 2, "{second:#}");
        ensure!(second["versions"][0]["share"] == "90.0%", "{second:#}");
        ensure!(second["nodes"]["measured"] == 1, "{second:#}");
        Ok(())
    })?;
    let report = running.stop()?;
    ensure!(report.failures.is_empty(), "{report}");
    Ok(())
}

fn a_difference_between_wanted_and_live_maps_is_a_failure() -> Result<()> {
    let bed = Bed::start()?;
    // Somebody else makes every port answer with the table of another.
    let maps = Kernel::open(&Pins::new(bed.node.bpffs()))?;
    let mut ports = Vec::new();
    maps.ports.each(|id, port| ports.push((id, port)))?;
    ports.retain(|(_, port)| port.generation() != 0);
    ensure!(ports.len() >= 3, "{ports:?}");
    for ((id, _), (_, other)) in ports.iter().zip(ports.iter().cycle().skip(1)) {
        maps.ports.swap(*id, *other)?;
    }
    for form in ["table", "json", "yaml"] {
        let output = bed.run(&format!(
            "--admin 127.0.0.1:9000 -o {form} explain host 10.96.0.10:80"
        ))?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.code() == Some(1), "{form}: {text}");
        match form {
            "table" => ensure!(
                text.starts_with("DIFFERENCE at 10.96.0.10:80/TCP: "),
                "{text}"
            ),
            _ => ensure!(text.contains("difference"), "{text}"),
        }
    }
    ensure!(
        bed.run("--admin 127.0.0.1:9000 explain host 10.96.0.99")?
            .status
            .success()
    );
    Ok(())
}

/// The example's manifests give the table that the page shows.
fn the_example_of_the_documentation_is_what_happens() -> Result<()> {
    let page = include_str!("../../docs/files.md");
    let manifests: Vec<_> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    ensure!(manifests.len() == 3, "{manifests:?}");
    let shown = page.split("$ kubectl-sluice get\n").nth(1);
    let shown = shown.and_then(|rest| rest.split("\n\n").next());
    let bed = Bed::with(&manifests.join("---\n"))?;
    let printed = bed.good("--admin 127.0.0.1:9000 get")?;
    ensure!(shown == Some(printed.trim_end()), "{printed}");
    Ok(())
}

fn what_cannot_be_asked_is_a_sentence() -> Result<()> {
    let bed = Bed::start()?;
    for (args, expected) in [
        (
            "--admin 127.0.0.1:9001 get",
            "no agent answers at 127.0.0.1:9001",
        ),
        ("get", "no cluster is known: name one with --kubeconfig"),
        (
            "--kubeconfig /nowhere get",
            "cannot use the kubeconfig /nowhere: ",
        ),
        ("--kubeconfig CONFIG --context none get", "none"),
        (
            "--kubeconfig CONFIG get",
            "no API server answers at http://127.0.0.1:9101/ (Connection refused",
        ),
        (
            "--kubeconfig CONFIG explain host 10.96.0.10",
            "name the node with --node",
        ),
    ] {
        let complaint = bed.complaint(args)?;
        ensure!(complaint.lines().count() == 1, "{args}: {complaint}");
        ensure!(complaint.contains(expected), "{args}: {complaint}");
    }
    Ok(())
}
