//! FrontendGrant: it parses. What it gives away is its author's to know; policies are judged by it later.

use kube::core::DynamicObject;
use sluice_runtime::watch::read;

use super::{Verdict, named};

pub(super) fn judge(old: Option<&DynamicObject>, new: &DynamicObject) -> Verdict {
    let findings = |object| {
        let grant = read::grant(&named(object));
        grant.map_or(Vec::new(), |grant| grant.findings().to_vec())
    };
    Verdict::of(findings(new), &old.map(findings).unwrap_or_default())
}
