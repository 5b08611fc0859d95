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

use super::{ASIDE, Hook, MAPS, Pins, Sizes};
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
    /// Maps that had no pin while others of this version had one. All have been set aside.
    pub missing: Vec<&'static str>,
    /// Maps of another capacity than is asked for. All have been set aside.
    pub resized: Vec<&'static str>,
    /// The highest generation that maps of any version hold. Sockets remember generations, so none is
    /// given out again.
    pub generation: u64,
    /// Maps of some version have everything switched off.
    pub off: bool,
}

impl Pins {
    /// Before anything is loaded. A part of the maps is as good as none: what is left in the others speaks
    /// of what is gone, and programs that are attached still read what is gone. Nor does a map change its
    /// capacity. Then the folder is set aside until it is retired, so that a start that does not
    /// get that far leaves its generation to the next one.
    pub fn prepare(&self, sizes: Sizes) -> Result<Found, LeftoverError> {
        let versions = entries(self.root())?;
        let mut found = Found::default();
        for folder in versions.iter().filter(|folder| self.is_ours(folder)) {
            if let Some(settings) = settings(folder) {
                found.generation = found.generation.max(settings.generation);
                found.off |= settings.off;
            }
        }
        let own = self.maps();
        let of_version = |name: &&&'static str| self.map(name).parent() == Some(&own);
        let (present, missing): (Vec<&str>, Vec<&str>) = MAPS
            .iter()
            .filter(of_version)
            .partition(|name| self.map(name).exists());
        if !present.is_empty() {
            found.missing = missing;
            found.resized = self.resized(sizes);
        }
        if !found.missing.is_empty() || !found.resized.is_empty() {
            self.set_aside()?;
        }
        Ok(found)
    }

    /// The maps that have another capacity than they would be made with.
    fn resized(&self, sizes: Sizes) -> Vec<&'static str> {
        let differs = |&(name, capacity): &(&str, u32)| {
            let map = MapData::from_pin(self.map(name));
            let info = map.and_then(|map| map.info());
            info.is_ok_and(|info| info.max_entries() != capacity)
        };
        let capacities = sizes.capacities().into_iter();
        capacities.filter(differs).map(|(name, _)| name).collect()
    }

    fn set_aside(&self) -> Result<(), LeftoverError> {
        let own = self.maps();
        let mut aside = (1_u32..).map(|number| {
            let mut name = own.clone().into_os_string();
            name.push(format!("{ASIDE}{number}"));
            PathBuf::from(name)
        });
        let Some(aside) = aside.find(|path| !path.exists()) else {
            return Ok(());
        };
        tried(fs::rename(&own, aside), &own)
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
