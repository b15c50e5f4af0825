//! Clusters under trouble by chance: once all is quiet, every gateway shows what the slow federation says. A
//! failing seed is repeated with `SEED=...`; `RUNS=...` makes more of them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::collections::BTreeMap;

use causeway_integration::reference::{federation, seen};
use causeway_integration::sim::Sim;
use causeway_integration::sim::truth::offer;
use causeway_proto::model::{
    Allocations, ClusterId, Liveness, LossPolicy, ProblemKind, ServiceName,
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What differs once all is quiet.
fn differences(sim: &Sim) -> Vec<String> {
    let leaders = sim.gateways().filter(|(_, _, g)| g.is_leader());
    let allocations: BTreeMap<ClusterId, Allocations> = leaders
        .map(|(_, h, g)| (h.cluster.clone(), g.allocations().clone()))
        .collect();
    let mut found = sim.errors.clone();
    for (id, leader) in sim.appointed_leaders() {
        let leaders = sim
            .gateways()
            .filter(|(_, h, g)| h.cluster == id && g.is_leader());
        let leaders: Vec<_> = leaders.map(|(_, h, _)| h.name.clone()).collect();
        if leaders != [leader.clone()] {
            found.push(format!("{id} is led by {leaders:?}, not by {leader}"));
        }
    }
    for (at, host, gateway) in sim.gateways() {
        let expected = federation(&host.cluster, &sim.truth, &allocations);
        let view = gateway.view();
        let shown = seen(view);
        if shown != expected {
            let (expected, shown) = (expected.lines(), shown.lines());
            let lacks: Vec<_> = expected.difference(&shown).collect();
            let has: Vec<_> = shown.difference(&expected).collect();
            let sessions = gateway.sessions().map(|(id, s)| {
                let (id, up) = (id.0, s.is_up());
                format!("session {id} with {}/{} up {up}", s.cluster(), s.gateway())
            });
            let sessions: Vec<_> = sessions.collect();
            found.push(format!(
                "host {at} {}/{}: {sessions:#?}\nlacks {lacks:#?}\nhas {has:#?}\n{view}",
                host.cluster, host.name
            ));
        }
        if view.frozen_since.is_some() {
            found.push(format!("host {at}: frozen"));
        }
    }
    found
}

fn run(seed: u64, appointed: bool) {
    let shapes: [&[usize]; 4] = [&[1, 2], &[2, 2], &[1, 1, 2], &[2, 1, 2, 1]];
    let shape = shapes[usize::try_from(seed % 4).unwrap()];
    let mut sim = if appointed {
        Sim::appointed(seed, shape)
    } else {
        Sim::new(seed, shape)
    };
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
        run(seed, false);
        return;
    }
    for seed in 0..number("RUNS").unwrap_or(12) {
        run(seed, false);
    }
}

#[test]
fn with_leaders_that_controllers_appoint_too() {
    if let Some(seed) = number("SEED") {
        run(seed, true);
        return;
    }
    for seed in 0..number("RUNS").unwrap_or(12) {
        run(seed, true);
    }
}

fn id(name: &str) -> ClusterId {
    name.parse().unwrap()
}

fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

/// East has one gateway, west a leader and a follower; `shop/cart` is west's, `shop/catalog` of both.
fn two() -> Sim {
    offered(Sim::new(1, &[1, 2]))
}

/// The same, with leaders that controllers have appointed.
fn two_appointed() -> Sim {
    let mut sim = Sim::appointed(1, &[1, 2]);
    sim.run(5_000);
    offered(sim)
}

fn offered(mut sim: Sim) -> Sim {
    for (cluster, name, host) in [
        ("c0", "shop/catalog", 3),
        ("c1", "shop/catalog", 4),
        ("c1", "shop/cart", 5),
    ] {
        let export = offer(&[80], &[(0, host), (1, host)], LossPolicy::Withdraw);
        let truth = sim.truth.get_mut(&id(cluster)).unwrap();
        truth.exports.services.insert(service(name), export);
        sim.told(&id(cluster));
    }
    sim.run(10_000);
    assert_eq!(differences(&sim), Vec::<String>::new());
    sim
}

