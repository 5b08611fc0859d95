//! The manifests in `config/crd` are those of the types.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{fs, path::Path};

use manifests::{COMMAND, FOLDER, manifests};

#[path = "../examples/crdgen/manifests.rs"]
mod manifests;

#[test]
fn the_manifests_in_the_tree_are_fresh() {
    for (name, text) in manifests().expect("CRDs are YAML") {
        let path = Path::new(FOLDER).join(&name);
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "config/crd/{name} is not what the types say; `{COMMAND}` writes it anew"
        );
    }
}

#[test]
fn the_kustomization_has_every_manifest_and_no_other() {
    let path = Path::new(FOLDER).join("kustomization.yaml");
    let text = fs::read_to_string(path).expect("config/crd/kustomization.yaml");
    let kustomization: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
    let listed = kustomization["resources"]
        .as_sequence()
        .into_iter()
        .flatten();
    let mut listed: Vec<_> = listed.filter_map(|name| name.as_str()).collect();
    let manifests = manifests().expect("CRDs are YAML");
    let mut made: Vec<_> = manifests.iter().map(|(name, _)| name.as_str()).collect();
    listed.sort_unstable();
    made.sort_unstable();
    assert_eq!(listed, made);
}
