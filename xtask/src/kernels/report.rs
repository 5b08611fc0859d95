//! Reads what a virtual machine printed, and puts several of them into one table.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::FEATURES;
use super::releases::{Release, Setting};
use crate::test::Results;

pub(super) const READY: &str = "guest: ready";
const OVER: &str = "over";

/// What one program printed, and how it ended; `None` if the machine ended first.
#[derive(Debug, Default)]
struct Section {
    name: String,
    text: String,
    ended: Option<String>,
}

/// One kernel's row.
#[derive(Debug)]
pub(crate) struct Report {
    pub(super) name: &'static str,
    supported: bool,
    boot: Option<Duration>,
    version: String,
    present: Vec<String>,
    missing: Vec<String>,
    /// The sentence with which the agent refuses the kernel.
    refusal: Option<String>,
    pub(crate) results: Results,
    /// Everything that should not be so, in sentences.
    pub(crate) against: Vec<String>,
}

impl Report {
    pub(super) fn read(release: &Release, boot: Option<Duration>, output: &str) -> Report {
        let mut report = Report {
            name: release.name,
            supported: release.supported,
            boot,
            version: "?".to_owned(),
            present: Vec::new(),
            missing: Vec::new(),
            refusal: None,
            results: Results::default(),
            against: Vec::new(),
        };
        let Transcript {
            sections,
            shown,
            failure,
            over,
        } = Transcript::read(output);
        report.against.extend(failure);
        if !over {
            report
                .against
                .push("the machine ended before its first process was done".to_owned());
        }
        for section in &sections {
            if section.name == FEATURES {
                report.read_features(section);
            } else if report.supported {
                report.read_test(section);
            }
        }
        if let Some(setting) = &release.setting {
            report.hold_against(setting, shown.as_deref());
        }
        report
    }

    fn read_features(&mut self, section: &Section) {
        let found = section.text.find('{').and_then(|start| {
            let mut values =
                serde_json::Deserializer::from_str(&section.text[start..]).into_iter::<Value>();
            let value = values.next()?.ok()?;
            Some((
                value,
                section.text[start + values.byte_offset()..]
                    .trim()
                    .to_owned(),
            ))
        });
        let Some((features, rest)) = found else {
            self.against.push(format!(
                "the probe of features printed none: {}",
                section.text.trim()
            ));
            return;
        };
        features["kernel"]
            .as_str()
            .unwrap_or("?")
            .clone_into(&mut self.version);
        self.present = names(&features["present"]);
        self.missing = names(&features["missing"]);
        match (section.ended.as_deref(), self.supported) {
            (Some("code 0"), true) => {}
            (Some("code 1"), false) => self.refusal = Some(rest),
            (Some("code 0"), false) => self
                .against
                .push("the agent takes a kernel that it should refuse".to_owned()),
            (ended, true) => {
                self.against.push(format!(
                    "the agent refuses the kernel ({}): {rest}",
                    ended.unwrap_or("no end")
                ));
            }
            (ended, false) => self.against.push(format!(
                "the refusal ended by {}",
                ended.unwrap_or("no end")
            )),
        }
    }

    /// That the kernel heeded its setting, and lacks what it has to lack then and nothing else.
    fn hold_against(&mut self, setting: &Setting, shown: Option<&str>) {
        let Setting {
            argument,
            file,
            shown: expected,
            without,
            fails: _,
        } = setting;
        if shown != Some(expected) {
            let shown = shown.unwrap_or("nothing");
            self.against
                .push(format!("{argument} was not heeded: {file} has {shown}"));
        }
        if self.missing != *without {
            let missing = self.missing.join(", ");
            self.against
                .push(format!("it lacks {missing:?} by {argument}"));
        }
    }

    fn read_test(&mut self, section: &Section) {
        let mut results = Results::default();
        section.text.lines().for_each(|line| results.note(line));
        let name = &section.name;
        match section.ended.as_deref() {
            Some("code 0") if results.ran() => {}
            Some("code 0") => self.against.push(format!("{name} ran no test")),
            Some(ended) => self.against.push(format!("{name} ended with {ended}")),
            None => self.against.push(format!("{name} did not end")),
        }
        self.results.add(results);
    }

    fn has(&self, feature: &str) -> &'static str {
        if self.present.iter().any(|present| present == feature) {
            "yes"
        } else if self.missing.iter().any(|missing| missing == feature) {
            "no"
        } else {
            "?"
        }
    }
}

