//! Processes of a run: started inside given namespaces and cgroups, killed by their guard, output kept in a log.
//!
//! A process dies with the program that started it, also when that is killed. The kernel ties that wish to the
//! *thread* that forked, so all processes are started by one thread which lives as long as the program.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, sethostname, write};

use crate::cgroup::Cgroup;
use crate::netns::Inside;

const PAUSE: Duration = Duration::from_millis(2);

static SPAWNER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
    let (sender, jobs) = mpsc::channel::<Job>();
    thread::spawn(move || {
        for mut job in jobs {
            let _ = job.answer.send(job.command.spawn());
        }
    });
    sender
});

struct Job {
    command: std::process::Command,
    answer: mpsc::Sender<io::Result<Child>>,
}

/// A process to be started, once or again and again.
#[derive(Debug, Clone)]
pub struct Command {
    name: String,
    program: OsString,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    log: Option<PathBuf>,
    cgroups: Vec<Cgroup>,
    netns: Option<Arc<OwnedFd>>,
    mounts: Mounts,
    hostname: Option<String>,
    piped: bool,
    outlives: bool,
}

/// Which mounts a process sees.
#[derive(Debug, Clone, Copy, Default)]
pub enum Mounts {
    /// The host's.
    #[default]
    Host,
    /// Its own copy of the host's: later changes on either side stay there.
    Private,
    /// Those of the process with this number.
    Of(u32),
}

/// A running process; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Option<PathBuf>,
}

impl Command {
    pub fn new(name: impl Into<String>, program: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.into(),
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            variables: Vec::new(),
            folder: None,
            log: None,
            cgroups: Vec::new(),
            netns: None,
            mounts: Mounts::Host,
            hostname: None,
            piped: false,
            outlives: false,
        }
    }

    /// This very program again, also when its file has been replaced since.
    pub fn again(name: impl Into<String>) -> Self {
        Self::new(name, "/proc/self/exe")
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let variable = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.variables.push(variable);
        self
    }

    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Appends output (only errors, if [`Command::piped`]) to this file.
    pub fn log(mut self, file: impl Into<PathBuf>) -> Self {
        self.log = Some(file.into());
        self
    }

    /// Starts it in this cgroup; one per hierarchy may be given, a later one of the same hierarchy wins.
    pub fn cgroup(mut self, cgroup: &Cgroup) -> Self {
        self.cgroups.push(cgroup.clone());
        self
    }

    pub fn netns(mut self, netns: &Inside) -> Result<Self> {
        self.netns = Some(Arc::new(netns.as_fd().try_clone_to_owned()?));
        Ok(self)
    }

    pub fn mounts(mut self, mounts: Mounts) -> Self {
        self.mounts = mounts;
        self
    }

    /// Gives it a UTS namespace of its own with this name.
    pub fn hostname(mut self, name: impl Into<String>) -> Self {
        self.hostname = Some(name.into());
        self
    }

    /// Connects its input and output with the caller, see [`Process::pipes`].
    pub fn piped(mut self) -> Self {
        self.piped = true;
        self
    }

    /// Lets it live on when this program is killed; a sweep ends it, since it is in the run's cgroup.
    pub fn outlives_parent(mut self) -> Self {
        self.outlives = true;
        self
    }

    pub fn spawn(&self) -> Result<Process> {
        let what = format!("starting {} ({})", self.name, self.program.display());
        let mut command = std::process::Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        self.connect(&mut command)?;
        let mut entrance = self.entrance().with_context(|| what.clone())?;
        // SAFETY: between fork and exec the closure only makes system calls on what it owns; it neither allocates
        // nor takes a lock.
        unsafe { command.pre_exec(move || entrance.enter().map_err(io::Error::from)) };
        command.process_group(0);

        let (answer, answered) = mpsc::channel();
        SPAWNER
            .send(Job { command, answer })
            .map_err(|_| anyhow!("{what}: no thread to do it"))?;
        let child = answered
            .recv()
            .with_context(|| what.clone())?
            .with_context(|| what)?;
        Ok(Process {
            name: self.name.clone(),
            child,
            log: self.log.clone(),
        })
    }

    fn connect(&self, command: &mut std::process::Command) -> Result<()> {
        let output = || -> Result<Stdio> {
            let Some(path) = &self.log else {
                return Ok(Stdio::null());
            };
            let file = OpenOptions::new().create(true).append(true).open(path);
            Ok(file
                .with_context(|| format!("opening {}", path.display()))?
                .into())
        };
        command.stderr(output()?);
        if self.piped {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(output()?);
        }
        Ok(())
    }

    /// Opens all that the child will need, so that it opens nothing itself.
    fn entrance(&self) -> Result<Entrance> {
        let cgroups = self
            .cgroups
            .iter()
            .map(|cgroup| {
                let path = cgroup.path().join("cgroup.procs");
                OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .with_context(|| format!("opening {}", path.display()))
            })
            .collect::<Result<_>>()?;
        let mounts = match self.mounts {
            Mounts::Host => Way::Stay,
            Mounts::Private => Way::Leave,
            Mounts::Of(pid) => Way::Join(File::open(format!("/proc/{pid}/ns/mnt"))?),
        };
        Ok(Entrance {
            cgroups,
            netns: self.netns.clone(),
            mounts,
            hostname: self.hostname.clone().map(OsString::from),
            outlives: self.outlives,
        })
    }
}

/// What a child does with itself before it becomes the program.
struct Entrance {
    cgroups: Vec<File>,
    netns: Option<Arc<OwnedFd>>,
    mounts: Way,
    hostname: Option<OsString>,
    outlives: bool,
}

enum Way {
    Stay,
    Leave,
    Join(File),
}

impl Entrance {
    fn enter(&mut self) -> Result<(), Errno> {
        if !self.outlives {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
        }
        for cgroup in &self.cgroups {
            write(cgroup, b"0")?;
        }
        if let Some(name) = &self.hostname {
            unshare(CloneFlags::CLONE_NEWUTS)?;
            sethostname(name)?;
        }
        match &self.mounts {
            Way::Stay => {}
            Way::Leave => {
                unshare(CloneFlags::CLONE_NEWNS)?;
                for propagation in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
                    mount(
                        None::<&str>,
                        "/",
                        None::<&str>,
                        MsFlags::MS_REC | propagation,
                        None::<&str>,
                    )?;
                }
            }
            Way::Join(mounts) => setns(mounts, CloneFlags::CLONE_NEWNS)?,
        }
        if let Some(netns) = &self.netns {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
        }
        Ok(())
    }
}

impl Process {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Its input and output, once, if it was started [`Command::piped`].
    pub fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.child.stdin.take()?, self.child.stdout.take()?))
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Asks it to end (SIGTERM) and waits for it.
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(patience)
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} still runs after {patience:?}", self.name);
            }
            thread::sleep(PAUSE);
        }
    }

    /// What it has written so far.
    pub fn output(&self) -> Result<String> {
        let Some(log) = &self.log else {
            return Ok(String::new());
        };
        let bytes = fs::read(log).with_context(|| format!("reading {}", log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
