//! What earlier agents left: maps of another version, a part of the maps, links of programs that this
//! version does not have.
//!
//! Programs that are attached hold their maps whatever becomes of the pins. So maps are made anew beside
//! them, filled, and only then switched to; what was there before goes last.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData};
use sluice_node_abi::maps::{self, Setting};

use super::{Hook, MAPS, Pins};
use crate::bpf;

/// Something that could not be looked at or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot put {path} in order")]
pub struct LeftoverError {
    path: PathBuf,
    source: io::Error,
}

/// What a start found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Maps that had no pin while others of this version had one. Now none has.
    pub missing: Vec<&'static str>,
    /// The highest generation that maps of any version hold. Sockets remember generations, so none is
    /// given out again.
    pub generation: u64,
    /// Maps of some version have everything switched off.
    pub off: bool,
}

impl Pins {
    /// Before anything is loaded. A part of the maps is as good as none: what is left in the others speaks
    /// of what is gone, and programs that are attached still read what is gone.
    pub fn prepare(&self) -> Result<Found, LeftoverError> {
        let versions = entries(self.root())?;
        let mut found = Found::default();
        for folder in versions.iter().filter(|folder| self.is_ours(folder)) {
            if let Some(settings) = settings(folder) {
                found.generation = found.generation.max(settings.generation);
                found.off |= settings.off;
            }
        }
        let own = self.map(maps::SETTINGS);
        let of_version = |name: &&&'static str| self.map(name).parent() == own.parent();
        let (present, missing): (Vec<&str>, Vec<&str>) = MAPS
            .iter()
            .filter(of_version)
            .partition(|name| self.map(name).exists());
        if !present.is_empty() && !missing.is_empty() {
            for name in present {
                let pin = self.map(name);
                tried(fs::remove_file(&pin), &pin)?;
            }
            found.missing = missing;
        }
        Ok(found)
    }

    /// Once all programs are attached: nobody asks for the maps of other versions any more, nor for programs
    /// that this one does not have.
    pub(super) fn retire(&self) -> Result<(), LeftoverError> {
        let links = self.links();
        for link in entries(&links)? {
            let known = |hook: &Hook| link.file_name() == Some(OsStr::new(hook.program()));
            if !Hook::ALL.iter().any(known) {
                tried(bpf::detach_pinned(&link), &link)?;
            }
        }
        let own: Vec<_> = MAPS.iter().map(|name| self.map(name)).collect();
        let is_own = |folder: &Path| own.iter().any(|map| map.parent() == Some(folder));
        for folder in entries(self.root())? {
            if self.is_ours(&folder) && folder != links && !is_own(&folder) {
                for pin in entries(&folder)? {
                    tried(fs::remove_file(&pin), &pin)?;
                }
                tried(fs::remove_dir(&folder), &folder)?;
            }
        }
        Ok(())
    }
}

struct Settings {
    generation: u64,
    off: bool,
}

/// Where these two are has never moved, and what their numbers mean has not either.
fn settings(folder: &Path) -> Option<Settings> {
    let map = MapData::from_pin(folder.join(maps::SETTINGS)).ok()?;
    let map: Array<_, u64> = Map::Array(map).try_into().ok()?;
    let of = |setting: Setting| map.get(&(setting as u32), 0).ok();
    Some(Settings {
        generation: of(Setting::Generation)?,
        off: of(Setting::Off)? != 0,
    })
}

/// What is in a folder; nothing if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, LeftoverError> {
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => tried(listing, folder)?,
    };
    let paths = listing.map(|entry| entry.map(|entry| entry.path()));
    tried(paths.collect(), folder)
}

fn tried<T>(outcome: io::Result<T>, path: &Path) -> Result<T, LeftoverError> {
    outcome.map_err(|source| LeftoverError {
        path: path.into(),
        source,
    })
}
