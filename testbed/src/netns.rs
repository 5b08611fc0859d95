//! Network namespaces that have a path: a bind mount of the namespace below the run's folder.
//!
//! A namespace is a property of a thread. Work inside one is therefore done by a thread of its own, which ends with
//! the work, so that no caller is ever left in a namespace that is not its own.

use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::link::Links;
use crate::mount::detach;

/// A network namespace of ours; dropping it removes its path, and the kernel ends it when nobody else uses it.
#[derive(Debug)]
pub struct Netns {
    path: PathBuf,
    inside: Inside,
}

/// A way into a network namespace, which stays as long as this does.
#[derive(Debug)]
pub struct Inside {
    name: String,
    handle: File,
}

impl Netns {
    /// Makes a namespace with a loopback that is up, and pins it at `path`.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        File::create_new(&path).with_context(|| format!("making {}", path.display()))?;
        let handle = in_new_thread(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
            let own = "/proc/thread-self/ns/net";
            mount(
                Some(own),
                &path,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .with_context(|| format!("mounting the namespace at {}", path.display()))?;
            Ok(File::open(&path)?)
        })
        .inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })?;
        let name = path.file_name().unwrap_or_default().display().to_string();
        let netns = Self {
            path,
            inside: Inside { name, handle },
        };
        netns.settle()?;
        Ok(netns)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A namespace starts with loopback down, duplicate address detection on (addresses would be unusable for a
    /// second or two) and reverse path filtering as the host has it.
    fn settle(&self) -> Result<()> {
        self.run(|| {
            for (name, value) in [
                ("ipv6/conf/all/accept_dad", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv6/conf/default/router_solicitations", "0"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
            ] {
                write_sysctl(name, value)?;
            }
            Links::of_this_thread()?.up("lo")
        })
    }
}

impl Deref for Netns {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        &self.inside
    }
}

impl Inside {
    /// The namespace at a path such as `/proc/<pid>/ns/net`.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let handle = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self {
            name: path.display().to_string(),
            handle,
        })
    }

    /// Another way into the same namespace.
    pub fn again(&self) -> Result<Self> {
        Ok(Self {
            name: self.name.clone(),
            handle: self.handle.try_clone()?,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does `work` inside the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_new_thread(|| {
            setns(&self.handle, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("entering the network namespace {}", self.name))?;
            work()
        })
    }

    /// Does `work` on the links, addresses and routes of the namespace.
    pub fn links<T: Send>(&self, work: impl FnOnce(&Links) -> Result<T> + Send) -> Result<T> {
        self.run(|| work(&Links::of_this_thread()?))
    }

    /// Sets a sysctl below `/proc/sys/net`, such as `ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.run(|| write_sysctl(name, value))
    }
}

impl AsFd for Inside {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = detach(&self.path);
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether this process may make network namespaces.
pub fn probe() -> Result<(), Errno> {
    in_new_thread(|| unshare(CloneFlags::CLONE_NEWNET))
}

fn write_sysctl(name: &str, value: &str) -> Result<()> {
    fs::write(Path::new("/proc/sys/net").join(name), value)
        .or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                Ok(())
            } else {
                Err(error)
            }
        })
        .with_context(|| format!("setting net/{name} to {value}"))
}

/// Runs `work` in a thread that ends with it; a panic inside continues in the caller.
fn in_new_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}
