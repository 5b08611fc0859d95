//! Sluice as it is shipped: images and manifests, on two real nodes without kube-proxy.
//!
//! With SLUICE_TEST_KUBECONFIG the tests that need no power of the testbed's own run on that cluster instead, which has
//! Sluice and the image of the testbed; the others are left out by name.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use sluice_testbed::cluster::shipped;
use sluice_testbed::command;
use sluice_testbed::requirements::Missing;
use sluice_testbed::tier::{self, Tier, test};

use applied::what_is_applied_twice_does_not_change;
use asked::kubectl_sluice_shows_splits_nodes_and_where_a_connect_goes;
use bed::FOREIGN;
use befallen::a_leader_that_is_killed_is_replaced;
use befallen::agents_that_are_deleted_are_not_missed;
use befallen::etcd_that_is_killed_is_not_missed;
use befallen::the_api_server_that_is_stopped_is_not_missed;
use edited::edits_reach_connects;
use grouped::a_version_by_pods_follows_labels_and_goes_with_its_split;
use grouped::the_operator_writes_no_service_but_those_of_groups;
use guarded::an_agent_writes_only_the_report_of_its_own_node;
use guarded::operator_and_webhook_are_pods_that_a_restricted_namespace_takes;
use race::everybody_names_the_same_winner_of_a_race;
use refused::a_missing_service_is_a_warning;
use refused::each_bad_split_is_refused_by_its_layer_with_the_field;
use refused::what_is_stored_without_the_webhook_does_not_act_and_says_so;
use removed::what_is_removed_leaves_nothing_and_kube_proxy_takes_over;
use replayed::git_sees_no_difference_after_defaults_and_status;
use reported::programmed_waits_for_every_node_and_names_the_one_that_is_silent;
use rights::every_right_is_used_and_none_is_missed;
use rotated::reviews_go_on_while_certificates_change_and_pods_restart;
use shared_out::a_split_is_exact_as_soon_as_it_is_programmed;
use shown::kubectl_shows_what_the_documentation_says;
use upgraded::no_connect_fails_while_all_images_change;

mod applied;
mod asked;
mod bed;
mod befallen;
mod edited;
mod grouped;
mod guarded;
mod population;
mod processes;
mod race;
mod refused;
mod removed;
mod replayed;
mod reported;
mod rights;
mod rotated;
mod shared_out;
mod shown;
mod upgraded;

fn main() -> ExitCode {
    sluice_testbed::entry();
    if command::is_called() {
        return command::main();
    }
    if asked::is_the_program() {
        return sluice_cli::main();
    }
    let foreign = env::var_os(FOREIGN).is_some_and(|path| !path.is_empty());
    let own = foreign.then_some("needs a cluster that the testbed has raised");
    tier::main_if(
        Tier::Cluster,
        if foreign { reachable() } else { complete() },
        vec![
            test!(a_split_is_exact_as_soon_as_it_is_programmed),
            test!(edits_reach_connects),
            test!(a_version_by_pods_follows_labels_and_goes_with_its_split),
            test!(the_operator_writes_no_service_but_those_of_groups),
            test!(kubectl_sluice_shows_splits_nodes_and_where_a_connect_goes),
            test!(each_bad_split_is_refused_by_its_layer_with_the_field),
            test!(a_missing_service_is_a_warning),
            test!(an_agent_writes_only_the_report_of_its_own_node),
            test!(operator_and_webhook_are_pods_that_a_restricted_namespace_takes),
            test!(what_is_stored_without_the_webhook_does_not_act_and_says_so).lacking(own),
            test!(what_is_applied_twice_does_not_change).lacking(own),
            test!(git_sees_no_difference_after_defaults_and_status).lacking(own),
            test!(kubectl_shows_what_the_documentation_says).lacking(own),
            test!(programmed_waits_for_every_node_and_names_the_one_that_is_silent).lacking(own),
            test!(everybody_names_the_same_winner_of_a_race).lacking(own),
            test!(reviews_go_on_while_certificates_change_and_pods_restart).lacking(own),
            test!(agents_that_are_deleted_are_not_missed),
            test!(a_leader_that_is_killed_is_replaced).lacking(own),
            test!(etcd_that_is_killed_is_not_missed).lacking(own),
            test!(the_api_server_that_is_stopped_is_not_missed).lacking(own),
            test!(no_connect_fails_while_all_images_change).lacking(own),
            test!(every_right_is_used_and_none_is_missed).lacking(own),
            test!(what_is_removed_leaves_nothing_and_kube_proxy_takes_over).lacking(own),
        ],
    )
}

/// What the testbed needs to raise a cluster with Sluice in it.
fn complete() -> Result<(), Missing> {
    Tier::Cluster.check()?;
    shipped::images(shipped::VERSION).map(drop)
}

fn reachable() -> Result<(), Missing> {
    let path = env::var_os(FOREIGN).unwrap_or_default();
    if Path::new(&path).is_file() {
        Ok(())
    } else {
        Err(Missing(format!("{FOREIGN} names no file")))
    }
}
