//! How an agent in a pod finds the API server.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use sluice_kind_tests::roles::AGENT;
use sluice_testbed::cluster::Node;
use sluice_testbed::http;
use sluice_testbed::tier::eventually;

use crate::bed::{self, PATIENCE, bed};

const NAMESPACE: &str = "ways";
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9877);
/// Where a pod has its service account's files; in each node it is a folder of that node alone.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// In the range of Services, and nobody's: so is the API server's own until somebody carries it.
const NOBODY: &str = "10.96.255.1";

/// By the service account alone there is no way; with `--api-server` there is.
pub(crate) fn a_service_account_without_a_way_to_the_api_server_is_told_what_helps() -> Result<()> {
    let bed = bed()?;
    let cluster = &bed.cluster;
    let node = &cluster.nodes()[0];
    cluster.namespace(NAMESPACE)?;
    let account = format!("--serviceaccount={NAMESPACE}:default");
    let binding = [
        "create",
        "clusterrolebinding",
        "ways",
        "--clusterrole=cluster-admin",
    ];
    cluster.kubectl(binding.into_iter().chain([account.as_str()]))?;
    let token = cluster.kubectl(["create", "token", "default", "--namespace", NAMESPACE])?;
    let authority = [
        "get",
        "configmap",
        "kube-root-ca.crt",
        "--namespace",
        NAMESPACE,
    ];
    let certificate = ["--output", "jsonpath={.data.ca\\.crt}"];
    let certificate = cluster.kubectl(authority.into_iter().chain(certificate))?;
    let files = cluster.run().folder().join("account");
    fs::create_dir(&files)?;
    for (name, content) in [
        ("token", token.trim()),
        ("ca.crt", &certificate),
        ("namespace", NAMESPACE),
    ] {
        fs::write(files.join(name), content)?;
    }

    let start = |more: &[&str]| {
        let script = format!(
            "mkdir -p {ACCOUNT} && cp {}/* {ACCOUNT} && exec \"$@\"",
            files.display()
        );
        let apart = node.cgroup().child("ways")?;
        node.command("ways", "bash")?
            .args(["-c", &script, "bash"])
            .arg(std::env::current_exe()?)
            .args([AGENT, "--node-name", "ways", "--admin"])
            .arg(ADMIN.to_string())
            .args(["--bpffs", "/sys/fs/bpf/ways"])
            .arg("--cgroup-root")
            .arg(apart.path())
            .args(more)
            .env("KUBERNETES_SERVICE_HOST", NOBODY)
            .env("KUBERNETES_SERVICE_PORT", "443")
            .spawn()
    };
    let lost = start(&[])?;
    eventually(PATIENCE, "what would help", || {
        let said = readiness(node)?;
        ensure!(
            said.contains("not listed yet")
                && said.contains("name a way past it with --api-server"),
            "{said}"
        );
        Ok(())
    })?;
    drop(lost);

    let _led = start(&["--api-server", &bed::api_server(cluster)])?;
    eventually(PATIENCE, "all kinds are listed", || {
        let said = readiness(node)?;
        // It steers an empty part of the tree, which it is not in.
        ensure!(said.contains("was not translated"), "{said}");
        Ok(())
    })
}

fn readiness(node: &Node) -> Result<String> {
    node.netns().run(|| Ok(http::get(ADMIN, "/readyz")?.body))
}
