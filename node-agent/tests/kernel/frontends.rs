//! Every address that a Service has, from pods, from pods in the host's network and from the host.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    Errno,
    errno::Code,
    load::Target,
    node::Node,
    pod::Pod,
    program::{Family, Seen, Step},
};

use crate::{
    bed::{Bed, at},
    told::{Told, node_object},
};

const CLUSTER: [&str; 2] = ["198.18.0.1", "fd5e:1::1"];
const BALANCER: [&str; 2] = ["198.18.1.1", "fd5e:2::1"];
const EXTERNAL: [&str; 2] = ["198.18.2.1", "fd5e:3::1"];
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];
const PORT: u16 = 80;
const NODE_PORT: u16 = 30_080;

/// A Service with every kind of frontend, TCP and UDP under the same numbers, both families.
fn service(spec: &Value) -> Value {
    let port = |name: &str, protocol: &str| json!({"name": name, "port": PORT, "protocol": protocol, "nodePort": NODE_PORT});
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "type": "LoadBalancer", "clusterIPs": CLUSTER, "externalIPs": EXTERNAL,
            "ports": [port("tcp", "TCP"), port("udp", "UDP")],
        },
        "status": {"loadBalancer": {"ingress": BALANCER.map(|ip| json!({"ip": ip}))}},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        service["spec"][field] = value.clone();
    }
    service
}

/// The slices of the Service, one for each family.
fn slices(pods: &[(&Pod, &Node)]) -> Vec<Value> {
    let slice = |family: &str, address: fn(&Pod) -> IpAddr| {
        let endpoints = pods.iter().map(
            |(pod, node)| json!({"addresses": [address(pod).to_string()], "nodeName": node.name()}),
        );
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": {
                "name": format!("web-{}", family.to_lowercase()), "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "ports": [
                {"name": "tcp", "port": 8080, "protocol": "TCP"},
                {"name": "udp", "port": 8080, "protocol": "UDP"},
            ],
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    };
    vec![
        slice("IPv4", |pod| pod.address4().into()),
        slice("IPv6", |pod| pod.address6().into()),
    ]
}

fn both(at: SocketAddr) -> [Target; 2] {
    [Target::tcp(at), Target::udp(at)]
}

/// That a server of ours answers there, by both protocols.
fn answered(client: &Pod, at: SocketAddr, server: &str) -> Result<()> {
    for target in both(at) {
        let context = || format!("{} to {target}", client.name());
        let answer = client.connect(target).with_context(context)?;
        ensure!(answer.name == server, "{}: {answer:?}", context());
    }
    Ok(())
}

/// That nobody listens there, and nobody answers for it.
fn refused(client: &Pod, at: SocketAddr) -> Result<()> {
    let outcome = client.try_connect(Target::tcp(at))?;
    let expected = Code::from(Errno::ECONNREFUSED);
    ensure!(
        outcome.as_ref().err() == Some(&expected),
        "{} to {at}: {outcome:?}",
        client.name()
    );
    Ok(())
}

fn addresses_of(node: &Node) -> [IpAddr; 2] {
    let member = node.member();
    [member.address4().into(), member.address6().into()]
}

pub(crate) fn every_kind_of_frontend_answers_pods_and_the_host() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let (near, far) = (&bed.node, bed.fabric.node("node-2")?);
    let server = far.pod("server").port(8080).start()?;
    let clients = [
        near.pod("pod").start()?,
        near.pod("host-network").host_network().start()?,
        near.pod("host").on_the_host().start()?,
    ];
    let mut told = Told::start(&bed)?;
    let mut objects = vec![node_object(near), node_object(&far), service(&json!({}))];
    objects.extend(slices(&[(&server, &far)]));
    told.apply(&objects)?;

    let mut asked = 0;
    for client in &clients {
        for ip in CLUSTER.into_iter().chain(BALANCER).chain(EXTERNAL) {
            answered(client, at(ip, PORT)?, "server")?;
            asked += 2;
        }
        for ip in addresses_of(near).into_iter().chain(addresses_of(&far)) {
            answered(client, SocketAddr::new(ip, NODE_PORT), "server")?;
            refused(client, SocketAddr::new(ip, PORT))?;
            asked += 3;
        }
    }
    for ip in LOOPBACK {
        let at = at(ip, NODE_PORT)?;
        refused(&clients[0], at)?;
        answered(&clients[1], at, "server")?;
        answered(&clients[2], at, "server")?;
        asked += 5;
    }
    println!("{asked} connects");
    Ok(())
}

pub(crate) fn the_peer_of_a_node_port_is_the_nodes_address() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(8080).start()?;
    let client = bed.node.pod("client").start()?;
    let mut told = Told::start(&bed)?;
    let mut objects = vec![node_object(&bed.node), service(&json!({}))];
    objects.extend(slices(&[(&server, &bed.node)]));
    told.apply(&objects)?;
    for ip in addresses_of(&bed.node) {
        let peer = SocketAddr::new(ip, NODE_PORT);
        let seen = client.run(&[
            Step::tcp(Family::of(peer)),
            Step::connect(0, peer),
            Step::receive(0),
            Step::peer_name(0),
        ])?;
        ensure!(seen[3] == Ok(Seen::Name(peer)), "{seen:?}");
    }
    Ok(())
}

