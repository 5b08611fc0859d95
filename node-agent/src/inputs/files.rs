//! A directory of manifests as the whole world, watched.
//!
//! A file counts once its writer has closed it, renamed it into place, or removed it, so nobody's
//! half-written file is read; one that is bad all the same leaves its last good objects in force, also
//! over a restart, from a copy. A directory that goes away leaves everything in force until one
//! stands there again.

mod catalog;
mod copies;
mod documents;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind},
};
use sluice_model::{change::Change, key::Kind};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::warn;

use catalog::Catalog;
use copies::Copies;

use super::{Input, News, Place, Problem, View};

const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// How often a missing directory is looked for, and a present one compared with what was read: a
/// network file system sends no events.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("cannot keep state in {path} (--state names another place)")]
    State { path: PathBuf, source: io::Error },
    #[error("cannot read the manifests in {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot watch {path}")]
    Watch {
        path: PathBuf,
        source: notify::Error,
    },
}

/// The directory and what was read of it.
pub struct Files {
    directory: PathBuf,
    catalog: Catalog,
    watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<notify::Result<Event>>,
    copies: Copies,
    /// What each file looked like from outside when it was read.
    stamps: BTreeMap<PathBuf, Stamp>,
    /// Identity of the directory that the watch is on; `None` while there is none.
    watched: Option<Identity>,
    missing: Option<Problem>,
    unwatched: Option<Problem>,
    listed: bool,
    /// When to look again without an event. Kept here, since waiting may be broken off.
    look_at: Instant,
}

/// Device and inode, and nothing else that tells two directories of one name apart.
type Identity = (u64, u64);

/// Modification time in nanoseconds, size, and inode.
type Stamp = (i128, u64, u64);

impl Files {
    /// Starts to watch. A directory that is not there now is a mistake, not a state to wait in.
    /// `state` is where last good contents are kept.
    pub fn open(directory: &Path, state: &Path) -> Result<Self, FilesError> {
        let failed = |source| FilesError::Unreadable {
            path: directory.into(),
            source,
        };
        let absolute = std::path::absolute(directory).map_err(failed)?;
        let present = manifests(&absolute).map_err(failed)?;
        let copies = Copies::open(&kept_in(state), &absolute, &present);
        let copies = copies.map_err(|source| FilesError::State {
            path: state.into(),
            source,
        })?;
        let directory = absolute;
        let (watcher, events) = watch(&directory).map_err(|source| FilesError::Watch {
            path: directory.clone(),
            source,
        })?;
        let mut files = Self {
            directory,
            catalog: Catalog::default(),
            watcher,
            events,
            copies,
            stamps: BTreeMap::new(),
            watched: None,
            missing: None,
            unwatched: None,
            listed: false,
            look_at: Instant::now() + LOOK_AGAIN,
        };
        files.rescan();
        Ok(files)
    }

    /// Everything there is, as the first news.
    fn first(&mut self) -> News {
        let mut news = self.news();
        let listed = Kind::ALL.map(|kind| {
            let of_kind = |change: &Change| match change {
                Change::Set(object) => {
                    Some(object.subject()).filter(|subject| subject.kind == kind)
                }
                Change::Gone(_) | Change::Relisted(..) => None,
            };
            Change::Relisted(kind, news.changes.iter().filter_map(of_kind).collect())
        });
        news.changes.extend(listed);
        self.listed = true;
        news
    }

    fn news(&mut self) -> News {
        let changes = self.catalog.changes();
        let view = if self.catalog.unknown() == 0 {
            View::Whole
        } else {
            View::Partial
        };
        News {
            changes,
            view,
            problems: self.problems(),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        self.missing
            .iter()
            .chain(&self.unwatched)
            .cloned()
            .chain(self.catalog.problems())
            .collect()
    }

    fn reread(&mut self, touched: &Touched) {
        if touched.directory || self.identity() != self.watched {
            self.rescan();
        }
        for file in &touched.files {
            self.read(file);
        }
    }

    fn read(&mut self, file: &Path) {
        let stamp = stamp(file);
        // Opening anything but a file could wait for ever.
        let content = match fs::metadata(file) {
            Ok(data) if !data.is_file() => Err(io::Error::from(io::ErrorKind::NotFound)),
            Ok(_) => fs::read(file),
            Err(error) => Err(error),
        };
        let kept = match content {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.stamps.remove(file);
                self.catalog.remove(file);
                self.copies.forget(file)
            }
            Err(error) => {
                self.catalog.read(file, Err(error));
                Ok(())
            }
            Ok(content) => {
                self.stamps
                    .extend(stamp.map(|stamp| (file.to_path_buf(), stamp)));
                if !self.catalog.knows(file)
                    && let Some(copy) = self.copies.of(file)
                {
                    self.catalog.read(file, Ok(copy));
                }
                let keep = content.clone();
                if self.catalog.read(file, Ok(content)) {
                    self.copies.keep(file, &keep)
                } else {
                    Ok(())
                }
            }
        };
        if let Err(error) = kept {
            warn!(%error, file = %file.display(), "cannot keep a copy of the last good content");
        }
    }

