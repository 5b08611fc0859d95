//! Server-side apply, by one named manager per program, and only where something would change.
//!
//! A status of Sluice's kinds belongs to one writer as a whole: what is in it and not wanted goes.
//! Of other objects a program owns the fields that it names, and looks at no others. Fields that
//! somebody else took are taken back.

use std::{fmt, time::Duration};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    serde::Serialize,
    serde_json::{self, Value, json},
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
};
use tokio::time::timeout;

/// A write that is not answered by then may or may not have happened.
const PATIENCE: Duration = Duration::from_secs(10);

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const TOO_MANY_REQUESTS: u16 = 429;

/// Writes in the name of one program.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    manager: &'static str,
}

/// What became of an apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// All of it was there already; nothing was sent.
    Unchanged,
    /// The paths of the fields that were sent because they differed, and the object's new version.
    Written {
        fields: Vec<String>,
        version: String,
    },
}

/// Which object, for errors and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("cannot put {target} into JSON")]
    Json {
        target: Target,
        source: serde_json::Error,
    },
    #[error("there is no {target}")]
    Missing {
        target: Target,
        source: Box<kube::Error>,
    },
    #[error("{target} has changed since it was looked at")]
    Outdated {
        target: Target,
        source: Box<kube::Error>,
    },
    #[error("the API server refuses to write {target}")]
    Refused {
        target: Target,
        source: Box<kube::Error>,
    },
    #[error("cannot write {target}")]
    Unreachable {
        target: Target,
        source: Box<kube::Error>,
    },
    #[error("the API server did not answer a write of {target}")]
    Unanswered { target: Target },
}

/// When the same write is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not before the object is seen anew.
    Never,
    /// After a short pause that grows.
    Soon,
    /// Only a person can change the answer: seldom.
    Seldom,
}

impl Writer {
    pub fn new(client: Client, manager: &'static str) -> Self {
        Self { client, manager }
    }

    /// Writes the whole status of an object that exists, unless `seen` is the same already.
    ///
    /// Of `of`, the uid and the version count where they are given: the status of an object that
    /// was made anew, or that has changed since, is not written.
    pub async fn status<K: Resource<DynamicType = ()>>(
        &self,
        of: &ObjectMeta,
        status: &impl Serialize,
        seen: Option<&impl Serialize>,
    ) -> Result<Applied, ApplyError> {
        let (target, resource) = Target::of::<K>(of);
        let status = json_of(&target, status)?;
        let seen = seen.map(|seen| json_of(&target, seen)).transpose()?;
        let fields = difference("status", &status, seen.as_ref(), Ownership::Whole);
        if fields.is_empty() {
            return Ok(Applied::Unchanged);
        }
        let body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": identity(of),
            "status": status,
        });
        let api = self.api(&target, &resource);
        let params = PatchParams::apply(self.manager).force();
        let patch = Patch::Apply(&body);
        let sent = api.patch_status(&target.name, &params, &patch);
        Self::answer(target.clone(), fields, timeout(PATIENCE, sent).await)
    }

    /// Makes or changes an object: the fields that `wanted` has, unless `seen` has them already.
    pub async fn object<K: Resource<DynamicType = ()> + Serialize>(
        &self,
        wanted: &K,
        seen: Option<&K>,
    ) -> Result<Applied, ApplyError> {
        let (target, resource) = Target::of::<K>(wanted.meta());
        let body = json_of(&target, wanted)?;
        let seen = seen.map(|seen| json_of(&target, seen)).transpose()?;
        let fields = difference("", &body, seen.as_ref(), Ownership::Parts);
        if fields.is_empty() {
            return Ok(Applied::Unchanged);
        }
        self.send(target, &resource, body, fields).await
    }

    /// Sets these fields of an object that exists, where the caller has seen that they differ.
    ///
    /// For fields inside lists: what else an element has is others' and is not named.
    pub async fn fields<K: Resource<DynamicType = ()>>(
        &self,
        of: &ObjectMeta,
        mut fields: Value,
    ) -> Result<Applied, ApplyError> {
        let (target, resource) = Target::of::<K>(of);
        let paths = fields.as_object().into_iter().flatten();
        let paths = paths.map(|(name, _)| name.clone()).collect();
        fields["metadata"] = json_of(&target, &identity(of))?;
        self.send(target, &resource, fields, paths).await
    }

    /// Removes the very object that was seen. One that is gone already is removed.
    pub async fn remove<K: Resource<DynamicType = ()>>(
        &self,
        seen: &ObjectMeta,
    ) -> Result<(), ApplyError> {
        let (target, resource) = Target::of::<K>(seen);
        let api = self.api(&target, &resource);
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: seen.uid.clone(),
            resource_version: seen.resource_version.clone(),
        });
        let sent = api.delete(&target.name, &params);
        match timeout(PATIENCE, sent).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => match ApplyError::of(target, error) {
                ApplyError::Missing { .. } => Ok(()),
                error => Err(error),
            },
            Err(_) => Err(ApplyError::Unanswered { target }),
        }
    }

    async fn send(
        &self,
        target: Target,
        resource: &ApiResource,
        mut body: Value,
        fields: Vec<String>,
    ) -> Result<Applied, ApplyError> {
        body["apiVersion"] = resource.api_version.as_str().into();
        body["kind"] = resource.kind.as_str().into();
        let api = self.api(&target, resource);
        let params = PatchParams::apply(self.manager).force();
        let patch = Patch::Apply(&body);
        let sent = api.patch(&target.name, &params, &patch);
        Self::answer(target.clone(), fields, timeout(PATIENCE, sent).await)
    }

    fn api(&self, target: &Target, resource: &ApiResource) -> Api<DynamicObject> {
        let client = self.client.clone();
        match &target.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        }
    }

    fn answer(
        target: Target,
        fields: Vec<String>,
        answer: Result<kube::Result<DynamicObject>, tokio::time::error::Elapsed>,
    ) -> Result<Applied, ApplyError> {
        match answer {
            Ok(Ok(object)) => Ok(Applied::Written {
                fields,
                version: object.metadata.resource_version.unwrap_or_default(),
            }),
            Ok(Err(error)) => Err(ApplyError::of(target, error)),
            Err(_) => Err(ApplyError::Unanswered { target }),
        }
    }
}

