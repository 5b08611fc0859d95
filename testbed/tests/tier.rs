//! The harness proves itself: what is skipped is named and counted, and what fails fails, with what the run knew.
//!
//! The tests start this program again in a role whose own tests pass, fail, panic, or cannot be run.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail, ensure};
use sluice_testbed::Run;
use sluice_testbed::tier::{self, Shared, Tier, test};

const ROLE: &str = "SLUICE_TEST_ROLE";
const NOBODY: u32 = 65534;

static MADE: AtomicU32 = AtomicU32::new(0);
static SHARED: Shared<SaysGoodbye> = Shared::new(|| {
    MADE.fetch_add(1, Ordering::Relaxed);
    Ok(SaysGoodbye)
});

struct SaysGoodbye;

impl Drop for SaysGoodbye {
    fn drop(&mut self) {
        println!("made {} times, and gone", MADE.load(Ordering::Relaxed));
    }
}

fn main() -> ExitCode {
    match env::var(ROLE).as_deref() {
        Ok("good") => tier::main(Tier::Kernel, vec![test!(passes), test!(passes_too)]),
        Ok("partly") => tier::main(
            Tier::Kernel,
            vec![test!(passes), test!(fails).lacking(Some("needs a moon"))],
        ),
        Ok("bad") => tier::main(
            Tier::Kernel,
            vec![test!(passes), test!(fails), test!(panics)],
        ),
        _ => tier::main(
            Tier::Kernel,
            vec![
                test!(without_root_the_tests_are_skipped_by_name_and_number),
                test!(a_skip_fails_under_ci),
                test!(a_test_that_is_left_out_is_named_and_the_others_count),
                test!(tests_that_fail_or_panic_fail_the_binary_and_show_the_logs),
                test!(what_tests_share_is_made_once_and_removed_at_the_end),
            ],
        ),
    }
}

fn passes() -> Result<()> {
    SHARED.get().map(drop)
}

fn passes_too() -> Result<()> {
    SHARED.get().map(drop)
}

fn fails() -> Result<()> {
    let run = Run::start()?;
    std::fs::write(
        run.logs().join("server.log"),
        "the last words of a server\n",
    )?;
    bail!("it is wrong")
}

#[expect(clippy::panic, reason = "the harness must catch it")]
fn panics() -> Result<()> {
    panic!("it is very wrong")
}

fn without_root_the_tests_are_skipped_by_name_and_number() -> Result<()> {
    let output = again("good", "").uid(NOBODY).gid(NOBODY).output()?;
    let text = text(&output);
    ensure!(output.status.success(), "{text}");
    ensure!(
        text.contains("test result: ok. 0 passed; 0 failed; 2 ignored;"),
        "{text}"
    );
    ensure!(
        text.contains("\nskipped: kernel tier, 2 tests: needs root: run it as root\n"),
        "{text}"
    );
    Ok(())
}

fn a_skip_fails_under_ci() -> Result<()> {
    let output = again("good", "true").uid(NOBODY).gid(NOBODY).output()?;
    ensure!(!output.status.success(), "{}", text(&output));
    Ok(())
}

fn a_test_that_is_left_out_is_named_and_the_others_count() -> Result<()> {
    let output = again("partly", "true").output()?;
    let text = text(&output);
    ensure!(output.status.success(), "{text}");
    ensure!(text.contains("1 passed; 0 failed; 1 ignored;"), "{text}");
    ensure!(
        text.contains("\nskipped: kernel tier, 1 tests: needs a moon\n"),
        "{text}"
    );
    Ok(())
}

fn tests_that_fail_or_panic_fail_the_binary_and_show_the_logs() -> Result<()> {
    let output = again("bad", "").output()?;
    let text = text(&output);
    ensure!(!output.status.success(), "{text}");
    ensure!(text.contains("1 passed; 2 failed; 0 ignored;"), "{text}");
    for words in [
        "it is wrong",
        "it is very wrong",
        "server: the last words of a server",
    ] {
        ensure!(text.contains(words), "{words}: {text}");
    }
    Ok(())
}

fn what_tests_share_is_made_once_and_removed_at_the_end() -> Result<()> {
    let output = again("good", "true").output()?;
    let text = text(&output);
    ensure!(output.status.success(), "{text}");
    ensure!(
        text.contains("test result: ok. 2 passed; 0 failed; 0 ignored;"),
        "{text}"
    );
    ensure!(text.contains("made 1 times, and gone"), "{text}");
    Ok(())
}

fn again(role: &str, ci: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env(ROLE, role).env("CI", ci);
    command
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]]
        .map(String::from_utf8_lossy)
        .concat()
}
