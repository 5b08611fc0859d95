//! Container images as OCI archives, made without a registry, a daemon or a container.
//!
//! The same files give the same bytes: no times, owners or orders of the machine are kept. An image holds programs and
//! what they need to run; a program that is linked dynamically brings its loader and libraries along. There is no
//! shell, no package and no account in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use libraries::libraries;

mod libraries;

const EXECUTABLE: u32 = 0o755;
const DATA: u32 = 0o644;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image to be written.
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    entrypoint: Vec<String>,
    user: Option<u32>,
    labels: BTreeMap<String, String>,
    files: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Below the root, without a slash in front.
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    File { source: PathBuf, mode: u32 },
    Text(String),
}

/// What a manifest says of a blob.
struct Blob {
    digest: String,
    size: u64,
}

impl Image {
    /// An empty image of this full name, such as `sluice.test/echo:1`.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            entrypoint: Vec::new(),
            user: None,
            labels: BTreeMap::new(),
            files: Vec::new(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds the program at `source`, as `path`, with the loader and libraries that it asks for.
    pub fn program(mut self, source: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Self> {
        let source = source.as_ref();
        for library in libraries(source)? {
            self = self.file(&library, &library, EXECUTABLE);
        }
        Ok(self.file(source, path, EXECUTABLE))
    }

    /// Adds a small text, such as a configuration.
    pub fn text(mut self, path: impl AsRef<Path>, text: impl Into<String>) -> Self {
        self.add(path.as_ref(), Content::Text(text.into()));
        self
    }

    /// The command of a container that names none.
    pub fn entrypoint(mut self, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.entrypoint = command.into_iter().map(Into::into).collect();
        self
    }

    /// As whom a container runs that names nobody; without this as root.
    pub fn user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Says something about the image, such as `org.opencontainers.image.version`.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Writes the image as an OCI archive, which `ctr images import` takes.
    pub fn write(&self, archive: &Path) -> Result<()> {
        self.write_to(archive)
            .with_context(|| format!("writing the image {} to {}", self.name, archive.display()))
    }

    fn file(mut self, source: impl AsRef<Path>, path: impl AsRef<Path>, mode: u32) -> Self {
        let source = source.as_ref().to_owned();
        self.add(path.as_ref(), Content::File { source, mode });
        self
    }

    fn add(&mut self, path: &Path, content: Content) {
        let path = path.strip_prefix("/").unwrap_or(path).to_owned();
        self.files.retain(|entry| entry.path != path);
        self.files.push(Entry { path, content });
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
    }

    fn write_to(&self, archive: &Path) -> Result<()> {
        // The archive names its blobs by their hashes in front of their bytes: so the layer is written twice, first
        // only to be hashed, which is cheaper than keeping it.
        let layer = Blob::of(|hash| self.write_layer(hash))?;
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "WorkingDir": "/",
                "User": self.user.map(|id| format!("{id}:{id}")).unwrap_or_default(),
                "Labels": self.labels,
            },
            "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
        });
        let config = config.to_string();
        let config_blob = Blob::of(|hash| Ok(hash.write_all(config.as_bytes())?))?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config_blob.describe(CONFIG),
            "layers": [layer.describe(LAYER)],
        });
        let manifest = manifest.to_string();
        let manifest_blob = Blob::of(|hash| Ok(hash.write_all(manifest.as_bytes())?))?;
        let mut entry = manifest_blob.describe(MANIFEST);
        entry["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": self.name,
        });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });

        let mut tar = Builder::new(io::BufWriter::new(File::create(archive)?));
        append_text(
            &mut tar,
            "oci-layout",
            &json!({ "imageLayoutVersion": "1.0.0" }).to_string(),
        )?;
        append_text(&mut tar, "index.json", &index.to_string())?;
        append_text(&mut tar, config_blob.path(), &config)?;
        append_text(&mut tar, manifest_blob.path(), &manifest)?;
        let mut header = header(EntryType::Regular, DATA, layer.size);
        let mut writer = tar.append_writer(&mut header, layer.path())?;
        self.write_layer(&mut writer)?;
        writer.finish()?;
        tar.into_inner()?.flush()?;
        Ok(())
    }

    fn write_layer(&self, out: &mut dyn Write) -> Result<()> {
        let mut tar = Builder::new(out);
        let mut made: Vec<PathBuf> = Vec::new();
        for entry in &self.files {
            let parents: Vec<_> = entry
                .path
                .ancestors()
                .skip(1)
                .filter(|path| path.parent().is_some())
                .collect();
            for parent in parents.into_iter().rev() {
                if !made.iter().any(|path| path == parent) {
                    tar.append_data(
                        &mut header(EntryType::Directory, EXECUTABLE, 0),
                        parent,
                        io::empty(),
                    )?;
                    made.push(parent.to_owned());
                }
            }
            match &entry.content {
                Content::Text(text) => append_text(&mut tar, &entry.path, text)?,
                Content::File { source, mode } => {
                    let file = File::open(source)
                        .with_context(|| format!("opening {}", source.display()))?;
                    let size = file.metadata()?.len();
                    tar.append_data(
                        &mut header(EntryType::Regular, *mode, size),
                        &entry.path,
                        file.take(size),
                    )?;
                }
            }
        }
        tar.into_inner()?;
        Ok(())
    }
}

