//! Gateways of one cluster tell each other what they carry.

use super::office::{NOW, One, appoint, name};
use super::*;

/// Three gateways, the first of which leads; `west` is a peer.
fn three() -> [One; 3] {
    let mut all = ["a", "b", "c"].map(|gateway| One::new(gateway, Restored::default()));
    for one in &mut all {
        one.told(appoint(1, "a"), NOW).unwrap();
    }
    let [a, b, c] = &mut all;
    let bundles = BTreeMap::from([(id("west"), bundle(&id("west")))]);
    let trust = TrustState {
        bundles,
        ..TrustState::default()
    };
    assert!(a.gateway.set_trust(trust, at(NOW)));
    let now = NOW + 2_000;
    a.offers(&["shop/cart"], now);
    b.follows(a, now);
    c.follows(a, now);
    for follower in [b, c] {
        let me = follower.gateway.settings().gateway.clone();
        follower.takes(a, &me, now);
    }
    all
}

fn carried_by(one: &One) -> Vec<String> {
    let peer = &one.gateway.view().peers[&id("west")];
    peer.carried_by.iter().map(ToString::to_string).collect()
}

fn mtu(one: &One) -> Option<u16> {
    one.gateway.view().peers[&id("west")].mtu
}

/// What one carries goes to the leader, and from there to all.
fn tell(all: &mut [One; 3], which: usize, carries: bool, now: u64) {
    let number = all[0].gateway.allocations().peers[&id("west")].value.number;
    let mtu = 1_400 + u16::try_from(which).unwrap();
    let carried = carries.then_some((number.number(), mtu));
    all[which]
        .gateway
        .carries_to(&carried.into_iter().collect());
    all[which].work(now);
    let (me, carries) = (
        all[which].gateway.settings().gateway.clone(),
        all[which].gateway.carries().clone(),
    );
    let [leader, followers @ ..] = all;
    leader.gateway.follower_carries(&me, carries);
    leader.work(now);
    for follower in followers {
        let name = follower.gateway.settings().gateway.clone();
        follower.takes(leader, &name, now);
    }
}

#[test]
fn everybody_knows_who_carries() {
    let mut all = three();
    let now = NOW + 3_000;
    for one in &all {
        assert_eq!((carried_by(one), mtu(one)), (Vec::new(), None));
    }
    for which in 0..3 {
        tell(&mut all, which, true, now);
    }
    for one in &all {
        assert_eq!(carried_by(one), ["a", "b", "c"]);
    }
    // One that leaves says that it carries nothing.
    tell(&mut all, 1, false, now);
    for one in &all {
        assert_eq!(carried_by(one), ["a", "c"]);
        assert_eq!(mtu(one), Some(1_400));
    }
    tell(&mut all, 0, false, now);
    assert_eq!(mtu(&all[1]), Some(1_402), "the least of those that carry");
    tell(&mut all, 1, true, now);
    assert_eq!(carried_by(&all[2]), ["b", "c"]);
}

#[test]
fn who_is_silent_or_gone_carries_nothing() {
    let mut all = three();
    let now = NOW + 3_000;
    for which in 0..3 {
        tell(&mut all, which, true, now);
    }
    let [a, b, c] = &mut all;
    a.gateway.gateway_quiet(&name("b"));
    a.work(now);
    assert_eq!(carried_by(a), ["a", "c"]);
    c.takes(a, &name("c"), now);
    assert_eq!(carried_by(c), ["a", "c"]);
    a.gateway
        .follower_carries(&name("b"), BTreeMap::from([(id("west"), 1_400)]));
    a.work(now);
    assert_eq!(carried_by(a), ["a", "b", "c"]);
    let instance = c.gateway.settings().instance;
    a.gateway.follower_down(&name("c"), instance, at(now));
    a.work(now);
    assert_eq!(carried_by(a), ["a", "b"]);
    // A follower that hears no leader knows at least that the leader itself may be gone.
    b.takes(a, &name("b"), now);
    b.gateway.leader_link(false, at(now));
    b.work(now);
    assert_eq!(carried_by(b), ["b"]);
    // What is said of oneself by others does not count.
    b.gateway.gateway_quiet(&name("b"));
    b.work(now);
    assert_eq!(carried_by(b), ["b"]);
}
