//! A pulled cable: packets between a node and the API server vanish.
//!
//! They vanish at the API server's end, so nothing is changed on the node, and the node's programs cannot know.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::addresses;
use crate::fabric::{Fabric, Member};
use crate::netns::Inside;

/// A connection that is cut; dropping it mends it.
#[derive(Debug)]
pub struct Cut {
    table: String,
    inside: Inside,
}

impl Cut {
    pub(super) fn make(fabric: &Fabric, node: Member) -> Result<Self> {
        let table = format!("cut{}", node.number);
        let inside = fabric.netns().again()?;
        let [pods4, pods6] = addresses::pod_ranges(node);
        let [own4, own6] = addresses::of_node(node);
        let port = addresses::API_PORT;
        let rules = format!(
            "table inet {table} {{
               chain in {{
                 type filter hook input priority filter;
                 ip saddr {{ {own4}, {pods4} }} tcp dport {port} drop
                 ip6 saddr {{ {own6}, {pods6} }} tcp dport {port} drop
               }}
               chain out {{
                 type filter hook output priority filter;
                 ip daddr {{ {own4}, {pods4} }} tcp sport {port} drop
                 ip6 daddr {{ {own6}, {pods6} }} tcp sport {port} drop
               }}
             }}"
        );
        nft(&inside, &rules)?;
        Ok(Self { table, inside })
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Err(error) = nft(&self.inside, &format!("delete table inet {}", self.table)) {
            eprintln!("a cut was not mended: {error:#}");
        }
    }
}

fn nft(inside: &Inside, rules: &str) -> Result<()> {
    inside.run(|| {
        let output = Command::new("nft").arg(rules).output();
        let output = output.context("starting nft")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "nft: {}", told.trim());
        Ok(())
    })
}
