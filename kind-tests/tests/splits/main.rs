//! What splits promise, on two real nodes that Sluice carries the Services of.

use std::process::ExitCode;

use sluice_testbed::cluster::shipped;
use sluice_testbed::command;
use sluice_testbed::tier::{self, Tier, test};

use atomic::every_connect_belongs_to_one_generation;
use callers::{
    a_sticky_client_moves_only_with_a_share, each_class_of_callers_has_its_own_shares_exactly,
};
use capped::no_version_gets_more_than_its_ready_pods_can_carry;
use exact::every_prefix_is_within_one_connection_of_the_ideal;
use rejected::the_share_of_nobody_is_refused_exactly;

mod atomic;
mod bed;
mod callers;
mod capped;
mod exact;
mod rejected;

/// Tests wait for the API server and for reports most of the time.
const THREADS: usize = 3;

fn main() -> ExitCode {
    sluice_testbed::entry();
    if command::is_called() {
        return command::main();
    }
    let complete = || {
        Tier::Cluster.check()?;
        shipped::images(shipped::VERSION).map(drop)
    };
    tier::main_of_many(
        THREADS,
        Tier::Cluster,
        complete(),
        vec![
            test!(every_connect_belongs_to_one_generation),
            test!(every_prefix_is_within_one_connection_of_the_ideal),
            test!(each_class_of_callers_has_its_own_shares_exactly),
            test!(a_sticky_client_moves_only_with_a_share),
            test!(no_version_gets_more_than_its_ready_pods_can_carry),
            test!(the_share_of_nobody_is_refused_exactly),
        ],
    )
}
