//! One kind: list, watch from there, and again from where it broke.
//!
//! A watch ends by the server's hand after half a minute and goes on at the last version seen. So a
//! connection on which nothing comes for a little longer is dead, and the next watch takes another.

use std::{collections::BTreeSet, error::Error, fmt, fmt::Debug, time::Duration};

use futures_util::{StreamExt, pin_mut};
use k8s_openapi::{jiff::Timestamp, serde::de::DeserializeOwned};
use kube::{
    Api, Resource,
    api::{ListParams, WatchEvent, WatchParams},
};
use sluice_model::{
    change::{Change, Object},
    key::{Kind, Name, Subject},
};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep, timeout},
};
use tracing::debug;

use super::{
    Told, Trouble, What,
    pause::{Pause, jittered},
};
use crate::client::Server;

/// Objects per page of a list: so many whole ones are in memory at a time.
const PAGE: u32 = 500;

/// After so many seconds the server ends a watch; a part of it at random, lest all end together.
const WATCH_SECONDS: std::ops::RangeInclusive<u32> = 25..=35;
/// Beyond that, a server that says nothing is taken for gone.
const GRACE: Duration = Duration::from_secs(5);
/// How long a watch may take to open. The connection for it may be one that is dead already.
const OPEN: Duration = Duration::from_secs(15);
/// A watch that ends sooner, and without a word, is followed by a pause.
const BRIEF: Duration = Duration::from_secs(5);
/// How often a kind that is not served is asked for.
const ABSENT: Duration = Duration::from_secs(10);

const GONE: u16 = 410;
const NOT_FOUND: u16 = 404;

/// The watch of one kind and what is known of how it goes.
pub(super) struct Follow {
    kind: Kind,
    to: Sender<Told>,
    /// Said with the trouble as long as nothing was listed.
    hint: &'static str,
    pause: Pause,
    last_heard: Option<Timestamp>,
    listed: bool,
    troubled: bool,
    /// How often in a row the API server said that there is no such kind.
    absences: u32,
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

impl Follow {
    pub(super) fn new(server: &Server, kind: Kind, to: Sender<Told>) -> Self {
        let hint = if server.through_service {
            "; if Sluice itself is to carry the Service of the API server, name a way past it with --api-server"
        } else {
            ""
        };
        Self {
            kind,
            to,
            hint,
            pause: Pause::default(),
            last_heard: None,
            listed: false,
            troubled: false,
            absences: 0,
        }
    }

    /// Follows the kind until nobody listens.
    pub(super) async fn run<K>(
        mut self,
        api: Api<K>,
        fields: Option<String>,
        read: fn(&K) -> Option<Object>,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        loop {
            let Ok(version) = self.list(&api, fields.as_deref(), read).await else {
                return;
            };
            let Ok(()) = self.watch(&api, fields.as_deref(), version, read).await else {
                return;
            };
        }
    }

    /// Lists until that works; gives the version to watch from.
    async fn list<K>(
        &mut self,
        api: &Api<K>,
        fields: Option<&str>,
        read: fn(&K) -> Option<Object>,
    ) -> Result<String, Deaf>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        loop {
            match whole_list(api, fields, read).await {
                Ok((objects, version)) => {
                    self.absences = 0;
                    self.pause.reset();
                    self.tell_list(objects).await?;
                    return Ok(version);
                }
                Err(error) if self.is_absence(&error) => {
                    self.absences += 1;
                    // What was there is believed to be gone when it is said twice.
                    if self.absences == 2 || !self.listed {
                        self.tell_list(Vec::new()).await?;
                    }
                    sleep(jittered(ABSENT)).await;
                }
                Err(error) => {
                    self.tell_trouble(describe(&error)).await?;
                    sleep(self.pause.next()).await;
                }
            }
        }
    }

