//! What callers can cost: bodies are short, questions come in time, few are worked on at once and fewer of one
//! caller, and a fault in one is that one's end only.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tracing::error;

use crate::{
    metrics::{Ending, Metrics, Review},
    peers::{Peer, Shares},
};

/// The API server stores no object above 1.5 MiB; an update's review has two of them.
pub const BODY: usize = 3 * 1024 * 1024;

/// So many bytes take one of the places of those that are worked on at once. Most questions have a tenth of it.
const PLACE: usize = 32 * 1024;

#[derive(Clone, Debug)]
pub struct Limits {
    /// Questions that are read and worked on at once. A large one counts for several: read, it takes many times the
    /// room of its bytes.
    pub at_once: usize,
    /// Questions that may wait for that.
    pub waiting: usize,
    /// The same of one address: an API server alone needs no more, and others leave room for it.
    pub at_once_of_one: usize,
    pub waiting_of_one: usize,
    /// How long a question may take, its coming included. The API server waits two seconds.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            at_once: 32,
            waiting: 1024,
            at_once_of_one: 8,
            waiting_of_one: 256,
            patience: Duration::from_secs(2),
        }
    }
}

/// Who comes in.
pub struct Door {
    patience: Duration,
    /// What the largest question counts for.
    largest: usize,
    hall: Semaphore,
    room: Semaphore,
    hall_shares: Shares,
    room_shares: Shares,
    metrics: Arc<Metrics>,
}

impl Door {
    pub fn new(limits: &Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            patience: limits.patience,
            largest: limits.at_once_of_one.min(limits.at_once).max(1),
            hall: Semaphore::new(limits.at_once + limits.waiting),
            room: Semaphore::new(limits.at_once),
            hall_shares: Shares::of_each(limits.at_once_of_one + limits.waiting_of_one),
            room_shares: Shares::of_each(limits.at_once_of_one),
            metrics,
        })
    }

    /// How many places a question takes: by its length, all of one address if that is not said.
    fn places(&self, request: &Request) -> u32 {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let places = length.map_or(self.largest, |length| length.div_ceil(PLACE));
        u32::try_from(places.clamp(1, self.largest)).unwrap_or(u32::MAX)
    }

    async fn enter(&self, request: Request, next: Next) -> Result<Response, Ending> {
        let until = Instant::now() + self.patience;
        let peer = Peer::of(request.extensions());
        let hall_share = self.hall_shares.of(peer).try_acquire_owned();
        let _hall_share = hall_share.map_err(|_| Ending::Busy)?;
        let _hall = self.hall.try_acquire().map_err(|_| Ending::Busy)?;
        // The own place first: who waits for one of many takes none of them meanwhile.
        let places = self.places(&request);
        let room_share = self.room_shares.of(peer).acquire_many_owned(places);
        let Ok(Ok(_room_share)) = timeout_at(until, room_share).await else {
            return Err(Ending::Busy);
        };
        let Ok(Ok(_room)) = timeout_at(until, self.room.acquire_many(places)).await else {
            return Err(Ending::Busy);
        };
        let _asked = self.metrics.asked();
        // A handler changes nothing, so a fault in one leaves nothing half done.
        let work = AssertUnwindSafe(next.run(request)).catch_unwind();
        match timeout_at(until, work).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => {
                error!("a handler failed; the panic's message is above");
                Err(Ending::Failed)
            }
            Err(_) => Err(Ending::TooSlow),
        }
    }
}

/// The middleware of each review.
pub async fn guard(
    State((door, review)): State<(Arc<Door>, Review)>,
    request: Request,
    next: Next,
) -> Response {
    match door.enter(request, next).await {
        Ok(response) => response,
        Err(ending) => {
            door.metrics.ended(review, None, ending);
            refusal(ending)
        }
    }
}

fn refusal(ending: Ending) -> Response {
    let (code, text) = match ending {
        Ending::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many questions at once",
        ),
        Ending::TooSlow => (
            StatusCode::REQUEST_TIMEOUT,
            "the question was too long in coming",
        ),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the webhook failed at this question",
        ),
    };
    (code, text).into_response()
}
