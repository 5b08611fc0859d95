//! Flows of datagrams that outlive what they were sent to: each finds who is there now, or is refused.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_testbed::{
    Errno,
    errno::Code,
    pod::{Pod, Program},
    program::{Family, Seen, Step, Transport},
    tier::eventually,
};

use crate::{
    bed::PATIENCE,
    dns::{Conversation, Dns, Endpoint, PORT, connected, name, services},
};

/// A socket that names the Service with each datagram.
struct Asking<'pod> {
    program: Program<'pod>,
    service: SocketAddr,
}

impl<'pod> Asking<'pod> {
    fn open(client: &'pod Pod, service: SocketAddr) -> Result<Self> {
        let program = client.program();
        program.run(&[Step::udp(Family::of(service))])?;
        Ok(Self { program, service })
    }

    /// Who answers; an error if the send is refused.
    fn ask(&self) -> Result<Result<String, Code>> {
        let sent = self.program.run(&[Step::send_to(0, "?", self.service)])?;
        if let [Err(code)] = sent[..] {
            return Ok(Err(code));
        }
        let heard = self.program.run(&[Step::receive_from(0)])?;
        Ok(Ok(name(&heard[0]).with_context(|| format!("{heard:?}"))?))
    }

    fn await_answer_of(&self, dns: &Dns, number: usize) -> Result<()> {
        eventually(PATIENCE, "an answer of the backend", || {
            let answer = self.ask()?;
            let right = answer.as_ref().is_ok_and(|name| dns.is_from(name, number));
            ensure!(right, "{}: {answer:?}", self.service);
            Ok(())
        })
    }

    fn await_refusal(&self) -> Result<()> {
        eventually(PATIENCE, "a refusal", || {
            let answer = self.ask()?;
            let refused = answer == Err(Errno::ECONNREFUSED.into());
            ensure!(refused, "{}: {answer:?}", self.service);
            Ok(())
        })
    }
}

/// Connects the socket of an ended conversation again.
fn reconnect(conversation: &Conversation<'_>) -> Result<Option<String>> {
    let connected = conversation
        .program
        .run(&[Step::connect(0, conversation.peer)])?;
    if connected[0] == Err(Errno::ECONNREFUSED.into()) {
        return Ok(None);
    }
    let seen = conversation
        .program
        .run(&[Step::send(0, "?"), Step::receive(0)])?;
    Ok(Some(name(&seen[1]).with_context(|| format!("{seen:?}"))?))
}

/// Waits until the first backend alone answers a new socket.
fn with_the_first<'pod>(
    dns: &Dns,
    client: &'pod Pod,
    service: SocketAddr,
) -> Result<Conversation<'pod>> {
    eventually(PATIENCE, "the first backend alone", || {
        let conversation = connected(client, Transport::Udp, service)?;
        ensure!(dns.is_from(&conversation.with, 0), "{}", conversation.with);
        Ok(conversation)
    })
}

pub(crate) fn a_flow_finds_the_first_endpoint_that_comes_and_is_refused_until_then() -> Result<()> {
    let dns = Dns::open()?;
    dns.endpoints(&[0])?;
    let _agent = dns.bed.ready_agent()?;
    let client = dns.bed.node.pod("client").start()?;
    let cluster = |endpoints: &[Endpoint]| dns.write_endpoints(endpoints, PORT);
    // What there is when nobody answers, by the Service's policy.
    let nobody = [
        ("none", "Cluster", vec![]),
        (
            "one that is not ready",
            "Cluster",
            vec![Endpoint::Unready(1)],
        ),
        ("one on another node", "Local", vec![Endpoint::Far(1)]),
    ];
    for (what, policy, nobody) in nobody {
        dns.write_service(&json!({}), policy)?;
        cluster(&[Endpoint::Ready(0)])?;
        let mut flows = Vec::new();
        for service in services()? {
            let asking = Asking::open(&client, service)?;
            asking.await_answer_of(&dns, 0).context(what)?;
            flows.push((with_the_first(&dns, &client, service)?, asking));
        }
        cluster(&nobody)?;
        for (conversation, asking) in &flows {
            asking.await_refusal().context(what)?;
            conversation.await_end().context(what)?;
            let again = reconnect(conversation)?;
            ensure!(again.is_none(), "{what}: {again:?} answers");
        }
        cluster(&[Endpoint::Ready(1)])?;
        for (conversation, asking) in &flows {
            asking.await_answer_of(&dns, 1).context(what)?;
            let again = reconnect(conversation)?.context("a refusal")?;
            ensure!(dns.is_from(&again, 1), "{what}: {again} answers");
        }
    }
    Ok(())
}

