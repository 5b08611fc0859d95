//! Kernel programs: load, pin, attach, replace in place.
//!
//! Maps and links are pinned, so the programs go on without the agent. A new agent opens the pinned
//! maps, loads its own programs over them and puts these into the pinned links; no connect meets
//! both or neither. A link is made anew only when the old one is gone or holds another cgroup. Where
//! the layout of the maps is another, new maps stand beside the old ones until all is switched.

mod leftovers;
mod sizes;
mod survey;

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError},
};
use sluice_node_abi::{self as abi, maps};

use crate::{
    bpf::{self, AttachType},
    features::{Feature, Features},
    object,
};

pub use leftovers::{Found, LeftoverError};
pub use sizes::Sizes;
pub use survey::{Survey, SurveyError};

/// Between the name of a folder of maps that were set aside and a number.
const ASIDE: &str = "-before-";

/// Where the pins are.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Sockets keep their storage over a change of the other maps' layout.
    pub fn map(&self, name: &str) -> PathBuf {
        if matches!(name, maps::SOCKETS | maps::DATAGRAMS) {
            let folder = format!("socket-{}", abi::SOCKET_VERSION);
            self.root.join(folder).join(name)
        } else {
            self.maps().join(name)
        }
    }

    fn maps(&self) -> PathBuf {
        self.root.join(format!("abi-{}", abi::VERSION))
    }

    fn link(&self, hook: Hook) -> PathBuf {
        self.links().join(hook.program())
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Whether this is a folder that an agent of some version made in the root.
    pub(crate) fn is_ours(&self, folder: &Path) -> bool {
        let version = |name: &str| {
            let number = ["abi-", "socket-"]
                .iter()
                .find_map(|kind| name.strip_prefix(kind))?;
            let (number, aside) = number.split_once(ASIDE).unwrap_or((number, "0"));
            number.parse::<u32>().and(aside.parse::<u32>()).ok()
        };
        let name = folder.file_name().and_then(|name| name.to_str());
        folder == self.links() || name.and_then(version).is_some()
    }
}

/// A place in the kernel where a program of ours runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Connect4,
    Connect6,
    Send4,
    Send6,
    Receive4,
    Receive6,
    PeerName4,
    PeerName6,
    Release,
}

impl Hook {
    /// In the order of attaching: nothing is translated before its peer can be named.
    pub const ALL: [Self; 9] = [
        Self::Release,
        Self::PeerName4,
        Self::PeerName6,
        Self::Receive4,
        Self::Receive6,
        Self::Send4,
        Self::Send6,
        Self::Connect4,
        Self::Connect6,
    ];

    /// The program's name in the object.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Send4 => "sendmsg4",
            Self::Send6 => "sendmsg6",
            Self::Receive4 => "recvmsg4",
            Self::Receive6 => "recvmsg6",
            Self::PeerName4 => "getpeername4",
            Self::PeerName6 => "getpeername6",
            Self::Release => "sock_release",
        }
    }

    const fn attach_type(self) -> AttachType {
        match self {
            Self::Connect4 => AttachType::Inet4Connect,
            Self::Connect6 => AttachType::Inet6Connect,
            Self::Send4 => AttachType::Udp4SendMsg,
            Self::Send6 => AttachType::Udp6SendMsg,
            Self::Receive4 => AttachType::Udp4RecvMsg,
            Self::Receive6 => AttachType::Udp6RecvMsg,
            Self::PeerName4 => AttachType::Inet4GetPeerName,
            Self::PeerName6 => AttachType::Inet6GetPeerName,
            Self::Release => AttachType::InetSockRelease,
        }
    }
}

/// How a connect without a backend is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The connect hook names the error itself.
    SetRetval,
    /// The connect is sent to port 0 of loopback, which the kernel refuses at once.
    Loopback,
}

