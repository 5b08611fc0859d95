//! What a program needs beside itself: its loader, and the libraries that the loader finds for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// `p_type` of the program header that names the loader.
const PT_INTERP: u32 = 3;

/// The loader and libraries of `program`, by the paths at which it looks for them; none if it is linked statically.
pub(super) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let Some(loader) = loader(program)? else {
        return Ok(Vec::new());
    };
    let listed = Command::new(&loader).arg("--list").arg(program).output();
    let listed = listed.with_context(|| format!("starting {}", loader.display()))?;
    if !listed.status.success() {
        bail!(
            "{} cannot tell the libraries of {}: {}",
            loader.display(),
            program.display(),
            String::from_utf8_lossy(&listed.stderr).trim()
        );
    }
    let mut found: Vec<_> = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter_map(path_of)
        .collect();
    found.push(loader);
    found.sort();
    found.dedup();
    Ok(found)
}

/// The path in a line of `ld.so --list`, such as `libc.so.6 => /lib/libc.so.6 (0x7f…)`; the kernel's own library has none.
fn path_of(line: &str) -> Option<PathBuf> {
    let line = line.trim();
    let path = line.split_once(" => ").map_or(line, |(_, path)| path);
    let path = path.split_once(" (").map_or(path, |(path, _)| path);
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// The loader that a 64-bit little-endian ELF program names.
fn loader(program: &Path) -> Result<Option<PathBuf>> {
    let bytes = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    interpreter(&bytes).with_context(|| format!("{} is no 64-bit ELF program", program.display()))
}

fn interpreter(elf: &[u8]) -> Result<Option<PathBuf>> {
    if elf.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!("it does not begin as one");
    }
    let table = number(elf, 0x20, 8)?;
    let size = number(elf, 0x36, 2)?;
    let count = number(elf, 0x38, 2)?;
    for index in 0..count {
        let header = table.saturating_add(index * size);
        if number(elf, header, 4)? == PT_INTERP as usize {
            let start = number(elf, header.saturating_add(0x08), 8)?;
            let length = number(elf, header.saturating_add(0x20), 8)?;
            let path = elf
                .get(start..start.saturating_add(length))
                .context("its loader's name is cut off")?;
            let path = std::str::from_utf8(path)?.trim_end_matches('\0');
            return Ok(Some(PathBuf::from(path)));
        }
    }
    Ok(None)
}

fn number(elf: &[u8], at: usize, size: usize) -> Result<usize> {
    let bytes = elf
        .get(at..at.saturating_add(size))
        .context("it is cut off")?;
    Ok(bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_loader_give_paths() {
        assert_eq!(path_of("\tlinux-vdso.so.1 (0x00007ffc)"), None);
        assert_eq!(
            path_of("\tlibc.so.6 => /lib/libc.so.6 (0x00007f12)"),
            Some("/lib/libc.so.6".into())
        );
        assert_eq!(
            path_of("\t/lib64/ld-linux-x86-64.so.2 (0x00007f12)"),
            Some("/lib64/ld-linux-x86-64.so.2".into())
        );
    }

    #[test]
    fn this_test_has_a_loader_or_needs_none() {
        let program = std::env::current_exe().unwrap();
        for library in libraries(&program).unwrap() {
            assert!(library.exists(), "{}", library.display());
        }
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(interpreter(b"#!/bin/sh\n").is_err());
        assert!(interpreter(b"\x7fELF\x02\x01").is_err());
    }
}
