//! How a Service's endpoints are chosen: how far callers reach, affinity, balancing.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde::Serialize;
use sluice_crds::choice;

use crate::finding::Reason;

const BALANCING: &str = "sluice.dev/balancing";

/// What Kubernetes gives a Service with affinity and no time-out: three hours, in seconds.
const AFFINITY_DEFAULT: u32 = 10_800;
/// A day, in seconds.
const AFFINITY_MOST: u32 = 86_400;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Which endpoints callers of the cluster addresses reach.
    pub internal: Reach,
    /// Which endpoints arrivals from outside reach. Callers on the node reach all of them by the
    /// same addresses; only another node's own port is not theirs to answer for.
    pub external: Reach,
    /// For how many seconds after a client's last connect it gets the same backend again.
    pub affinity: Option<u32>,
    pub balancing: Balancing,
}

/// Which endpoints can be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Reach {
    #[default]
    Cluster,
    /// Those of this node.
    Local,
}

/// How the backend is picked once the version is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Balancing {
    #[default]
    RoundRobin,
    Random,
    /// The better of two, by the sockets that are open now.
    LeastConnections,
    /// A client keeps its backend while that one is there.
    Consistent,
}

impl Balancing {
    const ALL: [Self; 4] = [
        Self::RoundRobin,
        Self::Random,
        Self::LeastConnections,
        Self::Consistent,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "RoundRobin",
            Self::Random => "Random",
            Self::LeastConnections => "LeastConnections",
            Self::Consistent => "Consistent",
        }
    }
}

impl From<choice::Balancing> for Balancing {
    fn from(balancing: choice::Balancing) -> Self {
        match balancing {
            choice::Balancing::RoundRobin => Self::RoundRobin,
            choice::Balancing::Random => Self::Random,
            choice::Balancing::LeastConnections => Self::LeastConnections,
            choice::Balancing::Consistent => Self::Consistent,
        }
    }
}

/// What is not understood is a finding and means the default.
pub(super) fn parse(
    object: &Service,
    spec: &ServiceSpec,
    note: &mut impl FnMut(String, Reason, String),
) -> Traffic {
    let mut reach = |field: &str, text: Option<&str>| match text {
        None | Some("" | "Cluster") => Reach::Cluster,
        Some("Local") => Reach::Local,
        Some(other) => {
            let detail = format!("{other:?} is neither Cluster nor Local; it counts as Cluster");
            note(field.to_owned(), Reason::Invalid, detail);
            Reach::Cluster
        }
    };
    let internal = reach(
        "spec.internalTrafficPolicy",
        spec.internal_traffic_policy.as_deref(),
    );
    let external = reach(
        "spec.externalTrafficPolicy",
        spec.external_traffic_policy.as_deref(),
    );
    Traffic {
        internal,
        external,
        affinity: affinity(spec, note),
        balancing: balancing(object, note),
    }
}

fn affinity(spec: &ServiceSpec, note: &mut impl FnMut(String, Reason, String)) -> Option<u32> {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => return None,
        Some("ClientIP") => {}
        Some(other) => {
            let detail = format!("{other:?} is neither ClientIP nor None; it counts as None");
            note("spec.sessionAffinity".to_owned(), Reason::Invalid, detail);
            return None;
        }
    }
    let config = spec.session_affinity_config.as_ref();
    let seconds = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let Some(seconds) = seconds else {
        return Some(AFFINITY_DEFAULT);
    };
    let usable = u32::try_from(seconds).ok();
    let usable = usable.filter(|seconds| (1..=AFFINITY_MOST).contains(seconds));
    if usable.is_none() {
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        let detail =
            format!("{seconds} is not from 1 to {AFFINITY_MOST}; {AFFINITY_DEFAULT} is used");
        note(field.to_owned(), Reason::Invalid, detail);
    }
    usable.or(Some(AFFINITY_DEFAULT))
}

fn balancing(object: &Service, note: &mut impl FnMut(String, Reason, String)) -> Balancing {
    let annotations = object.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|annotations| annotations.get(BALANCING)) else {
        return Balancing::default();
    };
    let known = Balancing::ALL
        .into_iter()
        .find(|known| known.name() == text);
    known.unwrap_or_else(|| {
        let names = Balancing::ALL.map(Balancing::name).join(", ");
        let field = format!("metadata.annotations[{BALANCING}]");
        let detail = format!("{text:?} is none of {names}; RoundRobin is used");
        note(field, Reason::Invalid, detail);
        Balancing::default()
    })
}
