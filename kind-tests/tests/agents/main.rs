//! Agents on the nodes of a real cluster without kube-proxy: objects come from the API server, connects of real pods
//! go where they say.
//!
//! The agents are this very program in another role, as processes of their nodes.

use std::env;
use std::process::ExitCode;

use sluice_kind_tests::roles;
use sluice_testbed::command;
use sluice_testbed::tier::{self, Tier, test};

use bed::SERVER;
use faults::{
    a_kind_that_is_removed_takes_its_splits_and_brings_them_back,
    a_silent_watch_is_noticed_and_replaced, a_version_that_is_too_old_is_listed_anew,
    an_api_server_that_is_frozen_is_noticed_and_heard_again,
    an_api_server_that_is_killed_is_heard_again, an_etcd_that_is_killed_is_got_over,
};
use itself::an_agent_hears_the_api_server_again_through_the_service_that_it_carries;
use lived::{a_service_is_reached_without_kube_proxy, a_split_that_is_edited_is_exact_each_time};
use reports::{
    a_report_goes_with_its_node_and_comes_back_when_it_is_taken_away,
    a_split_is_programmed_once_every_kernel_holds_its_generation,
    an_agent_that_steers_nothing_says_so,
};
use ways::a_service_account_without_a_way_to_the_api_server_is_told_what_helps;

mod bed;
mod faults;
mod itself;
mod lived;
mod reports;
mod ways;

fn main() -> ExitCode {
    sluice_testbed::entry();
    if command::is_called() || env::args().nth(1).as_deref() == Some(SERVER) {
        return command::main();
    }
    roles::take();
    tier::main_if(
        Tier::Cluster,
        roles::check(),
        vec![
            test!(a_service_is_reached_without_kube_proxy),
            test!(a_split_that_is_edited_is_exact_each_time),
            test!(a_split_is_programmed_once_every_kernel_holds_its_generation),
            test!(a_report_goes_with_its_node_and_comes_back_when_it_is_taken_away),
            test!(an_agent_that_steers_nothing_says_so),
            test!(a_service_account_without_a_way_to_the_api_server_is_told_what_helps),
            test!(an_api_server_that_is_frozen_is_noticed_and_heard_again),
            test!(an_api_server_that_is_killed_is_heard_again),
            test!(a_silent_watch_is_noticed_and_replaced),
            test!(an_etcd_that_is_killed_is_got_over),
            test!(a_version_that_is_too_old_is_listed_anew),
            test!(an_agent_hears_the_api_server_again_through_the_service_that_it_carries),
            test!(a_kind_that_is_removed_takes_its_splits_and_brings_them_back),
        ],
    )
}
