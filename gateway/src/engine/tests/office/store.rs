//! The controller's store as a holder.

use causeway_proto::limits::LEASE_MS;

use super::*;

/// A leader without followers, and a controller that stores.
fn with_a_store() -> One {
    let mut g1 = One::new("g1", Restored::default());
    g1.told(appoint(1, "g1"), NOW).unwrap();
    g1.work(NOW + 2_000);
    g1.gateway.store_up(7);
    g1
}

const LATER: u64 = NOW + 3_000;

#[test]
fn nothing_is_told_before_it_is_stored() {
    let mut g1 = with_a_store();
    g1.offers(&["shop/own"], LATER);
    let first = g1.gateway.poll_keep(at(LATER)).unwrap();
    assert_eq!(first.sequence, 1);
    assert_eq!(first.epoch, g1.gateway.epoch());
    let kept = first.allocations.unwrap();
    assert!(kept.rings.is_empty() && !kept.vips.is_empty());
    assert!(first.trust.is_some());
    assert!(g1.gateway.poll_keep(at(LATER)).is_none(), "one at a time");
    g1.work(LATER);
    assert!(!g1.gateway.is_settled());
    assert!(g1.gateway.view().exports.is_empty());
    g1.gateway.store_ack(7, 1);
    g1.work(LATER);
    assert!(g1.gateway.is_settled());
    assert_eq!(g1.gateway.view().exports.len(), 1);
    assert!(g1.gateway.poll_keep(at(LATER)).is_none());
}

#[test]
fn what_differs_in_rings_alone_is_as_good_as_stored() {
    let mut g1 = with_a_store();
    g1.offers(&["shop/own"], LATER);
    g1.gateway.poll_keep(at(LATER)).unwrap();
    g1.gateway.store_ack(7, 1);
    g1.work(LATER);
    let rings = g1.gateway.allocations().rings.clone();
    let own = export(&["http:80/TCP"], &[1, 2]);
    let publication = Publication {
        exports: exports(&[("shop/own", own)]),
        ..Publication::default()
    };
    assert!(g1.gateway.publish(publication));
    g1.work(LATER);
    assert_eq!(g1.gateway.allocations().rings, rings);
    assert!(g1.gateway.poll_keep(at(LATER)).is_none());
    g1.work(LATER);
    assert_ne!(g1.gateway.allocations().rings, rings);
}

#[test]
fn a_store_that_does_not_answer_holds_up_nobody_for_long() {
    let mut g1 = with_a_store();
    g1.offers(&["shop/own"], LATER);
    g1.gateway.poll_keep(at(LATER)).unwrap();
    let due = g1.gateway.poll_timeout(at(LATER)).unwrap();
    assert!(due <= LATER + LEASE_MS);
    g1.work(LATER + LEASE_MS - 1);
    assert!(g1.gateway.view().exports.is_empty());
    g1.work(LATER + LEASE_MS);
    assert_eq!(g1.gateway.view().exports.len(), 1);
    assert!(
        g1.problems()
            .contains("does not store what the leader gave it")
    );
    // It comes back, and counts again.
    g1.gateway.store_ack(7, 1);
    g1.work(LATER + LEASE_MS);
    assert!(!g1.problems().contains("does not store"));
    g1.offers(&["shop/own", "shop/new"], LATER + LEASE_MS);
    assert!(!g1.gateway.is_settled());
}

#[test]
fn a_burnt_token_is_shared_once_it_is_stored() {
    let mut g1 = with_a_store();
    let mut trust = g1.gateway.trust().clone();
    trust.withdrawn.insert(vec![1]);
    assert!(g1.gateway.set_trust(trust, at(LATER)));
    g1.work(LATER);
    let version = g1.gateway.trust().version;
    assert!(!g1.gateway.trust_is_shared(version));
    let keep = g1.gateway.poll_keep(at(LATER)).unwrap();
    assert_eq!(keep.trust.as_ref(), Some(g1.gateway.trust()));
    g1.gateway.store_ack(7, keep.sequence);
    assert!(g1.gateway.trust_is_shared(version));
    // Without the controller nothing waits.
    let mut trust = g1.gateway.trust().clone();
    trust.withdrawn.insert(vec![2]);
    assert!(g1.gateway.set_trust(trust, at(LATER)));
    assert!(!g1.gateway.trust_is_shared(version + 1));
    g1.gateway.store_down(8);
    assert!(!g1.gateway.trust_is_shared(version + 1));
    g1.gateway.store_down(7);
    assert!(g1.gateway.trust_is_shared(version + 1));
}
