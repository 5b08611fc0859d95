//! What the installation itself is held to.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_testbed::cluster::shipped;

use crate::bed::quiet;

pub(crate) fn an_agent_writes_only_the_report_of_its_own_node() -> Result<()> {
    let bed = quiet()?;
    let nodes = bed.nodes()?;
    let [own, other, ..] = &nodes[..] else {
        anyhow::bail!("two nodes have an agent, not {nodes:?}");
    };
    let account = format!(
        "system:serviceaccount:{}:{}",
        shipped::NAMESPACE,
        shipped::AGENT
    );
    let is_agent = format!("--as={account}");
    let is_on = format!("--as-user-extra=authentication.kubernetes.io/node-name={own}");
    let report = |node: &str, identity: &[&str]| {
        let report = json!({
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": "NodeReport",
            "metadata": { "name": node, "labels": { "guarded": "true" } },
        });
        // As an agent does it, and judged as if it were written.
        let apply = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=false",
        ];
        let rest = ["--field-manager=guarded", "--filename", "-"];
        bed.client()
            .run_with(&report.to_string(), [&apply[..], &rest, identity].concat())
    };
    report(own, &[&is_agent, &is_on]).context("its own")?;
    for (node, identity) in [(other, &[&*is_agent, &is_on][..]), (own, &[&is_agent])] {
        let refusal = report(node, identity).err().context("it was taken")?;
        let text = format!("{refusal:#}");
        ensure!(
            text.contains("may only report for the node that its pod runs on"),
            "{text}"
        );
    }
    Ok(())
}

pub(crate) fn operator_and_webhook_are_pods_that_a_restricted_namespace_takes() -> Result<()> {
    let bed = quiet()?;
    let namespace = "restricted";
    bed.namespace(namespace)?;
    let level = "pod-security.kubernetes.io/enforce=restricted";
    bed.kubectl(["label", "namespace", namespace, level])?;
    let take = |spec: &Value| {
        let mut spec = spec.clone();
        // Only the accounts of their own namespace exist there.
        spec["serviceAccountName"] = json!("default");
        spec["serviceAccount"] = Value::Null;
        spec["priorityClassName"] = Value::Null;
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": "like-it", "namespace": namespace },
            "spec": spec,
        });
        let create = ["create", "--dry-run=server", "--filename", "-"];
        bed.client().run_with(&pod.to_string(), create)
    };
    let workload = |name: &str| {
        let list = ["--namespace", shipped::NAMESPACE, name];
        let workload = bed.client().get(list)?;
        anyhow::Ok(workload["spec"]["template"]["spec"].clone())
    };
    for name in ["deployment/sluice-operator", "deployment/sluice-webhook"] {
        take(&workload(name)?).with_context(|| format!("{name} asks for more"))?;
    }
    // The level is one that refuses.
    let agent = take(&workload("daemonset/sluice-node-agent")?).err();
    let agent = agent.context("the agent was taken, too")?.to_string();
    ensure!(agent.contains("violates PodSecurity"), "{agent}");
    Ok(())
}
