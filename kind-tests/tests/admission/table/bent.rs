//! Objects bent at some places: values of other kinds and sizes, things left out, things twice.

use serde_json::{Value, json};

/// Changes so many places of the object, below its spec.
pub(super) fn bend(object: &mut Value, times: usize, chance: &mut fastrand::Rng) {
    for _ in 0..times {
        let mut places = Vec::new();
        places_in(&object["spec"], "/spec", &mut places);
        if places.is_empty() {
            return;
        }
        let place = places.swap_remove(chance.usize(..places.len()));
        bend_at(object, &place, chance);
    }
}

/// The paths of all that is below a value.
fn places_in(value: &Value, path: &str, places: &mut Vec<String>) {
    let mut visit = |name: String, value: &Value| {
        let path = format!("{path}/{name}");
        places_in(value, &path, places);
        places.push(path);
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                visit(name.replace('~', "~0").replace('/', "~1"), value);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                visit(i.to_string(), value);
            }
        }
        _ => {}
    }
}

fn bend_at(object: &mut Value, place: &str, chance: &mut fastrand::Rng) {
    let Some((parent, name)) = place.rsplit_once('/') else {
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    let how = chance.u8(..8);
    match (how, object.pointer_mut(parent)) {
        (0, Some(Value::Object(fields))) => drop(fields.remove(&name)),
        (0, Some(Value::Array(items))) => {
            if let Ok(i) = name.parse::<usize>() {
                items.remove(i);
            }
        }
        (1, Some(Value::Array(items))) => {
            let again = name.parse::<usize>().ok().and_then(|i| items.get(i));
            if let Some(again) = again.cloned() {
                items.push(again);
            }
        }
        _ => {
            if let Some(value) = object.pointer_mut(place) {
                *value = another(value, chance);
            }
        }
    }
}

/// A value that somebody may have meant, or may not; mostly of the same type.
fn another(value: &Value, chance: &mut fastrand::Rng) -> Value {
    let texts = [
        "",
        "a",
        "A",
        "a.b",
        "a/b",
        "-a",
        "é",
        "http",
        "80",
        "8080",
        "0",
        "v1",
        "v2",
        "TCP",
        "UDP",
        "Random",
        "Reject",
        "Both",
        "Exists",
        "10.0.0.1",
        "010.0.0.1",
        "192.0.2.1/32",
        "192.0.2.1/24",
        "0.0.0.0/0",
        "::1",
        "2001:db8::7",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "127.0.0.1",
        "203.0.113.7",
        "5%",
        "0%",
        "100%",
        "101%",
        "1.5%",
        "5s",
        "0s",
        "100ms",
        "1h30m",
        "169h",
        "0.5",
        "-1",
    ];
    let numbers = [
        -1, 0, 1, 2, 15, 16, 80, 100, 101, 65_535, 65_536, 1_000_000, 1_000_001,
    ];
    let text = |chance: &mut fastrand::Rng| match chance.u8(..16) {
        0 => json!("a".repeat(63)),
        1 => json!("a".repeat(64)),
        2 => json!("a".repeat(254)),
        _ => json!(texts[chance.usize(..texts.len())]),
    };
    if chance.u8(..8) > 0 {
        match value {
            Value::String(_) => return text(chance),
            Value::Number(_) => return json!(numbers[chance.usize(..numbers.len())]),
            Value::Bool(value) => return json!(!value),
            Value::Array(_) => return json!([]),
            Value::Object(_) => return json!({}),
            Value::Null => {}
        }
    }
    match chance.u8(..5) {
        0 => text(chance),
        1 => json!(chance.bool()),
        2 => json!([]),
        3 => json!({}),
        _ => json!(numbers[chance.usize(..numbers.len())]),
    }
}