/// The backend's address may be somebody else's by then.
pub(crate) fn a_flow_of_a_deleted_service_reaches_nobody() -> Result<()> {
    let dns = Dns::open()?;
    dns.endpoints(&[0])?;
    let _agent = dns.bed.ready_agent()?;
    let client = dns.bed.node.pod("client").start()?;
    let mut flows = Vec::new();
    for service in services()? {
        let asking = Asking::open(&client, service)?;
        asking.await_answer_of(&dns, 0)?;
        flows.push((with_the_first(&dns, &client, service)?, asking));
    }
    std::fs::remove_file(dns.bed.manifests.join("service.yaml"))?;
    for (conversation, asking) in &flows {
        conversation.await_end()?;
        // One queue leads there: what was sent first is answered first.
        let direct = match asking.service.ip().to_canonical().is_ipv4() {
            true if asking.service.is_ipv6() => mapped(&dns)?,
            true => (dns.v4(0), PORT).into(),
            false => (dns.v6(0), PORT).into(),
        };
        let seen = asking.program.run(&[
            Step::send_to(0, "to the Service", asking.service),
            Step::send_to(0, "straight", direct),
            Step::receive_from(0),
        ])?;
        let straight =
            matches!(&seen[2], Ok(Seen::DataFrom(data, _)) if data.ends_with(b"straight"));
        ensure!(straight, "{}: {seen:?}", asking.service);
    }
    Ok(())
}

fn mapped(dns: &Dns) -> Result<SocketAddr> {
    let ip = format!("::ffff:{}", dns.v4(0)).parse()?;
    Ok(SocketAddr::new(ip, PORT))
}

/// The Service that clients call, shared out to another that has backends of its own.
pub(crate) fn a_flow_ends_with_the_version_that_a_split_chose_and_with_no_other() -> Result<()> {
    let dns = Dns::open()?;
    dns.endpoints(&[0])?;
    let canary = |number: usize| {
        let mut objects = canary(&dns, number);
        objects.push(json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
            "metadata": {"namespace": "kube-system", "name": "dns"},
            "spec": {"service": "dns", "versions": [
                {"name": "stable", "service": "dns", "weight": 0},
                {"name": "canary", "service": "dns-canary", "weight": 1},
            ]},
        }));
        dns.bed.write("split.yaml", &objects)
    };
    canary(1)?;
    let _agent = dns.bed.ready_agent()?;
    let client = dns.bed.node.pod("client").start()?;
    let mut flows = Vec::new();
    for service in services()? {
        let flow = connected(&client, Transport::Udp, service)?;
        ensure!(dns.is_from(&flow.with, 1), "{}", flow.with);
        flows.push(flow);
    }
    dns.endpoints(&[])?;
    dns.await_looks()?;
    for flow in &flows {
        flow.goes_on()?;
    }
    canary(2)?;
    for flow in &flows {
        flow.await_end()?;
        let again = reconnect(flow)?.context("a refusal")?;
        ensure!(dns.is_from(&again, 2), "{again} answers");
    }
    Ok(())
}

/// A Service that lends its one backend.
fn canary(dns: &Dns, number: usize) -> Vec<Value> {
    let slice = |family: &str, address: std::net::IpAddr| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": {
                "namespace": "kube-system", "name": format!("canary-{}", family.to_lowercase()),
                "labels": {"kubernetes.io/service-name": "dns-canary"},
            },
            "endpoints": [{"addresses": [address]}],
            "ports": [{"name": "dns", "port": PORT, "protocol": "UDP"}],
        })
    };
    vec![
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "kube-system", "name": "dns-canary"},
            "spec": {
                "clusterIP": "198.18.0.2", "clusterIPs": ["198.18.0.2", "fd5e:1::2"],
                "ports": [{"name": "dns", "port": PORT, "protocol": "UDP"}],
            },
        }),
        slice("IPv4", dns.v4(number)),
        slice("IPv6", dns.v6(number)),
    ]
}

pub(crate) fn a_restart_of_the_agent_ends_no_healthy_flow() -> Result<()> {
    let dns = Dns::open()?;
    let mut agent = dns.bed.ready_agent()?;
    let client = dns.bed.node.pod("client").start()?;
    let (mut flows, mut asking) = (Vec::new(), Vec::new());
    for service in services()? {
        for transport in [
            Transport::Udp,
            Transport::Udp,
            Transport::Udp,
            Transport::Tcp,
        ] {
            flows.push(connected(&client, transport, service)?);
        }
        let socket = Asking::open(&client, service)?;
        let with = socket.ask()?.map_err(|code| anyhow::anyhow!("{code}"))?;
        asking.push((socket, with));
    }
    for how in ["stopped", "killed"] {
        if how == "stopped" {
            agent.stop(PATIENCE)?;
        } else {
            agent.kill()?;
        }
        agent = dns.bed.ready_agent()?;
        dns.await_looks()?;
        for flow in &flows {
            flow.goes_on().context(how)?;
        }
        for (socket, with) in &asking {
            let now = socket.ask()?;
            ensure!(now.as_ref() == Ok(with), "{how}: {now:?} instead of {with}");
        }
    }
    Ok(())
}
