//! The envelope: from bytes to a question, from a verdict to an answer.

use json_patch::Patch;
use kube::core::{
    DynamicObject, Status,
    admission::{
        AdmissionRequest, AdmissionResponse, AdmissionReview, META_API_VERSION_V1, META_KIND,
        Operation, SerializePatchError,
    },
    response::{StatusCause, StatusDetails, StatusSummary},
};
use serde_json::Value;
use sluice_model::finding::Finding;

use crate::rules::{self, Verdict};

/// Values that a question may have, lists and objects included: read, a small object takes hundreds of times the
/// room of its bytes. The largest policy, old and new and with those who manage its fields, has fewer.
pub const VALUES: usize = 100_000;

pub type Question = AdmissionRequest<DynamicObject>;
pub type Answer = AdmissionReview<DynamicObject>;

/// Why there is no question in a request.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the review has more than {VALUES} values")]
    TooMuch,
    #[error("this is not an AdmissionReview: {0}")]
    NotAReview(#[source] serde_json::Error),
    #[error("{found} is not understood: {META_API_VERSION_V1} {META_KIND} is")]
    OtherVersion { found: String },
    #[error("the review has no request")]
    NoRequest,
    #[error("the request has no uid")]
    NoUid,
    #[error("the request has no object")]
    NoObject,
}

/// Reads a question. Values that are nested deeper than 128 levels are refused by the parser.
pub fn read(body: &[u8]) -> Result<Question, Unreadable> {
    if values(body) > VALUES {
        return Err(Unreadable::TooMuch);
    }
    let value: Value = serde_json::from_slice(body).map_err(Unreadable::NotAReview)?;
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if (version, kind) != (META_API_VERSION_V1, META_KIND) {
        return Err(Unreadable::OtherVersion {
            found: format!("{version:?} {kind:?}"),
        });
    }
    let review: Answer = serde_json::from_value(value).map_err(Unreadable::NotAReview)?;
    let question: Question = review.try_into().map_err(|_| Unreadable::NoRequest)?;
    if question.uid.is_empty() {
        return Err(Unreadable::NoUid);
    }
    let stores = matches!(question.operation, Operation::Create | Operation::Update);
    if stores && question.object.is_none() {
        return Err(Unreadable::NoObject);
    }
    Ok(question)
}

/// How many values there are, by what separates and opens them. Of what is no JSON it is some number.
fn values(body: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'{' | b'[' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

/// What is to be looked at: the object to be stored, unless only its status changes or it goes.
pub fn candidate(question: &Question) -> Option<&DynamicObject> {
    let whole = question
        .sub_resource
        .as_deref()
        .unwrap_or_default()
        .is_empty();
    match question.operation {
        Operation::Create | Operation::Update if whole => question.object.as_ref(),
        _ => None,
    }
}

pub fn allow(question: &Question) -> Answer {
    AdmissionResponse::from(question).into_review()
}

/// It was not looked at, and the user is told.
pub fn unchecked(question: &Question) -> Answer {
    let mut response = AdmissionResponse::from(question);
    let kind = &question.kind;
    let warning = format!(
        "sluice has no rules for {} {}",
        kind.api_version(),
        kind.kind
    );
    response.warnings = Some(vec![warning]);
    response.into_review()
}

pub fn judged(question: &Question, verdict: &Verdict) -> Answer {
    let mut response = AdmissionResponse::from(question);
    if verdict.is_denied() {
        response.allowed = false;
        response.result = refusal(question, &verdict.denials);
    }
    if !verdict.warnings.is_empty() {
        response.warnings = Some(verdict.warnings.iter().map(text).collect());
    }
    response.into_review()
}

pub fn patched(question: &Question, patch: Patch) -> Result<Answer, SerializePatchError> {
    let response = AdmissionResponse::from(question);
    if patch.0.is_empty() {
        return Ok(response.into_review());
    }
    Ok(response.with_patch(patch)?.into_review())
}

/// Forbidden, not invalid: of what is invalid `kubectl` prints the causes alone, without the remedy
/// and without who said it.
fn refusal(question: &Question, denials: &[Finding]) -> Status {
    let texts: Vec<_> = denials.iter().map(text).collect();
    let causes = denials.iter().map(|finding| StatusCause {
        reason: finding.reason.name().to_owned(),
        message: finding.detail.clone(),
        field: finding.field.clone(),
    });
    Status {
        status: Some(StatusSummary::Failure),
        code: 403,
        reason: "Forbidden".to_owned(),
        message: texts.join("; "),
        details: Some(StatusDetails {
            name: question.name.clone(),
            group: question.kind.group.clone(),
            kind: question.kind.kind.clone(),
            uid: String::new(),
            causes: causes.collect(),
            retry_after_seconds: 0,
        }),
        ..Status::default()
    }
}

/// The finding as its user reads it: without the subject, which they have just named.
pub fn text(finding: &Finding) -> String {
    let mut text = match finding.field.as_str() {
        "" => finding.detail.clone(),
        field => format!("{field}: {}", finding.detail),
    };
    if let Some(remedy) = rules::remedy(finding.reason) {
        text.push_str("; ");
        text.push_str(remedy);
    }
    text
}