    /// Reads what looks different, and moves the watch to the directory that stands there now.
    fn rescan(&mut self) {
        let now = self.identity();
        let moved = now != self.watched;
        let outcome = manifests(&self.directory).and_then(|present| {
            // What is left where a file system was mounted, and nobody's wish to delete all.
            if moved && present.is_empty() && self.catalog.files().next().is_some() {
                return Err(io::Error::other(
                    "another directory without manifests is there",
                ));
            }
            Ok(present)
        });
        let present = match outcome {
            Ok(present) => present,
            Err(error) => {
                let text = format!("cannot be read, what was read before holds: {error}");
                self.missing = Some(self.problem(text));
                return;
            }
        };
        self.missing = None;
        if moved {
            // The old directory may be gone already; then so is its watch.
            let _ = self.watcher.unwatch(&self.directory);
            let watch = self
                .watcher
                .watch(&self.directory, RecursiveMode::NonRecursive);
            self.unwatched = watch.err().map(|error| {
                self.problem(format!(
                    "cannot be watched, only looked at now and then: {error}"
                ))
            });
            self.watched = now;
        }
        let gone: Vec<_> = self
            .catalog
            .files()
            .filter(|file| !present.contains(*file))
            .cloned()
            .collect();
        for file in gone.iter().chain(&present) {
            let seen = self.stamps.get(file);
            if seen.is_none() || seen != stamp(file).as_ref() {
                self.read(file);
            }
        }
    }

    fn problem(&self, text: String) -> Problem {
        let place = Place::File {
            file: self.directory.clone(),
            document: None,
            line: None,
        };
        Problem { place, text }
    }

    fn identity(&self) -> Option<Identity> {
        fs::metadata(&self.directory)
            .ok()
            .map(|data| (data.dev(), data.ino()))
    }
}

impl Input for Files {
    async fn next(&mut self) -> News {
        if !self.listed {
            return self.first();
        }
        loop {
            let problems = self.problems();
            tokio::select! {
                Some(event) = self.events.recv() => {
                    let mut touched = Touched::default();
                    touched.note(event, &self.directory);
                    while let Ok(event) = self.events.try_recv() {
                        touched.note(event, &self.directory);
                    }
                    if touched.is_nothing() && self.identity() == self.watched {
                        continue;
                    }
                    self.reread(&touched);
                }
                () = sleep_until(self.look_at) => {
                    self.look_at = Instant::now() + LOOK_AGAIN;
                    self.rescan();
                }
            }
            let news = self.news();
            if !news.changes.is_empty() || news.problems != problems {
                return news;
            }
        }
    }
}

/// What a burst of events is about.
#[derive(Default)]
struct Touched {
    files: BTreeSet<PathBuf>,
    directory: bool,
}

impl Touched {
    fn is_nothing(&self) -> bool {
        self.files.is_empty() && !self.directory
    }

    fn note(&mut self, event: notify::Result<Event>, directory: &Path) {
        let Ok(event) = event else {
            self.directory = true;
            return;
        };
        let complete = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_)
            // A link into place is complete at once; a new file is not until it is closed.
            | EventKind::Create(CreateKind::Other | CreateKind::Any | CreateKind::Folder) => true,
            EventKind::Create(CreateKind::File) => event.paths.iter().any(|path| path.is_symlink()),
            EventKind::Other => event.need_rescan(),
            EventKind::Any | EventKind::Access(_) | EventKind::Modify(_) => false,
        };
        if !complete {
            return;
        }
        // A rename is two events; a look at the whole directory sees both ends of it.
        self.directory |=
            event.need_rescan() || matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
        for path in event.paths {
            if path == directory || path.parent() == Some(directory) && !is_manifest(&path) {
                // Another name in the directory may be what links point to.
                self.directory = true;
            } else if path.parent() == Some(directory) {
                self.files.insert(path);
            }
        }
    }
}

/// Watches the directory's parent: the directory's own name is an entry of it, and that is where a
/// replacement shows.
fn watch(
    directory: &Path,
) -> notify::Result<(
    RecommendedWatcher,
    mpsc::UnboundedReceiver<notify::Result<Event>>,
)> {
    let (sender, events) = mpsc::unbounded_channel();
    let mut watcher = notify::recommended_watcher(move |event| {
        // Fails only when nobody listens any more.
        let _ = sender.send(event);
    })?;
    if let Some(parent) = directory.parent() {
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    Ok((watcher, events))
}

fn stamp(file: &Path) -> Option<Stamp> {
    const SECOND: i128 = 1_000_000_000;
    let data = fs::metadata(file).ok()?;
    let modified = i128::from(data.mtime()) * SECOND + i128::from(data.mtime_nsec());
    Some((modified, data.len(), data.ino()))
}

/// Where the last good contents are, of what is kept over restarts.
pub(crate) fn kept_in(state: &Path) -> PathBuf {
    state.join("manifests")
}

fn manifests(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if is_manifest(&path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

/// By name; editors' and Kubernetes' own hidden files are none.
fn is_manifest(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|ending| ending.to_str());
    !hidden && ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests;
