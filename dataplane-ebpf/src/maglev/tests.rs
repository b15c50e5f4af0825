use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{EndpointKey, Generation, Member, PeerNumber, Protocol};
use proptest::prelude::*;

use super::*;

fn member(n: u16, weight: u16) -> Member {
    let [high, low] = n.to_be_bytes();
    Member {
        key: EndpointKey {
            address: std::net::Ipv4Addr::new(10, 244, high, low).into(),
            protocol: Protocol::Tcp,
            port: 8080,
        },
        node: "w1".parse().unwrap(),
        weight,
    }
}

fn generation(number: u32, slots: u32, members: &[Member]) -> Generation {
    Generation {
        number,
        slots,
        members: members.to_vec(),
    }
}

fn equal(n: u16) -> Vec<Member> {
    (0..n).map(|n| member(n, 1)).collect()
}

fn shares(ring: &Ring) -> BTreeMap<u16, usize> {
    let mut shares = BTreeMap::new();
    for slot in &ring.slots {
        *shares.entry(slot.current).or_default() += 1;
    }
    shares
}

fn owner(ring: &Ring, index: u16) -> Option<EndpointKey> {
    ring.members.get(usize::from(index)).map(|m| m.key)
}

#[test]
fn one_member_owns_all() {
    let ring = ring(&[generation(1, 251, &equal(1))], &[]).unwrap();
    assert!(
        ring.slots
            .iter()
            .all(|s| s.current == 0 && s.previous == NONE)
    );
}

#[test]
fn nobody_is_told() {
    assert_eq!(ring(&[], &[]), Err(NoMember));
    assert_eq!(ring(&[generation(1, 251, &[])], &[]), Err(NoMember));
    // An older generation is no reason to send anything there.
    let gone = [generation(2, 251, &[]), generation(1, 251, &equal(3))];
    assert_eq!(ring(&gone, &[]), Err(NoMember));
}

#[test]
fn who_drains_keeps_old_flows_when_nobody_takes_new_ones() {
    let generations = [generation(2, 251, &[]), generation(1, 251, &equal(2))];
    let ring = ring(&generations, &equal(2)).unwrap();
    assert!(
        ring.slots
            .iter()
            .all(|s| s.current == NONE && s.previous != NONE)
    );
}

/// Pods become unready one after the other, as when their nodes are taken for lost: each still finds its flows.
#[test]
fn who_went_before_the_last_keeps_old_flows_too() {
    let all = equal(2);
    let last = all.get(..1).unwrap();
    for (slots, before) in [(251, 251), (1021, 251)] {
        let generations = [
            generation(3, slots, &[]),
            generation(2, slots, last),
            generation(1, before, &all),
        ];
        let old = ring(&[generation(1, before, &all)], &[]).unwrap();
        let new = ring(&generations, &all).unwrap();
        for hash in 0..5_000 {
            let held = owner(&old, old.find(hash, true).current).unwrap();
            assert_eq!(new.find(hash, true).current, NONE);
            let Slot { current, previous } = new.find(hash, false);
            let named = [owner(&new, current), owner(&new, previous)];
            assert!(named.contains(&Some(held)), "{hash}: {named:?}");
        }
    }
}

#[test]
fn an_unknown_size_becomes_a_class() {
    assert_eq!(class(1000), 1021);
    assert_eq!(class(u32::MAX), 65537);
    assert_eq!(class_for(2), 251);
    assert_eq!(class_for(3), 1021);
    let ring = ring(&[generation(1, 252, &equal(2))], &[]).unwrap();
    assert_eq!(ring.slots.len(), 1021);
}

#[test]
fn clusters_by_weight() {
    let number = |n: u16| PeerNumber::try_from(n).unwrap();
    assert!(clusters(&BTreeMap::new()).is_empty());
    let ring = clusters(&BTreeMap::from([(number(0), 1), (number(7), 3)]));
    assert_eq!(ring.len(), 251);
    let sevens = ring.iter().filter(|n| n.number() == 7).count();
    assert!((187..=190).contains(&sevens), "{sevens}");
}

