//! Compiles `node-ebpf` for the kernel and leaves the object in `OUT_DIR` for `include_bytes!`.
//!
//! The kernel's target needs a compiler of its own kind, which the host's toolchain rarely is. In
//! this order: the object named by `EBPF_OBJECT`; a rustc with a precompiled `core` for
//! `bpfel-unknown-none` (Debian's `rustc-web`); a rustc with the `rust-src` component; else an empty
//! object, which the loader refuses with the reason written here, so that everything that needs no
//! kernel program can be built and tested anywhere.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "bpfel-unknown-none";
const PACKAGE: &str = "sluice-node-ebpf";

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Asked now: a target folder that two checkouts share may hold the other one's build script.
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .join("..")
        .canonicalize()?;
    for input in [
        "Cargo.toml",
        "Cargo.lock",
        "node-ebpf/src",
        "node-ebpf/Cargo.toml",
        "node-abi/src",
        "node-abi/Cargo.toml",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=EBPF_OBJECT");
    println!("cargo::rerun-if-env-changed=BPF_LINKER");

    let object = out.join("node-ebpf.o");
    let missing = match produce(&workspace, &out)? {
        Ok(made) => {
            fs::copy(&made, &object).map_err(|e| format!("{}: {e}", made.display()))?;
            String::new()
        }
        Err(missing) => {
            println!("cargo::warning=without kernel programs: {missing}");
            // A tool that comes later may be older than this run, which cargo would take for
            // unchanged; a path that is never there asks again each time.
            println!("cargo::rerun-if-changed={}", out.join("never").display());
            fs::write(&object, [])?;
            missing
        }
    };
    println!("cargo::rustc-env=SLUICE_EBPF_OBJECT={}", object.display());
    println!("cargo::rustc-env=SLUICE_EBPF_MISSING={missing}");
    Ok(())
}

/// The path of the object, or what is missing for it.
fn produce(workspace: &Path, out: &Path) -> Fallible<Result<PathBuf, String>> {
    if let Some(given) = env::var_os("EBPF_OBJECT").map(PathBuf::from) {
        println!("cargo::rerun-if-changed={}", given.display());
        return Ok(Ok(given));
    }
    // OUT_DIR is TARGET_DIR/[TRIPLE/]PROFILE/build/PACKAGE-HASH/out; cargo tags TARGET_DIR, and
    // TARGET_DIR/TRIPLE too.
    let tagged = out
        .ancestors()
        .filter(|dir| dir.join("CACHEDIR.TAG").exists());
    let target_dir = tagged
        .last()
        .ok_or("OUT_DIR is not below a target folder")?;
    let Some(linker) = linker(target_dir) else {
        return Ok(Err("no bpf-linker (`make setup` installs it)".into()));
    };
    println!("cargo::rerun-if-changed={}", linker.display());
    let Some(compiler) = Compiler::find() else {
        return Ok(Err(format!(
            "no rustc with a core library for {TARGET} and none with rust-src (`make setup` installs one)"
        )));
    };
    compiler
        .build(workspace, &target_dir.join("ebpf"), &linker)
        .map(Ok)
}

fn linker(target_dir: &Path) -> Option<PathBuf> {
    if let Some(given) = env::var_os("BPF_LINKER") {
        return Some(given.into());
    }
    let installed = target_dir.join("tools/bpf-linker");
    let on_path = env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join("bpf-linker"))
        .find(|path| path.is_file());
    installed.is_file().then_some(installed).or(on_path)
}

struct Compiler {
    rustc: PathBuf,
    /// Compile `core` too, from `rust-src`.
    build_core: bool,
}

impl Compiler {
    fn find() -> Option<Self> {
        let current = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let candidates = [PathBuf::from(current), PathBuf::from("/usr/bin/rustc")];
        let with_sysroot: Vec<_> = candidates
            .into_iter()
            .filter_map(|rustc| sysroot(&rustc).map(|root| (root, rustc)))
            .map(|(root, rustc)| (root.join("lib/rustlib"), rustc))
            .collect();
        let having = |part: &str| {
            with_sysroot
                .iter()
                .find(|(rustlib, _)| rustlib.join(part).is_dir())
                .map(|(_, rustc)| rustc.clone())
        };
        let precompiled = having(&format!("{TARGET}/lib")).map(|rustc| (rustc, false));
        let (rustc, build_core) =
            precompiled.or_else(|| having("src/rust/library/core").map(|rustc| (rustc, true)))?;
        Some(Self { rustc, build_core })
    }

    fn build(&self, workspace: &Path, target_dir: &Path, linker: &Path) -> Fallible<PathBuf> {
        let root = sysroot(&self.rustc).ok_or("the compiler's sysroot went away")?;
        let bin = |name: &str| root.join("bin").join(name);
        let cargo = if bin("cargo").is_file() {
            bin("cargo")
        } else {
            "cargo".into()
        };
        let flags = [
            "-Cdebuginfo=2",
            "-Clink-arg=--btf",
            // The first version of the instruction set with fetching atomics.
            "-Ctarget-cpu=v3",
            &format!("-Clinker={}", linker.display()),
        ]
        .join("\x1f");
        let mut command = Command::new(cargo);
        command
            .current_dir(workspace)
            .args([
                "build",
                "--package",
                PACKAGE,
                "--bin",
                PACKAGE,
                "--profile",
                "ebpf",
            ])
            .args(["--target", TARGET, "--target-dir"])
            .arg(target_dir)
            .env("RUSTC", bin("rustc"))
            .env("CARGO_ENCODED_RUSTFLAGS", flags);
        if self.build_core {
            command.arg("-Zbuild-std=core").env("RUSTC_BOOTSTRAP", "1");
        } else {
            command.env("RUSTC_BOOTSTRAP", "aya_ebpf,sluice_node_ebpf");
        }
        for inherited in inherited_by_build_scripts() {
            command.env_remove(inherited);
        }
        let output = command.output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("compiling {PACKAGE} for the kernel failed:\n{text}").into());
        }
        Ok(target_dir.join(TARGET).join("ebpf").join(PACKAGE))
    }
}

/// What cargo and rustup set for a build script and another toolchain's cargo must not see.
fn inherited_by_build_scripts() -> impl Iterator<Item = OsString> {
    const OWN: [&str; 5] = [
        "RUSTUP_TOOLCHAIN",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "RUSTDOC",
    ];
    let cargos = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_")
            && !name.starts_with("CARGO_HOME")
            && name != "CARGO_ENCODED_RUSTFLAGS"
    });
    OWN.into_iter().map(OsString::from).chain(cargos)
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}
