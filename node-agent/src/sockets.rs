//! Ends sockets whose backend has gone.
//!
//! A connected UDP socket goes on sending to the backend that it was given, also when nobody is there any
//! more: a resolver may keep one for days. So it is ended, its owner reads an error, and its next connect
//! finds a backend that is there. This is a reconciler: it looks at what sockets there are and at
//! what is wanted, not at events, so that what it could not do or did not see is done by the next look.
//!
//! It never ends a socket that is not connected, or one that an application opened straight to a
//! backend: such a socket carries nothing of ours and does not lead to a frontend. One that leads to a
//! *frontend* and carries nothing was connected before our programs were there: it may be with any
//! backend that the frontend had since it was first seen, so it is ended when one of these goes. But one of
//! a pod that opted out carries nothing because it is not ours, and is left alone.

pub mod judge;
pub mod spaces;

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use sluice_model::key::Frontend;
use sluice_node_abi::values::Socket;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use crate::{
    agent::{Ended, Handle},
    callers,
    diag::{Connected, Diag, Family, Protocol},
    maps::Maps,
    program::Survey,
};
use judge::{Found, Judgement, Scope, Service};
use spaces::Space;

/// Between two looks at least, however fast the agent passes.
const PAUSE: Duration = Duration::from_millis(200);
/// After a change, and while something fails: a connect that was on its way had not shown itself.
const AGAIN: Duration = Duration::from_secs(1);

/// What came of looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub looks: u64,
    pub ended_udp: u64,
    pub ended_tcp: u64,
    pub failed: u64,
}

/// Watches over the sockets of a node.
pub struct Sockets<M> {
    agent: Handle<M>,
    /// Told after each turn of the agent.
    turns: watch::Receiver<()>,
    cgroup_root: PathBuf,
    /// What our programs keep in sockets.
    storage: Arc<Storage>,
    idle: Duration,
    /// Sockets from before our programs, by namespace and cookie, with the backends that they may be with.
    before: HashMap<(u64, u64), BTreeSet<SocketAddr>>,
    obstacle: Option<String>,
}

/// The ways to what our programs keep in sockets: by the map for TCP, by the survey for UDP.
pub struct Storage {
    pub map: OwnedFd,
    pub survey: Mutex<Survey>,
}

/// The sockets of one network namespace.
struct Seen {
    space: Space,
    sockets: Vec<Connected>,
}

/// What one thread found in all namespaces.
#[derive(Default)]
struct View {
    seen: Vec<Seen>,
    failures: Vec<io::Error>,
}

