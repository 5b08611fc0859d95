//! Schema, policies and webhook before a real API server: what is let in, filled in, warned of and kept out.
//!
//! The webhook is this very program in another role; its configuration is the shipped one with another address.

use std::env;
use std::process::{ExitCode, exit};

use clap::Parser as _;
use sluice_testbed::command;
use sluice_testbed::tier::{self, Tier, test};

use bed::WEBHOOK;
use found::splits_are_found_and_shown_by_their_service;
use gone::a_webhook_that_is_gone_stops_nothing_but_changes_of_policies;
use hinted::hints_that_mean_nothing_are_warned_of_and_never_refused;
use reviewed::a_left_out_service_is_filled_in_and_git_sees_no_difference;
use reviewed::certificates_change_while_splits_are_applied;
use reviewed::what_was_stored_before_the_webhook_can_be_changed;
use table::each_layer_answers_each_object_as_the_table_says;

mod asked;
mod bed;
mod found;
mod gone;
mod hinted;
mod reviewed;
mod table;

fn main() -> ExitCode {
    sluice_testbed::entry();
    if command::is_called() {
        return command::main();
    }
    if env::args().nth(1).as_deref() == Some(WEBHOOK) {
        let args = sluice_webhook::args::Args::parse_from(env::args().skip(1));
        let outcome = sluice_webhook::run(&args);
        if let Err(error) = &outcome {
            eprintln!("error: {error:#}");
        }
        exit(i32::from(outcome.is_err()));
    }
    tier::main(
        Tier::Cluster,
        vec![
            test!(splits_are_found_and_shown_by_their_service),
            test!(a_left_out_service_is_filled_in_and_git_sees_no_difference),
            test!(what_was_stored_before_the_webhook_can_be_changed),
            test!(certificates_change_while_splits_are_applied),
            test!(each_layer_answers_each_object_as_the_table_says),
            test!(hints_that_mean_nothing_are_warned_of_and_never_refused),
            test!(a_webhook_that_is_gone_stops_nothing_but_changes_of_policies),
        ],
    )
}