fn liveness(sim: &Sim, at: usize, peer: &str) -> Liveness {
    sim.view(at).unwrap().peers[&id(peer)].liveness
}

fn vip(sim: &Sim, at: usize, name: &str) -> String {
    let import = &sim.view(at).unwrap().imports[&service(name)];
    import.vip.unwrap().to_string()
}

#[test]
fn without_a_leader_nothing_breaks() {
    let mut sim = two();
    let (east, leader, follower) = (
        0,
        sim.host("c1", "g0").unwrap(),
        sim.host("c1", "g1").unwrap(),
    );
    let before = vip(&sim, east, "shop/cart");
    sim.kill(leader);
    for _ in 0..300 {
        sim.run(100);
        assert_eq!(liveness(&sim, east, "c1"), Liveness::Live);
    }
    assert!(sim.view(follower).unwrap().frozen_since.is_some());
    // A newcomer's session is served by the follower alone.
    sim.start(east, true);
    sim.run(10_000);
    assert_eq!(vip(&sim, east, "shop/cart"), before);
    sim.start(leader, false);
    sim.run(10_000);
    assert_eq!(differences(&sim), Vec::<String>::new());
}

#[test]
fn who_is_cut_off_is_withdrawn_in_three_seconds_and_comes_back_as_it_was() {
    let mut sim = two();
    let before = (vip(&sim, 0, "shop/cart"), vip(&sim, 0, "shop/catalog"));
    let pair = causeway_integration::sim::pair(&id("c0"), &id("c1"));
    sim.cut.insert(pair.clone());
    // Its packets still come: suspect, then the lease.
    sim.run(5_000);
    assert_eq!(liveness(&sim, 0, "c1"), Liveness::Suspect);
    sim.dark.insert(pair.clone());
    sim.run(3_600);
    assert_eq!(liveness(&sim, 0, "c1"), Liveness::Withdrawn);
    let view = sim.view(0).unwrap();
    let cart = &view.imports[&service("shop/cart")];
    assert!(cart.stale && cart.ports.iter().all(|p| p.targets.is_empty()));
    assert!(!view.imports[&service("shop/catalog")].stale);
    sim.heal();
    sim.run(10_000);
    assert_eq!(differences(&sim), Vec::<String>::new());
    assert_eq!(
        before,
        (vip(&sim, 0, "shop/cart"), vip(&sim, 0, "shop/catalog"))
    );
    // Both silent at once.
    sim.cut.insert(pair.clone());
    sim.dark.insert(pair);
    sim.run(4_400);
    assert_eq!(liveness(&sim, 0, "c1"), Liveness::Withdrawn);
}

#[test]
fn a_clock_that_jumps_withdraws_nobody_and_is_told() {
    let mut sim = two();
    for skew in [7_200_000, -86_400_000, 0] {
        for host in &mut sim.hosts {
            host.skew_ms = skew;
        }
        for _ in 0..100 {
            sim.run(100);
            assert_eq!(liveness(&sim, 0, "c1"), Liveness::Live);
            assert_eq!(liveness(&sim, 1, "c0"), Liveness::Live);
        }
        let told = &sim.view(0).unwrap().problems;
        assert!(told.iter().any(|p| p.kind == ProblemKind::ClockJumped));
        // A revision that is cut now is still newer than those before.
        let truth = sim.truth.get_mut(&id("c1")).unwrap();
        truth.exports.services.remove(&service("shop/cart"));
        sim.told(&id("c1"));
        sim.run(5_000);
        assert_eq!(differences(&sim), Vec::<String>::new());
    }
}

