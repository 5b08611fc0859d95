//! `sluice-node-agent switch`: has the programs leave every connect alone, or do their work again.
//!
//! The switch is in the pinned maps, so it acts at once, needs no agent, and outlives agents of any version.

use std::{path::PathBuf, process::ExitCode};

use aya::maps::{Array, Map, MapData, MapError};
use sluice_node_abi::maps::{self, Setting};

use crate::{
    args::{Position, Switch},
    program::Pins,
};

#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    #[error("no agent has pinned anything that could be switched at {path}")]
    NoMaps { path: PathBuf, source: MapError },
    #[error("cannot write to {path}")]
    Write { path: PathBuf, source: MapError },
}

/// The verb.
pub(crate) fn command(options: &Switch) -> anyhow::Result<ExitCode> {
    let path = Pins::new(&options.bpffs).map(maps::SETTINGS);
    set(path, options.to)?;
    println!(
        "{}",
        match options.to {
            Position::Off => "off: every new connect on this node is left alone",
            Position::On => "on: new connects on this node are steered",
        }
    );
    Ok(ExitCode::SUCCESS)
}

fn set(path: PathBuf, to: Position) -> Result<(), SwitchError> {
    let opened = MapData::from_pin(&path);
    let mut settings: Array<_, u64> = match opened.and_then(|map| Map::Array(map).try_into()) {
        Ok(settings) => settings,
        Err(source) => return Err(SwitchError::NoMaps { path, source }),
    };
    let off = u64::from(to == Position::Off);
    let written = settings.set(Setting::Off as u32, off, 0);
    written.map_err(|source| SwitchError::Write { path, source })
}
