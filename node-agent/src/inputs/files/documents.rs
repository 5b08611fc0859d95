//! From a manifest's text to objects, or to what a person has to correct: which document, which line.

use serde::Deserialize;
use serde_json::Value;
use sluice_model::{
    change::{Change, Object},
    facts::{self, Unreadable},
};

/// Something wrong in one document of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from 1, as are lines.
    pub(super) document: usize,
    pub(super) line: usize,
    pub(super) text: String,
}

/// Every object of a file, or every fault. A file is taken whole or not at all: a half of one is
/// what an interrupted writer leaves.
pub(super) fn objects(text: &str) -> Result<Vec<Object>, Vec<Fault>> {
    let mut objects = Vec::new();
    let mut faults = Vec::new();
    for (index, document) in split(text).enumerate() {
        let fault = |line, text| Fault {
            document: index + 1,
            line,
            text,
        };
        match manifest(&document) {
            Ok(Value::Null) => {}
            Ok(manifest) => {
                for part in parts(manifest) {
                    match facts::parse(part) {
                        Ok(Change::Set(object)) => objects.push(object),
                        Ok(_) | Err(Unreadable::Foreign { .. }) => {}
                        Err(Unreadable::Malformed { detail }) => {
                            faults.push(fault(document.content_line(), detail));
                        }
                    }
                }
            }
            Err((line, text)) => faults.push(fault(line, text)),
        }
    }
    if objects.is_empty() && faults.is_empty() && text.trim().is_empty() {
        let text = "the file is empty; remove it to remove its objects".into();
        faults.push(Fault {
            document: 1,
            line: 1,
            text,
        });
    }
    if faults.is_empty() {
        Ok(objects)
    } else {
        Err(faults)
    }
}

/// One document of a stream, with the line that it starts on.
struct Document<'a> {
    line: usize,
    lines: Vec<&'a str>,
}

impl Document<'_> {
    /// The first line that says something.
    fn content_line(&self) -> usize {
        let said = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        self.line + self.lines.iter().position(said).unwrap_or(0)
    }
}

/// Splits a stream at its `---` lines; what follows on such a line is the document's first.
fn split(text: &str) -> impl Iterator<Item = Document<'_>> {
    let mut documents = vec![Document {
        line: 1,
        lines: Vec::new(),
    }];
    for (line, content) in (1..).zip(text.lines()) {
        let rest = content.strip_prefix("---");
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        match (rest, documents.last_mut()) {
            (None, Some(document)) => document.lines.push(content),
            (rest, _) => documents.push(Document {
                line,
                lines: vec![rest.unwrap_or(content)],
            }),
        }
    }
    let says = |document: &Document<'_>| {
        document
            .lines
            .iter()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    documents.into_iter().filter(says)
}

/// JSON is YAML, so one reader serves both.
fn manifest(document: &Document<'_>) -> Result<Value, (usize, String)> {
    let text = document.lines.join("\n");
    let deserializer = serde_yaml::Deserializer::from_str(&text);
    Value::deserialize(deserializer).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        (document.line + line.max(1) - 1, error.to_string())
    })
}

/// The items of a `List`, as `kubectl get -o yaml` writes it; else the manifest itself.
fn parts(mut manifest: Value) -> Vec<Value> {
    let is_list = manifest.get("apiVersion").and_then(Value::as_str) == Some("v1")
        && manifest.get("kind").and_then(Value::as_str) == Some("List");
    match manifest.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items,
        Some(items) => {
            manifest["items"] = items;
            vec![manifest]
        }
        None => vec![manifest],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.0.0.1}\n";

    #[test]
    fn every_document_of_a_stream_is_read() {
        let other = SERVICE.replace("web", "db");
        let inline = "--- {apiVersion: v1, kind: Service, metadata: {name: x}}";
        let text = format!("# two\n---\n{SERVICE}---\n{other}{inline}\n---\n");
        assert_eq!(objects(&text).map(|objects| objects.len()), Ok(3));
    }

    #[test]
    fn a_list_is_its_items_and_json_is_read_too() {
        let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "b"}}]}"#;
        assert_eq!(objects(text).map(|objects| objects.len()), Ok(1));
    }

    #[test]
    fn a_fault_is_named_by_document_and_line_of_the_file() {
        let text = format!("{SERVICE}---\n# comment\nkind: Service\nmetadata: [\n");
        let faults = objects(&text).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].document, 2);
        assert!((7..=9).contains(&faults[0].line), "{faults:?}");

        let text = format!("{SERVICE}---\n# comment\nkind: Service\n");
        let faults = objects(&text).unwrap_err();
        assert_eq!((faults[0].document, faults[0].line), (2, 7), "{faults:?}");
    }

    #[test]
    fn an_empty_file_is_a_fault_and_one_of_comments_is_not() {
        assert!(objects(" \n").is_err());
        assert_eq!(objects("# nothing yet\n"), Ok(Vec::new()));
    }
}
