//! Which cgroup belongs to which pod: read from the tree that kubelet keeps, and followed.
//!
//! Kubelet puts a pod's uid into the name of the pod's own cgroup, below one that is called after
//! `kubepods`, with either driver. Folders come and go by mkdir and rmdir, which inotify tells; what a pod
//! has inside of its cgroup does not matter. A pod that is not known yet is an ordinary caller.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::debug;

/// How deep below the root kubelet's folders can be, as in a node that is a container itself.
const DEPTH: usize = 8;

/// What a walk through the tree found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The id of each pod's own cgroup, by the pod's uid.
    pub pods: BTreeMap<Arc<str>, u64>,
    /// How deep in the whole tree these cgroups are; few, since kubelet is regular.
    pub levels: BTreeSet<u8>,
    /// The folders in which pods, or folders of pods, come and go.
    folders: BTreeSet<PathBuf>,
}

impl Tree {
    /// The levels as the programs read them.
    pub fn setting(&self) -> u64 {
        let levels = self.levels.iter().take(size_of::<u64>());
        levels
            .rev()
            .fold(0, |setting, level| setting << 8 | u64::from(*level))
    }

    /// Walks the tree below `root`. What goes away meanwhile is not there.
    pub fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        tree.walk(root, level_of(root), DEPTH, false);
        tree
    }

    fn walk(&mut self, folder: &Path, level: u8, depth: usize, of_pods: bool) {
        self.folders.insert(folder.to_owned());
        if depth == 0 {
            return;
        }
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let Ok(data) = entry.metadata() else { continue };
            if !data.is_dir() {
                continue;
            }
            if let Some(uid) = of_pods.then(|| uid_of(name)).flatten() {
                // The inode number of a cgroup's folder is its id.
                self.pods.insert(uid.into(), data.ino());
                self.levels.insert(level + 1);
                continue;
            }
            let of_pods = of_pods || name.contains("kubepods");
            self.walk(&entry.path(), level + 1, depth - 1, of_pods);
        }
    }
}

/// The cgroups of these pods, each with its pod's own: a pod's processes are in cgroups below that.
pub fn within(root: &Path, pods: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    if !pods.is_empty() {
        gather(root, pods, None, &mut found);
    }
    found
}

fn gather(
    folder: &Path,
    pods: &BTreeSet<u64>,
    inside: Option<u64>,
    found: &mut BTreeMap<u64, u64>,
) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(data) = entry.metadata() else { continue };
        if !data.is_dir() {
            continue;
        }
        let own = pods.get(&data.ino()).copied();
        let inside = inside.or(own);
        if let Some(pod) = inside {
            found.insert(data.ino(), pod);
        }
        gather(&entry.path(), pods, inside, found);
    }
}

/// Follows the tree; [`next`](Self::next) waits for another one.
pub struct Callers {
    root: PathBuf,
    watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<()>,
    known: Option<Tree>,
}

impl Callers {
    pub fn watch(root: &Path) -> Result<Self, notify::Error> {
        let (sender, events) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // What is written into a cgroup's files, or only read, moves no pod.
            let matters =
                |event: Event| matches!(event.kind, EventKind::Create(_) | EventKind::Remove(_));
            if event.map_or(true, matters) {
                // Fails only when nobody listens any more.
                let _ = sender.send(());
            }
        })?;
        Ok(Self {
            root: root.to_owned(),
            watcher,
            events,
            known: None,
        })
    }

    /// The tree, once it is another one than before. Can be broken off and called again.
    pub async fn next(&mut self) -> Tree {
        loop {
            if self.known.is_some() && self.events.recv().await.is_none() {
                return std::future::pending().await;
            }
            while self.events.try_recv().is_ok() {}
            let tree = self.look();
            if self.known.as_ref() != Some(&tree) {
                self.known = Some(tree.clone());
                return tree;
            }
        }
    }

    /// Watches what is there before it is read, until nothing more has come in between. A folder is
    /// watched anew each time: one that was made again is another one under the same name.
    fn look(&mut self) -> Tree {
        let mut tree = Tree::read(&self.root);
        loop {
            for folder in &tree.folders {
                if let Err(error) = self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                    debug!(folder = %folder.display(), %error, "cannot watch a cgroup");
                }
            }
            let again = Tree::read(&self.root);
            if again.folders.is_subset(&tree.folders) {
                return again;
            }
            tree = again;
        }
    }
}

/// How many folders are above this one in its file system.
fn level_of(root: &Path) -> u8 {
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev());
    let Ok(root) = root.canonicalize() else {
        return 0;
    };
    let Ok(own) = device(&root) else { return 0 };
    let above = root.ancestors().skip(1);
    let level = above.take_while(|path| device(path).is_ok_and(|device| device == own));
    u8::try_from(level.count()).unwrap_or(u8::MAX)
}

/// The uid in a pod's folder: `pod<uid>`, or `kubepods-burstable-pod<uid with _>.slice`.
fn uid_of(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    (!uid.is_empty()).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_read_from_both_drivers_names() {
        let uid = "0b3d3a0e-1c2d-4e5f-8a9b-c0ffee123456";
        let slice = "kubepods-burstable-pod0b3d3a0e_1c2d_4e5f_8a9b_c0ffee123456.slice";
        assert_eq!(uid_of(&format!("pod{uid}")).as_deref(), Some(uid));
        assert_eq!(uid_of(slice).as_deref(), Some(uid));
        let nested = "kubelet-kubepods-pod0b3d3a0e_1c2d_4e5f_8a9b_c0ffee123456.slice";
        assert_eq!(uid_of(nested).as_deref(), Some(uid));
        for name in [
            "burstable",
            "kubepods-burstable.slice",
            "pod",
            "x-pod.slice",
        ] {
            assert_eq!(uid_of(name), None, "{name}");
        }
    }

    #[test]
    fn pods_are_found_below_kubepods_alone() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        for folder in [
            "kubepods/burstable/poda-1/container",
            "kubepods/podb-2",
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podc_3.slice",
            "user.slice/podman",
        ] {
            fs::create_dir_all(root.path().join(folder))?;
        }
        let tree = Tree::read(root.path());
        let found: Vec<&str> = tree.pods.keys().map(|uid| &**uid).collect();
        assert_eq!(found, ["a-1", "b-2", "c-3"]);
        let deepest = level_of(root.path()) + 3;
        assert_eq!(tree.levels, BTreeSet::from([deepest - 1, deepest]));
        Ok(())
    }
}