pub(crate) fn node_ports_follow_the_addresses_of_nodes() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let (near, far) = (&bed.node, bed.fabric.node("node-2")?);
    let server = near.pod("server").port(8080).start()?;
    let client = near.pod("client").start()?;
    let mut told = Told::start(&bed)?;
    let mut objects = vec![node_object(near), service(&json!({}))];
    objects.extend(slices(&[(&server, near)]));
    told.apply(&objects)?;

    let late = SocketAddr::new(addresses_of(&far)[0], NODE_PORT);
    refused(&client, late)?;
    told.apply(&[node_object(&far)])?;
    answered(&client, late, "server")?;
    let mut smaller = node_object(&far);
    smaller["status"]["addresses"] = json!([]);
    told.apply(&[smaller])?;
    refused(&client, late)?;

    told.apply(&[service(&json!({"type": "ClusterIP"}))])?;
    refused(&client, SocketAddr::new(addresses_of(near)[0], NODE_PORT))?;
    answered(&client, at(CLUSTER[0], PORT)?, "server")?;
    Ok(())
}

/// Nothing of ours listens on the node, so nobody is kept from a number; and who has bound it is not called while
/// the Service is there.
pub(crate) fn a_node_port_leads_to_the_service_whoever_has_bound_its_number() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let near = &bed.node;
    let server = near.pod("server").port(8080).start()?;
    let before = near.pod("before").on_the_host().port(NODE_PORT).start()?;
    let client = near.pod("client").start()?;
    let mut told = Told::start(&bed)?;
    let mut objects = vec![node_object(near), service(&json!({}))];
    objects.extend(slices(&[(&server, near)]));
    let at_nodes = addresses_of(near).map(|ip| SocketAddr::new(ip, NODE_PORT));
    for at in at_nodes {
        answered(&client, at, "before")?;
    }
    told.apply(&objects)?;
    drop(before);
    let after = near.pod("after").on_the_host().port(NODE_PORT).start()?;
    for at in at_nodes {
        answered(&client, at, "server")?;
        answered(&after, at, "server")?;
        // Its number as a caller's own, as one that the kernel may give out.
        let any: IpAddr = if at.is_ipv4() { "0.0.0.0" } else { "::" }.parse()?;
        let address = SocketAddr::new(any, NODE_PORT);
        let seen = client.run(&[
            Step::tcp(Family::of(at)),
            Step::Bind { socket: 0, address },
            Step::connect(0, at),
            Step::receive(0),
        ])?;
        let greeting = seen[3].as_ref().ok().and_then(Seen::text);
        ensure!(
            greeting.is_some_and(|text| text.starts_with("server")),
            "{seen:?}"
        );
    }
    told.apply(&[service(&json!({"type": "ClusterIP"}))])?;
    for at in at_nodes {
        answered(&client, at, "after")?;
    }
    Ok(())
}

/// As kube-proxy has it: what is called from the node itself reaches every endpoint by the Service's
/// outer addresses, and those of another node are that one's to decide.
pub(crate) fn external_traffic_policy_local_leaves_other_nodes_ports_alone() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let (near, far) = (&bed.node, bed.fabric.node("node-2")?);
    let server = far.pod("server").port(8080).start()?;
    let client = near.pod("client").start()?;
    let mut told = Told::start(&bed)?;
    let local = service(&json!({"externalTrafficPolicy": "Local"}));
    let mut objects = vec![node_object(near), node_object(&far), local];
    objects.extend(slices(&[(&server, &far)]));
    told.apply(&objects)?;
    for (own, other) in addresses_of(near).into_iter().zip(addresses_of(&far)) {
        answered(&client, SocketAddr::new(own, NODE_PORT), "server")?;
        refused(&client, SocketAddr::new(other, NODE_PORT))?;
    }
    for ip in CLUSTER.into_iter().chain(BALANCER).chain(EXTERNAL) {
        answered(&client, at(ip, PORT)?, "server")?;
    }
    Ok(())
}

pub(crate) fn internal_traffic_policy_local_reaches_this_nodes_endpoints_or_refuses() -> Result<()>
{
    let bed = Bed::start(Refusal::SetRetval)?;
    let (near, far) = (&bed.node, bed.fabric.node("node-2")?);
    let here = near.pod("here").port(8080).start()?;
    let there = far.pod("there").port(8080).start()?;
    let clients = [
        near.pod("pod").start()?,
        near.pod("host").on_the_host().start()?,
    ];
    let mut told = Told::start(&bed)?;
    let local = service(&json!({"internalTrafficPolicy": "Local"}));
    told.apply(&[node_object(near), node_object(&far), local])?;
    told.apply(&slices(&[(&here, near), (&there, &far)]))?;
    for client in &clients {
        for ip in CLUSTER {
            for _ in 0..5 {
                answered(client, at(ip, PORT)?, "here")?;
            }
        }
    }
    told.apply(&slices(&[(&there, &far)]))?;
    for client in &clients {
        for ip in CLUSTER {
            refused(client, at(ip, PORT)?)?;
        }
        answered(client, at(EXTERNAL[0], PORT)?, "there")?;
    }
    Ok(())
}
