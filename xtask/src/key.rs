//! The key of a cache entry: a hash of everything that goes into it.
//!
//! Each part is hashed with its length in front, so that moving a byte from one part to the next
//! changes the key. A folder counts by the relative paths and the bytes of its files, never by
//! times or owners.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

#[derive(Clone)]
pub(crate) struct Key {
    name: String,
    hash: Sha256,
}

impl Key {
    /// `name` is the readable part of the entry's folder name.
    pub(crate) fn new(name: &str) -> Key {
        Key {
            name: name.to_owned(),
            hash: Sha256::new(),
        }
        .text(name)
    }

    pub(crate) fn text(mut self, text: &str) -> Key {
        self.part(text.as_bytes());
        self
    }

    /// Adds the files below `folder`, without those of a folder for which `skip` is true.
    pub(crate) fn folder(mut self, folder: &Path, skip: impl Fn(&Path) -> bool) -> Result<Key> {
        for file in files(folder, skip)? {
            let path = file.strip_prefix(folder).unwrap_or(&file);
            self.part(path.as_os_str().as_encoded_bytes());
            let bytes =
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            self.part(&bytes);
        }
        Ok(self)
    }

    /// The folder name of the entry.
    pub(crate) fn entry(&self) -> String {
        let digest = self.hash.clone().finalize();
        let mut entry = format!("{}-", self.name);
        for byte in digest.iter().take(10) {
            // Writing to a String cannot fail.
            let _ = write!(entry, "{byte:02x}");
        }
        entry
    }

    fn part(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }
}

/// Every regular file below `folder`, sorted by path.
fn files(folder: &Path, skip: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let kind = entry
                .file_type()
                .with_context(|| format!("cannot look at {}", entry.path().display()))?;
            if kind.is_dir() {
                folders.extend(Some(entry.path()).filter(|folder| !skip(folder)));
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sluice-key-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn entry_of(name: &str, files: &[(&str, &str)]) -> String {
        let folder = folder(name, files);
        let entry = Key::new("k")
            .folder(&folder, |below| below.join("go.mod").is_file())
            .unwrap()
            .entry();
        fs::remove_dir_all(folder).unwrap();
        entry
    }

    #[test]
    fn the_same_content_in_another_place_has_the_same_key() {
        let files = [("go.mod", "module x"), ("cmd/main.go", "package main")];
        assert_eq!(entry_of("here", &files), entry_of("there", &files));
    }

    #[test]
    fn a_changed_byte_and_a_renamed_file_each_change_the_key() {
        let before = entry_of("before", &[("a", "1"), ("b", "2")]);
        assert_ne!(before, entry_of("changed", &[("a", "1"), ("b", "3")]));
        assert_ne!(before, entry_of("renamed", &[("a", "1"), ("c", "2")]));
    }

    #[test]
    fn a_skipped_folder_does_not_count() {
        let outer = ("go.mod", "module x");
        assert_eq!(
            entry_of("alone", &[outer]),
            entry_of("nested", &[outer, ("inner/go.mod", "module y")])
        );
    }

    #[test]
    fn the_key_of_a_release_never_moves_by_itself() {
        // A cache outlives a build of this program; the value is pinned so that an accidental
        // change of scheme is seen.
        assert_eq!(
            Key::new("tool").text("1.2.3").entry(),
            "tool-cb59821dc1c721699c70"
        );
    }

    proptest! {
        #[test]
        fn moving_the_border_between_two_parts_changes_the_key(text in "[a-z]{2,20}", first in 0usize..20, second in 0usize..20) {
            let (first, second) = (first % text.len(), second % text.len());
            let split = |at: usize| Key::new("k").text(&text[..at]).text(&text[at..]).entry();
            prop_assert_eq!(split(first) == split(second), first == second);
        }
    }
}
