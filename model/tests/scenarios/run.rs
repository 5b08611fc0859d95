//! Plays a scenario on a node whose maps are an image.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fmt::Write,
    net::SocketAddr,
};

use serde::Deserialize;
use serde_json::Value;
use sluice_model::{
    caller::Caller,
    change::{Change, Object},
    facts,
    ids::Capacities,
    image::{Entry, Image, Place},
    index::Index,
    key::{Frontend, Kind, Name, NodeKey, Port, Protocol, SplitKey, Subject},
    oracle::{self, Answer},
    pass::State,
    plan::{Op, Outcome},
};

use crate::{
    kernel::{self, Kernel},
    text::{Scenario, Section},
};

pub(crate) struct Played {
    /// One for each section that is a question.
    pub(crate) answers: Vec<Option<String>>,
    pub(crate) image: String,
}

pub(crate) fn play(scenario: &Scenario) -> Result<Played, String> {
    let mut node = Node::new();
    let mut answers = Vec::new();
    for section in &scenario.sections {
        let head: Vec<&str> = section.head.iter().map(String::as_str).collect();
        let heading = format!("-- {} --", head.join(" "));
        let answer = node.section(&head, section);
        answers.push(answer.map_err(|error| format!("{heading}: {error}"))?);
    }
    Ok(Played {
        answers,
        image: format!("{:#}", node.observed),
    })
}

struct Node {
    index: Index,
    capacities: Capacities,
    state: State,
    observed: Image,
    objects: BTreeMap<Subject, Value>,
    counters: BTreeMap<u32, u64>,
    last: Vec<Op>,
}

impl Node {
    fn new() -> Self {
        let capacities = Capacities::default();
        Self {
            index: listed(),
            capacities,
            state: State::new(capacities),
            observed: Image::default(),
            objects: BTreeMap::new(),
            counters: BTreeMap::new(),
            last: Vec::new(),
        }
    }

    fn section(&mut self, head: &[&str], section: &Section) -> Result<Option<String>, String> {
        let answer = match head {
            ["capacity", limits @ ..] => {
                self.limit(limits)?;
                return Ok(None);
            }
            ["apply"] => {
                for manifest in manifests(&section.body)? {
                    self.set(manifest)?;
                }
                self.pass()?;
                return Ok(None);
            }
            ["delete"] => {
                for line in section.body.lines().filter(|line| !line.is_empty()) {
                    let subject = subject(line)?;
                    self.objects.remove(&subject);
                    self.index.apply(Change::Gone(subject));
                }
                self.pass()?;
                return Ok(None);
            }
            ["relist"] => {
                self.objects.clear();
                for manifest in manifests(&section.body)? {
                    self.set(manifest)?;
                }
                self.relist();
                self.pass()?;
                return Ok(None);
            }
            ["restart"] => {
                self.restart()?;
                return Ok(None);
            }
            ["findings"] => self.findings(),
            ["image"] => self.observed.symbolic(),
            ["writes"] => writes(&self.last),
            ["connect", frontend] => self.connect(Caller::default(), frontend, "1")?,
            ["connect", frontend, times] => self.connect(Caller::default(), frontend, times)?,
            ["connect", frontend, times, "from", "the", "host"] => {
                self.connect(Caller::HOST, frontend, times)?
            }
            ["status", split] => status(&self.state, &self.index, split)?,
            ["status", split, "of", "the", "cluster"] => self.cluster_status(split)?,
            ["explain", frontend] => {
                let frontend = parse_frontend(frontend)?;
                let explanation = self.state.explain(Caller::default(), frontend);
                serde_yaml::to_string(&explanation).map_err(|error| error.to_string())?
            }
            _ => return Err("there is no such section".to_owned()),
        };
        Ok(Some(if answer.is_empty() {
            "none".to_owned()
        } else {
            answer
        }))
    }

    fn set(&mut self, manifest: Value) -> Result<(), String> {
        let change = facts::parse(manifest.clone()).map_err(|error| format!("{error:?}"))?;
        if let Change::Set(object) = &change {
            self.objects.insert(Object::subject(object), manifest);
        }
        self.index.apply(change);
        Ok(())
    }

    fn relist(&mut self) {
        for kind in Kind::ALL {
            let subjects = self.objects.keys().filter(|subject| subject.kind == kind);
            let present = subjects.cloned().collect();
            self.index.apply(Change::Relisted(kind, present));
        }
    }

