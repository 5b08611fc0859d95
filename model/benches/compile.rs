//! P8: compiling, lowering and planning 10,000 Services with 10 endpoints each; and one change.

#![allow(clippy::expect_used, reason = "a benchmark may")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::json;
use sluice_model::{
    change::Change, compile, facts, ids::Capacities, image::Image, index::Index, key::Kind,
    pass::State, plan::Outcome,
};

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;

fn parse(manifest: serde_json::Value) -> Change {
    facts::parse(manifest).expect("a known kind")
}

fn service(n: u32) -> Change {
    let [_, a, b, c] = n.to_be_bytes();
    parse(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("s{n}"), "namespace": "bench"},
        "spec": {
            "clusterIP": format!("10.{}.{b}.{c}", 96 + a),
            "ports": [{"name": "http", "port": 80}],
        },
    }))
}

fn slice(n: u32, endpoints: u32) -> Change {
    let endpoints: Vec<_> = (0..endpoints)
        .map(|i| {
            let [_, a, b, c] = (n * 16 + i).to_be_bytes();
            json!({"addresses": [format!("10.{a}.{b}.{c}")]})
        })
        .collect();
    parse(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("s{n}-0"), "namespace": "bench",
            "labels": {"kubernetes.io/service-name": format!("s{n}")},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080}],
    }))
}

fn index() -> Index {
    let mut index = Index::awaiting([Kind::Service]);
    for n in 0..SERVICES {
        index.apply(service(n));
        index.apply(slice(n, ENDPOINTS));
    }
    let present = index.services().keys().cloned().map(Into::into).collect();
    index.apply(Change::Relisted(Kind::Service, present));
    index
}

fn pass(index: &mut Index, state: &mut State, observed: &mut Image) -> usize {
    let pass = state.pass(index, observed).expect("everything is listed");
    let outcome: Outcome<()> = pass.plan.run(observed, |_| Ok(()));
    state.finish(&outcome);
    outcome.done
}

fn full(c: &mut Criterion) {
    let index = index();
    let mut group = c.benchmark_group("10k-services");
    group.sample_size(10);
    group.bench_function("compile", |b| {
        b.iter(|| {
            let snapshot = index.snapshot().expect("everything is listed");
            black_box(compile::all(snapshot))
        });
    });
    group.bench_function("compile-lower-plan-apply", |b| {
        b.iter_batched(
            || {
                (
                    index.clone(),
                    State::new(Capacities::default()),
                    Image::default(),
                )
            },
            |(mut index, mut state, mut observed)| {
                black_box(pass(&mut index, &mut state, &mut observed));
                (index, state, observed)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn one_change(c: &mut Criterion) {
    let mut index = index();
    let mut state = State::new(Capacities::default());
    let mut observed = Image::default();
    pass(&mut index, &mut state, &mut observed);
    let changes = [
        slice(SERVICES / 2, ENDPOINTS - 1),
        slice(SERVICES / 2, ENDPOINTS),
    ];
    let mut turn = 0;
    c.bench_function("one-change-among-10k-services", |b| {
        b.iter(|| {
            index.apply(changes[turn % 2].clone());
            turn += 1;
            black_box(pass(&mut index, &mut state, &mut observed))
        });
    });
}

criterion_group!(benches, full, one_change);
criterion_main!(benches);
