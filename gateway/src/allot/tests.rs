use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    Allocations, ClusterId, EndpointState, Exports, GatewayName, Prefix, ProblemKind, Protocol,
    Timestamp,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::samples::{endpoint, export, exports, id, port, service};

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn pools() -> Pools {
    Pools {
        vips: vec![prefix("241.0.0.0/24")],
        mappings: vec![prefix("242.0.0.0/8")],
        own: vec![prefix("10.244.0.0/16")],
        native: BTreeMap::new(),
    }
}

fn wants(prefixes: &[&str], services: &[&str]) -> PeerWants {
    PeerWants {
        prefixes: prefixes.iter().map(|p| prefix(p)).collect(),
        services: services.iter().map(|s| service(s)).collect(),
    }
}

type Peers = BTreeMap<ClusterId, PeerWants>;

fn step(exports: &Exports, peers: &Peers, held: &Allocations, at: u64) -> Allocations {
    let (next, problems) = allot(exports, peers, held, &pools(), Timestamp(at), &[7; 32]);
    assert_eq!(problems, []);
    next
}

#[test]
fn everything_wanted_gets_a_place_and_twice_is_once() {
    let peers = Peers::from([
        (
            id("b"),
            wants(
                &["10.244.0.0/16", "10.9.0.0/20"],
                &["shop/far", "elsewhere/x"],
            ),
        ),
        (id("c"), wants(&["10.244.0.0/16", "10.244.7.0/24"], &[])),
    ]);
    let exports = exports(&[("shop/cart", export(&["http:80/TCP"], &[1, 2]))]);
    let first = step(&exports, &peers, &Allocations::default(), 0);
    assert_eq!(first.version, 1);
    // `elsewhere` is no namespace here.
    assert_eq!(
        first
            .vips
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["shop/cart", "shop/far"]
    );
    let shown = |mappings: &[Mapping]| mappings.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&first.self_map), ["10.244.0.0/16 as 242.0.0.0/16"]);
    assert_eq!(
        shown(&first.peers[&id("b")].value.mappings),
        [
            "10.244.0.0/16 as 242.1.0.0/16",
            "10.9.0.0/20 as 242.2.0.0/20"
        ]
    );
    assert_eq!(
        shown(&first.peers[&id("c")].value.mappings),
        ["10.244.0.0/16 as 242.3.0.0/16"]
    );
    assert_eq!(first.peers[&id("b")].value.number.number(), 1);
    assert_eq!(first.identities.len(), 1);
    assert_ne!(first.seed, [0; 16]);
    assert_eq!(first.salts.len(), 2);
    assert_eq!(step(&exports, &peers, &first, 5_000), first);
}

#[test]
fn a_full_pool_is_named_and_the_rest_goes_on() {
    let mut small = pools();
    small.vips = vec![prefix("241.0.0.0/30")];
    small.mappings = vec![prefix("242.0.0.0/16")];
    let services = ["shop/a", "shop/b", "shop/c", "shop/d"];
    let services = services.map(|name| (name, export(&["http:80/TCP"], &[1])));
    let peers = Peers::from([(id("b"), wants(&["10.244.0.0/16"], &[]))]);
    let (next, problems) = allot(
        &exports(&services),
        &peers,
        &Allocations::default(),
        &small,
        Timestamp(0),
        &[7; 32],
    );
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(next.vips.len(), 2);
    assert_eq!(next.rings.len(), 2);
    assert_eq!(next.peers.len(), 1);
    assert!(next.peers[&id("b")].value.mappings.is_empty());
    assert_eq!(problems.len(), 3);
    assert!(problems.iter().all(|p| p.kind == ProblemKind::PoolFull));
    assert!(
        told[0].contains("no address left for shop/c, shop/d"),
        "{told:?}"
    );
    assert!(told[1].contains("no address left for 1 nodes"), "{told:?}");
    assert!(told[2].contains("10.244.0.0/16 of peer b"), "{told:?}");
}

