//! The kernel programs on real sockets in a private cgroup: this machine's kernel, or one in qemu.

use std::process::ExitCode;

use sluice_node_agent::object;
use sluice_testbed::{
    guest::Machine,
    requirements::Missing,
    tier::{self, Tier, test},
};

mod arrays;
mod bed;
mod callers;
mod choices;
mod clients;
mod crowd;
mod datagrams;
mod flaky;
mod frontends;
mod full;
mod healed;
mod instructions;
mod many;
mod moves;
mod neighbours;
mod oracle;
mod privileges;
mod refusal;
mod retried;
mod schedules;
mod selves;
mod sockets;
mod splits;
mod stale;
mod straight;
mod told;
mod ways;
mod worlds;

fn main() -> ExitCode {
    use arrays::*;
    use callers::*;
    use choices::*;
    use clients::*;
    use crowd::*;
    use datagrams::*;
    use frontends::*;
    use full::*;
    use healed::*;
    use instructions::*;
    use many::*;
    use moves::*;
    use neighbours::*;
    use oracle::*;
    use privileges::*;
    use refusal::*;
    use retried::*;
    use schedules::*;
    use selves::*;
    use sockets::*;
    use splits::*;
    use stale::*;
    use straight::*;
    use ways::*;
    use worlds::*;
    sluice_testbed::entry();
    let compiled = || {
        object::bytes()
            .map(drop)
            .map_err(|missing| Missing(missing.to_string()))
    };
    tier::main_if(
        Tier::Kernel,
        Tier::Kernel.check().and_then(|()| compiled()),
        vec![
            test!(every_counter_of_a_choice_is_a_fetching_add),
            test!(an_array_is_the_kernels_wherever_the_window_lies),
            test!(a_light_pods_connect_is_rewritten),
            test!(only_the_cgroup_below_the_link_is_touched),
            test!(programs_go_on_without_their_loader_and_are_replaced_in_place),
            test!(a_socket_program_sees_the_service_where_it_would_see_the_backend),
            test!(a_socket_that_connects_elsewhere_forgets_the_service),
            test!(open_sockets_are_counted_until_they_close),
            test!(a_row_that_is_put_right_goes_on_counting),
            test!(the_capabilities_of_the_manifest_suffice),
            test!(no_backend_is_connection_refused_at_once),
            test!(no_backend_is_connection_refused_by_way_of_loopback),
            test!(a_pod_reaches_itself_through_its_own_service),
            test!(two_services_over_one_endpoint_do_not_meet),
            test!(answers_to_an_unconnected_socket_come_from_the_service),
            test!(one_socket_asks_several_services_at_once),
            test!(a_backend_that_is_sent_to_straight_answers_by_its_own_address),
            test!(cut_datagrams_and_control_messages_stay_as_they_are),
            test!(one_socket_keeps_to_one_backend_and_sockets_are_spread),
            test!(a_backend_that_is_gone_is_replaced_at_the_next_send_and_no_other),
            test!(late_answers_of_a_backend_that_is_gone_come_from_the_service),
            test!(datagrams_to_other_addresses_are_left_alone),
            test!(no_backend_is_connection_refused_for_a_datagram),
            test!(no_backend_is_a_closed_port_for_a_datagram_by_way_of_loopback),
            test!(a_socket_with_too_many_services_forgets_the_oldest_and_that_is_counted),
            test!(a_datagram_program_sees_the_service_where_it_would_see_the_backend),
            test!(a_survey_tells_every_datagram_socket_that_was_translated),
            test!(a_socket_is_ended_alone),
            test!(a_socket_that_could_not_be_ended_is_ended_by_a_later_look),
            test!(a_schedule_is_kept_by_parallel_connects),
            test!(a_swap_of_a_port_is_seen_whole_by_every_connect),
            test!(every_prefix_of_real_connects_is_within_one_of_the_ideal),
            test!(every_kind_of_frontend_answers_pods_and_the_host),
            test!(the_peer_of_a_node_port_is_the_nodes_address),
            test!(node_ports_follow_the_addresses_of_nodes),
            test!(external_traffic_policy_local_leaves_other_nodes_ports_alone),
            test!(internal_traffic_policy_local_reaches_this_nodes_endpoints_or_refuses),
            test!(connects_of_pods_that_opted_out_are_left_alone),
            test!(a_caller_that_could_not_be_written_is_written_later),
            test!(pods_in_the_hosts_network_are_clients_of_their_own),
            test!(session_affinity_keeps_each_client_until_its_backend_goes),
            test!(a_consistent_service_gives_each_pod_the_same_backend),
            test!(least_connections_evens_out_what_is_open),
            test!(a_backend_that_lost_count_of_its_sockets_gets_its_part_again),
            test!(programs_of_others_stay_and_the_first_in_line_serves_what_both_claim),
            test!(a_pod_is_steered_from_whatever_is_nested_in_it_and_wherever_it_moves),
            test!(a_service_that_does_not_fit_is_refused_whole_and_disturbs_nobody),
            test!(a_full_memory_of_clients_forgets_the_oldest_and_refuses_nobody),
            test!(a_node_port_leads_to_the_service_whoever_has_bound_its_number),
            test!(rings_and_sends_without_a_copy_see_the_service_as_they_would_see_the_backend),
            test!(a_connect_that_a_signal_breaks_off_goes_on_as_a_direct_one_does),
            test!(multipath_tcp_is_served_and_calls_the_peer_by_the_backends_address),
            test!(raw_sockets_pings_and_other_protocols_are_left_alone),
            test!(nothing_is_kept_of_sockets_that_were_opened_and_closed),
            test!(affinity_moves_the_clients_of_a_backend_that_goes_and_nobody_else),
            test!(a_consistent_service_moves_few_clients_and_takes_them_back),
            test!(least_connections_spreads_what_is_open_and_fills_a_newcomer_first),
            test!(two_hundred_clients_of_a_sticky_split_move_only_as_shares_do),
            test!(callers_get_the_weights_of_the_first_class_that_they_are_in),
            test!(ten_classes_keep_each_its_schedule_whoever_comes_between),
            test!(every_pod_of_a_version_has_its_turn_within_one),
            test!(what_is_chosen_is_counted_whatever_becomes_of_weights_and_selection),
            test!(objects_maps_and_connects_say_the_same),
            test!(writes_that_fail_at_random_still_end_in_the_same_image),
            test!(an_agent_that_starts_beside_its_maps_writes_nothing),
        ]
        .into_iter()
        .chain(Machine::own().map(|_| test!(a_clock_that_is_set_moves_no_client)))
        .collect(),
    )
}