    /// Watches from this version on; returns when only a new list helps.
    async fn watch<K>(
        &mut self,
        api: &Api<K>,
        fields: Option<&str>,
        mut version: String,
        read: fn(&K) -> Option<Object>,
    ) -> Result<(), Deaf>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        loop {
            let began = Instant::now();
            let from = version.clone();
            let end = self.watch_once(api, fields, &mut version, read).await?;
            if version != from || began.elapsed() > BRIEF {
                self.pause.reset();
            }
            match end {
                End::Closed if version != from || began.elapsed() > BRIEF => continue,
                End::Closed => debug!(kind = %self.kind, "a watch was closed at once"),
                End::Broken(text) => self.tell_trouble(text).await?,
                End::Lost(None) => return Ok(()),
                End::Lost(Some(text)) => {
                    self.tell_trouble(text).await?;
                    sleep(self.pause.next()).await;
                    return Ok(());
                }
            }
            sleep(self.pause.next()).await;
        }
    }

    async fn watch_once<K>(
        &mut self,
        api: &Api<K>,
        fields: Option<&str>,
        version: &mut String,
        read: fn(&K) -> Option<Object>,
    ) -> Result<End, Deaf>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        let seconds = fastrand::u32(WATCH_SECONDS);
        let silence = Duration::from_secs(seconds.into()) + GRACE;
        let params = WatchParams {
            field_selector: fields.map(str::to_owned),
            timeout: Some(seconds),
            ..WatchParams::default()
        };
        let silent =
            |time: Duration| format!("the API server said nothing for {} s", time.as_secs());
        let events = match timeout(OPEN, api.watch(&params, version)).await {
            Err(_) => return Ok(End::Broken(silent(OPEN))),
            Ok(Err(error)) if code(&error) == Some(GONE) || self.is_absence(&error) => {
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
            let change = match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    note(version, object.meta().resource_version.clone());
                    read(&object).map(Change::Set)
                }
                Ok(WatchEvent::Deleted(object)) => {
                    note(version, object.meta().resource_version.clone());
                    let kind = self.kind;
                    Name::of(object.meta()).map(|name| Change::Gone(Subject { kind, name }))
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
            if let Some(change) = change {
                self.tell(What::Changes(vec![change])).await?;
            }
        }
    }

    /// Only a kind that a CRD defines can be absent. From a server that does not know Services,
    /// nothing is to be learned about them.
    fn is_absence(&self, error: &kube::Error) -> bool {
        self.kind == Kind::TrafficSplit && code(error) == Some(NOT_FOUND)
    }

    async fn tell_list(&mut self, objects: Vec<Object>) -> Result<(), Deaf> {
        let subjects: BTreeSet<_> = objects.iter().map(Object::subject).collect();
        let mut changes: Vec<_> = objects.into_iter().map(Change::Set).collect();
        changes.push(Change::Relisted(self.kind, subjects));
        self.tell(What::Changes(changes)).await?;
        self.listed = true;
        self.tell_well().await
    }

    async fn tell_trouble(&mut self, text: String) -> Result<(), Deaf> {
        self.troubled = true;
        let hint = if self.listed { "" } else { self.hint };
        let since = self.last_heard;
        let text = format!("{text}{hint}");
        self.tell(What::Trouble(Trouble { since, text })).await
    }

    async fn tell_well(&mut self) -> Result<(), Deaf> {
        self.last_heard = Some(Timestamp::now());
        if std::mem::take(&mut self.troubled) {
            self.tell(What::Well).await?;
        }
        Ok(())
    }

    async fn tell(&self, what: What) -> Result<(), Deaf> {
        let kind = self.kind;
        let told = self.to.send(Told { kind, what }).await;
        told.map_err(|_| Deaf)
    }
}

/// Every object of a kind, page by page, and the version that this is a view of.
async fn whole_list<K>(
    api: &Api<K>,
    fields: Option<&str>,
    read: fn(&K) -> Option<Object>,
) -> kube::Result<(Vec<Object>, String)>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().limit(PAGE);
    params.field_selector = fields.map(str::to_owned);
    let mut objects = Vec::new();
    loop {
        let page = api.list(&params).await?;
        objects.extend(page.items.iter().filter_map(read));
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok((objects, page.metadata.resource_version.unwrap_or_default()));
        }
    }
}

fn note(version: &mut String, seen: Option<String>) {
    if let Some(seen) = seen.filter(|seen| !seen.is_empty()) {
        *version = seen;
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// In one line, with everything that led to it.
fn describe(error: &kube::Error) -> String {
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
