//! What happens to programs of a cluster on purpose, as tests of others do it.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sluice_testbed::cluster::{Cluster, Proxy};
use sluice_testbed::tier::eventually;

use crate::PATIENCE;

/// How long a question waits that is to get no answer.
const SHORT: Duration = Duration::from_millis(300);

pub(crate) fn a_cluster_gets_over_what_befalls_its_programs() -> Result<()> {
    let cluster = Cluster::start().proxy(Proxy::None).up()?;
    let node = cluster.nodes().first().context("there is a node")?;
    let plane = cluster.control_plane();

    cluster.namespace("kept")?;
    for daemon in [&plane.etcd, &plane.api_server] {
        let pid = daemon.pid();
        daemon.kill()?;
        ensure!(daemon.check().is_err(), "{} runs", daemon.name());
        ensure!(cluster.check().is_err(), "nobody misses {}", daemon.name());
        daemon.restart()?;
        ensure!(daemon.pid() != pid, "{} is as it was", daemon.name());
        cluster.answers(PATIENCE)?;
    }
    cluster.kubectl(["get", "namespace", "kept"])?;

    plane.api_server.freeze()?;
    let unanswered = cluster.kubectl(["get", "--raw", "/readyz", "--request-timeout=1s"]);
    ensure!(unanswered.is_err(), "a frozen API server answers");
    plane.api_server.thaw()?;
    cluster.answers(PATIENCE)?;

    for daemon in [node.containerd()?, node.kubelet()?] {
        daemon.kill()?;
        ensure!(node.check().is_err(), "nobody misses {}", daemon.name());
        daemon.restart()?;
    }
    eventually(PATIENCE, "the kubelet runs pods again", || {
        cluster.check()?;
        let pod = ["run", "late", "--image", "sluice.test/testbed:1"];
        let rest = [
            "--image-pull-policy=Never",
            "--namespace=kept",
            "--",
            "serve",
        ];
        cluster.kubectl([&pod[..], &rest].concat())
    })?;
    cluster.ready("kept", "pod/late", PATIENCE)?;

    let api: SocketAddr = (cluster.fabric().own().address4(), 6443).into();
    let ask = || {
        node.netns()
            .run(|| Ok(TcpStream::connect_timeout(&api, SHORT)?))
    };
    ask()?;
    let cut = cluster.cut(node)?;
    let silence = ask().err().context("a node that is cut off is answered")?;
    let silence = silence
        .downcast_ref::<std::io::Error>()
        .map(std::io::Error::kind);
    ensure!(silence == Some(std::io::ErrorKind::TimedOut), "{silence:?}");
    drop(cut);
    ask()?;
    cluster.check()
}