    fn restart(&mut self) -> Result<(), String> {
        self.index = index_of_node_1();
        self.state = State::restore(self.capacities, &self.observed);
        for manifest in self.objects.clone().into_values() {
            self.set(manifest)?;
        }
        if self.state.pass(&mut self.index, &self.observed).is_some() {
            return Err("a pass before everything was listed".to_owned());
        }
        self.relist();
        self.pass()
    }

    /// Passes until nothing is left to do, as the agent does.
    fn pass(&mut self) -> Result<(), String> {
        self.last.clear();
        self.one_pass()?;
        while self.state.wants_pass() {
            self.one_pass()?;
        }
        Ok(())
    }

    /// Every step of the plan leaves each frontend with an answer.
    fn one_pass(&mut self) -> Result<(), String> {
        let pass = self.state.pass(&mut self.index, &self.observed);
        let plan = pass.ok_or("not everything is listed")?.plan;
        let mut image = self.observed.clone();
        for step in &plan.steps {
            step.op.apply(&mut image);
            match step.op {
                Op::Put(Entry::Counter(index)) => drop(self.counters.insert(index, 0)),
                Op::Delete(Place::Counter(index)) => drop(self.counters.remove(&index)),
                _ => {}
            }
            for frontend in self.frontends() {
                oracle::by_image(&image, Caller::HOST, frontend).map_err(|dangling| {
                    format!("after {:?}: {dangling:?}\n{plan}\n{image:#}", step.op)
                })?;
            }
        }
        let outcome: Outcome<Infallible> = plan.run(&mut self.observed, |_| Ok(()));
        self.state.finish(&outcome);
        self.last.extend(plan.steps.into_iter().map(|step| step.op));
        for frontend in self.frontends() {
            let wanted = oracle::by_desired(self.state.desired(), Caller::HOST, frontend);
            let found = oracle::by_image(&self.observed, Caller::HOST, frontend);
            let found = found.map_err(|d| d.0)?;
            let refused = !self.state.lagging().is_empty();
            wanted
                .check(&found)
                .or_else(|why| if refused { Ok(()) } else { Err(why) })?;
        }
        Ok(())
    }

    fn frontends(&self) -> Vec<Frontend> {
        let services = self.state.desired().services.values();
        let ports = services.flat_map(|service| &service.ports);
        ports.flat_map(|port| &port.frontends).copied().collect()
    }

    fn limit(&mut self, limits: &[&str]) -> Result<(), String> {
        for pair in limits.chunks(2) {
            let [name, limit] = pair else {
                return Err("a map and a number, please".to_owned());
            };
            let limit = limit.parse().map_err(|_| "what number?")?;
            let capacities = &mut self.capacities;
            match *name {
                "frontends" => capacities.frontends = limit,
                "nodes" => capacities.nodes = limit,
                "callers" => capacities.callers = limit,
                "ports" => capacities.ports = limit,
                "tables" => capacities.tables = limit,
                "slots" => capacities.slots = limit,
                "groups" => capacities.groups = limit,
                "backends" => capacities.backends = limit,
                "counters" => capacities.counters = limit,
                _ => return Err(format!("there is no map {name:?}")),
            }
        }
        self.state = State::new(self.capacities);
        Ok(())
    }

    fn findings(&self) -> String {
        let parsing = self.index.findings().cloned();
        let findings: BTreeSet<_> = parsing.chain(self.state.findings()).collect();
        let mut text = String::new();
        for finding in findings {
            let _ = writeln!(text, "{finding}");
        }
        text
    }

    fn connect(&mut self, caller: Caller, frontend: &str, times: &str) -> Result<String, String> {
        let frontend = parse_frontend(frontend)?;
        let times: usize = times.parse().map_err(|_| "how many connects?")?;
        let answer = oracle::by_image(&self.observed, caller, frontend);
        let odds = match answer.map_err(|d| d.0)? {
            Answer::Passed => return Ok("passed".to_owned()),
            Answer::Decided(odds) => odds,
        };
        let kernel = Kernel::new(&self.observed, std::mem::take(&mut self.counters));
        let connect = |_| kernel.connect(caller, frontend);
        let connects: Result<Vec<_>, _> = (0..times).map(connect).collect();
        self.counters = kernel.into_counters();
        let connects = connects.map_err(|refusal| format!("{refusal:?}"))?;
        let connects: Option<Vec<_>> = connects.into_iter().map(kernel::Outcome::decided).collect();
        let connects = connects.ok_or("a connect was left alone")?;
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        for end in &connects {
            let end = end.map_or("refused".to_owned(), |backend| backend.to_string());
            *ends.entry(end).or_default() += 1;
        }
        let known = |end: &Option<_>| {
            odds.classes.keys().any(|class| match end {
                Some(backend) => class.contains(backend),
                None => class.is_empty(),
            })
        };
        if !connects.iter().all(known) {
            return Err(format!("{ends:?} is not what {odds} allows"));
        }
        let mut text = String::new();
        for (end, count) in ends {
            let _ = writeln!(text, "{count} {end}");
        }
        Ok(text)
    }