impl Blob {
    fn of(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<Self> {
        let mut meter = Meter {
            hash: Sha256::new(),
            size: 0,
        };
        write(&mut meter)?;
        let digest = meter
            .hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        Ok(Self {
            digest: format!("sha256:{digest}"),
            size: meter.size,
        })
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }

    fn describe(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.size })
    }
}

struct Meter {
    hash: Sha256,
    size: u64,
}

impl Write for Meter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn append_text<W: Write>(tar: &mut Builder<W>, path: impl AsRef<Path>, text: &str) -> Result<()> {
    tar.append_data(
        &mut header(EntryType::Regular, DATA, text.len() as u64),
        path,
        text.as_bytes(),
    )?;
    Ok(())
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// What Go, and so OCI, calls the architecture of this program.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    fn written(image: &Image) -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("image.tar");
        image.write(&archive).unwrap();
        let bytes = fs::read(&archive).unwrap();
        let entries = contents(&bytes);
        (bytes, entries)
    }

    fn contents(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut entries = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            entries.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        entries
    }

    fn blob<'a>(entries: &'a BTreeMap<String, Vec<u8>>, described: &Value) -> &'a [u8] {
        let digest = described["digest"].as_str().unwrap();
        let bytes = &entries[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(described["size"], bytes.len());
        assert_eq!(
            digest,
            Blob::of(|hash| Ok(hash.write_all(bytes)?)).unwrap().digest
        );
        bytes
    }

    #[test]
    fn the_same_content_gives_the_same_bytes_in_whatever_order_it_is_added() {
        let one = Image::named("a/b:1").text("/x/y", "1").text("/z", "2");
        let other = Image::named("a/b:1").text("/z", "2").text("/x/y", "1");
        assert_eq!(written(&one).0, written(&other).0);
    }

    #[test]
    fn digests_lead_from_the_index_to_every_file() {
        let image = Image::named("a/b:1")
            .text("/etc/deep/file", "content")
            .entrypoint(["/p", "serve"])
            .user(65532)
            .label("what", "it is");
        let (_, entries) = written(&image);
        let index: Value = serde_json::from_slice(&entries["index.json"]).unwrap();
        assert_eq!(
            index["manifests"][0]["annotations"]["io.containerd.image.name"],
            "a/b:1"
        );
        let manifest: Value =
            serde_json::from_slice(blob(&entries, &index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(blob(&entries, &manifest["config"])).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/p", "serve"]));
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Labels"]["what"], "it is");
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            manifest["layers"][0]["digest"]
        );
        let layer = contents(blob(&entries, &manifest["layers"][0]));
        assert_eq!(
            layer.keys().collect::<Vec<_>>(),
            ["etc", "etc/deep", "etc/deep/file"]
        );
        assert_eq!(layer["etc/deep/file"], b"content");
    }

    #[test]
    fn a_program_brings_its_libraries() {
        let own = std::env::current_exe().unwrap();
        let (_, entries) = written(&Image::named("a/b:1").program(&own, "/program").unwrap());
        let index: Value = serde_json::from_slice(&entries["index.json"]).unwrap();
        let manifest: Value =
            serde_json::from_slice(blob(&entries, &index["manifests"][0])).unwrap();
        let layer = contents(blob(&entries, &manifest["layers"][0]));
        assert_eq!(layer["program"], fs::read(own).unwrap());
        assert!(layer.keys().any(|path| path.contains("ld-linux")) || layer.len() == 1);
    }
}
