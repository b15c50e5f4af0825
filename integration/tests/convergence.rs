//! Clusters under trouble by chance: once all is quiet, every gateway shows what the slow federation says. A
//! failing seed is repeated with `SEED=...`; `RUNS=...` makes more of them.

use std::collections::BTreeMap;

use causeway_integration::reference::{federation, seen};
use causeway_integration::sim::Sim;
use causeway_proto::model::{Allocations, ClusterId};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What differs once all is quiet.
fn differences(sim: &Sim) -> Vec<String> {
    let leaders = sim.gateways().filter(|(_, h, _)| h.name.as_str() == "g0");
    let allocations: BTreeMap<ClusterId, Allocations> = leaders
        .map(|(_, h, g)| (h.cluster.clone(), g.allocations().clone()))
        .collect();
    let mut found = sim.errors.clone();
    for (at, host, gateway) in sim.gateways() {
        let expected = federation(&host.cluster, &sim.truth, &allocations);
        let view = gateway.view();
        let shown = seen(view);
        if shown != expected {
            let (expected, shown) = (expected.lines(), shown.lines());
            let lacks: Vec<_> = expected.difference(&shown).collect();
            let has: Vec<_> = shown.difference(&expected).collect();
            found.push(format!(
                "host {at} {}/{}:\nlacks {lacks:#?}\nhas {has:#?}\n{view}",
                host.cluster, host.name
            ));
        }
        if view.frozen_since.is_some() {
            found.push(format!("host {at}: frozen"));
        }
    }
    found
}

fn run(seed: u64) {
    let shapes: [&[usize]; 4] = [&[1, 2], &[2, 2], &[1, 1, 2], &[2, 1, 2, 1]];
    let shape = shapes[usize::try_from(seed % 4).unwrap()];
    let mut sim = Sim::new(seed, shape);
    for _ in 0..6 {
        for _ in 0..12 {
            sim.trouble();
            let pause = sim.rng.below(700);
            sim.run(pause);
        }
        sim.heal();
        sim.run(25_000);
        let found = differences(&sim);
        assert!(
            found.is_empty(),
            "SEED={seed} at {} ms\n{}",
            sim.now_ms,
            found.join("\n")
        );
    }
}

#[test]
fn once_quiet_everybody_shows_what_the_slow_federation_says() {
    if let Some(seed) = number("SEED") {
        run(seed);
        return;
    }
    for seed in 0..number("RUNS").unwrap_or(12) {
        run(seed);
    }
}
