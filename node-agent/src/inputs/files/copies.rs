//! The last good content of each file, kept over restarts.
//!
//! Without it an agent that starts beside a file that has just been broken would not know what the
//! file meant, and take its objects for gone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A folder of copies, each named by its file's whole path.
#[derive(Debug)]
pub(super) struct Copies {
    folder: PathBuf,
}

impl Copies {
    /// Forgets the files of `directory` that are not there any more: a bad file that takes such a
    /// name later means something else. An empty directory may be waiting for its mount.
    pub(super) fn open(folder: &Path, directory: &Path, present: &[PathBuf]) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let folder = folder.to_path_buf();
        let copies = Self { folder };
        for file in copies.files()?.into_iter().filter(|_| !present.is_empty()) {
            if file.parent() == Some(directory) && !present.contains(&file) {
                copies.forget(&file)?;
            }
        }
        Ok(copies)
    }

    pub(super) fn of(&self, file: &Path) -> Option<Vec<u8>> {
        fs::read(self.path(file)).ok()
    }

    /// Replaces the copy, whole or not at all.
    pub(super) fn keep(&self, file: &Path, content: &[u8]) -> io::Result<()> {
        let path = self.path(file);
        if fs::read(&path).is_ok_and(|kept| kept == content) {
            return Ok(());
        }
        let beside = self.folder.join(".new");
        fs::write(&beside, content)?;
        fs::rename(beside, path)
    }

    pub(super) fn forget(&self, file: &Path) -> io::Result<()> {
        match fs::remove_file(self.path(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().replace("%2F", "/");
            files.push(PathBuf::from(name.replace("%25", "%")));
        }
        Ok(files)
    }

    fn path(&self, file: &Path) -> PathBuf {
        let name = file
            .to_string_lossy()
            .replace('%', "%25")
            .replace('/', "%2F");
        self.folder.join(name)
    }
}
