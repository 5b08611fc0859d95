//! Datagrams: unconnected, connected, and by each language's own ways.

use anyhow::{Result, ensure};

use super::{ECHO, FAMILIES, Zoo, same};

pub(crate) fn every_clients_datagrams_are_as_direct_ones() -> Result<()> {
    let mut zoo = Zoo::open()?;
    for family in FAMILIES {
        for client in &zoo.programs.all_round {
            let seen = same(client.name, |way| {
                let at = zoo.server(0, way, family);
                zoo.ask(
                    at,
                    &client.with(&["udp", &at.to_string(), &ECHO.to_string()]),
                )
            })?;
            // Each tells the source of an answer, which is whom it asked.
            ensure!(
                seen.code == Some(0) && seen.output.contains("ADDRESS") && seen.heard.len() >= 2,
                "{} over {family:?} was not answered: {seen:#?}",
                client.name
            );
        }
    }
    zoo.check()
}