/// Nodes have the end of the pool to themselves: one prefix, of which peers need to know.
#[test]
fn each_node_gets_an_address_that_stays_and_rests() {
    let mut two = exports(&[("shop/cart", export(&["http:80/TCP"], &[1]))]);
    two.nodes.insert("n1".parse().unwrap(), Default::default());
    let range = node_range(&pools().vips).unwrap();
    assert_eq!(range.to_string(), "241.0.0.224/27");
    let first = step(&two, &Peers::new(), &Allocations::default(), 0);
    assert_eq!(first.nodes.len(), 2);
    assert!(first.nodes.values().all(|n| range.contains(n.value)));
    assert!(first.vips.values().all(|vip| !range.contains(vip.value)));
    assert_eq!(step(&two, &Peers::new(), &first, 1), first);
    let n1 = "n1".parse().unwrap();
    two.nodes.remove(&n1);
    let freed = step(&two, &Peers::new(), &first, 2);
    let gone = &freed.nodes[&n1];
    assert_eq!(
        (gone.value, gone.freed),
        (first.nodes[&n1].value, Some(Timestamp(2)))
    );
    assert_eq!(
        step(&two, &Peers::new(), &freed, 2 + REST_MS).nodes.len(),
        1
    );
    // What is longer has no room to spare.
    assert_eq!(node_range(&[prefix("241.0.0.0/26")]), None);
}

/// What was freed by a clock that was ahead would else rest until that time has come.
#[test]
fn a_clock_that_went_back_keeps_nothing_for_ever() {
    let none = exports(&[]);
    let some = exports(&[("shop/cart", export(&["http:80/TCP"], &[1]))]);
    let peers = Peers::from([(id("b"), wants(&["10.244.0.0/16"], &[]))]);
    let nobody = Peers::new();
    let year = 365 * 24 * 3_600_000;
    let count = |a: &Allocations| a.vips.len() + a.identities.len() + a.peers.len();
    let held = step(&some, &peers, &Allocations::default(), year);
    let freed = step(&none, &nobody, &held, year);
    let back = step(&none, &nobody, &freed, 1_000);
    // It still rests a whole hour.
    let early = step(&none, &nobody, &back, REST_MS);
    let rested = step(&none, &nobody, &back, 1_000 + REST_MS);
    assert_eq!((count(&freed), count(&early), count(&rested)), (3, 3, 0));
}

#[test]
fn native_only_where_configuration_says_so_and_nothing_is_there() {
    let mut pools = pools();
    let native = vec![
        prefix("10.9.0.0/16"),
        prefix("10.16.0.0/12"),
        prefix("10.244.0.0/16"),
        prefix("241.0.0.0/16"),
    ];
    pools.native.insert(id("b"), native);
    let prefixes = [
        "10.9.0.0/16",
        "10.20.1.0/24",
        "10.244.0.0/16",
        "241.0.0.0/16",
        "10.8.0.0/16",
        "10.0.0.0/8",
    ];
    let peers = Peers::from([(id("b"), wants(&prefixes[..5], &[]))]);
    let (next, _) = allot(
        &Exports::default(),
        &peers,
        &Allocations::default(),
        &pools,
        Timestamp(0),
        &[7; 32],
    );
    let native: Vec<String> = next.peers[&id("b")]
        .value
        .mappings
        .iter()
        .filter(|m| m.ours == m.theirs)
        .map(|m| m.theirs.to_string())
        .collect();
    assert_eq!(native, ["10.9.0.0/16", "10.20.1.0/24"]);
    let peers = Peers::from([(id("b"), wants(&prefixes[5..], &[]))]);
    let (_, problems) = allot(
        &Exports::default(),
        &peers,
        &next,
        &pools,
        Timestamp(0),
        &[7; 32],
    );
    assert_eq!(problems[0].kind, ProblemKind::LimitReached);
}

