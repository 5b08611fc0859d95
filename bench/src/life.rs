//! P3, P4 and P6 share a population: 10,000 Services with ten endpoints each, and Sluice beside kube-proxy in nftables
//! mode. They come in the order in which a node lives: it starts, it stands, it follows changes.

use std::path::Path;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::arm::Arm;
use crate::population::Population;
use crate::progress::tell;
use crate::server::PLAIN;
use crate::stage::Stage;
use crate::{change, cold, footprint};

pub(crate) const ARMS: [Arm; 2] = [Arm::Sluice, Arm::Nftables];

const POPULATION: Population = Population {
    endpoints: 10,
    server_port: PLAIN,
};
const FEW: u32 = 10;
const MANY: u32 = 10_000;

/// Which parts are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) cold: bool,
    pub(crate) change: bool,
    pub(crate) footprint: bool,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Found {
    pub(crate) services: u32,
    pub(crate) endpoints: u32,
    pub(crate) cold: Option<cold::Found>,
    pub(crate) change: Vec<change::Found>,
    pub(crate) footprint: Option<footprint::Found>,
}

/// Measures; `keep` is given everything that was found so far after each part.
pub(crate) fn run(
    agent: &Path,
    quick: bool,
    parts: Parts,
    keep: impl Fn(&Found) -> Result<()>,
) -> Result<()> {
    let mut found = Found {
        services: MANY,
        endpoints: MANY * POPULATION.endpoints,
        ..Found::default()
    };
    let mut stage = Stage::set(&ARMS, POPULATION, agent)?;
    if parts.change {
        stage.grow(FEW)?;
        start_all(&mut stage)?;
        found.change.push(change::run(&mut stage, quick)?);
    }
    for seat in &mut stage.seats {
        seat.wipe()?;
    }
    stage.grow(MANY)?;
    tell(format!(
        "{MANY} Services with {} endpoints are in the API server",
        found.endpoints
    ));
    if parts.cold {
        found.cold = Some(cold::run(&mut stage, quick)?);
        keep(&found)?;
    } else {
        start_all(&mut stage)?;
    }
    if parts.footprint {
        found.footprint = Some(footprint::run(&mut stage, quick)?);
        keep(&found)?;
    }
    if parts.change {
        found.change.push(change::run(&mut stage, quick)?);
        keep(&found)?;
    }
    Ok(())
}

fn start_all(stage: &mut Stage) -> Result<()> {
    let services = stage.services();
    for seat in &mut stage.seats {
        seat.start()?;
        let served = seat.serves(&services, cold::PATIENCE)?;
        ensure!(served.is_some(), "{} does not serve", seat.arm);
    }
    Ok(())
}
