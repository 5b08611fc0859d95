//! Every map, in ABI types, and the only code that reads or counts in them.

use core::{
    intrinsics::{AtomicOrdering, atomic_xadd},
    ptr,
};

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_sock_addr},
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, SkStorage},
    helpers::{
        bpf_get_prandom_u32, bpf_ktime_get_boot_ns,
        generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_netns_cookie},
    },
    macros::btf_map,
    programs::SockAddrContext,
};
use sluice_node_abi::{
    client,
    datagrams::Datagrams,
    keys::{Address, AffinityKey, ClassKey, FrontendKey},
    maps::{Setting, capacity},
    survey::Surveyed,
    tally::Tally,
    values::{
        Affinity, Backend, BackendRow, Caller, Class, Frontend, Group, NodeAddress, Port, Socket,
        Table, caller,
    },
    verdict::Verdict,
};

use crate::{choose::Tables, datagram, front::Fronts, sticky::Memory};

/// A power of two, and of pages. When it is full, its reader goes on after making room.
const SURVEY_BYTES: usize = 256 * 1024;
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
/// Memory for the rows that there are, instead of for all that there could be.
const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
static FRONTENDS: HashMap<FrontendKey, Frontend, { capacity::FRONTENDS as usize }> = HashMap::new();
#[btf_map]
static NODES: HashMap<Address, NodeAddress, { capacity::NODES as usize }> = HashMap::new();
#[btf_map]
static PORTS: Array<Port, { capacity::PORTS as usize }, MMAPABLE> = Array::new();
#[btf_map]
static TABLES: Array<Table, { capacity::TABLES as usize }, MMAPABLE> = Array::new();
#[btf_map]
static SLOTS: Array<u32, { capacity::SLOTS as usize }, MMAPABLE> = Array::new();
#[btf_map]
static GROUPS: Array<Group, { capacity::GROUPS as usize }, MMAPABLE> = Array::new();
#[btf_map]
static BACKENDS: Array<BackendRow, { capacity::BACKENDS as usize }, MMAPABLE> = Array::new();
#[btf_map]
static COUNTERS: Array<u64, { capacity::COUNTERS as usize }, MMAPABLE> = Array::new();
#[btf_map]
static CALLERS: HashMap<u64, Caller, { capacity::CALLERS as usize }> = HashMap::new();
#[btf_map]
static CLASSES: HashMap<ClassKey, Class, { capacity::CLASSES as usize }, ON_DEMAND> =
    HashMap::new();
#[btf_map]
static AFFINITY: LruHashMap<AffinityKey, Affinity, { capacity::AFFINITY as usize }> =
    LruHashMap::new();
#[btf_map]
static SETTINGS: Array<u64, { Setting::COUNT as usize }, MMAPABLE> = Array::new();
#[btf_map]
static VERDICTS: PerCpuArray<u64, { Verdict::ALL.len() }> = PerCpuArray::new();
#[btf_map]
static TALLIES: PerCpuArray<u64, { Tally::ALL.len() }> = PerCpuArray::new();
#[btf_map]
pub static SURVEY: RingBuf<Surveyed, SURVEY_BYTES> = RingBuf::new();
#[btf_map]
pub static SOCKETS: SkStorage<Socket> = SkStorage::new();
#[btf_map]
pub static DATAGRAMS: SkStorage<Datagrams> = SkStorage::new();

/// The maps as `choose` sees them, for one connect.
pub struct Kernel {
    port: u32,
    /// The caller's class, counted from 1; 0 for none.
    class: u32,
    sock_addr: *mut bpf_sock_addr,
}

impl Kernel {
    #[inline(always)]
    pub fn of(ctx: &SockAddrContext, port: u32, class: u32) -> Self {
        Self {
            port,
            class,
            sock_addr: ctx.sock_addr,
        }
    }

    /// For looking around: nobody connects.
    #[inline(always)]
    pub const fn of_nobody() -> Self {
        Self {
            port: 0,
            class: 0,
            sock_addr: ptr::null_mut(),
        }
    }

