//! The text of a scenario file.

use std::fmt::Write;

/// A title and sections.
pub(crate) struct Scenario {
    title: String,
    pub(crate) sections: Vec<Section>,
}

pub(crate) struct Section {
    /// The words between the dashes.
    pub(crate) head: Vec<String>,
    pub(crate) body: String,
}

pub(crate) fn parse(file: &str) -> Result<Scenario, String> {
    let mut scenario = Scenario {
        title: String::new(),
        sections: Vec::new(),
    };
    for line in file.lines() {
        if let Some(head) = line.strip_prefix("-- ").and_then(|l| l.strip_suffix(" --")) {
            let head = head.split_whitespace().map(str::to_owned).collect();
            let body = String::new();
            scenario.sections.push(Section { head, body });
            continue;
        }
        let text = match scenario.sections.last_mut() {
            Some(section) => &mut section.body,
            None => &mut scenario.title,
        };
        text.push_str(line);
        text.push('\n');
    }
    if scenario.title.trim().is_empty() {
        return Err("a scenario begins with a sentence that says what it shows".to_owned());
    }
    Ok(scenario)
}

/// The file with these answers under its questions.
pub(crate) fn print(scenario: &Scenario, answers: &[Option<String>]) -> String {
    let mut file = scenario.title.clone();
    for (section, answer) in scenario.sections.iter().zip(answers) {
        let body = match answer {
            Some(answer) => format!("{}\n", answer.trim_end()),
            None => section.body.clone(),
        };
        let body = body.trim_matches('\n');
        let _ = writeln!(file, "-- {} --", section.head.join(" "));
        if !body.is_empty() {
            let _ = writeln!(file, "{body}");
        }
        file.push('\n');
    }
    format!("{}\n", file.trim_end())
}

/// Lines that only one of two texts has.
pub(crate) fn difference(file: &str, answered: &str) -> String {
    let mut text = String::from("the file says (-), it is (+):\n");
    let (old, new): (Vec<&str>, Vec<&str>) = (file.lines().collect(), answered.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[same..]
        .iter()
        .rev()
        .zip(new[same..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let heading = old[..same]
        .iter()
        .rev()
        .find(|line| line.starts_with("-- "));
    let _ = writeln!(text, "  under {}", heading.unwrap_or(&"the title"));
    for line in &old[same..old.len() - tail] {
        let _ = writeln!(text, "- {line}");
    }
    for line in &new[same..new.len() - tail] {
        let _ = writeln!(text, "+ {line}");
    }
    text
}
