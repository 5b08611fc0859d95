//! Writes the manifests of the custom resources and a page about each: `cargo run -p sluice-crds --example crdgen`.
//!
//! An example, because the types themselves need neither YAML nor files.

use std::{error::Error, fs, path::Path};

use manifests::{FOLDER, manifests};
use reference::{PAGES, pages};

mod manifests;
mod reference;
mod rules;

fn main() -> Result<(), Box<dyn Error>> {
    for (folder, files) in [(FOLDER, manifests()?), (PAGES, pages()?)] {
        fs::create_dir_all(folder)?;
        let folder = Path::new(folder).canonicalize()?;
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text)?;
            println!("wrote {}", path.display());
        }
    }
    Ok(())
}
