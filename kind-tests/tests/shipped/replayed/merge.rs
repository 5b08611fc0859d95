//! The comparison of a tool that applies by itself: a merge patch in three ways.
//!
//! A list is one value, as it is for everything that the tool has no schema of.

use serde_json::{Map, Value};

/// What would be sent to the API server; nothing, if what is there is what is wanted.
pub(super) fn three_ways(last: &Value, wanted: &Value, live: &Value) -> Option<Value> {
    let (Value::Object(wanted), Value::Object(live)) = (wanted, live) else {
        return (wanted != live).then(|| wanted.clone());
    };
    let mut patch = Map::new();
    for (name, wanted) in wanted {
        let last = last.get(name).unwrap_or(&Value::Null);
        let live = live.get(name).unwrap_or(&Value::Null);
        if let Some(change) = three_ways(last, wanted, live) {
            patch.insert(name.clone(), change);
        }
    }
    // What was applied once and is wanted no longer.
    let before = last.as_object().into_iter().flat_map(Map::keys);
    for name in before {
        if !wanted.contains_key(name) && live.contains_key(name) {
            patch.insert(name.clone(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}
