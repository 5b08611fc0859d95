//! What the agent's log says of its passes: the agent's own clock.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

/// A turn from changes that were heard to the last map write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    /// When it was over.
    pub(crate) logged: Timestamp,
    /// Until everything new was in force; then what it replaced was deleted.
    pub(crate) in_force: Duration,
    pub(crate) took: Duration,
}

#[derive(Deserialize)]
struct Line {
    timestamp: Timestamp,
    fields: Fields,
}

#[derive(Deserialize)]
struct Fields {
    message: String,
    // As the log writes wide numbers.
    in_force_us: String,
    took_us: String,
}

/// The passes in a log of JSON lines, in order; other lines are passed over.
pub(crate) fn passes(log: &str) -> impl Iterator<Item = Pass> {
    let pass = |line: &str| {
        let Line { timestamp, fields } = serde_json::from_str(line).ok()?;
        let duration = |text: &str| Some(Duration::from_micros(text.parse().ok()?));
        let pass = Pass {
            logged: timestamp,
            in_force: duration(&fields.in_force_us)?,
            took: duration(&fields.took_us)?,
        };
        (fields.message == "pass").then_some(pass)
    };
    log.lines().filter_map(pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_found_among_other_lines() {
        let log = r#"{"timestamp":"2026-11-21T06:00:00.000000Z","level":"INFO","fields":{"message":"starting","node":"sluice"},"target":"a"}
no JSON
{"timestamp":"2026-11-21T06:00:01.500000Z","level":"INFO","fields":{"message":"pass","compiled":3,"in_force_us":"900","took_us":"2500"},"target":"a"}
"#;
        let found: Vec<_> = passes(log).collect();
        let expected = Pass {
            logged: "2026-11-21T06:00:01.5Z".parse().unwrap(),
            in_force: Duration::from_micros(900),
            took: Duration::from_micros(2_500),
        };
        assert_eq!(found, [expected]);
    }
}
