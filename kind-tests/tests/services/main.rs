//! What Kubernetes says of Services, one rule a test: pods and processes of two real nodes connect, and Sluice as it is
//! shipped carries all Services. docs/services.md has the list of rules.

use std::process::ExitCode;

use sluice_testbed::cluster::shipped;
use sluice_testbed::command;
use sluice_testbed::tier::{self, Tier, test};

use addresses::addresses_of_load_balancers_serve_callers_on_nodes;
use addresses::external_addresses_that_are_no_nodes_serve;
use addresses::node_ports_answer_on_loopback_for_the_host_and_not_for_pods;
use affinity::affinity_ends_a_while_after_the_last_connect;
use affinity::affinity_keeps_each_client_and_is_switched_on_and_off;
use beside::kube_proxy_beside_sluice_changes_nothing;
use callers::a_pod_reaches_itself_through_its_own_service;
use callers::every_kind_of_caller_reaches_every_kind_of_endpoint;
use callers::servers_see_the_address_of_the_pod_that_connects;
use callers::two_services_over_one_endpoint_do_not_meet;
use cycled::datagrams_follow_pods_that_cycle_on_the_callers_node;
use cycled::datagrams_of_a_pod_in_the_hosts_network_follow_pods_that_cycle;
use cycled::datagrams_that_were_refused_arrive_once_a_pod_is_ready_and_follow_its_port;
use cycled::datagrams_to_a_cluster_address_follow_pods_that_cycle;
use cycled::datagrams_to_a_node_port_follow_pods_that_cycle;
use endpoints::a_named_port_may_be_another_number_on_each_pod;
use endpoints::a_pod_that_its_kubelet_has_ended_is_refused;
use endpoints::endpoints_follow_pods_from_none_to_two_and_back;
use endpoints::endpoints_of_a_service_without_selector_are_mirrored;
use endpoints::slices_written_by_hand_add_up;
use endpoints::what_is_not_ready_is_left_out_unless_its_service_publishes_it;
use kinds::a_node_port_may_serve_both_protocols_and_move;
use kinds::a_service_that_goes_takes_its_own_addresses_and_no_others;
use kinds::a_service_that_selects_nothing_refuses;
use kinds::a_type_that_changes_brings_and_takes_addresses;
use kinds::families_come_go_and_change_their_order;
use kinds::labels_give_a_service_to_somebody_else_and_back;
use kinds::one_port_number_serves_tcp_and_udp_and_either_alone;
use names::no_look_up_fails_while_the_name_servers_are_replaced;
use policies::endpoints_that_end_serve_in_each_scope_until_another_is_ready;
use policies::internal_traffic_policy_local_keeps_to_the_callers_node;
use policies::traffic_that_prefers_the_node_stays_there_while_an_endpoint_is;

mod addresses;
mod affinity;
mod bed;
mod beside;
mod callers;
mod cycled;
mod endpoints;
mod kinds;
mod names;
mod objects;
mod policies;
mod sight;

/// Tests wait for kubelets and controllers most of the time.
const THREADS: usize = 4;

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
            test!(affinity_ends_a_while_after_the_last_connect),
            test!(no_look_up_fails_while_the_name_servers_are_replaced),
            test!(every_kind_of_caller_reaches_every_kind_of_endpoint),
            test!(servers_see_the_address_of_the_pod_that_connects),
            test!(a_pod_reaches_itself_through_its_own_service),
            test!(two_services_over_one_endpoint_do_not_meet),
            test!(endpoints_follow_pods_from_none_to_two_and_back),
            test!(a_named_port_may_be_another_number_on_each_pod),
            test!(slices_written_by_hand_add_up),
            test!(endpoints_of_a_service_without_selector_are_mirrored),
            test!(what_is_not_ready_is_left_out_unless_its_service_publishes_it),
            test!(a_pod_that_its_kubelet_has_ended_is_refused),
            test!(a_service_that_selects_nothing_refuses),
            test!(one_port_number_serves_tcp_and_udp_and_either_alone),
            test!(a_type_that_changes_brings_and_takes_addresses),
            test!(a_node_port_may_serve_both_protocols_and_move),
            test!(a_service_that_goes_takes_its_own_addresses_and_no_others),
            test!(labels_give_a_service_to_somebody_else_and_back),
            test!(families_come_go_and_change_their_order),
            test!(internal_traffic_policy_local_keeps_to_the_callers_node),
            test!(traffic_that_prefers_the_node_stays_there_while_an_endpoint_is),
            test!(endpoints_that_end_serve_in_each_scope_until_another_is_ready),
            test!(external_addresses_that_are_no_nodes_serve),
            test!(addresses_of_load_balancers_serve_callers_on_nodes),
            test!(node_ports_answer_on_loopback_for_the_host_and_not_for_pods),
            test!(affinity_keeps_each_client_and_is_switched_on_and_off),
            test!(datagrams_to_a_cluster_address_follow_pods_that_cycle),
            test!(datagrams_to_a_node_port_follow_pods_that_cycle),
            test!(datagrams_follow_pods_that_cycle_on_the_callers_node),
            test!(datagrams_of_a_pod_in_the_hosts_network_follow_pods_that_cycle),
            test!(datagrams_that_were_refused_arrive_once_a_pod_is_ready_and_follow_its_port),
            test!(kube_proxy_beside_sluice_changes_nothing),
        ],
    )
}