#[test]
fn what_is_foretold_comes() {
    let none = Exports::default();
    let first = Peers::from([(id("b"), wants(&["10.9.0.0/16"], &[]))]);
    let held = step(&none, &first, &Allocations::default(), 0);
    let texts = ["10.9.0.0/16", "10.244.0.0/16", "10.244.7.0/24"];
    let told = foretell(&held, &id("c"), &texts.map(prefix), &pools(), Timestamp(5));
    let mut peers = first;
    peers.insert(id("c"), wants(&texts, &[]));
    let next = step(&none, &peers, &held, 5);
    assert_eq!(told, (next.peers[&id("c")].value.mappings.clone(), vec![]));
    assert_eq!(told.0.len(), 2);
    let wide = [prefix("10.0.0.0/8")];
    let (none, problems) = foretell(&held, &id("c"), &wide, &pools(), Timestamp(5));
    assert_eq!(
        (none, problems[0].kind),
        (vec![], ProblemKind::LimitReached)
    );
}

#[test]
fn rings_change_by_generations() {
    let ports = [port("http:80/TCP")];
    let mut held = Allocations::default();
    let mut numbers = Vec::new();
    let hosts: [&[u8]; 7] = [&[1], &[1, 2], &[1, 2], &[2], &[], &[3, 4], &[3, 4, 5]];
    for (at, hosts) in hosts.iter().enumerate() {
        let exports = exports(&[("shop/cart", export(&["http:80/TCP"], hosts))]);
        held = step(&exports, &Peers::new(), &held, u64::try_from(at).unwrap());
        let ring = &held.rings[&service("shop/cart")][&(Protocol::Tcp, 80)];
        numbers.push(
            ring.generations
                .iter()
                .map(|g| g.number)
                .collect::<Vec<_>>(),
        );
        let members = ring.generations[0].members.iter();
        let members: Vec<u8> = members.map(|m| m.key.address.bytes()[15]).collect();
        assert_eq!(members, *hosts);
        assert_eq!(ring.generations[0].slots, 251);
    }
    assert_eq!(numbers[2], [2, 1]);
    assert_eq!(numbers[6], [6, 5, 4, 3]);
    // Who was in a kept ring keeps its flows while it is there; who never was does not matter.
    let mut last = export(&["http:80/TCP"], &[3]);
    for (host, state) in [
        (4, EndpointState::NotReady),
        (5, EndpointState::Draining),
        (6, EndpointState::NotReady),
    ] {
        last.endpoints.push(endpoint(host, &ports, state));
    }
    held = step(&exports(&[("shop/cart", last)]), &Peers::new(), &held, 9);
    let ring = &held.rings[&service("shop/cart")][&(Protocol::Tcp, 80)];
    let draining: Vec<u8> = ring
        .draining
        .iter()
        .map(|m| m.key.address.bytes()[15])
        .collect();
    assert_eq!(draining, [4, 5]);
    // Gone and back within the rest: its numbers go on.
    held = step(&exports(&[]), &Peers::new(), &held, 10);
    let back = exports(&[("shop/cart", export(&["http:80/TCP"], &[3]))]);
    held = step(&back, &Peers::new(), &held, 11);
    let ring = &held.rings[&service("shop/cart")][&(Protocol::Tcp, 80)];
    assert_eq!(ring.generations[0].number, 9);
}

#[test]
fn size_classes_only_grow() {
    let steps = [1, 2, 3, 4, 10, 11, 12, 13, 40, 1, 600, 5_000, 2];
    let mut held = 0;
    let slots: Vec<u32> = steps
        .iter()
        .map(|members| {
            held = size_class(held, *members);
            held
        })
        .collect();
    assert_eq!(
        slots,
        [
            251, 251, 251, 1021, 1021, 1021, 1021, 4093, 4093, 4093, 65537, 65537, 65537
        ]
    );
}

