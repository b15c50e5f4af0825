use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    Allocations, Allotted, CatalogDelta, Exports, Held, Liveness, NackReason, Part, PartKey,
    PartProof, Revision, TrustState, Want,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::samples::{NameKeys, NoKey, at, bundle, export, exports, id};

const WEST: &str = "west";

/// A leader's side of `west`: each call says what it offers now, as (namespace, service, hosts).
struct Leader {
    own: Own,
    epoch: u64,
}

impl Leader {
    fn new(epoch: u64) -> Self {
        Self {
            own: Own::new(id(WEST)),
            epoch,
        }
    }

    fn offer(&mut self, services: &[(&str, &[u8])]) -> Held {
        let services: Vec<_> = services
            .iter()
            .map(|(name, hosts)| (*name, export(&["http:80/TCP"], hosts)))
            .collect();
        let exports = exports(&services);
        self.cut(&exports);
        self.own.held().unwrap()
    }

    fn cut(&mut self, exports: &Exports) -> bool {
        let mut allocations = Allocations::default();
        for (n, name) in exports.services.keys().enumerate() {
            let value = format!("241.0.0.{}", n + 1).parse().unwrap();
            let vip = Allotted { value, freed: None };
            allocations.vips.insert(name.clone(), vip);
        }
        let (none, trust) = (BTreeMap::new(), TrustState::default());
        let nobody = BTreeSet::new();
        let local = Local {
            exports,
            allocations: &allocations,
            trust: &trust,
            gateways: &none,
            prefixes: &[],
            plain_with: &nobody,
            introductions: &BTreeMap::new(),
        };
        let content = parts(local, &self.own.contents());
        let keys = NameKeys(id(WEST));
        let (cut, problems) = self
            .own
            .cut(content, &allocations.salts, self.epoch, at(0), &keys);
        assert_eq!(problems, []);
        cut
    }

    fn since(&self, held: Option<Held>) -> CatalogDelta {
        match self.own.since(held.as_ref()) {
            Answer::Delta(delta) | Answer::Snapshot(delta) => delta,
            other => panic!("{other:?}"),
        }
    }
}

fn east() -> Catalog {
    let mut catalog = Catalog::new(id("east"));
    catalog.keep_only(&BTreeSet::from([id(WEST), id("south")]), at(0));
    catalog
}

fn apply(catalog: &mut Catalog, delta: &CatalogDelta) -> Result<Applied, Refusal> {
    apply_from(catalog, WEST, delta)
}

fn apply_from(catalog: &mut Catalog, from: &str, delta: &CatalogDelta) -> Result<Applied, Refusal> {
    let from = id(from);
    catalog.apply(&from, &bundle(&from), delta, &NameKeys(id("east")))
}

fn reason(result: Result<Applied, Refusal>) -> NackReason {
    result.unwrap_err().reason
}

fn names(catalog: &Catalog) -> Vec<String> {
    let peer = &catalog.peers()[&id(WEST)];
    let names = peer.namespaces().flat_map(|n| n.services.keys());
    names.map(ToString::to_string).collect()
}

#[test]
fn a_revision_is_cut_only_when_content_changes() {
    let mut west = Leader::new(7);
    let first = west.offer(&[("shop/cart", &[1, 2])]);
    assert_eq!(
        first.revision,
        Revision {
            epoch: 7,
            number: 1
        }
    );
    assert_eq!(west.offer(&[("shop/cart", &[1, 2])]), first);
    // One endpoint more is no news to peers.
    assert_eq!(west.offer(&[("shop/cart", &[1, 2, 3])]), first);
    let second = west.offer(&[("shop/cart", &[])]);
    assert_eq!(second.revision.number, 2);
    let header = west.own.header().unwrap();
    assert_eq!(header.header.previous, first.digest);
    assert_eq!(header.header.parts, 2);
    // A new leadership is news even if nothing else is.
    west.epoch = 9;
    let third = west.offer(&[("shop/cart", &[])]);
    assert_eq!(
        third.revision,
        Revision {
            epoch: 9,
            number: 1
        }
    );
    // One that is behind does not make it fall back.
    west.epoch = 8;
    assert_eq!(west.offer(&[("shop/cart", &[])]), third);
}

