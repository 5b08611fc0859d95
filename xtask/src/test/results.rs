//! Counting tests from what they print.

use std::fmt;

/// What all test targets said together.
#[derive(Debug, Default)]
pub(crate) struct Results {
    targets: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
    skips: Vec<String>,
    unreadable: Vec<String>,
}

impl Results {
    /// Takes note of one line of output, of which most mean nothing here.
    pub(crate) fn note(&mut self, line: &str) {
        let line = without_colours(line);
        if let Some(counts) = line.strip_prefix("test result: ") {
            match (
                count(counts, "passed"),
                count(counts, "failed"),
                count(counts, "ignored"),
            ) {
                (Some(passed), Some(failed), Some(ignored)) => {
                    self.targets += 1;
                    self.passed += passed;
                    self.failed += failed;
                    self.skipped += ignored;
                }
                _ => self.unreadable.push(line),
            }
        } else if let Some(reason) = line.strip_prefix("skipped: ") {
            self.skips.push(reason.to_owned());
        }
    }

    /// Whether any test ran to its end.
    pub(crate) fn ran(&self) -> bool {
        self.passed + self.failed > 0
    }

    /// Takes over what was counted elsewhere.
    pub(crate) fn add(&mut self, other: Results) {
        let Results {
            targets,
            passed,
            failed,
            skipped,
            skips,
            unreadable,
        } = other;
        self.targets += targets;
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
        self.skips.extend(skips);
        self.unreadable.extend(unreadable);
    }

    /// The tiers that did not run, each with its reason.
    pub(crate) fn skips(&self) -> &[String] {
        &self.skips
    }

    /// Whether the run was good, and if not why. `content` is whether cargo was.
    pub(crate) fn verdict(&self, content: bool, in_ci: bool) -> Result<(), String> {
        if let Some(line) = self.unreadable.first() {
            return Err(format!("a line of results could not be read: {line}"));
        }
        if self.failed > 0 {
            return Err(format!(
                "{} tests failed; their output is above",
                self.failed
            ));
        }
        if !content {
            return Err(
                "the set-up, the build or a test target ended with an error; it is above"
                    .to_owned(),
            );
        }
        if self.targets == 0 {
            return Err("no test target reported a result".to_owned());
        }
        if in_ci && (self.skipped > 0 || !self.skips.is_empty()) {
            return Err("tests were skipped, and under CI every test has to run".to_owned());
        }
        Ok(())
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The number in front of `what` in `ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(counts: &str, what: &str) -> Option<usize> {
    counts
        .split([';', '.'])
        .find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
}

fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
    const FAILED: &str = "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.5s";

    fn results(lines: &[&str]) -> Results {
        let mut results = Results::default();
        for line in lines {
            results.note(line);
        }
        results
    }

    #[test]
    fn targets_add_up() {
        let results = results(&["running 4 tests", OK, "", FAILED]);
        assert_eq!(results.to_string(), "5 passed, 1 failed, 1 skipped");
        assert!(
            results.verdict(true, false).is_err(),
            "a failed test decides, whatever cargo's exit code was"
        );
    }

    #[test]
    fn colours_do_not_hide_a_failure() {
        let coloured = FAILED.replace("FAILED", "\u{1b}[31mFAILED\u{1b}[0m");
        assert_eq!(
            results(&[&coloured]).to_string(),
            "2 passed, 1 failed, 0 skipped"
        );
    }

    #[test]
    fn a_named_skip_is_counted_by_its_ignored_tests_and_not_twice() {
        let skip = "skipped: kernel tier, 1 test: needs root: run it as root";
        let results = results(&[skip, OK]);
        assert_eq!(results.to_string(), "3 passed, 0 failed, 1 skipped");
        assert_eq!(
            results.skips(),
            ["kernel tier, 1 test: needs root: run it as root"]
        );
    }

    #[test]
    fn a_skip_fails_under_ci_only() {
        let results = results(&[OK]);
        assert!(results.verdict(true, false).is_ok());
        assert!(results.verdict(true, true).is_err());
    }

    #[test]
    fn no_result_at_all_is_a_failure() {
        assert!(results(&[]).verdict(true, false).is_err());
        assert!(
            results(&[OK]).verdict(false, false).is_err(),
            "a target that did not build"
        );
        assert!(
            results(&["test result: ok. many passed"])
                .verdict(true, false)
                .is_err()
        );
    }
}
