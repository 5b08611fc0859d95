//! Ends sockets whose backend has gone, and connections that a shift of weights moves elsewhere.
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
//!
//! TCP connections stay where they are, unless their Service wants them to end with their backend, or a split whose
//! weights have changed wants some of them moved: see [`shifts`].

mod end;
pub mod judge;
pub mod moving;
pub mod shifts;
pub mod spaces;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

use sluice_model::key::Frontend;
use sluice_node_abi::{client, values::Socket};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use crate::{
    agent::{Ended, Handle},
    callers,
    diag::{Connected, Diag, Family, Protocol},
    maps::Maps,
    node,
    program::Survey,
};
use end::{Condemned, on_a_thread};
use judge::{Found, Judgement, Scope, Service};
use shifts::{Live, Shifts, Wishes};
use spaces::Space;

/// Between two looks at least, however fast the agent passes.
const PAUSE: Duration = Duration::from_millis(200);
/// After a change, while something fails (a connect that was on its way had not shown itself), and while a shift goes on.
const AGAIN: Duration = Duration::from_secs(1);

/// What came of looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub looks: u64,
    pub ended_udp: u64,
    pub ended_tcp: u64,
    /// Connections that were ended because weights had shifted.
    pub shifted: u64,
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
    shifts: Shifts,
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
    /// Its cookie, unless it is the host's.
    network: Option<u64>,
    sockets: Vec<Connected>,
}

/// What one thread found in all namespaces.
#[derive(Default)]
struct View {
    seen: Vec<Seen>,
    /// By cgroup, in or below that of a pod that something is different about: the pod's.
    pods: BTreeMap<u64, u64>,
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
            shifts: Shifts::default(),
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
            let next = if changed || look.failed > 0 || self.shifts.is_any_under_way() {
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
        let asked = self.agent.ask(|agent| {
            // Nothing is asked for before everything was heard: it would all be new afterwards.
            agent.index().snapshot()?;
            Some((judge::scope(agent), Wishes::of(agent)))
        });
        let Some((mut scope, wishes)) = asked.await? else {
            return Ok(Look::default());
        };
        // Later than the writes, so that what was opened from now on has been chosen by what is asked for.
        let now = since_boot();
        let shifted = self.shifts.note(wishes, now);
        scope.with_tcp |= !shifted.is_empty();
        let view = self.view(scope).await;
        let wanted = view.seen.iter().flat_map(|seen| &seen.sockets);
        let wanted: BTreeSet<Frontend> = wanted.filter_map(judge::frontend_of).collect();
        let judgement = self
            .agent
            .ask(move |agent| judge::judge(agent, &wanted, &shifted))
            .await?;
        let Some(judgement) = judgement else {
            return Ok(Look::default());
        };
        let live = live(&view, &judgement);
        let View { seen, failures, .. } = view;
        // Who was not seen is not gone.
        let moved = if failures.is_empty() {
            self.shifts.look(&judgement.moving, &live, now)
        } else {
            BTreeSet::new()
        };
        let condemned = self.condemn(seen, &judgement, &moved);
        let (mut look, mut failed) = end::all(condemned).await;
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
            let pods = if scope.with_tcp {
                &scope.callers
            } else {
                &scope.opted_out
            };
            view.pods = callers::within(&root, pods);
            let is_not_ours = |socket: &Connected| {
                let pod = socket.cgroup.and_then(|cgroup| view.pods.get(&cgroup));
                socket.state.is_none() && pod.is_some_and(|pod| scope.opted_out.contains(pod))
            };
            let host = node::network_cookie()?;
            let mut seen = Vec::new();
            for space in spaces {
                match list(&space, scope.with_tcp, host, &storage.map, &kept) {
                    Ok((network, mut sockets)) => {
                        sockets.retain(|socket| !is_not_ours(socket));
                        seen.push(Seen {
                            space,
                            network,
                            sockets,
                        });
                    }
                    Err(error) => view.failures.push(error),
                }
            }
            view.seen = seen;
            Ok(view)
        });
        let view = view.await.and_then(|view| view);
        view.unwrap_or_else(|error| View {
            failures: vec![error],
            ..View::default()
        })
    }

    /// Keeps the sockets that have to end, and remembers those of before our programs.
    fn condemn(
        &mut self,
        seen: Vec<Seen>,
        judgement: &Judgement,
        moved: &BTreeSet<u64>,
    ) -> Vec<Condemned> {
        let mut before = HashMap::new();
        let mut condemned = Vec::new();
        for Seen {
            space, mut sockets, ..
        } in seen
        {
            let shifted = sockets.iter();
            let shifted = shifted.filter(|socket| moved.contains(&socket.cookie()));
            let shifted: Vec<_> = shifted.copied().collect();
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
            if !sockets.is_empty() || !shifted.is_empty() {
                condemned.push(Condemned {
                    space,
                    gone: sockets,
                    shifted,
                });
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
        if look.shifted > 0 {
            let connections = look.shifted;
            info!(connections, "ended connections, since weights have shifted");
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
    host: u64,
    storage: &OwnedFd,
    kept: &HashMap<u64, Socket>,
) -> io::Result<(Option<u64>, Vec<Connected>)> {
    space.enter()?;
    let network = node::network_cookie()?;
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
    Ok((Some(network).filter(|network| *network != host), found))
}

/// The connections that shifts have to do with.
fn live(view: &View, judgement: &Judgement) -> Live {
    let mut live = Live::new();
    if judgement.moving.is_empty() {
        return live;
    }
    let seen = view.seen.iter();
    let sockets = seen.flat_map(|seen| seen.sockets.iter().map(|socket| (seen.network, socket)));
    for (network, socket) in sockets {
        if socket.protocol != Protocol::Tcp || socket.state.is_none() {
            continue;
        }
        let front = judge::frontend_of(socket);
        let Some(moving) = front.and_then(|front| judgement.moving_at(&front)) else {
            continue;
        };
        let pod = socket.cgroup.and_then(|cgroup| view.pods.get(&cgroup));
        let pod = pod.copied();
        let client = match network {
            Some(network) => network,
            None => pod.map_or(client::HOST, client::of_pod),
        };
        moving.add_to(&mut live, socket, client, pod);
    }
    live
}

/// By the clock that the programs note the times of connects by.
fn since_boot() -> Duration {
    // It fails for clocks that there are none of.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}
