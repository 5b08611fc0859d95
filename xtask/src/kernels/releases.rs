//! Which kernels are booted, and by which settings of an administrator.

/// The newest kernel. To move the pin: `make kernels` names the one that the archive has now when
/// this one has left it.
const NEWEST: &str = "linux-image-7.2.13+deb14-cloud-amd64";

/// A line of kernels, and where Debian keeps it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Release {
    /// As people call it; the newest is called so because the pin moves.
    pub(super) name: &'static str,
    pub(super) suite: &'static str,
    pub(super) pinned: Option<&'static str>,
    /// False for a kernel on which the agent has to end with its one sentence.
    pub(super) supported: bool,
    pub(super) setting: Option<Setting>,
}

/// A way to run a kernel that its administrator can choose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// On the kernel's command line.
    pub(super) argument: &'static str,
    /// Where the running kernel shows it, and the text that it shows there: that it was heeded.
    pub(super) file: &'static str,
    pub(super) shown: &'static str,
    /// What the kernel lacks then, by the agent's words. All else it has to have.
    pub(super) without: &'static [&'static str],
    /// Tests of the short form that take what it lacks.
    pub(super) fails: &'static [&'static str],
}

pub(super) const RELEASES: [Release; 6] = [
    Release {
        name: "5.10",
        suite: "bullseye",
        pinned: None,
        supported: false,
        setting: None,
    },
    Release {
        name: "6.1",
        suite: "bookworm",
        pinned: None,
        supported: true,
        setting: None,
    },
    Release {
        name: "6.12",
        suite: "trixie",
        pinned: None,
        supported: true,
        setting: None,
    },
    Release {
        name: "6.12-interpreted",
        suite: "trixie",
        pinned: None,
        supported: true,
        setting: Some(Setting {
            argument: "sysctl.net.core.bpf_jit_enable=0",
            file: "/proc/sys/net/core/bpf_jit_enable",
            shown: "0",
            without: &["loops"],
            fails: &["a_backend_that_is_gone_is_replaced_at_the_next_send_and_no_other"],
        }),
    },
    Release {
        name: "6.12-locked",
        suite: "trixie",
        pinned: None,
        supported: true,
        setting: Some(Setting {
            argument: "lockdown=confidentiality",
            file: "/sys/kernel/security/lockdown",
            shown: "none integrity [confidentiality]",
            without: &[],
            fails: &[],
        }),
    },
    Release {
        name: "newest",
        suite: "sid",
        pinned: Some(NEWEST),
        supported: true,
        setting: None,
    },
];
