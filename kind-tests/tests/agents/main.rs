//! Agents on the nodes of a real cluster without kube-proxy: objects come from the API server, connects of real pods
//! go where they say.
//!
//! The agents are this very program in another role, as processes of their nodes.

use std::env;
use std::process::{ExitCode, exit};

use clap::Parser as _;
use sluice_node_agent::{args, object};
use sluice_testbed::command;
use sluice_testbed::requirements::Missing;
use sluice_testbed::tier::{self, Tier, test};

use bed::{AGENT, SERVER};
use faults::{
    a_kind_that_is_removed_takes_its_splits_and_brings_them_back,
    a_silent_watch_is_noticed_and_replaced, a_version_that_is_too_old_is_listed_anew,
    an_api_server_that_is_frozen_is_noticed_and_heard_again,
    an_api_server_that_is_killed_is_heard_again, an_etcd_that_is_killed_is_got_over,
};
use lived::{a_service_is_reached_without_kube_proxy, a_split_that_is_edited_is_exact_each_time};
use reports::{
    a_report_goes_with_its_node_and_comes_back_when_it_is_taken_away,
    a_split_is_programmed_once_every_kernel_holds_its_generation,
    an_agent_that_steers_nothing_says_so,
};
use ways::a_service_account_without_a_way_to_the_api_server_is_told_what_helps;

mod bed;
mod faults;
mod lived;
mod reports;
mod ways;

fn main() -> ExitCode {
    sluice_testbed::entry();
    if command::is_called() || env::args().nth(1).as_deref() == Some(SERVER) {
        return command::main();
    }
    if env::args().nth(1).as_deref() == Some(AGENT) {
        be_an_agent();
    }
    let compiled = || {
        object::bytes()
            .map(drop)
            .map_err(|missing| Missing(missing.to_string()))
    };
    tier::main_if(
        Tier::Cluster,
        Tier::Cluster.check().and_then(|()| compiled()),
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
            test!(a_kind_that_is_removed_takes_its_splits_and_brings_them_back),
        ],
    )
}

fn be_an_agent() -> ! {
    let outcome = sluice_node_agent::run(&args::Args::parse_from(env::args().skip(1)));
    if let Err(error) = &outcome {
        eprintln!("error: {error:#}");
    }
    exit(i32::from(outcome.is_err()));
}
