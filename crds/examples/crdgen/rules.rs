//! A page that says which rule stands where: made from the schemas and from the API server's policies.

use std::{collections::BTreeMap, error::Error, fmt::Write, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use crate::manifests::{COMMAND, definitions};

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/policy");
pub(crate) const NAME: &str = "rules.md";

pub(crate) fn page() -> Result<String, Box<dyn Error>> {
    let mut page = String::from(
        "# Which rule stands where\n\n\
         What a field's form and bounds are is on the page of its [kind](README.md): that is the schema. Here are the\n\
         sentences of the rules beyond it. What needs other objects is the webhook's, and operator and agents look at\n\
         everything again: see [what may be stored](../admission.md).\n\n\
         ## Rules of the schema (CEL)\n\n\
         They hold wherever the kinds are installed.\n\n\
         | sentence | fields |\n| --- | --- |\n",
    );
    let mut rules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for crd in definitions() {
        let crd = serde_json::to_value(crd)?;
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap_or_default();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        collect(&format!("{kind} spec"), schema, &mut rules);
    }
    for (sentence, fields) in rules {
        let fields: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
        writeln!(page, "| {sentence} | {} |", fields.join(", "))?;
    }
    page.push_str(
        "\n## Policies of the API server\n\n\
         They hold while `config/policy` is installed.\n\n\
         | policy | on | what it says |\n| --- | --- | --- |\n",
    );
    for policy in policies()? {
        let spec = &policy["spec"];
        let name = policy["metadata"]["name"].as_str().unwrap_or_default();
        let resources = spec["matchConstraints"]["resourceRules"][0]["resources"].as_array();
        let resources: Vec<_> = resources
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for validation in spec["validations"].as_array().into_iter().flatten() {
            let said = ["message", "messageExpression"];
            let said = said
                .into_iter()
                .find_map(|field| validation[field].as_str());
            let said = said.unwrap_or_default().replace('|', "\\|");
            writeln!(page, "| `{name}` | {} | {said} |", resources.join(", "))?;
        }
    }
    writeln!(
        page,
        "\nMade from the types in `crds/src` and from `config/policy` by `{COMMAND}`."
    )?;
    Ok(page)
}

fn collect(path: &str, schema: &Value, rules: &mut BTreeMap<String, Vec<String>>) {
    let own = schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten();
    for message in own.filter_map(|rule| rule["message"].as_str()) {
        rules
            .entry(message.to_owned())
            .or_default()
            .push(path.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        collect(&format!("{path}.{name}"), property, rules);
    }
    if schema["items"].is_object() {
        collect(&format!("{path}[]"), &schema["items"], rules);
    }
}

/// The policies themselves, in the order of their files.
fn policies() -> Result<Vec<Value>, Box<dyn Error>> {
    let text = fs::read_to_string(Path::new(POLICIES).join("kustomization.yaml"))?;
    let kustomization: Value = serde_yaml::from_str(&text)?;
    let mut policies = Vec::new();
    for file in kustomization["resources"].as_array().into_iter().flatten() {
        let text = fs::read_to_string(Path::new(POLICIES).join(file.as_str().unwrap_or_default()))?;
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = Value::deserialize(document)?;
            if object["kind"] == "ValidatingAdmissionPolicy" {
                policies.push(object);
            }
        }
    }
    Ok(policies)
}