    #[inline(always)]
    fn affinity_key(&self) -> AffinityKey {
        AffinityKey {
            client: self.client(),
            port: self.port,
            class: self.class,
        }
    }
}

impl Memory for Kernel {
    #[inline(always)]
    fn recall(&self) -> Option<Affinity> {
        // SAFETY: the row is copied at once. Another CPU may write it meanwhile: what is torn names a
        // backend by another generation than its own, which nobody follows.
        unsafe { AFFINITY.get(&self.affinity_key()) }.copied()
    }

    #[inline(always)]
    fn remember(&self, affinity: &Affinity) {
        // Without memory for it, the client is not kept: a fault in balance, not in reach.
        let _ = AFFINITY.insert(&self.affinity_key(), affinity, 0);
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn holds(&self, root: u32, backend: u32) -> bool {
        datagram::holds(root, backend)
    }
}

impl Tables for Kernel {
    #[inline(always)]
    fn table(&self, id: u32) -> Option<&Table> {
        TABLES.get(id)
    }

    #[inline(always)]
    fn group(&self, id: u32) -> Option<&Group> {
        GROUPS.get(id)
    }

    #[inline(always)]
    fn backend(&self, id: u32) -> Option<&Backend> {
        backend(id)
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<u32> {
        SLOTS.get(index).copied()
    }

    /// A pod's network is its own, and as old as the pod; so nothing has to be known of it.
    #[inline(always)]
    fn client(&self) -> u64 {
        if self.sock_addr.is_null() {
            return client::HOST;
        }
        // SAFETY: the context is valid while the program runs.
        let network = unsafe { bpf_get_netns_cookie(self.sock_addr.cast()) };
        if network != setting(Setting::HostNetwork) {
            return network;
        }
        caller().map_or(client::HOST, |(cgroup, _)| client::of_pod(cgroup))
    }

    #[inline(always)]
    fn sockets(&self, backend: u32) -> u64 {
        BACKENDS.get(backend).map_or(0, |row| row.sockets)
    }

    /// Sequentially consistent on purpose: with a relaxed order LLVM 22 emits the add without fetch
    /// and hands out a constant. The kernel tier reads the generated instructions.
    #[inline(always)]
    fn tick(&self, counter: u32) -> Option<u64> {
        let word = COUNTERS.get_ptr_mut(counter)?;
        // SAFETY: the pointer is a live, aligned element of a shared array; all access is atomic.
        Some(unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(word, 1) })
    }

    #[inline(always)]
    fn count(&self, counter: u32) {
        if let Some(word) = COUNTERS.get_ptr_mut(counter) {
            // SAFETY: as in `tick`. The sum is not used, so the plain add is the right instruction here.
            unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, 1) };
        }
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_get_prandom_u32() }
    }
}

/// At most so many levels of the tree of cgroups have pods.
const LEVELS: u32 = 8;

/// The pod that runs, if it is told apart, by the id of its cgroup.
#[inline(always)]
fn caller() -> Option<(u64, Caller)> {
    let mut levels = setting(Setting::CallerLevels);
    for _ in 0..LEVELS {
        if levels == 0 {
            break;
        }
        // SAFETY: the helper has no preconditions.
        let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id((levels & 0xff) as i32) };
        // SAFETY: the row is copied at once.
        if let Some(caller) = unsafe { CALLERS.get(&cgroup) } {
            return Some((cgroup, *caller));
        }
        levels >>= 8;
    }
    None
}

/// The table of a port that serves the pod that runs.
#[inline(always)]
pub fn table_of(port: Port) -> u32 {
    if port.classes() == 0 {
        return port.root();
    }
    table_of_class(port.root())
}