impl Target {
    fn of<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> (Self, ApiResource) {
        let resource = ApiResource::erase::<K>(&());
        let target = Self {
            kind: resource.kind.clone(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
        };
        (target, resource)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

impl ApplyError {
    fn of(target: Target, error: kube::Error) -> Self {
        let code = match &error {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        };
        let source = Box::new(error);
        match code {
            Some(NOT_FOUND) => Self::Missing { target, source },
            Some(CONFLICT) => Self::Outdated { target, source },
            Some(400..=499) if code != Some(TOO_MANY_REQUESTS) => Self::Refused { target, source },
            _ => Self::Unreachable { target, source },
        }
    }

    pub fn retry(&self) -> Retry {
        match self {
            Self::Json { .. } | Self::Missing { .. } => Retry::Never,
            Self::Outdated { .. } | Self::Unreachable { .. } | Self::Unanswered { .. } => {
                Retry::Soon
            }
            Self::Refused { .. } => Retry::Seldom,
        }
    }
}

/// How much of a value is ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ownership {
    /// All of it: what is there and not wanted is a difference.
    Whole,
    /// What is wanted; what else is there is of no interest.
    Parts,
}

/// The paths at which `seen` is not as `wanted`. Lists are compared as one.
fn difference(
    path: &str,
    wanted: &Value,
    seen: Option<&Value>,
    ownership: Ownership,
) -> Vec<String> {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match (wanted, seen) {
        (Value::Null, None | Some(Value::Null)) => Vec::new(),
        (Value::Object(wanted), Some(Value::Object(seen))) => {
            let mut paths = Vec::new();
            for (name, value) in wanted {
                paths.extend(difference(&below(name), value, seen.get(name), ownership));
            }
            if ownership == Ownership::Whole {
                let unwanted = seen.keys().filter(|name| !wanted.contains_key(*name));
                paths.extend(unwanted.map(|name| below(name)));
            }
            paths
        }
        (wanted, Some(seen)) if wanted == seen => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

fn identity(of: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: of.name.clone(),
        namespace: of.namespace.clone(),
        uid: of.uid.clone(),
        resource_version: of.resource_version.clone(),
        ..ObjectMeta::default()
    }
}

fn json_of(target: &Target, value: &impl Serialize) -> Result<Value, ApplyError> {
    serde_json::to_value(value).map_err(|source| ApplyError::Json {
        target: target.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_whole_what_is_not_wanted_any_more_differs_too() {
        let wanted = json!({"a": 1, "b": {"c": [1, 2]}});
        let cases = [
            (json!({"a": 1, "b": {"c": [1, 2]}}), vec![], vec![]),
            (
                json!({"a": 2, "b": {"c": [2, 1]}}),
                vec!["s.a", "s.b.c"],
                vec!["s.a", "s.b.c"],
            ),
            (
                json!({"a": 1, "b": {"c": [1, 2], "d": 0}, "e": 0}),
                vec!["s.b.d", "s.e"],
                vec![],
            ),
            (json!({"a": 1}), vec!["s.b"], vec!["s.b"]),
            (json!(null), vec!["s"], vec!["s"]),
        ];
        for (seen, whole, parts) in cases {
            for (ownership, paths) in [(Ownership::Whole, whole), (Ownership::Parts, parts)] {
                assert_eq!(
                    difference("s", &wanted, Some(&seen), ownership),
                    paths,
                    "{seen}"
                );
            }
        }
        assert_eq!(difference("s", &wanted, None, Ownership::Parts), ["s"]);
    }

    #[test]
    fn an_answer_says_when_to_try_again() {
        let error = |code: u16| {
            let status = kube::core::Status::failure("no", "No").with_code(code);
            let target = Target {
                kind: "TrafficSplit".to_owned(),
                namespace: Some("shop".to_owned()),
                name: "checkout".to_owned(),
            };
            ApplyError::of(target, kube::Error::Api(Box::new(status)))
        };
        for (code, retry) in [
            (404, Retry::Never),
            (409, Retry::Soon),
            (403, Retry::Seldom),
            (422, Retry::Seldom),
            (429, Retry::Soon),
            (500, Retry::Soon),
            (503, Retry::Soon),
        ] {
            assert_eq!(error(code).retry(), retry, "{code}");
        }
        assert_eq!(
            error(409).to_string(),
            "TrafficSplit shop/checkout has changed since it was looked at"
        );
    }
}