#[test]
fn a_leader_that_lost_its_state_takes_up_its_followers() {
    let mut sim = two();
    let leader = sim.host("c1", "g0").unwrap();
    let before = sim.view(leader).unwrap().clone();
    // Nor does its clock help: it stands before the epoch that peers hold.
    sim.kill(leader);
    sim.run(1_000);
    sim.hosts[leader].skew_ms = -86_400_000;
    sim.start(leader, true);
    sim.run(15_000);
    assert_eq!(differences(&sim), Vec::<String>::new());
    let after = sim.view(leader).unwrap();
    assert_eq!(after.seed, before.seed);
    assert_eq!(after.self_map, before.self_map);
    for (name, import) in &before.imports {
        assert_eq!(after.imports[name].vip, import.vip);
    }
    let number = |view: &causeway_proto::model::View| view.peers[&id("c0")].number;
    assert_eq!(number(after), number(&before));
}

#[test]
fn a_leader_alone_that_lost_its_state_is_heard_again() {
    let mut sim = two();
    let epoch = sim.gateways().next().unwrap().2.allocations().epoch;
    sim.kill(0);
    sim.hosts[0].skew_ms = -86_400_000;
    sim.start(0, true);
    sim.run(15_000);
    assert_eq!(differences(&sim), Vec::<String>::new());
    assert!(sim.gateways().next().unwrap().2.allocations().epoch > epoch);
}

#[test]
fn a_full_pool_is_told_and_the_rest_goes_on() {
    let mut sim = two();
    sim.kill(0);
    let truth = sim.truth.get_mut(&id("c0")).unwrap();
    truth.vips = vec!["241.9.0.0/30".parse().unwrap()];
    for name in ["shop/a", "shop/b", "shop/c"] {
        let export = offer(&[80], &[(0, 9)], LossPolicy::Withdraw);
        truth.exports.services.insert(service(name), export);
    }
    sim.start(0, true);
    sim.run(10_000);
    assert_eq!(differences(&sim), Vec::<String>::new());
    let view = sim.view(0).unwrap();
    assert!(
        view.problems
            .iter()
            .any(|p| p.kind == ProblemKind::PoolFull)
    );
    assert_eq!(view.exports.len(), 2);
    assert!(view.imports[&service("shop/cart")].vip.is_none());
}

#[test]
fn a_member_that_leaves_is_as_if_it_had_never_been() {
    let mut sim = two();
    for (one, other) in [("c0", "c1"), ("c1", "c0")] {
        sim.truth
            .get_mut(&id(one))
            .unwrap()
            .members
            .remove(&id(other));
        sim.told(&id(one));
    }
    sim.run(5_000);
    assert_eq!(differences(&sim), Vec::<String>::new());
    assert!(sim.view(0).unwrap().peers.is_empty());
    assert_eq!(sim.open_sessions(), 0);
}

/// What a peer holds of west, and what west's agents do.
fn given_out(sim: &Sim) -> String {
    let west = sim
        .gateways()
        .find(|(_, _, g)| g.is_leader() && g.settings().cluster == id("c1"));
    let view = sim.view(west.unwrap().0).unwrap();
    let vips: Vec<_> = view.imports.iter().map(|(n, i)| (n, i.vip)).collect();
    let east = sim.view(0).unwrap();
    let there: Vec<_> = east
        .imports
        .values()
        .map(|i| (&i.ports, &i.shares))
        .collect();
    let mapped = &east.peers[&id("c1")].mappings;
    let peer = &view.peers[&id("c0")];
    format!(
        "{vips:?} {there:?} {mapped:?} {:?} {:?} {:?} {:?} {:?}",
        view.seed, view.self_map, peer.number, peer.mappings, view.exports
    )
}

fn epoch(sim: &Sim) -> u64 {
    let held = sim.gateways().find(|(_, h, _)| h.cluster == id("c0"));
    let east = held.unwrap().2;
    let west = &east.catalog().peers()[&id("c1")];
    west.held().unwrap().revision.epoch
}

