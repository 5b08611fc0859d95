//! Real files in a real directory, as editors, copies and tools leave them.

use std::fs;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  clusterIP: 10.0.0.1\n  ports:\n  - port: 80\n"
    )
}

struct World {
    parent: tempfile::TempDir,
    files: Files,
}

impl World {
    fn new(content: &[(&str, &str)]) -> (Self, News) {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("manifests");
        fs::create_dir(&directory).unwrap();
        for (name, text) in content {
            fs::write(directory.join(name), text).unwrap();
        }
        let mut files = Files::open(&directory, &parent.path().join("state")).unwrap();
        let first = files.first();
        (Self { parent, files }, first)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.directory.join(name)
    }

    /// Gathers news until the condition holds.
    async fn until(&mut self, holds: impl Fn(&[Change], &News) -> bool) -> Vec<Change> {
        let mut seen = Vec::new();
        tokio::time::timeout(PATIENCE, async {
            loop {
                let news = self.files.next().await;
                seen.extend(news.changes.iter().cloned());
                if holds(&seen, &news) {
                    return;
                }
            }
        })
        .await
        .unwrap();
        seen
    }
}

fn sets(changes: &[Change]) -> Vec<String> {
    let set = changes.iter().filter_map(|change| match change {
        Change::Set(object) => Some(object.subject().name.name().to_owned()),
        Change::Gone(_) | Change::Relisted(..) => None,
    });
    set.collect()
}

fn gone(changes: &[Change]) -> Vec<String> {
    let gone = changes.iter().filter_map(|change| match change {
        Change::Gone(subject) => Some(subject.name.name().to_owned()),
        Change::Set(_) | Change::Relisted(..) => None,
    });
    gone.collect()
}

#[test]
fn the_first_news_lists_every_kind() {
    let (_world, first) = World::new(&[("a.yaml", &service("a")), ("notes.txt", "not a manifest")]);
    assert_eq!(sets(&first.changes), ["a"]);
    let listed = first
        .changes
        .iter()
        .filter(|change| matches!(change, Change::Relisted(..)));
    assert_eq!(listed.count(), Kind::ALL.len());
    assert_eq!((first.view, first.problems), (View::Whole, Vec::new()));
}

#[tokio::test]
async fn a_file_written_renamed_into_place_or_removed_is_told() {
    let (mut world, _) = World::new(&[("a.yaml", &service("a"))]);
    fs::write(world.path("b.yaml"), service("b")).unwrap();
    world.until(|seen, _| sets(seen) == ["b"]).await;

    let beside = world.parent.path().join("c.tmp");
    fs::write(&beside, service("c")).unwrap();
    fs::rename(beside, world.path("c.yaml")).unwrap();
    world.until(|seen, _| sets(seen) == ["c"]).await;

    fs::remove_file(world.path("a.yaml")).unwrap();
    world.until(|seen, _| gone(seen) == ["a"]).await;
}

#[tokio::test]
async fn a_bad_file_is_named_and_its_last_good_state_holds() {
    let (mut world, _) = World::new(&[("a.yaml", &service("a")), ("b.yaml", &service("b"))]);
    let text = service("a");
    let cut = text.find("name: a}").unwrap();
    fs::write(world.path("a.yaml"), &text[..cut]).unwrap();
    let seen = world.until(|_, news| !news.problems.is_empty()).await;
    assert_eq!(seen, Vec::new());
    let problem = &world.files.problems()[0];
    assert!(
        matches!(&problem.place, Place::File { file, line: Some(_), .. } if file.ends_with("a.yaml")),
        "{problem}"
    );

    fs::write(world.path("b.yaml"), service("other")).unwrap();
    let seen = world.until(|seen, _| !seen.is_empty()).await;
    assert_eq!(
        (gone(&seen), sets(&seen)),
        (vec!["b".into()], vec!["other".into()])
    );

    fs::write(world.path("a.yaml"), service("a2")).unwrap();
    world.until(|_, news| news.problems.is_empty()).await;
}

#[tokio::test]
async fn a_file_that_is_emptied_is_not_a_wish_to_delete() {
    let (mut world, _) = World::new(&[("a.yaml", &service("a"))]);
    fs::write(world.path("a.yaml"), "").unwrap();
    let seen = world.until(|_, news| !news.problems.is_empty()).await;
    assert_eq!(seen, Vec::new());
}

#[test]
fn a_file_that_was_never_good_makes_the_view_partial() {
    let (_world, first) = World::new(&[("a.yaml", &service("a")), ("bad.yaml", "kind: [")]);
    assert_eq!(sets(&first.changes), ["a"]);
    assert_eq!((first.view, first.problems.len()), (View::Partial, 1));
}

