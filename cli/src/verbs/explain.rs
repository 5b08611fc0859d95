//! `explain`: which rule decides for a connect, and whether the kernel does the same.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{
    Failure, agent,
    answer::explanation::{Answer, Answers, Rule, Verdict},
    args::Scope,
    name::Caller,
    output::{self, Look, Shown},
    target::Target,
    way::Way,
};

/// A cell names this many backends; the documents for programs name all.
const BACKENDS_SHOWN: usize = 4;

const AFTER_A_DIFFERENCE: &str = "  \
  The kernel does not do what is wanted. The agent puts that right at its next check (see its
  --check-every); if it stays, `kubectl-sluice status` and the agent's log say why.

";

/// Say which rule decides for a connect, the share of each version, and the backends.
///
/// The agent of the caller's node is asked. Its answer is computed from what is wanted, and held
/// against the maps that the kernel reads at this moment. A difference is shown first, and makes the
/// exit code 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        kubectl-sluice explain --node node-1 host 10.96.0.10:80\n  \
        kubectl-sluice explain shop/cart [fd00:96::a]:80\n  \
        kubectl-sluice -n shop explain cart fd00:96::a")]
pub struct Question {
    /// Who connects: POD or NAMESPACE/POD, or `host` for a process in no pod.
    #[arg(value_name = "POD|host")]
    pub caller: Caller,

    /// Where to: 10.96.0.10:80, or an IPv6 address in brackets before its port; without a port
    /// every port of the address.
    #[arg(value_name = "ADDRESS[:PORT]")]
    pub target: Target,

    /// The node whose agent is asked [default: the pod's].
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
}

pub async fn run(way: Way, scope: &Scope, question: &Question) -> Result<Shown, Failure> {
    let Question {
        caller,
        target,
        node,
    } = question;
    let namespace = way.namespace(scope.namespace.as_deref()).to_owned();
    let agent = way.agent_of(caller, node.as_deref(), &namespace).await?;
    let (caller, ip) = (caller.within(&namespace), target.ip.to_string());
    let port = target.port.map(|port| port.to_string());
    let mut query = vec![("caller", caller.as_str()), ("ip", ip.as_str())];
    query.extend(port.as_deref().map(|port| ("port", port)));
    let answer = agent.ask("/explain", &query).await?;
    let text = output::form(scope.output, &answer, |look| {
        let answers = agent.read(&answer)?;
        Ok::<_, Failure>(text(&answers, *target, look))
    })?;
    Ok(Shown {
        text,
        is_fine: differences(&answer) == 0,
    })
}

fn differences(answer: &agent::Answer) -> usize {
    let answers = answer.0.get("answers").and_then(Value::as_array);
    let differs = |answer: &&Value| answer.get("difference").is_some();
    answers.into_iter().flatten().filter(differs).count()
}

/// The answer for people.
pub fn text(answers: &Answers, target: Target, look: Look) -> String {
    let Answers {
        node,
        caller,
        caller_known,
        answers,
    } = answers;
    let mut text = String::new();
    for answer in answers {
        if let Some(difference) = &answer.difference {
            let _ = writeln!(text, "DIFFERENCE at {}: {difference}", answer.frontend);
            text += AFTER_A_DIFFERENCE;
        }
    }
    if !caller_known {
        let _ = writeln!(
            text,
            "Note: the agent knows no pod {caller} on its node, so it is in no class of callers.\n"
        );
    }
    if answers.is_empty() {
        let _ = writeln!(text, "{caller} -> {target} on node {node}");
        text += "  left alone: no Service has this address\n";
    }
    for (index, answer) in answers.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let _ = writeln!(text, "{caller} -> {} on node {node}", answer.frontend);
        one(&mut text, answer, look);
    }
    text
}

fn one(text: &mut String, answer: &Answer, look: Look) {
    let Answer {
        frontend: _,
        verdict,
        rule,
        kernel,
        difference,
    } = answer;
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    line("verdict", &in_words(*verdict, rule.as_ref()));
    if let Some(rule) = rule {
        line("decided by", &decider(rule));
        if is_policy(&rule.owner) {
            let Rule {
                selection,
                when_unavailable,
                ..
            } = rule;
            line(
                "selection",
                &format!("{selection}, whenUnavailable: {when_unavailable}"),
            );
        }
        if !rule.classes.is_empty() {
            line("caller", &class(rule));
        }
    }
    let agrees = match difference {
        None => "as wanted",
        Some(_) => "NOT as wanted",
    };
    line("kernel", &format!("{kernel} ({agrees})"));
    if let Some(rule) = rule {
        text.push('\n');
        text.push_str(&versions(rule, look));
    }
}

fn in_words(verdict: Verdict, rule: Option<&Rule>) -> String {
    match (verdict, rule) {
        (Verdict::Passed, _) => "left alone: no Service has this address and port".to_owned(),
        (Verdict::Translated, _) => "sent to a backend".to_owned(),
        (Verdict::PartlyRefused, Some(rule)) => {
            format!("sent to a backend, but {} are refused", rule.refused)
        }
        (Verdict::PartlyRefused, None) => "partly refused".to_owned(),
        (Verdict::Refused, _) => "refused at once (ECONNREFUSED): no backend is ready".to_owned(),
    }
}

fn decider(rule: &Rule) -> String {
    let Rule {
        service,
        port,
        owner,
        ..
    } = rule;
    let port = if port.is_empty() {
        String::new()
    } else {
        format!(", port {port}")
    };
    if is_policy(owner) {
        format!("{owner} on Service {service}{port}")
    } else {
        format!("Service {service}{port}")
    }
}

/// Whose weights hold, and why.
fn class(rule: &Rule) -> String {
    let classes = rule.classes.join(", ");
    match &rule.class {
        Some(class) => {
            format!("class {class}, the first that it is in of: {classes}; these are its weights")
        }
        None => format!("in no class of: {classes}; the versions' own weights hold"),
    }
}

/// Without one the Service's own endpoints share alike, and there is nothing to choose.
fn is_policy(owner: &str) -> bool {
    owner != "Service"
}

fn versions(rule: &Rule, look: Look) -> String {
    let mut table = look.table(&[
        "VERSION",
        "SERVICE",
        "WEIGHT",
        "EFFECTIVE",
        "SHARE",
        "READY",
        "REASON",
        "BACKENDS",
    ]);
    for version in &rule.versions {
        let status = &version.status;
        let mut backends = version
            .backends
            .iter()
            .take(BACKENDS_SHOWN)
            .cloned()
            .collect::<Vec<_>>();
        if let more @ 1.. = version.backends.len().saturating_sub(BACKENDS_SHOWN) {
            backends.push(format!("and {more} more"));
        }
        if version.draining {
            backends.push("(terminating, and nothing else is left)".to_owned());
        }
        table.add_row([
            status.name.clone(),
            version.service.clone(),
            status.weight.to_string(),
            status.effective.to_string(),
            status.share.clone(),
            status.ready.to_string(),
            status.reason.clone(),
            if backends.is_empty() {
                "none".to_owned()
            } else {
                backends.join(" ")
            },
        ]);
    }
    output::lines(&table, 2)
}
