//! Condition types and reasons: one closed vocabulary for conditions, events and metric labels.

use serde::{Deserialize, Serialize};

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionType {
    /// The object is valid and owns every frontend that it names.
    Accepted,
    /// Everything that the object names exists.
    ResolvedRefs,
    /// Every node that should has reported this generation as written.
    Programmed,
}

impl ConditionType {
    /// The name in conditions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Programmed => "Programmed",
        }
    }
}

/// Why an object, a version or a node is in the state that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    Accepted,
    ResolvedRefs,
    Invalid,
    UnknownField,
    Unsupported,
    Conflicted,
    Shadowed,
    ServiceNotFound,
    ServiceHasNoClusterIP,
    ServiceLeftAlone,
    ServiceIsExternalName,
    ServiceSelectsNothing,
    PortNotFound,
    NoPodsSelected,
    NoReadyEndpoints,
    AddressReserved,
    AddressNotGranted,
    CapacityExceeded,
    AsRequested,
    Rounded,
    Redistributed,
    CappedByReadiness,
    Programmed,
    Pending,
    NodesPending,
    NodeFailed,
    FeatureMissing,
}

impl Reason {
    /// The name in conditions, events and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Invalid => "Invalid",
            Self::UnknownField => "UnknownField",
            Self::Unsupported => "Unsupported",
            Self::Conflicted => "Conflicted",
            Self::Shadowed => "Shadowed",
            Self::ServiceNotFound => "ServiceNotFound",
            Self::ServiceHasNoClusterIP => "ServiceHasNoClusterIP",
            Self::ServiceLeftAlone => "ServiceLeftAlone",
            Self::ServiceIsExternalName => "ServiceIsExternalName",
            Self::ServiceSelectsNothing => "ServiceSelectsNothing",
            Self::PortNotFound => "PortNotFound",
            Self::NoPodsSelected => "NoPodsSelected",
            Self::NoReadyEndpoints => "NoReadyEndpoints",
            Self::AddressReserved => "AddressReserved",
            Self::AddressNotGranted => "AddressNotGranted",
            Self::CapacityExceeded => "CapacityExceeded",
            Self::AsRequested => "AsRequested",
            Self::Rounded => "Rounded",
            Self::Redistributed => "Redistributed",
            Self::CappedByReadiness => "CappedByReadiness",
            Self::Programmed => "Programmed",
            Self::Pending => "Pending",
            Self::NodesPending => "NodesPending",
            Self::NodeFailed => "NodeFailed",
            Self::FeatureMissing => "FeatureMissing",
        }
    }
}
