//! The schema and the webhook before a real API server: what is let in, filled in and kept out.
//!
//! The webhook is this very program in another role; its configuration is the shipped one with another address.

use std::env;
use std::process::{ExitCode, exit};

use clap::Parser as _;
use sluice_testbed::command;
use sluice_testbed::tier::{self, Tier, test};

use bed::WEBHOOK;
use reviewed::a_left_out_service_is_filled_in_and_git_sees_no_difference;
use reviewed::certificates_change_while_splits_are_applied;
use reviewed::what_was_stored_before_the_webhook_can_be_changed;
use schema::each_field_is_held_to_its_bounds;
use schema::splits_are_found_and_shown_by_their_service;

mod bed;
mod reviewed;
mod schema;

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
            test!(each_field_is_held_to_its_bounds),
            test!(splits_are_found_and_shown_by_their_service),
            test!(a_left_out_service_is_filled_in_and_git_sees_no_difference),
            test!(what_was_stored_before_the_webhook_can_be_changed),
            test!(certificates_change_while_splits_are_applied),
        ],
    )
}
