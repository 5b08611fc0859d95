//! The way to the API server: its own Service never loses its last endpoint.
//!
//! Whoever is to tell of the next endpoint may be reached by that Service alone. So where objects leave a port of it
//! without any, it keeps those that it had: the ones wanted before, or after a restart the ones in the maps. Nothing
//! is remembered for that beside what is wanted anyway, so the next endpoint replaces them, whatever slice it is in.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    caller::Caller,
    desired::{Backend, Port, Service, Version},
    image::Image,
    key::ServiceKey,
    oracle::{self, Answer},
};

/// What a Service had before.
#[derive(Clone, Copy)]
pub(super) enum Before<'a> {
    Wanted(Option<&'a Service>),
    /// Nothing was wanted yet: an earlier process wrote this.
    Held(&'a Image),
}

/// What has become of a Service, with the endpoints that it must not lose.
pub(super) fn keep(
    key: &ServiceKey,
    compiled: Option<Arc<Service>>,
    before: Before<'_>,
) -> Option<Arc<Service>> {
    let mut service = compiled?;
    if key.is_api_server() && service.ports.iter().any(is_empty) {
        let service = Arc::make_mut(&mut service);
        for port in service.ports.iter_mut().filter(|port| is_empty(port)) {
            let last = before.backends(port);
            // No policy can own it, so there is one version: itself.
            for version in &mut port.versions {
                version.backends = Arc::clone(&last);
            }
        }
    }
    Some(service)
}

impl Before<'_> {
    fn backends(self, port: &Port) -> Arc<[Backend]> {
        match self {
            Self::Wanted(service) => {
                let ports = service.map_or(&[][..], |service| &service.ports);
                let same = |known: &&Port| place(known) == place(port);
                let known = ports.iter().filter(same).flat_map(|port| &port.versions);
                let mut known = known.map(|version| &version.backends);
                known.next().cloned().unwrap_or_default()
            }
            Self::Held(image) => {
                let answers = port
                    .frontends
                    .iter()
                    .map(|frontend| oracle::by_image(image, Caller::HOST, *frontend));
                let decided = answers.flatten().filter_map(|answer| match answer {
                    Answer::Decided(odds) => Some(odds.classes.into_keys().flatten()),
                    Answer::Passed => None,
                });
                let backends: BTreeSet<Backend> = decided.flatten().collect();
                backends.into_iter().collect()
            }
        }
    }
}

fn is_empty(port: &Port) -> bool {
    !port.versions.iter().any(Version::is_available)
}

/// A port stays the same one when its callers are told to reach less far: there may be nothing so near.
fn place(port: &Port) -> impl PartialEq {
    (port.id.number, port.id.protocol, port.id.family)
}
