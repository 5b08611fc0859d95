//! What this kernel can do of what Sluice uses, found by trying it.
//!
//! Version numbers appear in texts only: distributions carry features back and configure them away.

use std::{fmt, io, process::ExitCode};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};
use serde::Serialize;

use crate::{args::Output, bpf, diag::Diag};

/// Something that a kernel has or lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    CgroupSockAddr,
    CgroupSock,
    FetchingAtomics,
    MappedArrays,
    SocketStorage,
    SetRetval,
    Loops,
    AncestorCgroup,
    NetworkCookie,
    SockOps,
    RingBuffer,
    Tcx,
    TypeInformation,
    SocketDestroy,
}

impl Feature {
    pub const ALL: [Self; 14] = [
        Self::CgroupSockAddr,
        Self::CgroupSock,
        Self::FetchingAtomics,
        Self::MappedArrays,
        Self::SocketStorage,
        Self::SetRetval,
        Self::Loops,
        Self::AncestorCgroup,
        Self::NetworkCookie,
        Self::SockOps,
        Self::RingBuffer,
        Self::Tcx,
        Self::TypeInformation,
        Self::SocketDestroy,
    ];

    /// The agent cannot do its work without it.
    pub const fn required(self) -> bool {
        matches!(
            self,
            Self::CgroupSockAddr
                | Self::CgroupSock
                | Self::FetchingAtomics
                | Self::MappedArrays
                | Self::SocketStorage
                | Self::AncestorCgroup
                | Self::NetworkCookie
                | Self::RingBuffer
        )
    }

    /// What it is, and the first kernel that has it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::CgroupSockAddr => "programs at connect() (cgroup sock_addr, Linux 4.17)",
            Self::CgroupSock => "programs at socket release (cgroup sock, Linux 5.9)",
            Self::FetchingAtomics => "atomic instructions that return a value (Linux 5.12)",
            Self::MappedArrays => "arrays mapped into user space (Linux 5.5)",
            Self::SocketStorage => "storage in sockets from connect() programs (Linux 5.8)",
            Self::SetRetval => {
                "a chosen errno from connect() programs (bpf_set_retval, Linux 5.18)"
            }
            Self::Loops => {
                "loops in programs (bpf_loop, Linux 5.17; not where programs are interpreted)"
            }
            Self::AncestorCgroup => "the caller's ancestor cgroup at connect() (Linux 5.7)",
            Self::NetworkCookie => "the caller's network at connect() (Linux 5.7)",
            Self::SockOps => "programs along a TCP connection's life (sock_ops, Linux 4.13)",
            Self::RingBuffer => "ring buffers (Linux 5.8)",
            Self::Tcx => "TC programs as links (tcx, Linux 6.6)",
            Self::TypeInformation => "the kernel's own type information (BTF)",
            Self::SocketDestroy => "ending other processes' sockets (CONFIG_INET_DIAG_DESTROY)",
        }
    }

    pub fn present(self) -> Result<bool, ProbeError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ProbeError {
            feature: self,
            source,
        };
        let helper = |kind, helper| is_helper_supported(kind, helper).map_err(|e| failed(e.into()));
        let program = |kind| is_program_supported(kind).map_err(|e| failed(e.into()));
        let raw = |outcome: io::Result<bool>| outcome.map_err(|e| failed(e.into()));
        let connect = ProgramType::CgroupSockAddr;
        match self {
            Self::CgroupSockAddr => program(connect),
            Self::CgroupSock => program(ProgramType::CgroupSock),
            Self::FetchingAtomics => raw(fetching_atomics()),
            Self::MappedArrays => raw(mapped_arrays()),
            Self::SocketStorage => Ok(is_map_supported(MapType::SkStorage)
                .map_err(|e| failed(e.into()))?
                && helper(connect, BpfHelper::BPF_FUNC_sk_storage_get)?),
            Self::SetRetval => helper(connect, BpfHelper::BPF_FUNC_set_retval),
            Self::Loops => Ok(helper(connect, BpfHelper::BPF_FUNC_loop)? && are_compiled()),
            Self::AncestorCgroup => {
                helper(connect, BpfHelper::BPF_FUNC_get_current_ancestor_cgroup_id)
            }
            Self::NetworkCookie => helper(connect, BpfHelper::BPF_FUNC_get_netns_cookie),
            Self::SockOps => program(ProgramType::SockOps),
            Self::RingBuffer => is_map_supported(MapType::RingBuf).map_err(|e| failed(e.into())),
            Self::Tcx => raw(tcx()),
            Self::TypeInformation => Ok(std::path::Path::new("/sys/kernel/btf/vmlinux").exists()),
            Self::SocketDestroy => raw(socket_destroy()),
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A probe that could not tell: usually missing privileges.
#[derive(Debug, thiserror::Error)]
#[error("cannot find out whether this kernel has {feature}")]
pub struct ProbeError {
    feature: Feature,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The answer for every feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Features {
    pub kernel: String,
    pub present: Vec<Feature>,
    pub missing: Vec<Feature>,
}

/// The one sentence with which the agent does not start.
#[derive(Debug, thiserror::Error)]
#[error("Linux {kernel} cannot run Sluice, it lacks {}: use Linux 6.1 or later", list(.missing))]
pub struct Unsupported {
    kernel: String,
    missing: Vec<Feature>,
}

impl Features {
    pub fn probe() -> Result<Self, ProbeError> {
        let mut features = Self {
            kernel: release(),
            present: Vec::new(),
            missing: Vec::new(),
        };
        for feature in Feature::ALL {
            let present = match feature.present() {
                // What nobody can tell about something optional is as good as its lack.
                Err(_) if !feature.required() => false,
                outcome => outcome?,
            };
            let list = if present {
                &mut features.present
            } else {
                &mut features.missing
            };
            list.push(feature);
        }
        Ok(features)
    }

    pub fn has(&self, feature: Feature) -> bool {
        self.present.contains(&feature)
    }

    /// Whether everything required is there.
    pub fn sufficient(&self) -> Result<(), Unsupported> {
        let missing: Vec<_> = self
            .missing
            .iter()
            .copied()
            .filter(|f| f.required())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Unsupported {
            kernel: self.kernel.clone(),
            missing,
        })
    }
}

fn list(features: &[Feature]) -> String {
    features
        .iter()
        .map(|feature| feature.text())
        .collect::<Vec<_>>()
        .join(", ")
}

fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "of unknown version".into(), |text| text.trim().into())
}

