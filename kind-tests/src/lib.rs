//! What the tests of the cluster tier share: workloads, as objects of a real cluster; and programs beside the tests.

pub mod api;
pub mod common;
pub mod echo;
pub mod kinds;
pub mod roles;
pub mod shop;

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_of_rules_names_every_test() {
        let list = include_str!("../../docs/services.md");
        let target = include_str!("../tests/services/main.rs");
        let (_, tests) = target.split_once("vec![").unwrap();
        let tests = tests.lines().filter_map(|line| {
            let (name, _) = line.trim().strip_prefix("test!(")?.split_once(')')?;
            Some(name)
        });
        let missing: Vec<_> = tests
            .filter(|name| !list.contains(&format!("`{name}`")))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
