//! A zoo of clients: the programs that people run, as they are installed, each run directly at a server and through
//! its Service. Exit code, output and what the server heard must be the same; only the peer is called by its Service.

use std::{
    cell::Cell,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use sluice_testbed::{
    pod::Pod,
    process::{Command, Mounts, Process},
};

use self::{
    name_server::NameServer,
    programs::{PROGRAMS, Programs},
    server::{ECHO, HTTP, Server},
};
use crate::bed::{Bed, PATIENCE};

mod datagrams;
mod name_server;
mod names;
mod objects;
mod programs;
mod server;
mod web;

pub(crate) use datagrams::*;
pub(crate) use names::*;
pub(crate) use web::*;

/// What every address that is the subject of a run is called when runs are compared.
const ADDRESS: &str = "ADDRESS";

/// Two servers, a Service for each and one that has none, an agent, and a client.
struct Zoo {
    programs: Arc<Programs>,
    client: Pod,
    agent: Process,
    servers: [Place; 2],
    runs: Cell<u32>,
    bed: Bed,
}

/// A pod that serves everything that clients ask for.
struct Place {
    http: Server,
    names: NameServer,
    pod: Pod,
}

/// One way to the same server.
#[derive(Clone, Copy)]
enum Way {
    Direct,
    Service,
}

#[derive(Clone, Copy, Debug)]
enum Family {
    V4,
    V6,
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// What a run looked like from outside, with the subject's addresses called [`ADDRESS`].
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    code: Option<i32>,
    output: String,
    heard: Vec<String>,
}

impl Zoo {
    fn open() -> Result<Self> {
        let programs = PROGRAMS.get()?;
        let bed = Bed::start()?;
        let servers = [
            Place::open(&bed, "server-1")?,
            Place::open(&bed, "server-2")?,
        ];
        let client = bed.node.pod("client").start()?;
        let objects: Vec<_> = (0..)
            .zip(&servers)
            .flat_map(|(number, place)| objects::service(number, Some(&place.pod)))
            .chain(objects::service(NONE, None))
            .collect();
        bed.write("services.yaml", &objects)?;
        let agent = bed.ready_agent()?;
        Ok(Self {
            programs,
            client,
            agent,
            servers,
            runs: Cell::default(),
            bed,
        })
    }

    /// Where a server is by this way.
    fn server(&self, number: u8, way: Way, family: Family) -> IpAddr {
        match way {
            Way::Direct => address_of(&self.servers[usize::from(number)].pod, family),
            Way::Service => objects::address(number, family),
        }
    }

    /// Where nobody listens: the client's own address, or a Service without endpoints.
    fn nobody(&self, way: Way, family: Family) -> IpAddr {
        match way {
            Way::Direct => address_of(&self.client, family),
            Way::Service => objects::address(NONE, family),
        }
    }

    fn command(&self, program: &[String]) -> Result<Command> {
        let number = self.runs.get();
        self.runs.set(number + 1);
        let (program, arguments) = program.split_first().context("no program")?;
        let command = self
            .bed
            .fabric
            .run()
            .command(&format!("zoo-{number}"), program);
        command
            .args(arguments)
            .cgroup(self.client.container_cgroup())
            .netns(self.client.netns())
    }

    /// A program from its start to its end. `subjects` are called [`ADDRESS`] in what it says.
    fn run(&self, program: &[String], subjects: &[IpAddr]) -> Result<(Option<i32>, String)> {
        ended(&self.command(program)?, subjects)
    }

    /// The same with these name servers, and the C library told to ask nobody else.
    fn run_with(&self, servers: &[IpAddr], program: &[String]) -> Result<(Option<i32>, String)> {
        let folder = self.bed.fabric.run().folder();
        let (resolver, order) = (folder.join("resolv.conf"), folder.join("nsswitch.conf"));
        let lines = servers
            .iter()
            .map(|server| format!("nameserver {server}\n"));
        fs::write(&resolver, lines.collect::<String>())?;
        fs::write(&order, "hosts: files dns\n")?;
        let mut words: Vec<String> = vec!["sh".into(), "-c".into(), SEES_OWN_FILES.into()];
        words.extend([
            "sh".into(),
            resolver.display().to_string(),
            order.display().to_string(),
        ]);
        words.extend_from_slice(program);
        ended(&self.command(&words)?.mounts(Mounts::Private), servers)
    }

    /// A run about an address of the first server, and what that heard.
    fn ask(&self, at: IpAddr, words: &[String]) -> Result<Seen> {
        let server = &self.servers[0].http;
        server.heard();
        let (code, output) = self.run(words, &[at])?;
        let heard = server.heard().into_iter();
        let heard = heard.map(|line| anonymous(line, &[at])).collect();
        Ok(Seen {
            code,
            output,
            heard,
        })
    }

    /// Fails if the agent has ended, for then everything would be direct.
    fn check(&mut self) -> Result<()> {
        ensure!(
            self.agent.is_running()?,
            "the agent has ended: {}",
            self.agent.output()?
        );
        Ok(())
    }
}

/// What a client shows by both ways, which has to be the same.
fn same(client: &str, of: impl Fn(Way) -> Result<Seen>) -> Result<Seen> {
    let (direct, service) = (of(Way::Direct)?, of(Way::Service)?);
    ensure!(
        direct == service,
        "{client}: directly {direct:#?}, through a Service {service:#?}"
    );
    Ok(direct)
}

/// The Service without endpoints.
const NONE: u8 = 200;

const SEES_OWN_FILES: &str = r#"
mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"
"#;

fn ended(command: &Command, subjects: &[IpAddr]) -> Result<(Option<i32>, String)> {
    let mut process = command.spawn()?;
    let status = process.wait(PATIENCE * 2)?;
    Ok((status.code(), anonymous(process.output()?, subjects)))
}

impl Place {
    fn open(bed: &Bed, name: &str) -> Result<Self> {
        let pod = bed.node.pod(name).start()?;
        Ok(Self {
            http: Server::start(&pod)?,
            names: NameServer::start(bed, &pod)?,
            pod,
        })
    }
}

fn address_of(pod: &Pod, family: Family) -> IpAddr {
    match family {
        Family::V4 => pod.address4().into(),
        Family::V6 => pod.address6().into(),
    }
}

/// The text without the subjects' addresses, in any form that programs write them.
fn anonymous(text: String, subjects: &[IpAddr]) -> String {
    let forms = subjects.iter().flat_map(|subject| match subject {
        IpAddr::V4(address) => v4_forms(*address),
        IpAddr::V6(address) => v6_forms(*address),
    });
    forms.fold(text, |text, form| text.replace(&form, ADDRESS))
}

fn v4_forms(address: Ipv4Addr) -> Vec<String> {
    vec![address.to_ipv6_mapped().to_string(), address.to_string()]
}

/// As most write them, and as Java does: without leaving out zeros.
fn v6_forms(address: Ipv6Addr) -> Vec<String> {
    let groups = address.segments().map(|group| format!("{group:x}"));
    vec![address.to_string(), groups.join(":")]
}
