//! An agent whose only way to the API server is the Service that it carries itself: as soon as that Service led nowhere, nobody
//! could tell it of an endpoint any more.

use anyhow::{Result, ensure};
use sluice_testbed::tier::eventually;

use crate::bed::{self, Bed, PATIENCE};
use crate::faults::Plain;

/// The Service `default/kubernetes` of every cluster of the testbed.
const SERVICE: &str = "10.96.0.1:443";

pub(crate) fn an_agent_hears_the_api_server_again_through_the_service_that_it_carries() -> Result<()>
{
    let mut bed = Bed::start(1)?;
    // The first agent needs another way, since nobody has carried the Service before it.
    bed.agents.clear();
    let node = &bed.cluster.nodes()[0];
    let api_server = format!("https://{SERVICE}");
    let agent = bed::agent(&bed.cluster, node, node.name(), &api_server)?;
    let _agent = agent
        .arg("--cgroup-root")
        .arg(node.cgroup().path())
        .spawn()?;
    let well = || {
        eventually(PATIENCE, "the agent is well", || {
            let status = bed.status(node)?;
            let problems = &status["input"]["problems"];
            ensure!(status["ready"] == true, "{status}");
            ensure!(problems.as_array().is_some_and(Vec::is_empty), "{status}");
            Ok(())
        })
    };
    well()?;

    // Kubernetes takes care not to do this itself; people and tools do.
    let own = ["kubernetes", "--namespace=default"];
    for kind in ["endpoints", "endpointslice"] {
        bed.cluster
            .kubectl([&["delete", kind][..], &own].concat())?;
    }
    bed.cluster.namespace("itself")?;
    let after = Plain::apply(&bed.cluster, "itself", "after", "192.0.2.1", 8080)?;
    bed.await_image_of(node, "what came after", |image| image.contains(&after))?;

    let control_plane = bed.cluster.control_plane();
    control_plane.api_server.restart()?;
    bed.cluster.answers(PATIENCE)?;
    let again = Plain::apply(&bed.cluster, "itself", "again", "192.0.2.2", 8080)?;
    bed.await_image_of(node, "what came after the restart", |image| {
        image.contains(&again)
    })?;
    well()
}
