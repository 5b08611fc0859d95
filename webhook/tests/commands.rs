//! The API server's own policy takes for a command what the parser does, and nothing else.

#![allow(clippy::expect_used, reason = "a test may")]

use std::{fs, sync::LazyLock};

use proptest::{prelude::*, sample::select};
use regex::Regex;
use sluice_model::facts::command::Command;

/// The expression in `config/policy/commands.yaml`.
static EXPRESSION: LazyLock<Regex> = LazyLock::new(|| {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../config/policy/commands.yaml"
    );
    let text = fs::read_to_string(path).expect("the policy");
    let (_, rest) = text.split_once(".matches(\"").expect("an expression");
    let (expression, _) = rest.split_once("\")").expect("its end");
    Regex::new(expression).expect("a regular expression")
});

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn both_say_the_same(
        verb in select(vec!["promote", "pause", "resume", "abort", "retry", "Promote", "stop", ""]),
        at in select(vec!["@", "", "@@", " @"]),
        token in prop_oneof!["[-A-Za-z0-9_.:+]{0,66}", "[a-z0-9]{62,65}", "[ -~]{0,4}", "\\PC{0,4}"],
        end in select(vec!["", "", "", "\n", " ", "\0"]),
    ) {
        let text = format!("{verb}{at}{token}{end}");
        prop_assert_eq!(EXPRESSION.is_match(&text), Command::parse(&text).is_ok(), "{:?}", text);
    }
}

#[test]
fn the_longest_and_the_shortest_are_commands_for_both() {
    for (length, is_command) in [
        (0, false),
        (1, true),
        (2, true),
        (62, true),
        (63, true),
        (64, false),
    ] {
        let text = format!("abort@{}", "a".repeat(length));
        assert_eq!(EXPRESSION.is_match(&text), is_command, "{length}");
        assert_eq!(Command::parse(&text).is_ok(), is_command, "{length}");
    }
}