#[test]
fn changes_carry_what_changed_and_a_snapshot_replaces() {
    let (mut west, mut catalog) = (Leader::new(1), east());
    west.offer(&[("shop/cart", &[1]), ("pay/card", &[2])]);
    let whole = west.since(None);
    assert_eq!((whole.from, whole.parts.len()), (None, 3));
    let held = west.own.held();
    assert_eq!(
        apply(&mut catalog, &whole),
        Ok(Applied::InForce(held.unwrap()))
    );
    assert_eq!(
        apply(&mut catalog, &whole),
        Ok(Applied::Known(held.unwrap()))
    );
    west.offer(&[("shop/cart", &[1]), ("ops/log", &[3])]);
    let delta = west.since(held);
    let keys: Vec<String> = delta.parts.iter().map(|p| p.key.to_string()).collect();
    assert_eq!(keys, ["namespace ops"]);
    assert_eq!(delta.removed, [PartKey::Namespace("pay".parse().unwrap())]);
    apply(&mut catalog, &delta).unwrap();
    assert_eq!(names(&catalog), ["ops/log", "shop/cart"]);
    assert_eq!(west.own.since(west.own.held().as_ref()), Answer::Current);
    // Nothing of before is left after a Snapshot.
    west.offer(&[("pay/card", &[2])]);
    apply(&mut catalog, &west.since(None)).unwrap();
    assert_eq!(names(&catalog), ["pay/card"]);
}

#[test]
fn a_gap_is_a_part_that_does_not_fit_and_is_asked_for() {
    let (mut west, mut catalog) = (Leader::new(1), east());
    west.offer(&[("shop/cart", &[1]), ("pay/card", &[2])]);
    apply(&mut catalog, &west.since(None)).unwrap();
    let before = west.own.held();
    west.offer(&[("shop/cart", &[]), ("pay/card", &[])]);
    let good = west.since(before);
    // Altered on the way.
    let mut bad = good.clone();
    bad.parts[0].salt[0] ^= 1;
    let key = bad.parts[0].key.clone();
    let ask = Applied::Ask(Want::Parts(BTreeSet::from([key.clone()])));
    assert_eq!(apply(&mut catalog, &bad), Ok(ask));
    // What was held stays in force until the new is whole.
    assert_eq!(catalog.peers()[&id(WEST)].held(), before);
    let again = west.own.again(&BTreeSet::from([key])).unwrap();
    assert_eq!(again.from, Some(again.header.header.revision));
    let now = west.own.held().unwrap();
    assert_eq!(apply(&mut catalog, &again), Ok(Applied::InForce(now)));
    // A change to something that is not held: ask from what is.
    west.offer(&[("shop/cart", &[1])]);
    let missed = west.own.held();
    west.offer(&[("shop/cart", &[])]);
    let result = apply(&mut catalog, &west.since(missed));
    assert_eq!(result, Ok(Applied::Ask(Want::Since(now))));
    // One that lacks a part: everything is asked for.
    let mut lacking = west.since(Some(now));
    lacking.parts.clear();
    assert_eq!(
        apply(&mut catalog, &lacking),
        Ok(Applied::Ask(Want::Snapshot))
    );
    assert!(catalog.problems().next().is_none());
}

#[test]
fn an_old_revision_is_refused() {
    let (mut west, mut catalog) = (Leader::new(5), east());
    west.offer(&[("shop/cart", &[1])]);
    let old = west.since(None);
    west.offer(&[("shop/cart", &[])]);
    apply(&mut catalog, &west.since(None)).unwrap();
    assert_eq!(reason(apply(&mut catalog, &old)), NackReason::OldRevision);
    // A leader that lost its state and its clock, and did not ask around.
    let mut lost = Leader::new(4);
    lost.offer(&[("shop/other", &[1])]);
    assert_eq!(
        reason(apply(&mut catalog, &lost.since(None))),
        NackReason::OldRevision
    );
    assert_eq!(names(&catalog), ["shop/cart"]);
    assert!(
        catalog.problems().next().is_none(),
        "no fault of the peer's"
    );
    // With a higher epoch it is heard, whatever the chain.
    let mut back = Leader::new(6);
    back.offer(&[("shop/other", &[1])]);
    let theirs = catalog.peers()[&id(WEST)].held();
    apply(&mut catalog, &back.since(theirs)).unwrap();
    assert_eq!(names(&catalog), ["shop/other"]);
}

