//! Two questions: may this be stored, and what is missing in it.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::post,
};
use kube::core::DynamicObject;
use sluice_model::key::Kind;

use crate::{
    defaults,
    limits::{self, BODY, Door, Limits},
    metrics::{Ending, Metrics, Review},
    review::{self, Answer, Question},
    rules,
    store::Store,
};

/// What handlers have.
#[derive(Clone)]
struct Desk {
    review: Review,
    store: Store,
    metrics: Arc<Metrics>,
}

/// `/validate` and `/mutate`.
pub fn router(store: &Store, metrics: &Arc<Metrics>, limits: &Limits) -> Router {
    let door = Door::new(limits, Arc::clone(metrics));
    let one = |review: Review| {
        let desk = Desk {
            review,
            store: store.clone(),
            metrics: Arc::clone(metrics),
        };
        let guard = middleware::from_fn_with_state((Arc::clone(&door), review), limits::guard);
        post(answer).with_state(desk).layer(guard)
    };
    Router::new()
        .route("/validate", one(Review::Validate))
        .route("/mutate", one(Review::Mutate))
        .layer(DefaultBodyLimit::max(BODY))
}

async fn answer(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    let began = Instant::now();
    let response = desk.answer(&headers, &body);
    desk.metrics.took(desk.review, began.elapsed());
    response
}

/// What came of a request.
struct Done {
    response: Response,
    kind: Option<Kind>,
    ending: Ending,
}

impl Desk {
    fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let Done {
            response,
            kind,
            ending,
        } = self.read(headers, body);
        self.metrics.ended(self.review, kind, ending);
        response
    }

    fn read(&self, headers: &HeaderMap, body: &[u8]) -> Done {
        if !is_json(headers) {
            let text = "a review is application/json";
            return Done::unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE, text.to_owned());
        }
        let question = match review::read(body) {
            Ok(question) => question,
            Err(error) => return Done::unreadable(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let Some(object) = review::candidate(&question) else {
            return Done::with(None, Ending::Allowed, &review::allow(&question));
        };
        let Some(kind) = rules::kind(&question.kind) else {
            return Done::with(None, Ending::Warned, &review::unchecked(&question));
        };
        match self.review {
            Review::Validate => self.validate(kind, &question, object),
            Review::Mutate => mutate(kind, &question, object),
        }
    }

    fn validate(&self, kind: Kind, question: &Question, object: &DynamicObject) -> Done {
        let old = question.old_object.as_ref();
        let verdict = self
            .store
            .look(|cluster| rules::judge(kind, old, object, cluster));
        let ending = match (verdict.is_denied(), verdict.warnings.is_empty()) {
            (true, _) => Ending::Denied,
            (false, false) => Ending::Warned,
            (false, true) => Ending::Allowed,
        };
        Done::with(Some(kind), ending, &review::judged(question, &verdict))
    }
}

fn mutate(kind: Kind, question: &Question, object: &DynamicObject) -> Done {
    let patch = defaults::missing(kind, object);
    let ending = match patch.0.is_empty() {
        true => Ending::Allowed,
        false => Ending::Patched,
    };
    match review::patched(question, patch) {
        Ok(answer) => Done::with(Some(kind), ending, &answer),
        Err(error) => Done {
            response: (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
            kind: Some(kind),
            ending: Ending::Failed,
        },
    }
}

impl Done {
    fn with(kind: Option<Kind>, ending: Ending, answer: &Answer) -> Self {
        Self {
            response: Json(answer).into_response(),
            kind,
            ending,
        }
    }

    fn unreadable(code: StatusCode, text: String) -> Self {
        Self {
            response: (code, text).into_response(),
            kind: None,
            ending: Ending::Unreadable,
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}