/// A new agent beside files that were broken while none was looking.
#[test]
fn the_last_good_state_of_a_file_outlives_the_agent() {
    let (world, _) = World::new(&[("a.yaml", &service("a")), ("b.yaml", &service("b"))]);
    let World { parent, files } = world;
    let directory = files.directory.clone();
    drop(files);
    fs::write(directory.join("a.yaml"), "kind: [").unwrap();
    fs::remove_file(directory.join("b.yaml")).unwrap();
    let mut files = Files::open(&directory, &parent.path().join("state")).unwrap();
    let first = files.first();
    assert_eq!(sets(&first.changes), ["a"]);
    assert_eq!((first.view, first.problems.len()), (View::Whole, 1));

    // What was removed meanwhile has no say when a bad file of that name appears.
    fs::write(directory.join("b.yaml"), "kind: [").unwrap();
    files.rescan();
    assert_eq!(files.news().view, View::Partial);
}

#[tokio::test]
async fn a_directory_that_goes_leaves_its_objects_until_another_stands_there() {
    let (mut world, _) = World::new(&[("a.yaml", &service("a"))]);
    let (old, new) = (
        world.parent.path().join("old"),
        world.parent.path().join("new"),
    );
    fs::rename(&world.files.directory, &old).unwrap();
    let seen = world.until(|_, news| !news.problems.is_empty()).await;
    assert_eq!(seen, Vec::new());

    fs::create_dir(&new).unwrap();
    fs::write(new.join("b.yaml"), service("b")).unwrap();
    fs::rename(&new, &world.files.directory).unwrap();
    let seen = world
        .until(|seen, news| news.problems.is_empty() && !seen.is_empty())
        .await;
    assert_eq!(
        (gone(&seen), sets(&seen)),
        (vec!["a".into()], vec!["b".into()])
    );

    fs::write(world.path("c.yaml"), service("c")).unwrap();
    world.until(|seen, _| sets(seen) == ["c"]).await;
}

#[tokio::test]
async fn an_empty_directory_in_its_place_is_not_a_wish_to_delete() {
    let (mut world, _) = World::new(&[("a.yaml", &service("a"))]);
    fs::rename(&world.files.directory, world.parent.path().join("old")).unwrap();
    fs::create_dir(&world.files.directory).unwrap();
    let seen = world.until(|_, news| !news.problems.is_empty()).await;
    assert_eq!(seen, Vec::new());
}

#[tokio::test]
async fn what_is_no_file_is_never_opened() {
    let (mut world, _) = World::new(&[("a.yaml", &service("a"))]);
    let fifo = world.parent.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::rename(fifo, world.path("a.yaml")).unwrap();
    world.until(|seen, _| gone(seen) == ["a"]).await;
}

#[tokio::test]
async fn a_file_that_is_renamed_keeps_its_objects() {
    let (mut world, _) = World::new(&[("a.yaml", &service("a"))]);
    fs::rename(world.path("a.yaml"), world.path("b.yaml")).unwrap();
    fs::write(world.path("c.yaml"), service("c")).unwrap();
    let seen = world
        .until(|seen, _| sets(seen).contains(&"c".into()))
        .await;
    assert_eq!(gone(&seen), Vec::<String>::new());
}

#[tokio::test]
async fn an_object_in_two_files_is_the_first_files_and_named() {
    let (mut world, first) = World::new(&[("a.yaml", &service("x")), ("b.yaml", &service("x"))]);
    assert_eq!(sets(&first.changes), ["x"]);
    assert!(
        matches!(&first.problems[0].place, Place::File { file, .. } if file.ends_with("b.yaml"))
    );
    fs::remove_file(world.path("a.yaml")).unwrap();
    let seen = world.until(|_, news| news.problems.is_empty()).await;
    assert_eq!(gone(&seen), Vec::<String>::new());
}

#[tokio::test]
async fn a_mounted_config_map_is_followed_when_its_link_moves() {
    let (mut world, _) = World::new(&[]);
    for (version, name) in [("..1", "a"), ("..2", "b")] {
        fs::create_dir(world.path(version)).unwrap();
        fs::write(world.path(version).join("x.yaml"), service(name)).unwrap();
    }
    let link = |to: &str, name: &str| {
        let fresh = world.path("..fresh");
        std::os::unix::fs::symlink(to, &fresh).unwrap();
        fs::rename(fresh, world.path(name)).unwrap();
    };
    link("..1", "..data");
    link("..data/x.yaml", "x.yaml");
    link("..2", "..data");
    let seen = world
        .until(|seen, _| sets(seen).contains(&"b".into()))
        .await;
    assert!(
        sets(&seen)
            .iter()
            .all(|name| ["a", "b"].contains(&name.as_str()))
    );
}
