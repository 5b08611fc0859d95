//! Programs of others on the cgroups that ours are on.

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use sluice_node_abi::{keys, values::mode};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    Errno, bpf,
    errno::Code,
    load::Target,
    pod::Pod,
    program::{Family, Seen, Step},
    tier::eventually,
};

use crate::bed::{Bed, at};

const PATIENCE: Duration = Duration::from_secs(30);
const PORT: u16 = 80;
const OURS: &str = "198.18.0.1";
const THEIRS: &str = "198.18.0.2";
const BOTHS: &str = "198.18.0.3";
const NOBODYS: &str = "198.18.0.4";

/// That this server answers there by every way, and is called by the address that was asked.
fn answered(client: &Pod, ip: &str, server: &str) -> Result<()> {
    let service = at(ip, PORT)?;
    for target in [Target::tcp(service), Target::udp(service)] {
        let answer = client.connect(target)?;
        ensure!(answer.name == server, "{target}: {answer:?}");
    }
    let seen = client.run(&[
        Step::tcp(Family::V4),
        Step::connect(0, service),
        Step::peer_name(0),
        Step::udp(Family::V4),
        Step::send_to(1, "?", service),
        Step::receive_from(1),
    ])?;
    let asked = matches!(&seen[5], Ok(Seen::DataFrom(_, from)) if *from == service);
    ensure!(
        seen[2] == Ok(Seen::Name(service)) && asked,
        "{service}: {seen:?}"
    );
    Ok(())
}

/// Another load balancer with the same kind of programs, which came after ours: each serves its own Services,
/// the first in line serves what both claim, and neither sees what the other does.
pub(crate) fn programs_of_others_stay_and_the_first_in_line_serves_what_both_claim() -> Result<()> {
    let mut ours = Bed::start(Refusal::SetRetval)?;
    let cgroup = ours.node.cgroup().clone();
    let mut theirs = ours.beside("others")?;
    let servers = ["one", "other"].map(|name| ours.node.pod(name).port(PORT).start());
    let [one, other] = servers;
    let (one, other) = (one?, other?);
    let client = ours.node.pod("client").start()?;
    let serve = |bed: &mut Bed, ip: &str, backend: SocketAddr| -> Result<()> {
        for protocol in [keys::TCP, keys::UDP] {
            bed.service(at(ip, PORT)?, protocol, &[backend])?;
        }
        Ok(())
    };
    serve(&mut ours, OURS, one.at(PORT)[0])?;
    serve(&mut theirs, THEIRS, other.at(PORT)[0])?;
    serve(&mut ours, BOTHS, one.at(PORT)[0])?;
    serve(&mut theirs, BOTHS, other.at(PORT)[0])?;
    let table = ours.table(mode::SEQUENCE, &[0])?;
    ours.frontend(at(NOBODYS, PORT)?, keys::TCP, table)?;

    answered(&client, OURS, "one")?;
    answered(&client, THEIRS, "other")?;
    answered(&client, BOTHS, "one")?;
    let refused = client.try_connect(Target::tcp(at(NOBODYS, PORT)?))?;
    ensure!(refused.err() == Some(Code::from(Errno::ECONNREFUSED)));

    // Ours go and come again: theirs stay as they are, and are the first in line from then on.
    let both = bpf::programs_on(cgroup.path())?;
    fs::remove_dir_all(ours.pins.root().join("links"))?;
    let left = eventually(PATIENCE, "their programs alone", || {
        let left = bpf::programs_on(cgroup.path())?;
        let half = left.len() * 2 == both.len() && left.is_subset(&both);
        ensure!(half, "{left:?} of {both:?}");
        Ok(left)
    })?;
    answered(&client, THEIRS, "other")?;
    ours.programs.attach(cgroup.path())?;
    ensure!(left.is_subset(&bpf::programs_on(cgroup.path())?));
    answered(&client, OURS, "one")?;
    answered(&client, BOTHS, "other")?;
    Ok(())
}