/// Lets time pass; nobody is withdrawn in it, and nobody is without an answer.
fn run_unbroken(sim: &mut Sim, ms: u64) {
    for _ in 0..ms / 100 {
        sim.run(100);
        assert_eq!(liveness(sim, 0, "c1"), Liveness::Live);
        let cart = &sim.view(0).unwrap().imports[&service("shop/cart")];
        assert!(!cart.stale && !cart.ports[0].targets.is_empty());
    }
}

#[test]
fn a_leader_that_moves_breaks_nothing_and_gives_nothing_out_anew() {
    let mut sim = two_appointed();
    let before = given_out(&sim);
    for at in 0..3 {
        let old = epoch(&sim);
        let leader = sim.appointed_leaders()[&id("c1")].clone();
        let to = if leader.as_str() == "g0" { "g1" } else { "g0" };
        sim.hand_over(&id("c1"), &to.parse().unwrap());
        run_unbroken(&mut sim, 10_000);
        assert_eq!(differences(&sim), Vec::<String>::new());
        assert_eq!(given_out(&sim), before, "move {at}");
        assert!(epoch(&sim) > old);
    }
    // Nor does a word that is over by now, from a controller that was asleep.
    let (before, held) = (given_out(&sim), epoch(&sim));
    for _ in 0..8 {
        sim.say_again(&id("c1"));
        run_unbroken(&mut sim, 1_000);
    }
    assert_eq!((given_out(&sim), epoch(&sim)), (before, held));
}

#[test]
fn a_leader_lost_with_its_disk_has_a_successor_that_the_store_or_a_follower_tells_all() {
    for follower_lost in [false, true] {
        let mut sim = two_appointed();
        let (before, old) = (given_out(&sim), epoch(&sim));
        let leader = sim.appointed_leaders()[&id("c1")].clone();
        let at = sim.host("c1", leader.as_str()).unwrap();
        let other = sim.host("c1", if leader.as_str() == "g0" { "g1" } else { "g0" });
        let other = other.unwrap();
        // The node never comes back, and all clocks of the other are a day behind.
        sim.kill(at);
        if follower_lost {
            sim.kill(other);
            sim.hosts[other].skew_ms = -86_400_000;
            sim.start(other, true);
            sim.run(30_000);
        } else {
            run_unbroken(&mut sim, 20_000);
        }
        assert_ne!(sim.appointed_leaders()[&id("c1")], leader);
        assert_eq!(differences(&sim), Vec::<String>::new());
        assert!(epoch(&sim) > old);
        let after = given_out(&sim);
        if follower_lost {
            // Rings are made anew from the exports.
            assert_eq!(
                after.split("generations").next(),
                before.split("generations").next()
            );
        } else {
            assert_eq!(after, before);
        }
    }
}

#[test]
fn without_a_controller_nothing_breaks() {
    let mut sim = two_appointed();
    let before = given_out(&sim);
    sim.controllers.values_mut().for_each(|c| c.down = true);
    run_unbroken(&mut sim, 20_000);
    assert_eq!(given_out(&sim), before);
    // What changes still goes through the leader, and its restart needs nobody.
    let leader = sim.appointed_leaders()[&id("c1")].clone();
    let at = sim.host("c1", leader.as_str()).unwrap();
    sim.kill(at);
    sim.run(500);
    sim.start(at, false);
    let truth = sim.truth.get_mut(&id("c1")).unwrap();
    let export = offer(&[80], &[(0, 9)], LossPolicy::Withdraw);
    truth.exports.services.insert(service("shop/late"), export);
    sim.told(&id("c1"));
    run_unbroken(&mut sim, 10_000);
    assert_eq!(differences(&sim), Vec::<String>::new());
    assert!(
        sim.view(0)
            .unwrap()
            .imports
            .contains_key(&service("shop/late"))
    );
}
