//! Running other programs: their output goes to a log, their progress to the screen, their failure
//! into one error.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::progress::Progress;

/// How much of a failing program's output the error shows.
const TAIL: usize = 15;

/// A program whose output is kept in a log.
pub(crate) struct Logged<'a> {
    log: &'a Path,
    progress: &'a Progress,
    counts: fn(&str) -> bool,
}

impl<'a> Logged<'a> {
    pub(crate) fn new(log: &'a Path, progress: &'a Progress) -> Logged<'a> {
        Logged {
            log,
            progress,
            counts: |_| false,
        }
    }

    /// Lines for which `counts` is true are the pieces of work that the progress shows; the rest
    /// is what an error shows.
    pub(crate) fn counting(mut self, counts: fn(&str) -> bool) -> Logged<'a> {
        self.counts = counts;
        self
    }

    /// Runs the command to its end and returns how many lines counted; when it fails the error
    /// carries the end of its output and the place of all of it.
    pub(crate) fn run(&self, command: &mut Command) -> Result<usize> {
        let mut log = self.open_log()?;
        let program = program_of(command);
        // The log is written line by line and best effort: a full disk shows in the program's own
        // result.
        let _ = writeln!(log, "$ {command:?}");
        let (output, writer) = io::pipe().context("cannot make a pipe")?;
        let second = writer.try_clone().context("cannot make a pipe")?;
        let mut child = start(command.stdin(Stdio::null()).stdout(writer).stderr(second))?;
        // The command holds the pipe's writing end; without closing it the reader would never see
        // the end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut tail = Vec::new();
        let mut counted = 0;
        for line in BufReader::new(output).split(b'\n') {
            let line = line.with_context(|| format!("cannot read what {program} prints"))?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let _ = writeln!(log, "{line}");
            self.progress.doing(&line);
            if (self.counts)(&line) {
                counted += 1;
                self.progress.one_more();
                continue;
            }
            if tail.len() == TAIL {
                tail.remove(0);
            }
            tail.push(line);
        }
        let status = child
            .wait()
            .with_context(|| format!("cannot wait for {program}"))?;
        if status.success() {
            return Ok(counted);
        }
        bail!(
            "{program} {}:\n    {}\n  all of it: {}",
            how_it_ended(status),
            tail.join("\n    "),
            self.log.display()
        )
    }

    fn open_log(&self) -> Result<File> {
        if let Some(folder) = self.log.parent() {
            crate::cache::make_folder(folder)?;
        }
        let log = OpenOptions::new().create(true).append(true).open(self.log);
        log.with_context(|| format!("cannot write the log {}", self.log.display()))
    }
}

/// What a program prints, without its trailing newline; an error when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = program_of(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(&program, error))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}",
            how_it_ended(output.status),
            String::from_utf8_lossy(&output.stderr).trim()
        )
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

/// Runs a program that talks to the user directly; true when it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let program = program_of(command);
    Ok(command
        .status()
        .map_err(|error| not_started(&program, error))?
        .success())
}

/// Starts a child that ends when this process does, also by `kill -9`, so that nothing builds on
/// behind one's back.
pub(crate) fn start(command: &mut Command) -> Result<Child> {
    let program = program_of(command);
    // SAFETY: prctl is a plain system call: async-signal-safe, and it allocates nothing.
    let command =
        unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from)) };
    command
        .spawn()
        .map_err(|error| not_started(&program, error))
}

/// The path of a program on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn program_of(command: &Command) -> String {
    Path::new(command.get_program())
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn not_started(program: &str, error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => {
            anyhow!("{program} is missing: install it, or put its folder on PATH")
        }
        _ => anyhow!(error).context(format!("cannot start {program}")),
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(name: &str, script: &str) -> (Result<usize>, String) {
        let log =
            std::env::temp_dir().join(format!("sluice-process-{}-{name}.log", std::process::id()));
        let progress = Progress::start(name);
        let result = Logged::new(&log, &progress).run(Command::new("sh").args(["-c", script]));
        let text = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(log).unwrap();
        (result, text)
    }

    #[test]
    fn a_failing_program_shows_the_end_of_its_output_and_where_all_of_it_is() {
        let (result, log) = logged("fails", "seq 1 100; echo broken >&2; exit 3");
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains("exit code 3")
                && error.contains("broken")
                && error.contains("\n    87\n"),
            "{error}"
        );
        assert!(!error.contains("\n    86\n"), "{error}");
        assert!(log.contains("\n42\n"), "the log holds all of it: {log}");
    }

    #[test]
    fn output_that_is_not_text_does_not_stop_a_build() {
        let (result, log) = logged("bytes", r"printf '\377\n'; echo fine");
        result.unwrap();
        assert!(log.contains("fine"));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = output(&mut Command::new("sluice-no-such-program"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("sluice-no-such-program is missing"),
            "{error}"
        );
    }
}
