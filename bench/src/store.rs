//! Puts objects straight into etcd, as a restored backup would: a hundred thousand Services in seconds.
//!
//! From there on everything is the real way: the API server sees them in its store and tells whoever watches.

use std::thread;

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluice_testbed::cluster::Api;
use sluice_testbed::netns::Inside;

use crate::caller::Caller;
use crate::population::Object;

/// How many write at once.
const WRITERS: usize = 4;

/// Writes the objects into the store of an API server, which is inside the namespace; each group in a transaction.
///
/// A group has at most one object of a kind: the API server tells its watchers of a kind's changes by the store's
/// revisions, and of two that share one a watcher may miss the second.
pub(crate) fn put(inside: &Inside, api: &Api, groups: &[[Object; 3]]) -> Result<()> {
    let share = groups.len().div_ceil(WRITERS).max(1);
    thread::scope(|scope| {
        let writers: Vec<_> = groups
            .chunks(share)
            .map(|groups| scope.spawn(|| put_in_order(inside, api, groups)))
            .collect();
        writers.into_iter().try_for_each(|writer| {
            let written = writer.join();
            written.unwrap_or_else(|_| Err(anyhow!("a thread that writes has panicked")))
        })
    })
}

fn put_in_order(inside: &Inside, api: &Api, groups: &[[Object; 3]]) -> Result<()> {
    let mut etcd = Caller::open(inside, api.etcd())?;
    for group in groups {
        let body = json!({ "success": group.each_ref().map(operation) }).to_string();
        etcd.call("POST", "/v3/kv/txn", "application/json", body)?;
    }
    Ok(())
}

fn operation(object: &Object) -> Value {
    json!({ "requestPut": {
        "key": STANDARD.encode(&object.key),
        "value": STANDARD.encode(object.value.to_string()),
    } })
}
