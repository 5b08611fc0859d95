//! The cache of tools: entries keyed by content, made once, safe when two runs start at once.
//!
//! An entry appears by one rename, so it is whole or absent. Whoever makes it holds a lock on its
//! key; a second run waits there and then finds it. The work folder of an entry survives an
//! interrupted run, so that a long build goes on where it was.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::key::Key;

pub(crate) struct Cache {
    root: PathBuf,
}

/// Where an entry is being made.
pub(crate) struct Site {
    /// Becomes the entry.
    pub(crate) out: PathBuf,
    /// Scratch space, found again after an interruption and removed after success.
    pub(crate) work: PathBuf,
}

impl Cache {
    pub(crate) fn new(root: &Path) -> Cache {
        Cache {
            root: root.to_owned(),
        }
    }

    pub(crate) fn entry(&self, key: &Key) -> PathBuf {
        self.root.join("entries").join(key.entry())
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.entry(key).is_dir()
    }

    /// The log of the last time that the entry was made.
    pub(crate) fn log(&self, key: &Key) -> PathBuf {
        self.root.join("logs").join(format!("{}.log", key.entry()))
    }

    /// The entry, made by `make` when it is absent. `waiting` is called when another run is making
    /// it right now.
    pub(crate) fn ensure(
        &self,
        key: &Key,
        waiting: impl FnOnce(),
        make: impl FnOnce(&Site) -> Result<()>,
    ) -> Result<PathBuf> {
        let entry = self.entry(key);
        if entry.is_dir() {
            return Ok(entry);
        }
        let _lock = self.lock(key, waiting)?;
        if entry.is_dir() {
            return Ok(entry);
        }
        let partial = self.root.join("partial").join(key.entry());
        let site = Site {
            out: partial.join("out"),
            work: partial.join("work"),
        };
        if site.out.exists() {
            fs::remove_dir_all(&site.out)
                .with_context(|| format!("cannot remove {}", site.out.display()))?;
        }
        for folder in [&site.out, &site.work, &self.root.join("entries")] {
            make_folder(folder)?;
        }
        make(&site)?;
        fs::rename(&site.out, &entry)
            .with_context(|| format!("cannot move the result to {}", entry.display()))?;
        fs::remove_dir_all(&partial)
            .with_context(|| format!("cannot remove {}", partial.display()))?;
        Ok(entry)
    }

    fn lock(&self, key: &Key, waiting: impl FnOnce()) -> Result<File> {
        lock(
            &self
                .root
                .join("locks")
                .join(format!("{}.lock", key.entry())),
            waiting,
        )
    }
}

/// Holds an exclusive lock on `path` until the file is dropped, or the process ends in whatever
/// way.
pub(crate) fn lock(path: &Path, waiting: impl FnOnce()) -> Result<File> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    let file = file.with_context(|| format!("cannot open the lock {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => waiting(),
        Err(TryLockError::Error(error)) => {
            return Err(error).context(format!("cannot lock {}", path.display()));
        }
    }
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| {
        format!(
            "cannot make the folder {}: choose another by SLUICE_CACHE",
            folder.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    fn cache(name: &str) -> Cache {
        let root = std::env::temp_dir().join(format!("sluice-cache-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        Cache::new(&root)
    }

    #[test]
    fn two_runs_at_once_make_an_entry_once() {
        let cache = cache("twice");
        let key = Key::new("tool");
        let made = AtomicUsize::new(0);
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let entry = cache.ensure(
                        &key,
                        || (),
                        |site| {
                            made.fetch_add(1, Ordering::Relaxed);
                            Ok(fs::write(site.out.join("tool"), "x")?)
                        },
                    );
                    assert!(entry.unwrap().join("tool").is_file());
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
        fs::remove_dir_all(&cache.root).unwrap();
    }

    #[test]
    fn an_interrupted_build_leaves_no_entry_and_its_work_is_found_again() {
        let cache = cache("resume");
        let key = Key::new("tool");
        let interrupted = cache.ensure(
            &key,
            || (),
            |site| {
                fs::write(site.work.join("object"), "half")?;
                fs::write(site.out.join("stale"), "half")?;
                anyhow::bail!("killed")
            },
        );
        assert!(interrupted.is_err());
        assert!(!cache.has(&key));
        let entry = cache.ensure(
            &key,
            || (),
            |site| {
                assert_eq!(fs::read_to_string(site.work.join("object"))?, "half");
                Ok(fs::write(site.out.join("tool"), "whole")?)
            },
        );
        let entry = entry.unwrap();
        assert!(entry.join("tool").is_file());
        assert!(!entry.join("stale").exists());
        assert!(!cache.root.join("partial").join(key.entry()).exists());
        fs::remove_dir_all(&cache.root).unwrap();
    }
}
