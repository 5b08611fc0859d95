//! A control plane with the shipped CRDs, and a webhook that it asks.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::{Value, json};
use sluice_testbed::cluster::{Cluster, Proxy};
use sluice_testbed::process::Process;
use sluice_testbed::tier::{Shared, eventually};

pub(crate) const WEBHOOK: &str = "webhook";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config");
const PORT: u16 = 9443;
const BREAK_GLASS: &str = "sluice.dev/break-glass";

pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    authority: CertifiedIssuer<'static, KeyPair>,
    certificates: PathBuf,
    _webhook: Process,
}

/// Whose webhook it is: everybody's, or one namespace's and its grants', at another port.
#[derive(Clone, Copy)]
pub(crate) struct Whose<'a> {
    pub(crate) namespace: Option<&'a str>,
    pub(crate) port: u16,
}

/// Marks the grants that only one namespace's webhook is asked about.
pub(crate) const OWN_GRANT: &str = "sluice.test/own";

static BED: Shared<Bed> = Shared::new(Bed::start);

/// Shared by the tests; each has a namespace of its own in it.
pub(crate) fn bed() -> Result<Arc<Bed>> {
    BED.get()
}

impl Bed {
    fn start() -> Result<Self> {
        let cluster = Cluster::start().nodes(1).proxy(Proxy::None).up()?;
        let crds = Path::new(CONFIG).join("crd").display().to_string();
        cluster.kubectl(["apply", "--server-side", "--kustomize", &crds])?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let certificates = cluster.run().folder().join("webhook");
        fs::create_dir(&certificates)?;
        let webhook = webhook(&cluster, &certificates, &[])?;
        let bed = Self {
            cluster,
            authority,
            certificates,
            _webhook: webhook,
        };
        bed.certify()?;
        bed.apply_policies()?;
        bed.configure(Whose {
            namespace: None,
            port: PORT,
        })?;
        bed.await_webhook()?;
        Ok(bed)
    }

    /// Another webhook, with the certificate of the first one.
    pub(crate) fn another(&self, port: u16) -> Result<Process> {
        let listen = format!("--listen=[::]:{port}");
        webhook(
            &self.cluster,
            &self.certificates,
            &[&listen, "--admin=[::1]:0"],
        )
    }

    /// The shipped policies of the API server's own.
    pub(crate) fn apply_policies(&self) -> Result<()> {
        let policies = Path::new(CONFIG).join("policy").display().to_string();
        let apply = ["apply", "--server-side", "--kustomize", &policies];
        self.cluster.kubectl(apply).map(drop)
    }

    /// Gives the webhook another certificate of the same authority.
    pub(crate) fn certify(&self) -> Result<()> {
        let mut params = CertificateParams::default();
        let own = self.cluster.fabric().own().address4();
        params.subject_alt_names = vec![SanType::IpAddress(own.into())];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.authority)?;
        for (name, text) in [
            ("tls.crt", certificate.pem()),
            ("tls.key", key.serialize_pem()),
        ] {
            // Each whole or not at all; between the two the webhook goes on with the old ones.
            let new = self.certificates.join(format!("{name}.new"));
            fs::write(&new, text)?;
            fs::rename(&new, self.certificates.join(name))?;
        }
        Ok(())
    }

    /// The shipped configurations, for a webhook outside of the cluster.
    pub(crate) fn configure(&self, whose: Whose<'_>) -> Result<()> {
        let path = Path::new(CONFIG).join("webhook/configurations.yaml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let shown = [
            "create",
            "--dry-run=client",
            "--output",
            "json",
            "--filename",
            "-",
        ];
        let listed = self.cluster.client().run_with(&text, shown)?;
        let own = self.cluster.fabric().own().address4();
        let ca = ByteString(self.authority.pem().into_bytes());
        for object in serde_json::Deserializer::from_str(&listed).into_iter::<Value>() {
            let mut object = object?;
            if let Some(namespace) = whose.namespace {
                object["metadata"]["name"] = json!(namespace);
            }
            let webhooks = object["webhooks"].as_array_mut();
            for webhook in webhooks.context("webhooks")? {
                let path = webhook["clientConfig"]["service"]["path"].as_str();
                let url = format!("https://{own}:{}{}", whose.port, path.context("a path")?);
                webhook["clientConfig"] = json!({"url": url, "caBundle": ca});
                // The machine is busy while tests run.
                webhook["timeoutSeconds"] = json!(10);
                narrow(webhook, whose.namespace)?;
            }
            self.cluster.apply(&object.to_string())?;
        }
        Ok(())
    }

    fn await_webhook(&self) -> Result<()> {
        self.namespace("first")?;
        eventually(PATIENCE, "the webhook", || {
            let split = split("first", "early", &spec("early"));
            let said = self.create(&split, &["--dry-run=server"])?;
            ensure!(said.contains("Warning: spec.service"), "{said}");
            Ok(())
        })
    }

    pub(crate) fn namespace(&self, name: &str) -> Result<()> {
        self.cluster.namespace(name)
    }

    /// Whether the webhook leaves a namespace alone.
    pub(crate) fn break_glass(&self, namespace: &str, broken: bool) -> Result<()> {
        let label = if broken { "=true" } else { "-" };
        let label = format!("{BREAK_GLASS}{label}");
        let cluster = &self.cluster;
        cluster
            .kubectl(["label", "namespace", namespace, &label])
            .map(drop)
    }

    /// What kubectl says to the creation of an object, warnings included.
    pub(crate) fn create(&self, object: &Value, more: &[&str]) -> Result<String> {
        let mut command = self.cluster.client().command(["create", "--filename", "-"]);
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let input = self
            .cluster
            .run()
            .folder()
            .join(format!("{namespace}.json"));
        fs::write(&input, object.to_string())?;
        let output = command.args(more).stdin(fs::File::open(&input)?).output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(output.status.success(), "{said}");
        Ok(said)
    }
}

fn webhook(cluster: &Cluster, certificates: &Path, more: &[&str]) -> Result<Process> {
    let own = cluster.fabric().own().address4();
    let api_server = format!("https://{own}:6443");
    cluster
        .run()
        .command_again(WEBHOOK)
        .netns(cluster.fabric().netns())?
        .args([WEBHOOK, "--api-server", &api_server, "--kubeconfig"])
        .arg(cluster.kubeconfig())
        .arg("--cert-dir")
        .arg(certificates)
        .args(more)
        .spawn()
}

/// Lets a webhook be asked only about its own namespace, or about all others.
fn narrow(webhook: &mut Value, namespace: Option<&str>) -> Result<()> {
    let (selector, key) = if webhook["namespaceSelector"].is_object() {
        ("namespaceSelector", "kubernetes.io/metadata.name")
    } else {
        ("objectSelector", OWN_GRANT)
    };
    let expressions = webhook[selector]["matchExpressions"].as_array_mut();
    let expressions = expressions.context("expressions")?;
    match (namespace, key) {
        (Some(namespace), _) => {
            expressions.push(json!({"key": key, "operator": "In", "values": [namespace]}));
        }
        (None, OWN_GRANT) => expressions.push(json!({"key": key, "operator": "DoesNotExist"})),
        (None, _) => {}
    }
    Ok(())
}

pub(crate) fn spec(service: &str) -> Value {
    json!({"service": service, "versions": [{"name": "stable", "service": "v1", "weight": 1}]})
}

pub(crate) fn split(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}