#[test]
fn two_stories_are_caught() {
    let (mut one, mut other, mut catalog) = (Leader::new(1), Leader::new(1), east());
    one.offer(&[("shop/cart", &[1])]);
    other.offer(&[("shop/evil", &[1])]);
    apply(&mut catalog, &one.since(None)).unwrap();
    let refused = apply(&mut catalog, &other.since(None));
    assert_eq!(reason(refused), NackReason::TwoStories);
    assert_eq!(names(&catalog), ["shop/cart"]);
    let told: Vec<String> = catalog.problems().map(|p| p.to_string()).collect();
    assert!(told[0].contains("PeerFault peer west: tells two stories about its revision 1.1"));
    // The second story goes on: its next header denies the one that was given us.
    other.offer(&[("shop/evil", &[])]);
    assert_eq!(
        reason(apply(&mut catalog, &other.since(None))),
        NackReason::TwoStories
    );
    // About the past, too.
    one.offer(&[("shop/cart", &[])]);
    apply(&mut catalog, &one.since(None)).unwrap();
    let mut third = Leader::new(1);
    third.offer(&[("shop/third", &[1])]);
    assert_eq!(
        reason(apply(&mut catalog, &third.since(None))),
        NackReason::TwoStories
    );
    // By a header alone.
    let header = third.own.header().unwrap();
    let keys = NameKeys(id("east"));
    let result = catalog.apply_header(&id(WEST), &bundle(&id(WEST)), header, &keys);
    assert_eq!(reason(result), NackReason::TwoStories);
    // Once it starts anew the fault is past.
    let mut anew = Leader::new(2);
    anew.offer(&[("shop/cart", &[1])]);
    apply(&mut catalog, &anew.since(None)).unwrap();
    assert!(catalog.problems().next().is_none());
}

#[test]
fn nobody_speaks_for_a_third() {
    let (mut west, mut catalog) = (Leader::new(1), east());
    west.offer(&[("shop/cart", &[1])]);
    let whole = west.since(None);
    assert_eq!(
        reason(apply_from(&mut catalog, "south", &whole)),
        NackReason::NotYours
    );
    assert_eq!(
        reason(apply_from(&mut catalog, "north", &whole)),
        NackReason::NotYours
    );
    assert!(catalog.peers()[&id(WEST)].held().is_none());
    let told: Vec<String> = catalog.problems().map(|p| p.subject).collect();
    assert_eq!(told, ["peer south"]);
    // A header of another's, signed by the own key, is no better.
    let mut forged = whole.clone();
    forged.header.signature = NameKeys(id("south")).sign(&forged.header.bytes).unwrap();
    assert_eq!(
        reason(apply(&mut catalog, &forged)),
        NackReason::BadSignature
    );
    let mut says_other = whole;
    says_other.header.header.revision.number = 9;
    assert_eq!(
        reason(apply(&mut catalog, &says_other)),
        NackReason::Malformed
    );
}

#[test]
fn parts_are_what_they_say_and_not_too_large() {
    let (mut west, mut catalog) = (Leader::new(1), east());
    west.offer(&[("shop/cart", &[1])]);
    let whole = west.since(None);
    let mut other = whole.clone();
    other.parts[0].key = PartKey::Namespace("pay".parse().unwrap());
    assert_eq!(reason(apply(&mut catalog, &other)), NackReason::Malformed);
    let mut garbage = whole.clone();
    garbage.parts[0].bytes = vec![0xff; 20];
    assert_eq!(reason(apply(&mut catalog, &garbage)), NackReason::Malformed);
    let mut large = whole.clone();
    large.parts[0].bytes = vec![0; causeway_proto::limits::PART_BYTES + 1];
    assert_eq!(reason(apply(&mut catalog, &large)), NackReason::TooLarge);
    let mut moved = whole.clone();
    moved.from = Some(Revision::default());
    moved.parts[0].proof = PartProof::default();
    assert!(matches!(apply(&mut catalog, &moved), Ok(Applied::Ask(_))));
    assert!(apply(&mut catalog, &whole).is_ok());
}

