//! Resolvers: of glibc, of musl, and those that languages have of their own. They are the clients that look closest at
//! who answers, and some ask several name servers from one socket.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context, Result, ensure};
use sluice_testbed::tier::eventually;

use super::{
    FAMILIES, Seen, Zoo,
    name_server::{ADDRESSES, LONG, NOWHERE, ZONE},
    programs::{self, Client, Programs},
    same,
};
use crate::bed::PATIENCE;

/// What every name is called when runs are compared.
const NAME: &str = "NAME";

/// A client that looks names up.
struct Resolver<'zoo> {
    client: &'zoo Client,
    mode: &'static [&'static str],
}

impl Resolver<'_> {
    fn words(&self, name: &str) -> Vec<String> {
        self.client.with(&[self.mode, &[name]].concat())
    }
}

impl Zoo {
    fn resolvers(&self) -> impl Iterator<Item = Resolver<'_>> {
        let Programs {
            all_round,
            resolvers,
            ..
        } = &*self.programs;
        let of = |mode: &'static [&'static str]| move |client| Resolver { client, mode };
        all_round
            .iter()
            .map(of(&["lookup"]))
            .chain(resolvers.iter().map(of(&[])))
    }

    /// A look-up of a name that nobody has asked for yet, with these name servers.
    fn look_up(
        &self,
        below: &str,
        servers: &[IpAddr],
        resolver: &Resolver<'_>,
    ) -> Result<(String, Seen)> {
        let name = format!("n{}.{below}", self.runs.get());
        let (code, output) = self.run_with(servers, &resolver.words(&name))?;
        let (output, heard) = (output.replace(&name, NAME), Vec::new());
        Ok((
            name,
            Seen {
                code,
                output,
                heard,
            },
        ))
    }

    /// What a server was asked about this name.
    fn asked(&self, server: usize, name: &str) -> Result<Vec<String>> {
        let asked: BTreeSet<_> = self.servers[server].names.asked(name)?;
        Ok(asked
            .into_iter()
            .map(|query| query.replace(name, NAME))
            .collect())
    }
}

pub(crate) fn every_resolver_finds_and_misses_names_as_directly() -> Result<()> {
    let mut zoo = Zoo::open()?;
    for resolver in zoo.resolvers() {
        let client = resolver.client.name;
        for family in FAMILIES {
            for below in [ZONE, NOWHERE] {
                let seen = same(client, |way| {
                    let server = zoo.server(0, way, family);
                    let (name, seen) = zoo.look_up(below, &[server], &resolver)?;
                    let heard = zoo.asked(0, &name)?;
                    Ok(Seen { heard, ..seen })
                })?;
                ensure!(!seen.heard.is_empty(), "{client} asked nobody: {seen:#?}");
                match below {
                    ZONE => ensure!(found(&seen), "{client} over {family:?}: {seen:#?}"),
                    _ => ensure!(
                        seen.code != Some(0) && !found(&seen),
                        "{client} over {family:?} found what there is not: {seen:#?}"
                    ),
                }
            }
        }
    }
    zoo.check()
}

/// musl asks all servers at once from one socket, and takes an answer only from one of them.
pub(crate) fn every_resolver_asks_several_name_servers_as_directly() -> Result<()> {
    let mut zoo = Zoo::open()?;
    for resolver in zoo.resolvers() {
        let client = resolver.client.name;
        for family in FAMILIES {
            same(client, |way| {
                let servers = [0, 1].map(|number| zoo.server(number, way, family));
                let (name, seen) = zoo.look_up(ZONE, &servers, &resolver)?;
                ensure!(found(&seen), "{client} over {family:?}: {seen:#?}");
                if client == "musl" {
                    await_both_asked(&zoo, &name)?;
                }
                Ok(seen)
            })?;
            same(client, |way| {
                let servers = [zoo.nobody(way, family), zoo.server(1, way, family)];
                let (name, seen) = zoo.look_up(ZONE, &servers, &resolver)?;
                ensure!(
                    found(&seen),
                    "{client} over {family:?}, the first is down: {seen:#?}"
                );
                ensure!(!zoo.asked(1, &name)?.is_empty(), "{client} asked nobody");
                Ok(seen)
            })?;
        }
    }
    zoo.check()
}

pub(crate) fn dig_sees_what_it_sees_directly() -> Result<()> {
    let mut zoo = Zoo::open()?;
    let dig = programs::find("dig")?.display().to_string();
    let name = format!("dig.{ZONE}");
    let questions: [(&[&str], &str); 6] = [
        (&[&name, "A"], ADDRESSES[0]),
        (&[&name, "AAAA"], ADDRESSES[1]),
        (&[&name, "A", "+tcp"], ADDRESSES[0]),
        (
            &[&name, "A", &name, "AAAA", "+keepopen", "+tcp"],
            ADDRESSES[1],
        ),
        // Does not fit, so it is asked again over TCP, at the same Service.
        (&[LONG, "TXT", "+noedns"], "ccc"),
        (&[LONG, "TXT", "+noedns", "+ignore"], "flags: qr aa tc"),
    ];
    for family in FAMILIES {
        for (question, expected) in questions {
            let seen = same("dig", |way| {
                let at = zoo.server(0, way, family);
                let mut words = vec![dig.clone(), format!("@{at}")];
                words.extend(["+nocookie", "+tries=1", "+time=30", "+identify"].map(str::to_owned));
                words.extend(question.iter().map(|word| (*word).to_owned()));
                let (code, output) = zoo.run_with(&[at], &words)?;
                let output = steady(&output);
                Ok(Seen {
                    code,
                    output,
                    heard: Vec::new(),
                })
            })?;
            ensure!(
                seen.code == Some(0)
                    && seen.output.contains(expected)
                    && seen.output.contains("ADDRESS"),
                "{question:?}: {seen:#?}"
            );
        }
    }
    zoo.check()
}

/// What dig says without what differs from call to call: its command line, the number of the question, times.
fn steady(output: &str) -> String {
    let differs = ["; <<>>", ";; Query time:", ";; WHEN:", ";; Received"];
    let lines = output
        .lines()
        .filter(|line| !differs.iter().any(|start| line.starts_with(start)));
    let lines = lines.map(|line| match line.split_once(", id: ") {
        Some((before, _)) => before,
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn found(seen: &Seen) -> bool {
    let both = ADDRESSES.iter().all(|address| {
        let java = address.replace("::", ":0:0:0:0:0:");
        seen.output.contains(address) || seen.output.contains(&java)
    });
    seen.code == Some(0) && both
}

fn await_both_asked(zoo: &Zoo, name: &str) -> Result<()> {
    let of_both = ["query[A]", "query[AAAA]"];
    for server in [0, 1] {
        eventually(PATIENCE, "both name servers are asked", || {
            let asked = zoo.asked(server, name)?;
            let was = |query: &str| asked.iter().any(|asked| asked.starts_with(query));
            ensure!(of_both.into_iter().all(was), "server {server}: {asked:?}");
            Ok(())
        })
        .with_context(|| name.to_owned())?;
    }
    Ok(())
}