impl<M: Maps + 'static> Sockets<M> {
    /// Looks after every turn of the agent, and at least once in `idle`.
    pub fn new(
        agent: Handle<M>,
        turns: watch::Receiver<()>,
        cgroup_root: PathBuf,
        storage: Storage,
        idle: Duration,
    ) -> Self {
        Self {
            agent,
            turns,
            cgroup_root,
            storage: Arc::new(storage),
            idle,
            before: HashMap::new(),
            obstacle: None,
        }
    }

    /// Looks until the agent ends.
    pub async fn run(mut self) {
        let mut changed = true;
        loop {
            let began = Instant::now();
            self.turns.borrow_and_update();
            let Ok(look) = self.look().await else { return };
            let next = if changed || look.failed > 0 {
                AGAIN
            } else {
                self.idle
            };
            changed = tokio::select! {
                turned = self.turns.changed() => match turned {
                    Ok(()) => true,
                    Err(_) => return,
                },
                () = sleep_until(began + next) => false,
            };
            sleep_until(began + PAUSE).await;
        }
    }

    /// One look at everything; ends what has to end.
    pub async fn look(&mut self) -> Result<Look, Ended> {
        let scope = self.agent.ask(|agent| judge::scope(agent)).await?;
        let view = self.view(scope).await;
        let wanted = view.seen.iter().flat_map(|seen| &seen.sockets);
        let wanted: BTreeSet<Frontend> = wanted.filter_map(judge::frontend_of).collect();
        let judgement = self
            .agent
            .ask(move |agent| judge::judge(agent, &wanted))
            .await?;
        let Some(judgement) = judgement else {
            return Ok(Look::default());
        };
        let View { seen, failures } = view;
        let condemned = self.condemn(seen, &judgement);
        let (mut look, mut failed) = end_all(condemned).await;
        look.looks = 1;
        look.failed += failures.len() as u64;
        failed.extend(failures);
        self.tell(look, &failed);
        self.agent.ask(move |agent| agent.looked(look)).await?;
        Ok(look)
    }

    async fn view(&self, scope: Scope) -> View {
        let (root, storage) = (self.cgroup_root.clone(), Arc::clone(&self.storage));
        let view = on_a_thread(move || {
            // First: a socket that is connected meanwhile is then not known, and left alone.
            let kept = storage.kept()?;
            let mut view = View::default();
            let (spaces, failures) = spaces::below(&root);
            view.failures.extend(failures);
            let opted_out = callers::within(&root, &scope.opted_out);
            let is_not_ours = |socket: &Connected| {
                let is_apart = |cgroup| opted_out.contains(&cgroup);
                socket.state.is_none() && socket.cgroup.is_some_and(is_apart)
            };
            for space in spaces {
                match list(&space, scope.with_tcp, &storage.map, &kept) {
                    Ok(mut sockets) => {
                        sockets.retain(|socket| !is_not_ours(socket));
                        view.seen.push(Seen { space, sockets });
                    }
                    Err(error) => view.failures.push(error),
                }
            }
            Ok(view)
        });
        let view = view.await.and_then(|view| view);
        view.unwrap_or_else(|error| View {
            seen: Vec::new(),
            failures: vec![error],
        })
    }

    /// Keeps the sockets that have to end, and remembers those of before our programs.
    fn condemn(&mut self, seen: Vec<Seen>, judgement: &Judgement) -> Vec<Seen> {
        let mut before = HashMap::new();
        let mut condemned = Vec::new();
        for Seen { space, mut sockets } in seen {
            sockets.retain(|socket| {
                let found = judge::frontend_of(socket).map(|front| judgement.of(&front));
                match found {
                    None | Some(Found::Unknown) => false,
                    Some(found) if socket.state.is_some() => {
                        judge::is_stale(socket.protocol, socket.peer(), found)
                    }
                    Some(found) if socket.protocol == Protocol::Udp => {
                        let key = (space.id, socket.cookie());
                        let known = self.before.remove(&key);
                        let known = known.or_else(|| match found {
                            Found::Service(Service { backends, .. }) => Some(backends.clone()),
                            Found::Gone | Found::Unknown => None,
                        });
                        let Some(known) = known else { return false };
                        let lost = judge::has_lost(&known, found);
                        before.insert(key, known);
                        lost
                    }
                    Some(_) => false,
                }
            });
            if !sockets.is_empty() {
                condemned.push(Seen { space, sockets });
            }
        }
        self.before = before;
        condemned
    }

    /// Says what was done, and what stands in the way once for as long as it does.
    fn tell(&mut self, look: Look, failures: &[io::Error]) {
        if look.ended_udp + look.ended_tcp > 0 {
            let Look {
                ended_udp: udp,
                ended_tcp: tcp,
                ..
            } = look;
            info!(udp, tcp, "ended sockets whose backend has gone");
        }
        let obstacle = failures.first().map(ToString::to_string);
        if obstacle != self.obstacle {
            if let Some(obstacle) = &obstacle {
                let failed = failures.len();
                warn!(failed, obstacle, "cannot look after all sockets");
            }
            self.obstacle = obstacle;
        }
    }
}

impl Storage {
    /// By the sockets' cookies.
    fn kept(&self) -> io::Result<HashMap<u64, Socket>> {
        let mut survey = self.survey.lock().unwrap_or_else(PoisonError::into_inner);
        let told = survey.read()?;
        Ok(told
            .into_iter()
            .map(|told| (told.cookie, told.state))
            .collect())
    }
}

fn list(
    space: &Space,
    with_tcp: bool,
    storage: &OwnedFd,
    kept: &HashMap<u64, Socket>,
) -> io::Result<Vec<Connected>> {
    space.enter()?;
    let diag = Diag::open()?;
    let mut found = Vec::new();
    for family in Family::ALL {
        let datagrams = diag.connected(family, Protocol::Udp, storage.as_fd())?;
        found.extend(datagrams.into_iter().map(|mut socket| {
            socket.state = kept.get(&socket.cookie()).copied();
            socket
        }));
        if with_tcp {
            found.extend(diag.connected(family, Protocol::Tcp, storage.as_fd())?);
        }
    }
    Ok(found)
}

async fn end_all(condemned: Vec<Seen>) -> (Look, Vec<io::Error>) {
    if condemned.is_empty() {
        return (Look::default(), Vec::new());
    }
    let ended = on_a_thread(move || {
        let (mut look, mut failures) = (Look::default(), Vec::new());
        for Seen { space, sockets } in condemned {
            let diag = space.enter().and_then(|()| Diag::open());
            for socket in sockets {
                let ended = match &diag {
                    Ok(diag) => diag.end(&socket),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                };
                match (ended, socket.protocol) {
                    (Ok(false), _) => {}
                    (Ok(true), Protocol::Udp) => look.ended_udp += 1,
                    (Ok(true), Protocol::Tcp) => look.ended_tcp += 1,
                    (Err(error), _) => {
                        look.failed += 1;
                        failures.push(error);
                    }
                }
            }
        }
        (look, failures)
    });
    ended.await.unwrap_or_else(|error| {
        (
            Look {
                failed: 1,
                ..Look::default()
            },
            vec![error],
        )
    })
}

/// Runs on a thread that ends with the work: it may go from one network namespace to another.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, done) = oneshot::channel();
    thread::Builder::new()
        .name("sockets".to_owned())
        .spawn(move || {
            // Fails only when the one who asked went away.
            let _ = sender.send(work());
        })?;
    done.await.map_err(io::Error::other)
}
