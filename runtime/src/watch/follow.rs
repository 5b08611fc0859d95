//! One kind: list, watch from there, and again from where it broke.
//!
//! A watch ends by the server's hand after half a minute and goes on at the last version seen. So a
//! connection on which nothing comes for a little longer is dead, and the next watch takes another.

use std::{error::Error, fmt, fmt::Debug, time::Duration};

use futures_util::{Stream, StreamExt, pin_mut};
use k8s_openapi::{jiff::Timestamp, serde::de::DeserializeOwned};
use kube::{
    Resource,
    api::{ListParams, WatchEvent, WatchParams},
    core::{ObjectList, Request},
};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep, timeout},
};
use tracing::debug;

use super::{
    Asked, Heard, Trouble,
    absence::{self, code},
    loose::Loose,
};
use crate::pause::{Pause, jittered};

/// Objects per page of a list: so many whole ones are in memory at a time.
const PAGE: u32 = 500;

/// After so many seconds the server ends a watch; a part of it at random, lest all end together.
const WATCH_SECONDS: std::ops::RangeInclusive<u32> = 25..=35;
/// Beyond that, a server that says nothing is taken for gone.
const GRACE: Duration = Duration::from_secs(5);
/// How long a watch may take to open. The connection for it may be one that is dead already.
const OPEN: Duration = Duration::from_secs(15);
/// A watch that ends sooner did not live: the pauses between such watches grow.
const BRIEF: Duration = Duration::from_secs(5);
/// How often a kind that is not served is asked for.
const ABSENT: Duration = Duration::from_secs(10);
/// How long after the first time a server is asked a second time whether it serves a kind.
const DOUBT: Duration = Duration::from_secs(3);

const GONE: u16 = 410;

/// Makes of what is heard what the reader wants to be told.
pub(super) type Wrap<T, M> = Box<dyn Fn(Heard<T>) -> M + Send + Sync>;

/// Keeps what matters of an object.
pub(super) type Read<K, T> = dyn Fn(&K) -> Option<T> + Send + Sync;

/// The watch of one kind and what is known of how it goes. What it hears it wraps for the reader.
pub(super) struct Follow<T, M> {
    to: Sender<M>,
    wrap: Wrap<T, M>,
    /// Said with the trouble as long as nothing was listed.
    hint: &'static str,
    /// Between lists that fail.
    listing: Pause,
    /// Between watches that end too soon, also when lists between them succeed.
    watching: Pause,
    last_heard: Option<Timestamp>,
    listed: bool,
    troubled: bool,
}

/// How a watch ended.
enum End {
    /// By the server, in good order.
    Closed,
    /// It goes on from the last version.
    Broken(String),
    /// Only a new list helps.
    Lost(Option<String>),
}

/// Nobody listens any more.
struct Deaf;

impl<T, M> Follow<T, M> {
    pub(super) fn new(through_service: bool, to: Sender<M>, wrap: Wrap<T, M>) -> Self {
        let hint = if through_service {
            "; if Sluice itself is to carry the Service of the API server, name a way past it with --api-server"
        } else {
            ""
        };
        Self {
            to,
            wrap,
            hint,
            listing: Pause::default(),
            watching: Pause::default(),
            last_heard: None,
            listed: false,
            troubled: false,
        }
    }

