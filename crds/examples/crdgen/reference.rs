//! A page for each kind, made from its schema. The example writes them, a test compares them.

use std::fmt::{Error, Write};

use serde_json::Value;

use crate::{
    manifests::{COMMAND, definitions},
    rules,
};

/// Where they are, from the crate's folder.
pub(crate) const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference");

/// A part of a schema.
struct Field<'a> {
    path: String,
    schema: &'a Value,
    required: bool,
}

/// Every page with its text.
pub(crate) fn pages() -> Result<Vec<(String, String)>, Box<dyn std::error::Error>> {
    let mut index = String::from(
        "# The kinds\n\nGroup `sluice.dev`, version `v1alpha1`; `kubectl get sluice` lists all of them.\n\n\
         | kind | what it is |\n| --- | --- |\n",
    );
    let mut pages = Vec::new();
    for crd in definitions() {
        let crd = serde_json::to_value(crd)?;
        let kind = text(&crd["spec"]["names"]["kind"]);
        let about = text(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"]);
        let file = format!("{}.md", kind.to_lowercase());
        writeln!(index, "| [{kind}]({file}) | {about} |")?;
        pages.push((file, page(&crd)?));
    }
    writeln!(
        index,
        "\n[Which rule stands where]({}) has what is refused beyond their forms.",
        rules::NAME
    )?;
    writeln!(index, "\nMade from the types in `crds/src` by `{COMMAND}`.")?;
    pages.push(("README.md".to_owned(), index));
    pages.push((rules::NAME.to_owned(), rules::page()?));
    Ok(pages)
}

fn page(crd: &Value) -> Result<String, Error> {
    let names = &crd["spec"]["names"];
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut page = String::new();
    writeln!(page, "# {}\n", text(&names["kind"]))?;
    writeln!(page, "{}\n", text(&schema["description"]))?;
    let scope = match text(&crd["spec"]["scope"]) {
        "Cluster" => "in no namespace",
        _ => "in a namespace",
    };
    writeln!(page, "- `sluice.dev/{}`, {scope}", text(&version["name"]))?;
    let short = quoted(&strings(&names["shortNames"]));
    if !short.is_empty() {
        writeln!(page, "- short for `kubectl`: {short}")?;
    }
    let columns = named(&version["additionalPrinterColumns"], "name");
    writeln!(
        page,
        "- columns of `kubectl get -o wide`: {}",
        columns.join(", ")
    )?;
    let selectable = named(&version["selectableFields"], "jsonPath");
    let selectable: Vec<_> = selectable
        .iter()
        .map(|path| path.trim_start_matches('.'))
        .collect();
    if !selectable.is_empty() {
        writeln!(
            page,
            "- fields for `--field-selector`: {}",
            quoted(&selectable)
        )?;
    }
    for part in ["spec", "status"] {
        section(part, &schema["properties"][part], &mut page)?;
    }
    Ok(page)
}

fn section(part: &str, schema: &Value, page: &mut String) -> Result<(), Error> {
    let mut fields = Vec::new();
    collect("", schema, false, &mut fields);
    let rows = fields
        .iter()
        .filter(|field| !field.path.is_empty() && !field.path.ends_with("[]"));
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "\n## {part}\n\n| field | form | meaning |\n| --- | --- | --- |"
    )?;
    for Field {
        path,
        schema,
        required,
    } in rows
    {
        let mut form = form(schema);
        if *required {
            form.push_str(", required");
        }
        if let Some(default) = schema.get("default") {
            write!(form, ", else `{}`", default.to_string().trim_matches('"'))?;
        }
        let meaning = text(&schema["description"])
            .replace('\n', " ")
            .replace('|', "\\|");
        writeln!(page, "| `{path}` | {form} | {meaning} |")?;
    }
    let rules = fields.iter().flat_map(|field| {
        let messages = named(&field.schema["x-kubernetes-validations"], "message");
        messages
            .into_iter()
            .map(|message| (field.path.as_str(), message))
    });
    let rules: Vec<_> = rules.collect();
    if !rules.is_empty() {
        writeln!(page, "\nWhat breaks a rule is refused with its sentence:\n")?;
    }
    for (path, message) in rules {
        let path = if path.is_empty() { part } else { path };
        writeln!(page, "- `{path}`: {message}")?;
    }
    Ok(())
}

/// A schema and all below it, in the order of their names.
fn collect<'a>(path: &str, schema: &'a Value, required: bool, fields: &mut Vec<Field<'a>>) {
    fields.push(Field {
        path: path.to_owned(),
        schema,
        required,
    });
    let needed = strings(&schema["required"]);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let below = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        collect(&below, property, needed.contains(&name.as_str()), fields);
    }
    // A condition is Kubernetes' own.
    if schema["items"].is_object() && path != "conditions" {
        collect(&format!("{path}[]"), &schema["items"], false, fields);
    }
}

fn form(schema: &Value) -> String {
    match text(&schema["type"]) {
        "array" => {
            let keys = strings(&schema["x-kubernetes-list-map-keys"]);
            let by = if keys.is_empty() {
                String::new()
            } else {
                format!(" by {}", quoted(&keys))
            };
            format!(
                "list{by} of {} × {}",
                range(schema, "minItems", "maxItems"),
                form(&schema["items"])
            )
        }
        "object" if schema["additionalProperties"].is_object() => {
            let values = form(&schema["additionalProperties"]);
            format!(
                "map of {} × {values}",
                range(schema, "minProperties", "maxProperties")
            )
        }
        "string" if schema["enum"].is_array() => strings(&schema["enum"])
            .iter()
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(" or "),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        "string" => format!("text of {}", range(schema, "minLength", "maxLength")),
        "integer" if schema["maximum"].is_null() => "number".to_owned(),
        "integer" => range(schema, "minimum", "maximum"),
        other => other.to_owned(),
    }
}

fn range(schema: &Value, low: &str, high: &str) -> String {
    let number = |field: &str| schema[field].as_f64().unwrap_or_default();
    format!("{} to {}", number(low), number(high))
}

fn named<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|item| text(&item[field]))
        .collect()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(text).collect()
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
