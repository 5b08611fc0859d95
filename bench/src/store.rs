//! Puts objects straight into etcd, as a restored backup would: a hundred thousand Services in seconds.
//!
//! From there on everything is the real way: the API server sees them in its store and tells whoever watches.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluice_testbed::cluster::Api;
use sluice_testbed::netns::Inside;

use crate::caller::Caller;
use crate::population::Object;

/// etcd takes so many operations in a transaction.
const BATCH: usize = 128;

/// Writes the objects into the store of an API server, which is inside the namespace.
pub(crate) fn put(inside: &Inside, api: &Api, objects: &[Object]) -> Result<()> {
    let mut etcd = Caller::open(inside, api.etcd())?;
    for batch in objects.chunks(BATCH) {
        let puts: Vec<_> = batch.iter().map(operation).collect();
        let body = json!({ "success": puts }).to_string();
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