#[test]
fn epochs_never_fall_back() {
    assert_eq!(next_epoch(5, 9, 7, 3), 10);
    assert_eq!(next_epoch(0, 0, 0, 1_800_000_000), 1_800_000_001);
    // A clock that went back, and a peer that makes epochs up.
    assert_eq!(next_epoch(1_800_000_001, 0, 0, 1_000), 1_800_000_002);
    assert_eq!(next_epoch(5, 0, u64::MAX, 3), 6);
    // Appointed: always above, and never the same for two terms.
    let first = appointed_epoch(0, 1_800_000_000, 1);
    assert!(first < GREATEST_EPOCH && first >> 16 == 1_800_000_001);
    let same_moment = appointed_epoch(0, 1_800_000_000, 2);
    assert_ne!(first, same_moment);
    assert!(appointed_epoch(first, 0, 2) > first);
    assert!(appointed_epoch(1_800_000_007, 3, 1) > 1_800_000_007);
    assert_eq!(resumed_epoch(first, 1), first + 1);
    assert!(resumed_epoch(first, 1) < appointed_epoch(first, 0, 2));
    // What it holds was another's, or its restarts fill their bits.
    assert_eq!(resumed_epoch(first, 2), appointed_epoch(first, 0, 2));
    let last = first | 0xff;
    assert_eq!(resumed_epoch(last, 1), appointed_epoch(last, 0, 1));
}

fn gateway(name: &str) -> GatewayName {
    name.parse().unwrap()
}

#[test]
fn nothing_is_in_force_before_somebody_else_has_it() {
    let proposal = |version| Allocations {
        epoch: 3,
        version,
        ..Allocations::default()
    };
    let mut ledger = Ledger::default();
    assert!(ledger.propose(proposal(1)));
    assert_eq!(ledger.in_force().version, 0);
    assert!(ledger.ack_disk(3, 1));
    assert_eq!(ledger.in_force().version, 1);
    // With a follower the own disk is not enough.
    ledger.holder(Holder::Follower(gateway("g1")), true);
    ledger.propose(proposal(2));
    ledger.propose(proposal(3));
    assert!(!ledger.ack_disk(3, 3));
    assert_eq!((ledger.in_force().version, ledger.newest().version), (1, 3));
    // What changes faster than it is acknowledged still comes into force.
    assert!(ledger.ack_elsewhere(3, 2));
    assert_eq!(ledger.in_force().version, 2);
    // An acknowledgement of another epoch says nothing.
    assert!(!ledger.ack_elsewhere(2, 9));
    assert!(ledger.holder(Holder::Follower(gateway("g1")), false));
    assert_eq!(ledger.in_force().version, 3);
    for version in 4..40 {
        ledger.holder(Holder::Follower(gateway("g1")), true);
        ledger.propose(proposal(version));
    }
    assert!(ledger.ack_elsewhere(3, 39));
    assert_eq!(ledger.in_force().version, 39);
}

/// A service's hosts by name, and peers' prefixes and services.
type Drawn = (BTreeMap<u8, Vec<u8>>, BTreeMap<u8, (Vec<u8>, Vec<u8>)>);

fn drawn() -> impl Strategy<Value = Drawn> {
    let services = btree_map(0..8u8, vec(1..9u8, 0..4), 0..8);
    let peers = btree_map(0..4u8, (vec(0..6u8, 0..4), vec(0..12u8, 0..6)), 0..4);
    (services, peers)
}

fn made((services, peers): &Drawn) -> (Exports, Peers) {
    let services: Vec<(String, _)> = services
        .iter()
        .map(|(n, hosts)| {
            let hosts: BTreeSet<u8> = hosts.iter().copied().collect();
            let hosts: Vec<u8> = hosts.into_iter().collect();
            (format!("shop/s{n}"), export(&["http:80/TCP"], &hosts))
        })
        .collect();
    let services: Vec<(&str, _)> = services
        .iter()
        .map(|(n, e)| (n.as_str(), e.clone()))
        .collect();
    let peers = peers.iter().map(|(n, (prefixes, offers))| {
        let lengths = [16, 16, 20, 24, 14, 12];
        let prefixes = prefixes.iter().map(|p| {
            let len = lengths[usize::from(*p)];
            prefix(&format!("10.{}.0.0/{len}", u32::from(*p) * 16))
        });
        let wants = PeerWants {
            prefixes: prefixes.collect(),
            services: offers
                .iter()
                .map(|o| service(&format!("shop/s{o}")))
                .collect(),
        };
        (id(&format!("p{n}")), wants)
    });
    (exports(&services), peers.collect())
}