fn names(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// What the first process wrote.
#[derive(Default)]
struct Transcript {
    /// The programs' parts of the output.
    sections: Vec<Section>,
    /// What the kernel shows of its setting.
    shown: Option<String>,
    /// What the first process itself could not do.
    failure: Option<String>,
    /// Whether it came to its end.
    over: bool,
}

impl Transcript {
    fn read(output: &str) -> Transcript {
        let mut read = Transcript::default();
        for line in output.lines() {
            match line.strip_prefix("guest: ") {
                Some(mark) => read.note(mark),
                None => read.add(line),
            }
        }
        read
    }

    fn note(&mut self, mark: &str) {
        let (word, rest) = mark.split_once(' ').unwrap_or((mark, ""));
        match word {
            "begin" => self.sections.push(Section {
                name: rest.to_owned(),
                ..Section::default()
            }),
            "end" => {
                let ended = rest.split_once(' ').map(|(_, ended)| ended.to_owned());
                if let Some(section) = self.sections.last_mut() {
                    section.ended = ended;
                }
            }
            "shown" => self.shown = Some(rest.to_owned()),
            "failed" => self.failure = Some(rest.to_owned()),
            OVER => self.over = true,
            _ => {}
        }
    }

    fn add(&mut self, line: &str) {
        let section = self.sections.last_mut();
        if let Some(section) = section.filter(|section| section.ended.is_none()) {
            section.text.push_str(line);
            section.text.push('\n');
        }
    }
}

/// The reports of several kernels as one table: a row for each feature, a column for each kernel.
pub(super) struct Table<'a>(pub(super) &'a [Report]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut features: Vec<&String> = Vec::new();
        for report in self.0 {
            for feature in report.present.iter().chain(&report.missing) {
                if !features.contains(&feature) {
                    features.push(feature);
                }
            }
        }
        features.sort();
        let mut rows = vec![
            self.row("", |report| report.name.to_owned()),
            self.row("version", |report| report.version.clone()),
            self.row("boot", |report| {
                report.boot.map_or("-".to_owned(), |boot| {
                    format!("{:.1} s", boot.as_secs_f32())
                })
            }),
        ];
        rows.extend(
            features
                .iter()
                .map(|feature| self.row(feature, |report| report.has(feature).to_owned())),
        );
        rows.push(self.row("tests", |report| match &report.refusal {
            Some(_) => "refused".to_owned(),
            None => report.results.to_string(),
        }));
        let widths: Vec<usize> = (0..=self.0.len())
            .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
            .collect();
        for row in rows {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        for report in self.0 {
            if let Some(refusal) = &report.refusal {
                writeln!(f, "{}: {refusal}", report.name)?;
            }
        }
        Ok(())
    }
}

impl Table<'_> {
    fn row(&self, title: &str, cell: impl Fn(&Report) -> String) -> Vec<String> {
        [title.to_owned()]
            .into_iter()
            .chain(self.0.iter().map(cell))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "guest: ready\nguest: begin features\n{\n \"kernel\": \"6.1.0\",\n \"present\": [\"fetching-atomics\"],\n \"missing\": [\"tcx\"]\n}\n\nguest: end features code 0\nguest: begin kernel\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\nguest: end kernel code 0\nguest: over\n";

    const RELEASE: Release = Release {
        name: "6.1",
        suite: "bookworm",
        pinned: None,
        supported: true,
        setting: None,
    };

    fn read(supported: bool, output: &str) -> Report {
        let release = Release {
            supported,
            ..RELEASE
        };
        Report::read(&release, Some(Duration::from_millis(2340)), output)
    }

    #[test]
    fn a_good_run_has_nothing_against_it() {
        let report = read(true, GOOD);
        assert_eq!(report.against, Vec::<String>::new());
        assert_eq!(report.results.to_string(), "3 passed, 0 failed, 0 skipped");
        let table = Table(&[report]).to_string();
        assert!(table.contains("tcx               no\n"), "{table}");
        assert!(table.contains("boot              2.3 s\n"), "{table}");
    }

    #[test]
    fn a_setting_has_to_show_in_the_kernel_and_to_lack_what_it_takes_away() {
        let read = |without, output: &str| {
            let setting = Setting {
                argument: "sysctl.jit=0",
                file: "/proc/sys/jit",
                shown: "0",
                without,
                fails: &[],
            };
            let release = Release {
                setting: Some(setting),
                ..RELEASE
            };
            Report::read(&release, None, output).against
        };
        let heeded = GOOD.replace("guest: ready", "guest: ready\nguest: shown 0");
        assert_eq!(read(&["tcx"], &heeded), Vec::<String>::new());
        assert_eq!(
            read(&["tcx"], GOOD),
            ["sysctl.jit=0 was not heeded: /proc/sys/jit has nothing"]
        );
        assert_eq!(
            read(&["loops"], &heeded),
            ["it lacks \"tcx\" by sysctl.jit=0"]
        );
    }

    #[test]
    fn a_test_binary_that_crashed_is_named() {
        let crashed = GOOD.replace(
            "guest: end kernel code 0",
            "guest: end kernel signal SIGSEGV",
        );
        assert_eq!(
            read(true, &crashed).against,
            ["kernel ended with signal SIGSEGV"]
        );
    }

    #[test]
    fn a_binary_that_ran_no_test_proves_nothing() {
        let empty = GOOD.replace("3 passed", "0 passed");
        assert_eq!(read(true, &empty).against, ["kernel ran no test"]);
    }

    #[test]
    fn a_machine_that_stopped_in_the_middle_is_not_taken_for_done() {
        let cut = GOOD.split("guest: end kernel").next().unwrap();
        let against = read(true, cut).against;
        assert_eq!(against.len(), 2, "{against:?}");
    }

    #[test]
    fn an_unsupported_kernel_has_to_be_refused_with_a_sentence() {
        let refused = GOOD.replace(
            "}\n\nguest: end features code 0",
            "}\nLinux 5.10 cannot run Sluice\n\nguest: end features code 1",
        );
        let report = read(false, &refused);
        assert_eq!(report.against, Vec::<String>::new());
        assert_eq!(
            report.refusal.as_deref(),
            Some("Linux 5.10 cannot run Sluice")
        );
        assert!(!read(false, GOOD).against.is_empty());
        assert!(!read(true, &refused).against.is_empty());
    }

    #[test]
    fn what_the_first_process_could_not_do_is_shown() {
        let output = "guest: failed cannot load /modules/veth.ko: ENOEXEC\nguest: over\n";
        assert_eq!(
            read(true, output).against,
            ["cannot load /modules/veth.ko: ENOEXEC"]
        );
    }
}