/// A function of its own, so that it does not crowd the caller's stack.
#[inline(never)]
fn table_of_class(root: u32) -> u32 {
    let mut levels = setting(Setting::CallerLevels);
    for _ in 0..LEVELS {
        if levels == 0 {
            break;
        }
        // SAFETY: the helper has no preconditions.
        let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id((levels & 0xff) as i32) };
        let key = ClassKey {
            root,
            reserved: 0,
            cgroup,
        };
        match CLASSES.get_ptr(&key) {
            Some(row) => {
                // SAFETY: a live, aligned element, in one load: it may be written to meanwhile.
                let class = unsafe { ptr::read_volatile(row) };
                if class.root() == root {
                    return class.table();
                }
                // The row has become another's; the pod's is elsewhere now.
            }
            None => levels >>= 8,
        }
    }
    root
}

/// Whether the connects of the pod that runs are to be left alone.
#[inline(always)]
pub fn has_opted_out() -> bool {
    caller().is_some_and(|(_, row)| row.flags & caller::OPTED_OUT != 0)
}

/// The frontends as `front` sees them, for the process that runs.
pub struct View<'a>(pub &'a SockAddrContext);

impl Fronts for View<'_> {
    #[inline(always)]
    fn frontend(&self, key: &FrontendKey) -> Option<Frontend> {
        // SAFETY: the row is copied at once.
        unsafe { FRONTENDS.get(key) }.copied()
    }

    #[inline(always)]
    fn node(&self, address: &Address) -> Option<NodeAddress> {
        // SAFETY: as above.
        unsafe { NODES.get(address) }.copied()
    }

    #[inline(always)]
    fn is_in_host_network(&self) -> bool {
        // SAFETY: the context is valid while the program runs.
        let cookie = unsafe { bpf_get_netns_cookie(self.0.as_ptr()) };
        setting(Setting::HostNetwork) == cookie
    }
}

/// The port's word, in one load: user space swaps it in one store.
#[inline(always)]
pub fn port(id: u32) -> Option<Port> {
    let word = PORTS.get_ptr(id)?;
    // SAFETY: a live, aligned element. Volatile, so that neither half is read again later.
    let port = unsafe { ptr::read_volatile(word) };
    (port.generation() != 0).then_some(port)
}

#[inline(always)]
pub fn backend(id: u32) -> Option<&'static Backend> {
    BACKENDS.get(id).map(|row| &row.backend)
}

/// Counts an open socket of a backend.
#[inline(always)]
pub fn count_socket(backend: u32) {
    if let Some(row) = BACKENDS.get_ptr_mut(backend) {
        // SAFETY: a live, aligned element.
        unsafe { add(&raw mut (*row).sockets, 1) };
    }
}

/// Counts one less. A row that has lost count goes no further than to none: what is below would be owed by
/// the next sockets.
#[inline(always)]
pub fn uncount_socket(backend: u32) {
    if let Some(row) = BACKENDS.get_ptr_mut(backend) {
        // SAFETY: a live, aligned element; volatile, since others write it too.
        unsafe {
            let sockets = &raw mut (*row).sockets;
            if ptr::read_volatile(sockets) as i64 > 0 {
                add(sockets, MINUS_ONE);
            }
        }
    }
}

/// Adding this wraps around to one less.
const MINUS_ONE: u64 = u64::MAX;

/// # Safety
/// `word` is a live, aligned word of a map.
#[inline(always)]
unsafe fn add(word: *mut u64, change: u64) {
    // SAFETY: by the contract; all access in the kernel is atomic. The sum is not used, so the plain add is the
    // right instruction here.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, change) };
}

#[inline(always)]
pub fn off() -> bool {
    setting(Setting::Off) != 0
}

#[inline(always)]
fn setting(setting: Setting) -> u64 {
    SETTINGS.get(setting as u32).copied().unwrap_or_default()
}

#[inline(always)]
pub fn count_verdict(verdict: Verdict) {
    if let Some(count) = VERDICTS.get_ptr_mut(verdict as u32) {
        // SAFETY: a live element of this CPU's own array; programs do not migrate while they run.
        unsafe { *count += 1 };
    }
}

#[inline(always)]
pub fn count(tally: Tally) {
    if let Some(count) = TALLIES.get_ptr_mut(tally as u32) {
        // SAFETY: as in `count_verdict`.
        unsafe { *count += 1 };
    }
}
