//! Classes of callers: of those that nobody is ever in the webhook warns.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/judging.rs"]
mod judging;

use judging::{judge, shop, split};
use serde_json::{Value, json};

#[test]
fn a_class_that_comes_too_late_is_warned_of() {
    let everybody = || json!({"namespaces": {}});
    let team = || json!({"namespaces": {"matchLabels": {"team": "qa"}}});
    let own = || json!({"pods": {}});
    let robot = || json!({"pods": {}, "serviceAccounts": ["robot"]});
    let robots = || json!({"serviceAccounts": ["robot", "other"]});
    let labelled = || json!({"pods": {"matchLabels": {"a": "b"}}});
    let between = || json!({"namespaces": {"matchLabels": {"x": "y"}}, "serviceAccounts": ["z"]});
    for (first, second, last, names) in [
        (everybody(), between(), json!([labelled()]), "\"a\""),
        (own(), team(), json!([team(), robot()]), "\"b\" or \"a\""),
        (robots(), between(), json!([robot()]), "\"a\""),
        (labelled(), between(), json!([labelled()]), "\"a\""),
        (own(), between(), json!([team()]), ""),
        (team(), between(), json!([own()]), ""),
        (robot(), between(), json!([robots()]), ""),
        (robot(), between(), json!([own()]), ""),
        (labelled(), between(), json!([own()]), ""),
        (own(), between(), json!([robot(), team()]), ""),
    ] {
        let class =
            |name: &str, from: Value| json!({"name": name, "from": from, "weights": {"stable": 1}});
        let callers = [
            class("a", json!([first])),
            class("b", json!([second])),
            class("c", last),
        ];
        let change = json!({"callers": callers});
        let mut said = judge(&shop([]), None, &split("a", 1, change.clone()));
        // Behind everybody the one between comes too late as well.
        said.retain(|line| line.contains("spec.callers[2]"));
        let wanted = (!names.is_empty()).then(|| {
            format!(
                "warn spec.callers[2].from: nobody is ever in class \"c\": whom it names is in \
                 {names} before; put it before, or take it out"
            )
        });
        assert_eq!(said, Vec::from_iter(wanted), "{change}");
    }
}
