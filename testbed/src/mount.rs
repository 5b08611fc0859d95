//! The mount table of this process, and unmounting of a whole folder.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub point: PathBuf,
    pub kind: String,
    /// Options of the file system; on cgroup v1 these name the controllers.
    pub options: Vec<String>,
}

/// All mounts that this process sees, in the order they were made.
pub fn table() -> Result<Vec<Mount>> {
    let text = fs::read_to_string("/proc/self/mountinfo")
        .context("reading /proc/self/mountinfo (is /proc mounted?)")?;
    Ok(text.lines().filter_map(parse).collect())
}

/// Mount points at `folder` and below it, deepest and latest first.
pub fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut points: Vec<_> = table()?
        .into_iter()
        .map(|mount| mount.point)
        .filter(|point| point.starts_with(folder))
        .collect();
    points.reverse();
    Ok(points)
}

/// Unmounts everything at `folder` and below it.
pub fn unmount_below(folder: &Path) -> Result<()> {
    for point in below(folder)? {
        detach(&point)?;
    }
    Ok(())
}

/// Unmounts one mount point, now or as soon as nobody uses it; what is no mount point is left alone.
pub fn detach(point: &Path) -> Result<()> {
    match umount2(point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("unmounting {}", point.display())),
    }
}

fn parse(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut file_system = file_system.split(' ');
    Some(Mount {
        point: unescape(mount.split(' ').nth(4)?),
        kind: file_system.next()?.to_owned(),
        options: file_system.nth(1)?.split(',').map(str::to_owned).collect(),
    })
}

/// The kernel writes space, tab, newline and backslash in a path as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = (*first == b'\\')
            .then(|| {
                tail.get(..3)
                    .and_then(|digits| std::str::from_utf8(digits).ok())
            })
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes_is_read() {
        let line = r"36 35 98:0 /mnt1 /mnt\040two rw,noatime master:1 shared:2 - cgroup cgroup rw,cpu,cpuacct";
        assert_eq!(
            parse(line),
            Some(Mount {
                point: "/mnt two".into(),
                kind: "cgroup".into(),
                options: vec!["rw".into(), "cpu".into(), "cpuacct".into()],
            })
        );
    }

    #[test]
    fn a_backslash_without_digits_stays() {
        assert_eq!(unescape(r"/a\b\134"), PathBuf::from(r"/a\b\"));
    }

    #[test]
    fn the_own_table_has_proc() {
        assert!(table().unwrap().iter().any(|mount| mount.kind == "proc"));
    }
}