/// No two of anything are the same or overlap.
fn unique(held: &Allocations) {
    let vips: BTreeSet<_> = held.vips.values().map(|v| v.value).collect();
    assert_eq!(vips.len(), held.vips.len());
    let numbers: BTreeSet<_> = held.peers.values().map(|p| p.value.number).collect();
    assert_eq!(numbers.len(), held.peers.len());
    assert!(!numbers.contains(&causeway_proto::model::PeerNumber::OWN));
    let identities: BTreeSet<_> = held.identities.values().map(|i| i.value.clone()).collect();
    assert_eq!(identities.len(), held.identities.len());
    let all: Vec<Mapping> = held
        .self_map
        .iter()
        .chain(held.peers.values().flat_map(|p| &p.value.mappings))
        .copied()
        .collect();
    for (at, one) in all.iter().enumerate() {
        assert_eq!(one.ours.bits(), one.theirs.bits());
        for other in &all[at + 1..] {
            assert!(!one.ours.overlaps(other.ours), "{one} and {other}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever comes and goes: what stays keeps what it has, nothing is given twice, and what was freed is
    /// not given to another before it has rested.
    #[test]
    fn sticky_unique_and_rested(steps in vec((drawn(), 0..2_400_000u64), 1..8)) {
        let mut held = Allocations::default();
        let mut now = 0;
        for (drawn, pause) in steps {
            now += pause;
            let (exports, peers) = made(&drawn);
            let (next, problems) = allot(&exports, &peers, &held, &pools(), Timestamp(now), &[7; 32]);
            prop_assert!(problems.is_empty(), "{:?}", problems);
            unique(&next);
            for (name, vip) in &held.vips {
                match next.vips.get(name) {
                    Some(kept) => prop_assert_eq!(kept.value, vip.value),
                    None => prop_assert!(vip.freed.is_some_and(|at| now - at.0 >= REST_MS)),
                }
            }
            for (peer, allotted) in &held.peers {
                match next.peers.get(peer) {
                    Some(kept) => {
                        prop_assert_eq!(kept.value.number, allotted.value.number);
                        for mapping in &allotted.value.mappings {
                            prop_assert!(kept.value.mappings.contains(mapping));
                        }
                    }
                    None => prop_assert!(allotted.freed.is_some_and(|at| now - at.0 >= REST_MS)),
                }
            }
            for (number, identity) in &held.identities {
                match next.identities.get(number) {
                    Some(kept) => prop_assert_eq!(&kept.value, &identity.value),
                    None => prop_assert!(identity.freed.is_some_and(|at| now - at.0 >= REST_MS)),
                }
            }
            for (name, export) in &exports.services {
                prop_assert!(next.vips.contains_key(name));
                for p in &export.ports {
                    let ring = &next.rings[name][&(p.protocol, p.port)];
                    prop_assert_eq!(ring.generations[0].members.len(), export.ready());
                    prop_assert!(ring.generations.len() <= causeway_proto::limits::GENERATIONS);
                    prop_assert!(ring.generations.windows(2).all(|w| w[0].number == w[1].number + 1
                        && w[0].slots >= w[1].slots && w[0].members != w[1].members));
                }
            }
            // The next leader finds the same.
            let (again, _) = allot(&exports, &peers, &next, &pools(), Timestamp(now), &[9; 32]);
            prop_assert_eq!(&again, &next);
            held = next;
        }
    }

    /// A leader that lost everything finds the same addresses and identities for what is there, as long as
    /// names do not meet on one place.
    #[test]
    fn names_lead_to_the_same_places(drawn in drawn()) {
        let (exports, peers) = made(&drawn);
        let once = step(&exports, &peers, &Allocations::default(), 0);
        let again = step(&exports, &peers, &Allocations::default(), 1);
        prop_assert_eq!(once.vips, again.vips);
        prop_assert_eq!(once.identities, again.identities);
    }
}
