//! What the virtual machine starts with: the programs, the modules they need, and the plan for the
//! first process.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::archive::Kernel;
use super::cpio::Archive;
use super::payload::Payload;

/// What the tests use: links between namespaces, ending sockets, and TC programs.
const MODULES: [&str; 7] = [
    "veth",
    "bridge",
    "tcp_diag",
    "udp_diag",
    "sch_ingress",
    "cls_bpf",
    "tun",
];

/// A module in the archive.
struct Module {
    path: String,
    content: Vec<u8>,
}

pub(super) fn write(
    file: &Path,
    kernel: &Kernel,
    payload: &Payload,
    commands: &[Value],
    shown: Option<&str>,
) -> Result<()> {
    let modules = modules(&kernel.modules)?;
    let plan = json!({
        "shown": shown,
        "modules": modules.iter().map(|module| &module.path).collect::<Vec<_>>(),
        "commands": commands,
    });
    let out = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    pack(BufWriter::new(out), &modules, payload, &plan)
        .with_context(|| format!("cannot write {}", file.display()))
}

fn pack(out: BufWriter<File>, modules: &[Module], payload: &Payload, plan: &Value) -> Result<()> {
    let mut archive = Archive::new(out);
    for folder in ["/bin", "/modules"] {
        archive.folder(folder)?;
    }
    for program in payload.programs() {
        let content = fs::read(&program.file)
            .with_context(|| format!("cannot read {}", program.file.display()))?;
        archive.program(&program.path(), &content)?;
    }
    for module in modules {
        archive.file(&module.path, &module.content)?;
    }
    archive.file("/guest.json", plan.to_string().as_bytes())?;
    archive.finish()?;
    Ok(())
}

/// The wanted modules and all they depend on, in an order in which they load.
fn modules(folder: &Path) -> Result<Vec<Module>> {
    let read = |name: &str| {
        let file = folder.join(name);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let (dependencies, builtin) = (read("modules.dep")?, read("modules.builtin")?);
    let order = load_order(&dependencies, &builtin, &MODULES)?;
    order
        .into_iter()
        .map(|path| {
            Ok(Module {
                path: format!("/modules/{}.ko", name_of(path)),
                content: content(&folder.join(path))?,
            })
        })
        .collect()
}

/// Paths of modules such that each comes after those that it depends on. `dependencies` has lines
/// `path: path path`.
fn load_order<'a>(dependencies: &'a str, builtin: &str, wanted: &[&str]) -> Result<Vec<&'a str>> {
    let lines: Vec<(&str, &str)> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .collect();
    let mut order = Vec::new();
    for name in wanted {
        match lines.iter().find(|(path, _)| name_of(path) == *name) {
            Some((path, _)) => visit(path, &lines, &mut order),
            None if builtin.lines().any(|path| name_of(path) == *name) => {}
            None => bail!("the kernel has no module {name}"),
        }
    }
    Ok(order)
}

fn visit<'a>(path: &'a str, lines: &[(&'a str, &'a str)], order: &mut Vec<&'a str>) {
    if order.contains(&path) {
        return;
    }
    if let Some((_, needed)) = lines.iter().find(|(of, _)| *of == path) {
        for needed in needed.split_whitespace() {
            visit(needed, lines, order);
        }
    }
    order.push(path);
}

/// `kernel/drivers/net/veth.ko.xz` is veth. Files spell some names with a hyphen, modules never do.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// The module itself: not every kernel can unpack a compressed one by itself.
fn content(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "xz") {
        let unpacked = Command::new("xz")
            .arg("-dc")
            .arg(file)
            .output()
            .context("cannot start xz")?;
        if !unpacked.status.success() {
            bail!(
                "xz cannot unpack {}: {}",
                file.display(),
                String::from_utf8_lossy(&unpacked.stderr).trim()
            );
        }
        return Ok(unpacked.stdout);
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "kernel/net/bridge/bridge.ko.xz: kernel/net/802/stp.ko.xz kernel/net/llc/llc.ko.xz\nkernel/net/802/stp.ko.xz: kernel/net/llc/llc.ko.xz\nkernel/net/llc/llc.ko.xz:\nkernel/net/sched/sch-ingress.ko.xz:\n";

    #[test]
    fn a_module_comes_after_what_it_depends_on_and_once() {
        let order = load_order(DEPENDENCIES, "", &["bridge", "llc", "sch_ingress"]).unwrap();
        let names: Vec<_> = order.into_iter().map(name_of).collect();
        assert_eq!(names, ["llc", "stp", "bridge", "sch_ingress"]);
    }

    #[test]
    fn a_module_is_loaded_built_in_or_missed_by_name() {
        assert!(
            load_order("", "kernel/drivers/net/veth.ko\n", &["veth"])
                .unwrap()
                .is_empty()
        );
        let error = load_order("", "", &["veth"]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel has no module veth");
    }
}