#[test]
fn a_part_that_does_not_fit_loses_its_last_services_and_says_so() {
    let mut west = Leader::new(1);
    let mut big = export(&["http:80/TCP"], &[1]);
    let text = "x".repeat(200 << 10);
    big.annotations.insert("note".to_owned(), text);
    let names = ["shop/a", "shop/b", "shop/c", "shop/d", "shop/e", "shop/f"];
    let exports = exports(&names.map(|n| (n, big.clone())));
    let mut allocations = Allocations::default();
    for (n, name) in exports.services.keys().enumerate() {
        let value = format!("241.0.0.{}", n + 1).parse().unwrap();
        allocations
            .vips
            .insert(name.clone(), Allotted { value, freed: None });
    }
    let (none, trust, nobody) = (BTreeMap::new(), TrustState::default(), BTreeSet::new());
    let local = Local {
        exports: &exports,
        allocations: &allocations,
        trust: &trust,
        gateways: &none,
        prefixes: &[],
        plain_with: &nobody,
        introductions: &BTreeMap::new(),
    };
    let content = parts(local, &BTreeMap::new());
    let keys = NameKeys(id(WEST));
    let (cut, problems) = west.own.cut(content, &BTreeMap::new(), 1, at(0), &keys);
    assert!(cut);
    assert!(
        problems[0].message.contains("its last 1 services"),
        "{problems:?}"
    );
    let mut catalog = east();
    apply(&mut catalog, &west.since(None)).unwrap();
    assert_eq!(self::names(&catalog).len(), 5);
}

#[test]
fn followers_take_over_and_serve_the_same() {
    let (mut west, mut catalog) = (Leader::new(1), east());
    let mut follower = Own::new(id(WEST));
    let keys = NameKeys(id(WEST));
    west.offer(&[("shop/cart", &[1])]);
    let first = west.own.held();
    let old = west.own.snapshot().unwrap();
    assert_eq!(follower.take(&old, &keys), Ok(true));
    apply(&mut catalog, &west.since(None)).unwrap();
    west.offer(&[("shop/cart", &[]), ("pay/card", &[1])]);
    assert_eq!(
        follower.take(&west.own.snapshot().unwrap(), &keys),
        Ok(true)
    );
    assert_eq!(
        follower.since(first.as_ref()),
        west.own.since(first.as_ref())
    );
    assert_eq!(follower.snapshot(), west.own.snapshot());
    assert_eq!(follower.take(&old, &keys), Ok(false));
    let mut forged = west.own.snapshot().unwrap();
    forged.header.header.revision.number = 9;
    assert!(follower.take(&forged, &keys).is_err());
    // Who may not sign cuts nothing.
    let before = follower.held();
    let (cut, problems) = follower.cut(BTreeMap::new(), &BTreeMap::new(), 2, at(0), &NoKey);
    assert!(!cut && problems.len() == 1 && follower.held() == before);
}

#[test]
fn a_member_that_goes_is_forgotten() {
    let (mut west, mut catalog) = (Leader::new(1), east());
    west.offer(&[("shop/cart", &[1])]);
    apply(&mut catalog, &west.since(None)).unwrap();
    assert!(catalog.keep_only(&BTreeSet::from([id("south")]), at(5)));
    let mut never = Catalog::new(id("east"));
    never.keep_only(&BTreeSet::from([id("south")]), at(0));
    assert_eq!(catalog, never);
    assert_eq!(
        reason(apply(&mut catalog, &west.since(None))),
        NackReason::NotYours
    );
    // The own cluster is never its own peer.
    catalog.keep_only(&BTreeSet::from([id("east")]), at(5));
    assert!(catalog.peers().is_empty());
}

