//! The rows as they are written, and the objects that they describe.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

const FILES: [&str; 4] = [
    include_str!("split.yaml"),
    include_str!("redirect.yaml"),
    include_str!("balancing.yaml"),
    include_str!("grant.yaml"),
];

/// One kind's rows, each a change of one object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    base: Value,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) is: String,
    /// What is put where.
    #[serde(default)]
    with: BTreeMap<String, Value>,
    #[serde(default)]
    without: Vec<String>,
    many: Option<Many>,
    /// In the text: what is replaced, and by what.
    raw: Option<(String, String)>,
    /// A part of what each layer says that refuses the object.
    pub(super) schema: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) webhook: Option<String>,
    /// The same of the schema, where the webhook has not filled in what is left out.
    pub(super) unfilled: Option<String>,
    pub(super) warns: Option<String>,
    /// The reason that the index finds by itself.
    pub(super) index: Option<String>,
}

/// A list of like entries; `@` is the number of each.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    of: String,
    count: usize,
    is: Value,
}

pub(super) fn tables() -> Result<Vec<Table>> {
    let files = FILES.iter();
    files.map(|text| Ok(serde_yaml::from_str(text)?)).collect()
}

impl Row {
    pub(super) fn namespace(&self) -> Option<&str> {
        self.with.get("/metadata/namespace")?.as_str()
    }

    pub(super) fn has_namespace(&self) -> bool {
        self.namespace().is_some()
    }

    /// Whether a layer refuses what the index does not even see.
    pub(super) fn is_of_a_layer_alone(&self) -> bool {
        self.policy.is_some() || self.schema.is_some() && self.index.is_none()
    }

    fn change(&self, object: &mut Value) -> Result<()> {
        for (path, value) in &self.with {
            put(object, path, value.clone())?;
        }
        for path in &self.without {
            take(object, path)?;
        }
        if let Some(Many { of, count, is }) = &self.many {
            let numbered = |i| is.to_string().replace('@', &format!("{i}"));
            let items = (0..*count).map(|i| serde_json::from_str::<Value>(&numbered(i)));
            put(object, of, items.collect::<Result<_, _>>()?)?;
        }
        Ok(())
    }
}

impl Table {
    pub(super) fn kind(&self) -> &str {
        self.base["kind"].as_str().unwrap_or_default()
    }

    /// The path that the API server has for the kind.
    pub(super) fn resource(&self, namespace: &str) -> String {
        match self.kind() {
            "FrontendGrant" => "frontendgrants".to_owned(),
            "TrafficSplit" => format!("namespaces/{namespace}/trafficsplits"),
            kind => {
                let kind = kind.to_lowercase();
                format!("namespaces/{namespace}/{}ies", kind.trim_end_matches('y'))
            }
        }
    }

    /// The text of the object that some rows describe together; with this label, if there is one.
    pub(super) fn object(
        &self,
        rows: &[&Row],
        namespace: &str,
        label: Option<&str>,
    ) -> Result<String> {
        let mut object = self.base.clone();
        if self.kind() != "FrontendGrant" {
            object["metadata"]["namespace"] = json!(namespace);
        }
        if let Some(label) = label {
            object["metadata"]["labels"] = json!({ label: "true" });
        }
        for row in rows {
            row.change(&mut object)?;
        }
        let mut text = object.to_string();
        for (found, instead) in rows.iter().filter_map(|row| row.raw.as_ref()) {
            ensure!(text.matches(found).count() == 1, "{found} is in {text}");
            text = text.replace(found, instead);
        }
        Ok(text)
    }
}

fn put(object: &mut Value, path: &str, value: Value) -> Result<()> {
    let (parent, name) = path.rsplit_once('/').context("a path begins with /")?;
    let parent = object
        .pointer_mut(parent)
        .with_context(|| format!("nothing is at {parent:?}"))?;
    match parent {
        Value::Array(items) => {
            *items.get_mut(name.parse::<usize>()?).context("an item")? = value;
        }
        Value::Object(fields) => {
            fields.insert(name.to_owned(), value);
        }
        _ => bail!("nothing can be at {path:?}"),
    }
    Ok(())
}

fn take(object: &mut Value, path: &str) -> Result<()> {
    let (parent, name) = path.rsplit_once('/').context("a path begins with /")?;
    let parent = object
        .pointer_mut(parent)
        .with_context(|| format!("nothing is at {parent:?}"))?;
    let taken = match parent {
        Value::Array(items) => {
            let index = name.parse::<usize>()?;
            ensure!(index < items.len(), "nothing is at {path:?}");
            Some(items.remove(index))
        }
        Value::Object(fields) => fields.remove(name),
        _ => None,
    };
    taken
        .map(drop)
        .with_context(|| format!("nothing is at {path:?}"))
}
