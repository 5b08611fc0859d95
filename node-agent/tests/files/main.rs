//! The agent's binary on a light node, from manifests in a directory to connects of pods.

use std::process::ExitCode;

use sluice_node_agent::object;
use sluice_testbed::{
    requirements::Missing,
    tier::{self, Tier, test},
};

mod bed;
mod beside;
mod cleaned;
mod dns;
mod flows;
mod killed;
mod lived;
mod mounted;
mod shifted;
mod stale;
mod upgraded;
mod zoo;

fn main() -> ExitCode {
    use beside::*;
    use cleaned::*;
    use flows::*;
    use killed::*;
    use lived::*;
    use mounted::*;
    use shifted::*;
    use stale::*;
    use upgraded::*;
    use zoo::*;
    sluice_testbed::entry();
    let compiled = || {
        object::bytes()
            .map(drop)
            .map_err(|missing| Missing(missing.to_string()))
    };
    tier::main_if(
        Tier::Files,
        Tier::Files.check().and_then(|()| compiled()),
        vec![
            test!(an_edited_split_takes_effect_exactly),
            test!(a_namespace_named_as_the_self_tests_disturbs_nothing),
            test!(a_bad_file_is_named_and_disturbs_nothing),
            test!(a_version_that_goes_leaves_its_share_to_the_others_and_none_left_refuses),
            test!(a_second_agent_on_the_node_is_refused),
            test!(rules_for_packets_find_nothing_to_do),
            test!(an_agent_outside_of_its_cgroup_root_is_not_ready_and_says_why),
            test!(an_agent_that_ends_leaves_the_kernel_at_work),
            test!(changes_from_outside_are_put_right),
            test!(an_agent_killed_at_random_loses_no_connect_and_finds_its_way),
            test!(a_node_without_a_bpf_file_system_gets_one),
            test!(a_clean_up_leaves_the_node_as_it_was_before_the_agent),
            test!(a_clean_up_waits_for_the_agent_to_end),
            test!(maps_of_another_version_serve_until_the_new_ones_do),
            test!(a_part_of_the_maps_is_as_good_as_none),
            test!(maps_of_other_sizes_are_filled_before_they_serve),
            test!(what_is_switched_off_stays_off_until_it_is_switched_on),
            test!(datagram_sockets_end_when_their_backend_goes_and_no_others),
            test!(sockets_from_before_the_agent_end_too),
            test!(sockets_of_a_pod_that_opted_out_are_left_alone),
            test!(a_backend_goes_in_many_ways_and_a_draining_one_is_not_gone),
            test!(connections_end_with_their_backend_where_their_service_says_so),
            test!(a_cut_moves_what_the_shift_needs_and_nothing_else),
            test!(clients_that_come_back_after_a_cut_share_as_asked),
            test!(a_drain_keeps_its_pace_until_it_is_done_or_cut_short),
            test!(a_flow_finds_the_first_endpoint_that_comes_and_is_refused_until_then),
            test!(a_flow_of_a_deleted_service_reaches_nobody),
            test!(a_flow_ends_with_the_version_that_a_split_chose_and_with_no_other),
            test!(a_restart_of_the_agent_ends_no_healthy_flow),
            test!(an_agent_in_a_cgroup_namespace_ends_and_says_why),
            test!(a_file_broken_while_no_agent_runs_keeps_its_last_good_state),
            test!(a_file_that_was_never_good_holds_back_deleting_what_it_may_mean),
            test!(every_clients_connections_are_as_direct_ones),
            test!(every_client_is_refused_as_by_a_closed_port),
            test!(every_clients_datagrams_are_as_direct_ones),
            test!(every_resolver_finds_and_misses_names_as_directly),
            test!(every_resolver_asks_several_name_servers_as_directly),
            test!(dig_sees_what_it_sees_directly),
        ],
    )
}
