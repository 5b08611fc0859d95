//! The network namespaces of a node's processes.
//!
//! Found by way of the cgroup tree: what is below its root is what our programs see. A namespace is
//! held open only for one look, lest it outlive its pod.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use nix::sched::{CloneFlags, setns};

#[derive(Debug)]
pub struct Space {
    /// The inode number of the namespace.
    pub id: u64,
    file: File,
}

impl Space {
    /// Takes this thread there.
    pub fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.file, CloneFlags::CLONE_NEWNET)?)
    }
}

/// Every network namespace that a process below this cgroup is in, and what could not be read.
pub fn below(cgroup: &Path) -> (Vec<Space>, Vec<io::Error>) {
    let mut spaces = BTreeMap::new();
    let mut failures = Vec::new();
    walk(cgroup, &mut spaces, &mut failures);
    let spaces = spaces.into_iter().map(|(id, file)| Space { id, file });
    (spaces.collect(), failures)
}

fn walk(cgroup: &Path, spaces: &mut BTreeMap<u64, File>, failures: &mut Vec<io::Error>) {
    match fs::read_to_string(cgroup.join("cgroup.procs")) {
        Ok(processes) => {
            for process in processes.lines() {
                if let Err(error) = visit(process, spaces) {
                    failures.push(error);
                }
            }
        }
        // A cgroup of threads has no processes of its own.
        Err(error) if is_gone(&error) || error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
        Err(error) => failures.push(error),
    }
    let Ok(children) = fs::read_dir(cgroup) else {
        return;
    };
    for child in children.flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&child.path(), spaces, failures);
        }
    }
}

fn visit(process: &str, spaces: &mut BTreeMap<u64, File>) -> io::Result<()> {
    if process == "0" {
        let text = "a process is outside of this PID namespace: run the agent in the host's";
        return Err(io::Error::other(text));
    }
    let path = format!("/proc/{process}/ns/net");
    let id = match fs::metadata(&path) {
        Ok(namespace) => namespace.ino(),
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    if spaces.contains_key(&id) {
        return Ok(());
    }
    match File::open(&path) {
        Ok(file) => {
            // The process may have moved meanwhile: what was opened counts.
            spaces.insert(file.metadata()?.ino(), file);
            Ok(())
        }
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Processes and cgroups end while they are looked at.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ESRCH | libc::ENODEV)
    )
}