#[test]
fn removal_moves_few_others() {
    for (members, slots) in [(3, 1021), (10, 1021), (40, 4093), (160, 16381)] {
        let before = equal(members);
        for gone in [0, members / 2, members - 1] {
            let mut after = before.clone();
            after.remove(usize::from(gone));
            let old = ring(&[generation(1, slots, &before)], &[]).unwrap();
            let new = ring(&[generation(1, slots, &after)], &[]).unwrap();
            let moved = old
                .slots
                .iter()
                .zip(&new.slots)
                .filter(|(a, b)| owner(&old, a.current) != owner(&new, b.current))
                .count();
            let share = moved as f64 / f64::from(slots);
            assert!(
                share <= 1.0 / f64::from(members) + 0.03,
                "{members} of {slots}: {share}"
            );
        }
    }
}

fn members(most: usize) -> impl Strategy<Value = Vec<Member>> {
    prop::collection::btree_map(0u16..300, 1u16..20, 1..most)
        .prop_map(|m| m.into_iter().map(|(n, w)| member(n, w)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn full_and_near_weight(members in members(10)) {
        let ring = ring(&[generation(1, 4093, &members)], &[]).unwrap();
        prop_assert!(ring.slots.iter().all(|s| s.current != NONE));
        let total: f64 = members.iter().map(|m| f64::from(m.weight)).sum();
        for (index, count) in shares(&ring) {
            let wanted = 4093.0 * f64::from(ring.members[usize::from(index)].weight) / total;
            prop_assert!((count as f64 - wanted).abs() <= 1.0 + wanted * 0.02, "{count} for {wanted}");
        }
        prop_assert_eq!(shares(&ring).len(), members.len());
    }

    #[test]
    fn order_of_members_does_not_matter(members in members(20), seed in any::<u64>()) {
        let mut shuffled = members.clone();
        let length = shuffled.len();
        for i in 0..length {
            let j = (seed as usize).wrapping_mul(i + 7) % length;
            shuffled.swap(i, j);
        }
        prop_assert_eq!(
            ring(&[generation(1, 1021, &members)], &[]),
            ring(&[generation(1, 1021, &shuffled)], &[])
        );
    }

    /// The table form gives what the definition says: ask each generation by its own modulus.
    #[test]
    fn find_is_the_definition(
        lists in prop::collection::vec(members(8), 1..5),
        grown in 0usize..5,
        drained in members(8),
        hashes in prop::collection::vec(any::<u32>(), 50),
    ) {
        let generations: Vec<Generation> = (0u32..)
            .zip(&lists)
            .map(|(n, list)| {
                let slots = if (n as usize) < grown { 1021 } else { 251 };
                generation(9 - n, slots, list)
            })
            .collect();
        let whole = ring(&generations, &drained).unwrap();
        let alone: Vec<Ring> = generations
            .iter()
            .map(|g| ring(std::slice::from_ref(g), &[]).unwrap())
            .collect();
        let exists: BTreeSet<EndpointKey> =
            lists[0].iter().chain(&drained).map(|m| m.key).collect();
        for hash in hashes {
            let found = whole.find(hash, true);
            let owners: Vec<EndpointKey> = alone
                .iter()
                .filter_map(|r| owner(r, r.slots[hash as usize % r.slots.len()].current))
                .collect();
            prop_assert_eq!(owner(&whole, found.current), owners.first().copied());
            let previous = owners[1..]
                .iter()
                .find(|key| **key != owners[0] && exists.contains(key))
                .copied();
            prop_assert_eq!(owner(&whole, found.previous), previous);
        }
    }

    /// A flow stays with its endpoint over three changes, whatever they were, if the endpoint stays.
    #[test]
    fn a_change_of_size_keeps_the_owner_in_reach(
        before in members(8), after in members(8), hash in any::<u32>(),
    ) {
        let old = ring(&[generation(1, 251, &before)], &[]).unwrap();
        let held = owner(&old, old.find(hash, true).current).unwrap();
        let new = ring(&[generation(2, 1021, &after), generation(1, 251, &before)], &before).unwrap();
        let slot = new.find(hash, false);
        let reach = [owner(&new, slot.current), owner(&new, slot.previous)];
        prop_assert!(reach.contains(&Some(held)));
    }
}