    /// Follows the kind until nobody listens.
    pub(super) async fn run<K>(mut self, asked: Asked<K>, read: Box<Read<K, T>>)
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        loop {
            let Ok(version) = self.list(&asked, &*read).await else {
                return;
            };
            let Ok(()) = self.watch(&asked, version, &*read).await else {
                return;
            };
        }
    }

    /// Lists until that works; gives the version to watch from.
    async fn list<K>(&mut self, asked: &Asked<K>, read: &Read<K, T>) -> Result<String, Deaf>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        // How often in a row the API server said that there is no such kind.
        let mut absences = 0;
        loop {
            match whole_list(asked, read).await {
                Ok((objects, version)) => {
                    self.listing.reset();
                    self.tell_list(objects).await?;
                    return Ok(version);
                }
                Err(error) if asked.lacks(&error) => match absence::confirm(asked).await {
                    Ok(()) => {
                        absences += 1;
                        match absences {
                            1 => self.tell_trouble(describe(&error)).await?,
                            2 => self.tell_list(Vec::new()).await?,
                            _ => self.tell_well().await?,
                        }
                        let pause = if absences == 1 { DOUBT } else { ABSENT };
                        sleep(jittered(pause)).await;
                    }
                    Err(doubt) => {
                        absences = 0;
                        self.tell_trouble(format!("{}, but {doubt}", describe(&error)))
                            .await?;
                        sleep(self.listing.longer()).await;
                    }
                },
                Err(error) => {
                    absences = 0;
                    self.tell_trouble(describe(&error)).await?;
                    sleep(self.listing.longer()).await;
                }
            }
        }
    }

    /// Watches from this version on; returns when only a new list helps.
    async fn watch<K>(
        &mut self,
        asked: &Asked<K>,
        mut version: String,
        read: &Read<K, T>,
    ) -> Result<(), Deaf>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        loop {
            let began = Instant::now();
            let from = version.clone();
            let end = self.watch_once(asked, &mut version, read).await?;
            let lived = began.elapsed() > BRIEF;
            if lived {
                self.watching.reset();
            }
            match end {
                End::Closed if lived || version != from => continue,
                End::Closed => debug!(
                    path = asked.api.resource_url(),
                    "a watch was closed at once"
                ),
                End::Broken(text) => self.tell_trouble(text).await?,
                End::Lost(text) => {
                    debug!(path = asked.api.resource_url(), version, "lists anew");
                    if let Some(text) = text {
                        self.tell_trouble(text).await?;
                    }
                    sleep(self.watching.longer()).await;
                    return Ok(());
                }
            }
            sleep(self.watching.longer()).await;
        }
    }

    async fn watch_once<K>(
        &mut self,
        asked: &Asked<K>,
        version: &mut String,
        read: &Read<K, T>,
    ) -> Result<End, Deaf>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        let seconds = fastrand::u32(WATCH_SECONDS);
        let silence = Duration::from_secs(seconds.into()) + GRACE;
        let params = WatchParams {
            field_selector: asked.fields.clone(),
            timeout: Some(seconds),
            ..WatchParams::default()
        };
        let silent =
            |time: Duration| format!("the API server said nothing for {} s", time.as_secs());
        let events = match timeout(OPEN, events(asked, &params, version)).await {
            Err(_) => return Ok(End::Broken(silent(OPEN))),
            Ok(Err(error)) if code(&error) == Some(GONE) || asked.lacks(&error) => {
                return Ok(End::Lost(None));
            }
            Ok(Err(error)) => return Ok(End::Broken(describe(&error))),
            Ok(Ok(events)) => events,
        };
        self.tell_well().await?;
        pin_mut!(events);
        loop {
            let event = match timeout(silence, events.next()).await {
                Err(_) => return Ok(End::Broken(silent(silence))),
                Ok(None) => return Ok(End::Closed),
                Ok(Some(event)) => event,
            };
            let heard = match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    note(version, object.version());
                    object.heard(read)
                }
                Ok(WatchEvent::Deleted(object)) => {
                    note(version, object.version());
                    object.name().map(Heard::Gone)
                }
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    note(version, Some(bookmark.metadata.resource_version));
                    None
                }
                Ok(WatchEvent::Error(status)) if status.code == GONE => return Ok(End::Lost(None)),
                Ok(WatchEvent::Error(status)) => {
                    return Ok(End::Lost(Some(describe(&kube::Error::Api(status)))));
                }
                Err(error @ (kube::Error::SerdeError(_) | kube::Error::Api(_))) => {
                    return Ok(End::Lost(Some(describe(&error))));
                }
                Err(error) => return Ok(End::Broken(describe(&error))),
            };
            self.last_heard = Some(Timestamp::now());
            if let Some(heard) = heard {
                self.tell(heard).await?;
            }
        }
    }

    async fn tell_list(&mut self, objects: Vec<T>) -> Result<(), Deaf> {
        self.tell(Heard::Listed(objects)).await?;
        self.listed = true;
        self.tell_well().await
    }

    async fn tell_trouble(&mut self, text: String) -> Result<(), Deaf> {
        self.troubled = true;
        let hint = if self.listed { "" } else { self.hint };
        let since = self.last_heard;
        let text = format!("{text}{hint}");
        self.tell(Heard::Trouble(Trouble { since, text })).await
    }

    async fn tell_well(&mut self) -> Result<(), Deaf> {
        self.last_heard = Some(Timestamp::now());
        if std::mem::take(&mut self.troubled) {
            self.tell(Heard::Well).await?;
        }
        Ok(())
    }

    async fn tell(&self, heard: Heard<T>) -> Result<(), Deaf> {
        let told = self.to.send((self.wrap)(heard)).await;
        told.map_err(|_| Deaf)
    }
}

/// Every object of a kind, page by page, and the version that this is a view of.
async fn whole_list<K, T>(asked: &Asked<K>, read: &Read<K, T>) -> kube::Result<(Vec<T>, String)>
where
    K: Resource + Clone + DeserializeOwned,
{
    let mut params = ListParams::default().limit(PAGE);
    params.field_selector.clone_from(&asked.fields);
    let mut objects = Vec::new();
    loop {
        let page = page(asked, &params).await?;
        let readable = page.items.iter().filter_map(Loose::readable);
        objects.extend(readable.filter_map(read));
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok((objects, page.metadata.resource_version.unwrap_or_default()));
        }
    }
}

async fn page<K>(asked: &Asked<K>, params: &ListParams) -> kube::Result<ObjectList<Loose<K>>>
where
    K: Resource + Clone + DeserializeOwned,
{
    let request = Request::new(asked.api.resource_url()).list(params);
    let request = request.map_err(kube::Error::BuildRequest)?;
    asked.api.clone().into_client().request(request).await
}

/// What happened to objects of a kind after this version.
async fn events<K>(
    asked: &Asked<K>,
    params: &WatchParams,
    version: &str,
) -> kube::Result<impl Stream<Item = kube::Result<WatchEvent<Loose<K>>>> + use<K>>
where
    K: Resource + Clone + DeserializeOwned,
{
    let request = Request::new(asked.api.resource_url()).watch(params, version);
    let request = request.map_err(kube::Error::BuildRequest)?;
    let client = asked.api.clone().into_client();
    client.request_events(request).await
}

fn note(version: &mut String, seen: Option<String>) {
    if let Some(seen) = seen.filter(|seen| !seen.is_empty()) {
        *version = seen;
    }
}

/// In one line, with everything that led to it.
pub(super) fn describe(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} {}: {}", status.code, status.reason, status.message);
    }
    let mut text = String::new();
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        // Many print their source themselves.
        if !text.contains(&part) {
            let separator = if text.is_empty() { "" } else { ": " };
            let _ = fmt::Write::write_fmt(&mut text, format_args!("{separator}{part}"));
        }
        next = error.source();
    }
    text
}
