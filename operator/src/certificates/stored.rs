//! The objects in which certificates are kept, as they were seen last.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::Secret,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Api;
use serde_json::{Value, json};
use sluice_runtime::{
    apply::Applied,
    client::Server,
    watch::{Asked, Heard, Watches},
};
use tracing::{info, warn};

use super::{
    material::{Certificate, Pair},
    rotation::Stored,
};

/// The webhook's Service; its configurations have the same name.
pub(super) const SERVICE: &str = "sluice-webhook";
pub(super) const SERVING: &str = "sluice-webhook-tls";
pub(super) const AUTHORITY: &str = "sluice-webhook-ca";

/// What is known of one object that may not be there.
#[derive(Clone, Debug, Default)]
pub(super) enum Kept<T> {
    #[default]
    Unknown,
    Missing,
    There(T),
}

/// Of a configuration what concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hooks {
    pub(super) version: Option<String>,
    /// The bundle of each webhook, by name.
    bundles: BTreeMap<String, Option<ByteString>>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) authority: Kept<Secret>,
    pub(super) serving: Kept<Secret>,
    pub(super) validating: Kept<Hooks>,
    pub(super) mutating: Kept<Hooks>,
}

pub(super) enum Told {
    Authority(Heard<Secret>),
    Serving(Heard<Secret>),
    Validating(Heard<Hooks>),
    Mutating(Heard<Hooks>),
}

pub(super) fn watch(server: &Server, namespace: &str) -> Watches<Told> {
    let mut watches = Watches::of(server);
    let named = |name| format!("metadata.name={name}");
    let secrets = Asked::all(Api::<Secret>::namespaced(server.client.clone(), namespace));
    let own = |secret: &Secret| Some(secret.clone());
    watches.add(secrets.clone().with(named(AUTHORITY)), own, Told::Authority);
    watches.add(secrets.with(named(SERVING)), own, Told::Serving);
    let validating = Asked::all(Api::all(server.client.clone())).with(named(SERVICE));
    let hooks = |configuration: &ValidatingWebhookConfiguration| {
        let hooks = configuration.webhooks.iter().flatten();
        let hooks = hooks.map(|hook| (hook.name.clone(), hook.client_config.ca_bundle.clone()));
        Some(Hooks::new(&configuration.metadata, hooks))
    };
    watches.add(validating, hooks, Told::Validating);
    let mutating = Asked::all(Api::all(server.client.clone())).with(named(SERVICE));
    let hooks = |configuration: &MutatingWebhookConfiguration| {
        let hooks = configuration.webhooks.iter().flatten();
        let hooks = hooks.map(|hook| (hook.name.clone(), hook.client_config.ca_bundle.clone()));
        Some(Hooks::new(&configuration.metadata, hooks))
    };
    watches.add(mutating, hooks, Told::Mutating);
    watches
}

impl Seen {
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Authority(heard) => self.authority.hear("Secret sluice-webhook-ca", heard),
            Told::Serving(heard) => self.serving.hear("Secret sluice-webhook-tls", heard),
            Told::Validating(heard) => {
                self.validating
                    .hear("ValidatingWebhookConfiguration", heard);
            }
            Told::Mutating(heard) => self.mutating.hear("MutatingWebhookConfiguration", heard),
        }
    }

    /// Whether it is known of each object if it is there: nothing is made before.
    pub(super) fn is_complete(&self) -> bool {
        self.authority.is_known()
            && self.serving.is_known()
            && self.validating.is_known()
            && self.mutating.is_known()
    }

    pub(super) fn stored(&self) -> Stored {
        let text = |kept: &Kept<Secret>, name| {
            let data = kept.get().and_then(|secret| secret.data.as_ref());
            let bytes = data.and_then(|data| data.get(name)).map(|bytes| &*bytes.0);
            String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
        };
        let authority = |name| text(&self.authority, name);
        let serving = |name| text(&self.serving, name);
        Stored {
            authority: Pair::read(&authority("ca.crt"), &authority("ca.key")),
            former: Certificate::all_in(&authority("former.crt")),
            bundle: Certificate::all_in(&serving("ca.crt")),
            serving: Pair::read(&serving("tls.crt"), &serving("tls.key")),
        }
    }
}

impl<T> Kept<T> {
    pub(super) fn get(&self) -> Option<&T> {
        match self {
            Self::There(object) => Some(object),
            Self::Unknown | Self::Missing => None,
        }
    }

    fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown)
    }

    fn hear(&mut self, what: &str, heard: Heard<T>) {
        match heard {
            Heard::Listed(objects) => {
                *self = objects
                    .into_iter()
                    .next()
                    .map_or(Self::Missing, Self::There);
            }
            Heard::Set(object) => *self = Self::There(object),
            Heard::Gone(_) => *self = Self::Missing,
            Heard::Trouble(trouble) => warn!(what, problem = trouble.text, "a watch is behind"),
            Heard::Well => info!(what, "a watch is up to date again"),
        }
    }
}

impl Kept<Secret> {
    /// The Secret of this name with these texts, as a change of the one that was seen.
    pub(super) fn wanted(&self, name: &str, namespace: &str, texts: [(&str, &str); 3]) -> Secret {
        let labels = [("app.kubernetes.io/part-of", "sluice")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let seen = self.get().map(|secret| &secret.metadata);
        let data = texts.map(|(name, text)| (name.to_owned(), ByteString(text.into())));
        Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(labels.into()),
                resource_version: seen.and_then(|meta| meta.resource_version.clone()),
                ..ObjectMeta::default()
            },
            data: Some(data.into()),
            ..Secret::default()
        }
    }

    /// What was written is there until the watch says something else.
    pub(super) fn note(&mut self, mut written: Secret, applied: Applied) {
        if let Applied::Written { version, .. } = applied {
            written.metadata.resource_version = Some(version);
            *self = Self::There(written);
        }
    }
}

impl Hooks {
    fn new(meta: &ObjectMeta, bundles: impl Iterator<Item = (String, Option<ByteString>)>) -> Self {
        Self {
            version: meta.resource_version.clone(),
            bundles: bundles.collect(),
        }
    }

    /// The fields to be written, if any webhook has another bundle.
    pub(super) fn fields(&self, bundle: &str) -> Option<Value> {
        let bundle = ByteString(bundle.into());
        let mut bundles = self.bundles.values();
        if bundles.all(|seen| seen.as_ref() == Some(&bundle)) {
            return None;
        }
        let hooks = self.bundles.keys();
        let hooks: Vec<_> = hooks
            .map(|name| json!({"name": name, "clientConfig": {"caBundle": bundle}}))
            .collect();
        Some(json!({ "webhooks": hooks }))
    }
}