#[test]
fn nodes_are_acknowledged_when_all_gateways_know_them() {
    let (mut west, mut catalog) = (Leader::new(1), east());
    let nodes = |names: &[&str]| names.iter().map(|n| n.parse().unwrap()).collect();
    let both: BTreeSet<_> = nodes(&["n0", "n1"]);
    let one: BTreeSet<_> = nodes(&["n0"]);
    west.offer(&[]);
    apply(&mut catalog, &west.since(None)).unwrap();
    let peer = catalog.peer_mut(&id(WEST)).unwrap();
    assert!(peer.acknowledge(&"g0".parse().unwrap(), &both));
    assert!(!peer.acknowledge(&"g0".parse().unwrap(), &both));
    assert!(peer.acknowledge(&"g1".parse().unwrap(), &one));
    // Only gateways that it names count.
    assert!(peer.acknowledged_nodes().is_empty());
    assert_eq!(peer.life.liveness(at(0)), Liveness::Live);
    let held = west.own.held().unwrap();
    assert_eq!(west.own.nodes_at(&held).unwrap().len(), 1);
}

fn offers() -> impl Strategy<Value = Vec<(u8, u8, bool)>> {
    vec((0..4u8, 0..3u8, any::<bool>()), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is lost on the way, comes twice, late, or out of a restart: who applies what it gets and asks for
    /// what it lacks ends with what the leader has.
    #[test]
    fn whoever_asks_ends_with_the_same(
        steps in vec((offers(), 0..10u8), 1..14),
    ) {
        let (mut west, mut catalog) = (Leader::new(1), east());
        let mut late: Vec<CatalogDelta> = Vec::new();
        for (offers, luck) in steps {
            let mut named: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            for (namespace, service, ready) in offers {
                named.insert(format!("n{namespace}/s{service}"), if ready { vec![1] } else { vec![] });
            }
            let offers: Vec<(&str, &[u8])> =
                named.iter().map(|(n, hosts)| (n.as_str(), hosts.as_slice())).collect();
            if luck == 9 {
                west = Leader::new(west.epoch + 1);
            }
            west.offer(&offers);
            let held = catalog.peers()[&id(WEST)].held();
            if let Answer::Delta(delta) | Answer::Snapshot(delta) = west.own.since(held.as_ref()) {
                match luck {
                    // Lost, or late.
                    0..3 => late.push(delta),
                    3 => {
                        let mut broken = delta;
                        broken.parts.pop();
                        let _ = apply(&mut catalog, &broken);
                    }
                    _ => {
                        apply(&mut catalog, &delta).unwrap();
                    }
                }
            }
            if luck == 5 {
                for delta in &late {
                    let _ = apply(&mut catalog, delta);
                }
            }
        }
        // Asks until it is answered.
        for _ in 0..4 {
            let held = catalog.peers()[&id(WEST)].held();
            if let Answer::Delta(delta) | Answer::Snapshot(delta) = west.own.since(held.as_ref())
                && let Ok(Applied::Ask(Want::Snapshot)) = apply(&mut catalog, &delta)
            {
                apply(&mut catalog, &west.since(None)).unwrap();
            }
        }
        let peer = &catalog.peers()[&id(WEST)];
        prop_assert_eq!(peer.held(), west.own.held());
        let theirs: Vec<_> = west.own.contents().into_values().collect();
        let mut ours: Vec<_> = peer.namespaces().cloned().map(Part::Namespace).collect();
        ours.insert(0, Part::Cluster(peer.cluster_part().unwrap().clone()));
        prop_assert_eq!(ours, theirs);
        prop_assert!(peer.fault.is_none());
        // From the disk it is the same again.
        let mut restarted = east();
        apply(&mut restarted, &peer.snapshot().unwrap()).unwrap();
        prop_assert_eq!(restarted.peers()[&id(WEST)].snapshot(), peer.snapshot());
    }
}