    /// As whoever sees the whole cluster, from no node of it, would have it.
    fn cluster_status(&self, split: &str) -> Result<String, String> {
        let mut index = Index::awaiting([]);
        for manifest in self.objects.values() {
            index.apply(facts::parse(manifest.clone()).map_err(|error| format!("{error:?}"))?);
        }
        let mut state = State::new(self.capacities);
        state.pass(&mut index, &Image::default());
        status(&state, &index, split)
    }
}

fn status(state: &State, index: &Index, split: &str) -> Result<String, String> {
    let (namespace, name) = split.split_once('/').ok_or("namespace/name, please")?;
    let key = SplitKey::parse(namespace, name).ok_or("not a name")?;
    let Some(status) = state.split_status(index, &key) else {
        return Ok("there is no such split".to_owned());
    };
    let mut text = String::new();
    for version in status.versions {
        let _ = writeln!(
            text,
            "{}: weight {} effective {} share {} ready {} {}",
            version.name,
            version.weight,
            version.effective,
            version.share,
            version.ready,
            version.reason.name()
        );
    }
    for condition in status.conditions {
        let kind = format!("{:?}", condition.kind);
        let (status, reason) = (condition.status, condition.reason.name());
        let line = format!("{kind}={status} {reason} {}", condition.message);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    Ok(text)
}

fn listed() -> Index {
    let mut index = index_of_node_1();
    for kind in Kind::ALL {
        index.apply(Change::Relisted(kind, BTreeSet::new()));
    }
    index
}

/// The index of the node that scenarios are played on.
fn index_of_node_1() -> Index {
    let index = Index::awaiting(Kind::ALL);
    match NodeKey::parse("", "node-1") {
        Some(own) => index.on_node(own),
        None => index,
    }
}

fn manifests(yaml: &str) -> Result<Vec<Value>, String> {
    let documents = serde_yaml::Deserializer::from_str(yaml);
    let manifests = documents.map(Value::deserialize);
    let manifests: Result<Vec<Value>, _> = manifests.collect();
    let manifests = manifests.map_err(|error| error.to_string())?;
    Ok(manifests.into_iter().filter(|m| !m.is_null()).collect())
}

fn subject(line: &str) -> Result<Subject, String> {
    let (kind, name) = line.split_once(' ').ok_or("Kind namespace/name, please")?;
    let kind = Kind::ALL.into_iter().find(|k| k.to_string() == kind);
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    Ok(Subject {
        kind: kind.ok_or("there is no such kind")?,
        name: Name::parse(namespace, name).ok_or("not a name")?,
    })
}

fn parse_frontend(text: &str) -> Result<Frontend, String> {
    let (address, protocol) = text
        .rsplit_once('/')
        .ok_or("ADDRESS:PORT/PROTOCOL, please")?;
    let address: SocketAddr = address.parse().map_err(|_| "not an address with a port")?;
    Ok(Frontend {
        ip: address.ip(),
        port: Port::new(address.port()).ok_or("port 0")?,
        protocol: match protocol {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            other => return Err(format!("{other:?} is not a protocol")),
        },
    })
}

/// How many operations of which kind, in the order in which they come.
fn writes(ops: &[Op]) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for op in ops {
        let kind = match op {
            Op::Put(entry) => format!("put {}", map(entry.place())),
            Op::Barrier => "barrier".to_owned(),
            Op::Delete(place) => format!("delete {}", map(*place)),
        };
        match kinds.last_mut() {
            Some((last, count)) if *last == kind => *count += 1,
            _ => kinds.push((kind, 1)),
        }
    }
    let mut text = String::new();
    for (kind, count) in kinds {
        let _ = writeln!(text, "{count} {kind}");
    }
    text
}

fn map(place: Place) -> &'static str {
    match place {
        Place::Generation => "generation",
        Place::Counter(_) => "counter",
        Place::Backend(_) => "backend",
        Place::Slots(..) => "slots",
        Place::Group(_) => "group",
        Place::Table(_) => "table",
        Place::Port(_) => "port",
        Place::Frontend(_) => "frontend",
        Place::Node(_) => "node",
        Place::Caller(_) => "caller",
        Place::Class(_) => "class",
    }
}
