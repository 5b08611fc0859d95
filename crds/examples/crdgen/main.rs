//! Writes the manifests of the custom resources: `cargo run -p sluice-crds --example crdgen`.
//!
//! An example, because the types themselves need neither YAML nor files.

use std::{error::Error, fs, path::Path};

use manifests::{FOLDER, manifests};

mod manifests;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(FOLDER).canonicalize()?;
    for (name, text) in manifests()? {
        let path = folder.join(name);
        fs::write(&path, text)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
