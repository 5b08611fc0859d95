//! The manifests in `config/crd` and the pages in `docs/reference` are those of the types.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{fs, path::Path};

use manifests::{COMMAND, FOLDER, manifests};
use reference::{PAGES, pages};

#[path = "../examples/crdgen/manifests.rs"]
mod manifests;
#[path = "../examples/crdgen/reference.rs"]
mod reference;
#[path = "../examples/crdgen/rules.rs"]
mod rules;

#[test]
fn the_manifests_in_the_tree_are_fresh() {
    are_fresh(FOLDER, &manifests().expect("CRDs are YAML"));
}

#[test]
fn the_pages_in_the_tree_are_fresh() {
    let pages = pages().expect("CRDs are JSON");
    are_fresh(PAGES, &pages);
    let mut found: Vec<_> = fs::read_dir(PAGES)
        .expect("docs/reference")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    let mut made: Vec<_> = pages.into_iter().map(|(name, _)| name).collect();
    found.sort_unstable();
    made.sort_unstable();
    assert_eq!(found, made);
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

fn are_fresh(folder: &str, files: &[(String, String)]) {
    for (name, text) in files {
        let path = Path::new(folder).join(name);
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == *text,
            "{name} is not what the types say; `{COMMAND}` writes it anew"
        );
    }
}