/// `r0 = 1; *(u64 *)(r10 - 8) = 1; r0 = atomic_fetch_add((u64 *)(r10 - 8), r0); r0 = 1; exit`
const FETCHING_ADD: [u64; 5] = [
    0x0000_0001_0000_00b7,
    0x0000_0001_fff8_0a7a,
    0x0000_0001_fff8_0adb,
    0x0000_0001_0000_00b7,
    0x0000_0000_0000_0095,
];

fn fetching_atomics() -> io::Result<bool> {
    taken(bpf::load_program(
        bpf::ProgramType::CgroupSockAddr,
        bpf::AttachType::Inet4Connect,
        &FETCHING_ADD,
    ))
}

/// Whether the kernel compiles programs. An interpreted one cannot be called back, as a loop does: the verifier
/// refuses it, though it takes the helper. Where nobody can see the setting it is the usual one.
fn are_compiled() -> bool {
    let setting = std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable");
    setting.map_or(true, |setting| setting.trim() != "0")
}

fn mapped_arrays() -> io::Result<bool> {
    const MMAPABLE: u32 = 1 << 10;
    taken(bpf::create_array(8, 1, MMAPABLE))
}

fn tcx() -> io::Result<bool> {
    const LOOPBACK: u32 = 1;
    taken(bpf::query_tcx(LOOPBACK))
}

fn socket_destroy() -> io::Result<bool> {
    Diag::open()?.can_end()
}

/// The kernel's "no": anything but a lack of privileges.
fn taken<T>(outcome: io::Result<T>) -> io::Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        Err(_) => Ok(false),
    }
}

/// `sluice-node-agent features`.
pub(crate) fn command(output: Output) -> anyhow::Result<ExitCode> {
    let features = Features::probe()?;
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&features)?),
        Output::Table => print!("{features}"),
    }
    match features.sufficient() {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(unsupported) => {
            eprintln!("{unsupported}");
            Ok(ExitCode::FAILURE)
        }
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Linux {}", self.kernel)?;
        for feature in Feature::ALL {
            let answer = if self.has(feature) { "yes" } else { "no " };
            let need = if feature.required() {
                "required"
            } else {
                "optional"
            };
            writeln!(f, "  {answer}  {need}  {feature}")?;
        }
        Ok(())
    }
}
