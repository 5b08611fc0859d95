//! Where kubelet puts a pod in the cgroup tree, with each of its two drivers.

use std::path::Path;

use anyhow::Result;

use crate::cgroup::Cgroup;

/// How kubelet and the runtime name cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// `kubepods/burstable/pod<uid>/<container>`.
    Cgroupfs,
    /// `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/cri-containerd-<container>.scope`,
    /// with the dashes of the uid as underscores.
    Systemd,
}

/// The class of a pod, which is a level of the tree but for guaranteed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    fn level(self) -> Option<&'static str> {
        match self {
            Self::Guaranteed => None,
            Self::Burstable => Some("burstable"),
            Self::BestEffort => Some("besteffort"),
        }
    }
}

/// Makes the cgroups of a pod and of its container below a node's root.
pub(super) fn pod(root: &Cgroup, uid: &str, driver: Driver, qos: Qos) -> Result<(Cgroup, Cgroup)> {
    let (pod, container) = names(uid, &hexadecimal(64), driver, qos);
    let pod = root.child(pod)?;
    let container = pod.child(container)?;
    Ok((pod, container))
}

/// Makes the cgroup of a process of the node.
pub(super) fn host(root: &Cgroup, name: &str) -> Result<(Cgroup, Cgroup)> {
    let cgroup = root.child(Path::new("system.slice").join(name))?;
    Ok((cgroup.clone(), cgroup))
}

/// A uid as the API server makes them.
pub(super) fn new_uid() -> String {
    let digits = hexadecimal(32);
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

fn names(uid: &str, container: &str, driver: Driver, qos: Qos) -> (String, String) {
    match driver {
        Driver::Cgroupfs => {
            let above = qos
                .level()
                .map_or("kubepods".to_owned(), |level| format!("kubepods/{level}"));
            (format!("{above}/pod{uid}"), container.to_owned())
        }
        Driver::Systemd => {
            let uid = uid.replace('-', "_");
            let pod = match qos.level() {
                None => format!("kubepods.slice/kubepods-pod{uid}.slice"),
                Some(level) => {
                    format!("kubepods.slice/kubepods-{level}.slice/kubepods-{level}-pod{uid}.slice")
                }
            };
            (pod, format!("cri-containerd-{container}.scope"))
        }
    }
}

fn hexadecimal(length: usize) -> String {
    (0..length).map(|_| fastrand::digit(16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_kubelet() {
        let of = |driver, qos| names("12-ab", "c0", driver, qos);
        let pair = |pod: &str, container: &str| (pod.to_owned(), container.to_owned());
        assert_eq!(
            of(Driver::Cgroupfs, Qos::Burstable),
            pair("kubepods/burstable/pod12-ab", "c0")
        );
        assert_eq!(
            of(Driver::Cgroupfs, Qos::Guaranteed),
            pair("kubepods/pod12-ab", "c0")
        );
        assert_eq!(
            of(Driver::Systemd, Qos::BestEffort),
            pair(
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod12_ab.slice",
                "cri-containerd-c0.scope"
            )
        );
        assert_eq!(
            of(Driver::Systemd, Qos::Guaranteed),
            pair(
                "kubepods.slice/kubepods-pod12_ab.slice",
                "cri-containerd-c0.scope"
            )
        );
    }

    #[test]
    fn a_uid_has_the_usual_shape() {
        let uid = new_uid();
        assert_eq!(
            uid.split('-').map(str::len).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
    }
}