impl Refusal {
    pub fn fitting(features: &Features) -> Self {
        if features.has(Feature::SetRetval) {
            Self::SetRetval
        } else {
            Self::Loopback
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Missing(#[from] object::Missing),
    #[error("cannot make {path} (is a BPF file system mounted there?)")]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot read the programs or make their maps")]
    Object(#[from] aya::EbpfError),
    #[error("the object has no program {0}")]
    Absent(&'static str),
    #[error("the kernel does not take program {program}")]
    Verifier {
        program: &'static str,
        source: Box<ProgramError>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("cannot make {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("program {0} is not loaded")]
    NotLoaded(&'static str),
    #[error("cannot open the cgroup {path}")]
    Cgroup { path: PathBuf, source: io::Error },
    #[error("cannot {doing} for {program}")]
    Link {
        doing: &'static str,
        program: &'static str,
        source: io::Error,
    },
    #[error("all programs are attached, but what an earlier agent left is not removed")]
    Leftover(#[from] LeftoverError),
}

/// Loaded programs over pinned maps, not yet attached.
pub struct Programs {
    ebpf: Ebpf,
    pins: Pins,
}

impl Programs {
    /// Opens the pinned maps, which are of these sizes once they are [prepared](Pins::prepare), or makes them, and
    /// passes every program through the verifier.
    pub fn load(pins: &Pins, refusal: Refusal, sizes: Sizes) -> Result<Self, LoadError> {
        let paths = MAPS.map(|name| (name, pins.map(name)));
        for folder in paths.iter().filter_map(|(_, path)| path.parent()) {
            make_folder(folder)?;
        }

        let by_loopback = u32::from(refusal == Refusal::Loopback);
        let mut loader = EbpfLoader::new();
        loader.override_global("REFUSE_BY_LOOPBACK", &by_loopback, true);
        let has_loops = u32::from(Feature::Loops.present().unwrap_or(false));
        loader.override_global("HAS_LOOPS", &has_loops, true);
        for (name, path) in &paths {
            loader.map_pin_path(name, path.as_path());
        }
        for (name, capacity) in sizes.capacities() {
            loader.map_max_entries(name, capacity);
        }
        let mut ebpf = loader.load(object::bytes()?)?;
        for hook in Hook::ALL {
            let name = hook.program();
            let program = ebpf.program_mut(name).ok_or(LoadError::Absent(name))?;
            let loaded = match program {
                Program::CgroupSockAddr(program) => program.load(),
                Program::CgroupSock(program) => program.load(),
                _ => return Err(LoadError::Absent(name)),
            };
            loaded.map_err(|source| LoadError::Verifier {
                program: name,
                source: source.into(),
            })?;
        }
        Ok(Self {
            ebpf,
            pins: pins.clone(),
        })
    }

    /// Loads the iterator that tells which UDP sockets keep what.
    pub fn survey(&mut self) -> Result<Survey, SurveyError> {
        Survey::load(&mut self.ebpf, &self.pins)
    }

    /// Puts every program into its link on `cgroup`, making the link where there is none. Says how
    /// many programs were not where they belong.
    pub fn attach(&self, cgroup: &Path) -> Result<usize, AttachError> {
        let failed = |source| AttachError::Cgroup {
            path: cgroup.into(),
            source,
        };
        let root = File::open(cgroup).map_err(failed)?;
        let links = self.pins.links();
        fs::create_dir_all(&links).map_err(|source| AttachError::Folder {
            path: links,
            source,
        })?;
        // The inode number of a cgroup's folder is its id.
        let id = root.metadata().map_err(failed)?.ino();
        let mut moved = 0;
        for hook in Hook::ALL {
            let loaded = self.ebpf.program(hook.program());
            let loaded =
                loaded.and_then(|program| Some((program.fd().ok()?, program.info().ok()?)));
            let (program, info) = loaded.ok_or(AttachError::NotLoaded(hook.program()))?;
            let failed = |doing| {
                move |source| AttachError::Link {
                    doing,
                    program: hook.program(),
                    source,
                }
            };
            let path = self.pins.link(hook);
            match held(&path, id, hook).map_err(failed("read the pinned link"))? {
                Some((_, program)) if program == info.id() => continue,
                Some((link, _)) => bpf::update_link(link.as_fd(), program.as_fd())
                    .map_err(failed("replace the program"))?,
                None => {
                    let link = bpf::create_link(program.as_fd(), root.as_fd(), hook.attach_type())
                        .map_err(failed("attach"))?;
                    bpf::pin(&link, &path).map_err(failed("pin the link"))?;
                }
            }
            moved += 1;
        }
        self.pins.retire()?;
        Ok(moved)
    }
}

const MAPS: [&str; 16] = [
    maps::AFFINITY,
    maps::CALLERS,
    maps::CLASSES,
    maps::FRONTENDS,
    maps::NODES,
    maps::PORTS,
    maps::TABLES,
    maps::SLOTS,
    maps::GROUPS,
    maps::BACKENDS,
    maps::COUNTERS,
    maps::SETTINGS,
    maps::VERDICTS,
    maps::TALLIES,
    maps::SOCKETS,
    maps::DATAGRAMS,
];

/// The pinned link and the program in it, if it still holds this hook of this cgroup. One that
/// holds something else, or nothing, is unpinned.
fn held(path: &Path, cgroup: u64, hook: Hook) -> io::Result<Option<(OwnedFd, u32)>> {
    let link = match bpf::open_pinned(path) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let info = bpf::link_info(link.as_fd())?;
    if info.cgroup == cgroup && info.attach_type == hook.attach_type() as u32 {
        return Ok(Some((link, info.program)));
    }
    fs::remove_file(path)?;
    Ok(None)
}

fn make_folder(path: &Path) -> Result<(), LoadError> {
    fs::create_dir_all(path).map_err(|source| LoadError::Folder {
        path: path.into(),
        source,
    })
}
