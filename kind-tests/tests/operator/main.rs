//! The operator against a real control plane: what it says in status, when it writes, and who of several does.
//!
//! The operators, and the agent of the one node, are this very program in other roles.

use std::process::ExitCode;

use sluice_kind_tests::roles;
use sluice_testbed::command;
use sluice_testbed::tier::{self, Tier, test};

use certificates::a_new_operator_keeps_the_certificates_that_there_are;
use certificates::certificates_are_made_and_put_right_and_the_api_server_told;
use leaders::a_leader_that_was_stopped_writes_nothing_when_it_goes_on;
use leaders::a_standby_takes_over_when_the_leader_is_killed;
use statuses::a_loser_is_told_and_takes_over_when_the_winner_goes;
use statuses::a_node_whose_agent_stands_still_is_named;
use statuses::a_status_says_what_became_of_the_split;
use statuses::a_status_that_somebody_else_wrote_is_put_right;
use statuses::nothing_is_written_when_nothing_changed;

mod bed;
mod certificates;
mod leaders;
mod statuses;

fn main() -> ExitCode {
    sluice_testbed::entry();
    if command::is_called() {
        return command::main();
    }
    roles::take();
    tier::main_if(
        Tier::Cluster,
        roles::check(),
        vec![
            test!(a_status_says_what_became_of_the_split),
            test!(a_loser_is_told_and_takes_over_when_the_winner_goes),
            test!(a_status_that_somebody_else_wrote_is_put_right),
            test!(a_node_whose_agent_stands_still_is_named),
            test!(nothing_is_written_when_nothing_changed),
            test!(a_standby_takes_over_when_the_leader_is_killed),
            test!(a_leader_that_was_stopped_writes_nothing_when_it_goes_on),
            test!(certificates_are_made_and_put_right_and_the_api_server_told),
            test!(a_new_operator_keeps_the_certificates_that_there_are),
        ],
    )
}
