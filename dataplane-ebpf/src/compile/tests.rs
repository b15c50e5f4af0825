//! Laws of `compile`, `diff` and `execute` on random Views.

mod canonical;
mod views;

use std::collections::BTreeSet;

use causeway_abi::{RingRef, V6, names, route_flags};
use causeway_proto::model::Encryption;
use proptest::prelude::*;

use super::*;
use crate::diff::{dangling, diff};
use crate::execute::{Maps, execute};
use crate::image::MapOp;
use canonical::canonical;
use views::{facts, service_view, view};

fn step(view: &View, facts: &NodeFacts, held: &Held) -> Compiled {
    compile(view, facts, held)
}

/// Takes so many writes, then fails.
struct CountingDown(usize);

#[derive(Debug, thiserror::Error)]
#[error("counted down")]
struct CountedDown;

impl Maps for CountingDown {
    type Error = CountedDown;
    fn write(&mut self, _: &MapOp) -> Result<(), CountedDown> {
        self.0 = self.0.checked_sub(1).ok_or(CountedDown)?;
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn same_input_same_image(view in view(), facts in facts()) {
        let first = step(&view, &facts, &Held::default());
        let second = step(&view, &facts, &Held::default());
        prop_assert_eq!(&first.image, &second.image);
        prop_assert_eq!(first.problems, second.problems);
        prop_assert_eq!(dangling(&first.image), Vec::<String>::new());
    }

    /// Nothing changed, or only the process was started again: no write.
    #[test]
    fn at_rest_and_after_a_restart_nothing_is_written(view in view(), facts in facts()) {
        let before = step(&view, &facts, &Held::default());
        prop_assert_eq!(diff(&before.image, &step(&view, &facts, &before.held).image), vec![]);
        let held = Held::from_image(before.image.clone());
        prop_assert_eq!(diff(&before.image, &step(&view, &facts, &held).image), vec![]);
    }

    /// Two roads to one View give the same, numbers aside.
    #[test]
    fn incremental_is_full(a in view(), b in view(), c in view(), fa in facts(), fb in facts()) {
        let held = step(&a, &fa, &Held::default()).held;
        let held = step(&c, &fb, &held).held;
        let incremental = step(&b, &fb, &held);
        let full = step(&b, &fb, &Held::default());
        prop_assert_eq!(canonical(&incremental.image), canonical(&full.image));
    }

    #[test]
    fn what_stays_keeps_its_number_and_no_freed_number_is_reused(
        a in view(), b in view(), facts in facts(),
    ) {
        let old = step(&a, &facts, &Held::default());
        let new = step(&b, &facts, &old.held);
        let port_ids: BTreeSet<u32> = old.image.frontends.values().map(|f| f.port_id).collect();
        for (key, frontend) in &new.image.frontends {
            match old.image.frontends.get(key) {
                Some(before) => prop_assert_eq!(before.port_id, frontend.port_id),
                None => prop_assert!(!port_ids.contains(&frontend.port_id)),
            }
        }
        for (key, backend) in &new.image.backends {
            if let Some(before) = old.image.backends.get(key) {
                prop_assert_eq!(before.name, backend.name, "an ordinal passed to another endpoint");
            }
        }
        for (at, slots) in &new.image.rings {
            if let Some(before) = old.image.rings.get(at) {
                prop_assert_eq!(before, slots, "a ring in use was overwritten");
            }
        }
    }

    #[test]
    fn every_prefix_of_a_diff_is_whole(a in view(), b in view(), fa in facts(), fb in facts()) {
        let old = step(&a, &fa, &Held::default());
        let new = step(&b, &fb, &old.held);
        let mut image = old.image.clone();
        for op in diff(&old.image, &new.image) {
            image.apply(&op);
            prop_assert_eq!(dangling(&image), Vec::<String>::new(), "after {}", op);
        }
        image.forget_unnamed_rings();
        prop_assert_eq!(image, new.image);
    }

    /// A kernel that refuses a write: what is there is whole, and the next attempt ends where it should.
    #[test]
    fn a_failed_write_is_made_good(
        a in view(), b in view(), facts in facts(), fails_at in 0usize..60,
    ) {
        let old = step(&a, &facts, &Held::default());
        let new = step(&b, &facts, &old.held);
        let ops = diff(&old.image, &new.image);
        let mut held = old.held;
        let done = execute(&mut CountingDown(fails_at), &ops, &mut held.image);
        prop_assert_eq!(done.is_err(), fails_at < ops.len());
        prop_assert_eq!(dangling(&held.image), Vec::<String>::new());
        let again = step(&b, &facts, &held);
        let ops = diff(&held.image, &again.image);
        prop_assert!(execute(&mut CountingDown(usize::MAX), &ops, &mut held.image).is_ok());
        prop_assert_eq!(canonical(&held.image), canonical(&new.image));
    }

    #[test]
    fn views_that_are_the_same_for_maps_give_the_same(a in view(), b in view(), facts in facts()) {
        let mut heard = a.clone();
        heard.revision.number = b.revision.number;
        for peer in heard.peers.values_mut() {
            peer.heard = Some(causeway_proto::model::Timestamp(7));
        }
        prop_assert!(same_maps(&a, &heard));
        let first = step(&a, &facts, &Held::default());
        for other in [&heard, &b] {
            let mut image = step(other, &facts, &first.held).image;
            image.config.generation = first.image.config.generation;
            prop_assert!(!same_maps(&a, other) || image == first.image);
        }
    }

    /// Plain packets pass only between clusters that both allow them, encrypted ones by sessions alone, others not at all.
    #[test]
    fn a_peer_is_reached_as_agreed_and_in_no_other_way(view in view(), facts in facts()) {
        let image = step(&view, &facts, &Held::default()).image;
        for peer in view.peers.values() {
            let number = peer.number.number();
            let plain = peer.encryption == Encryption::Plain;
            let route = image.routes.get(&u32::from(number));
            prop_assert_eq!(route.is_some(), peer.encryption.passes());
            let session = route.map(|route| route.flags & route_flags::SESSION != 0);
            prop_assert!(session.is_none_or(|session| session != plain));
            prop_assert_eq!(image.sources.values().any(|s| s.peer == number), plain);
        }
    }
}

/// More rings of one size than its map holds: named, the rest in force, nothing dangles.
#[test]
fn what_does_not_fit_is_named() {
    let facts = views::plain_facts();
    let limit = causeway_abi::limits::RINGS[4];
    let view = service_view(limit + 2, 65537);
    let compiled = step(&view, &facts, &Held::default());
    let name = names::RINGS[4];
    let problem = compiled
        .problems
        .iter()
        .find(|p| p.subject == format!("map {name}"));
    let text = problem.unwrap().to_string();
    assert!(text.contains("2 entries did not fit its 16"), "{text}");
    let frontends = compiled.image.frontends.iter();
    let without = frontends.filter(|(k, f)| k.protocol == 6 && f.stage_two == RingRef::NONE);
    assert_eq!(without.count(), 2);
    assert_eq!(dangling(&compiled.image), Vec::<String>::new());
}

#[test]
fn a_neighbours_address_stays_its_own() {
    let view = service_view(1, 251);
    let mut facts = views::plain_facts();
    let held = step(&view, &facts, &Held::default()).held;
    let mut thief = facts.ports[&10].clone();
    thief.name = "thief".to_owned();
    facts.ports.insert(3, thief);
    let after = step(&view, &facts, &held);
    assert!(after.image.ports.contains_key(&10));
    assert!(!after.image.ports.contains_key(&3));
    assert!(after.problems.iter().any(|p| p.message.contains("claims")));
}

#[test]
fn an_unconfirmed_address_is_not_taken() {
    let mut view = service_view(1, 251);
    view.workloads.clear();
    let compiled = step(&view, &views::plain_facts(), &Held::default());
    assert!(compiled.image.ports.is_empty() && compiled.image.pods.is_empty());
    assert!(compiled.problems.iter().any(|p| p.subject == "port v10"));
}

#[test]
fn a_pod_outside_the_clusters_prefixes_is_told() {
    let mut view = service_view(1, 251);
    let told = |view: &View| {
        let compiled = step(view, &views::plain_facts(), &Held::default());
        let mut problems = compiled.problems.into_iter();
        problems.any(|p| p.kind == ProblemKind::OutsidePrefix && p.message.contains("10.244.1.10"))
    };
    assert!(!told(&view));
    view.self_map[0].theirs = "10.200.0.0/16".parse().unwrap();
    assert!(told(&view));
    // Nothing is published yet.
    view.self_map.clear();
    assert!(!told(&view));
}

#[test]
fn an_outer_address_that_nobody_lists_is_told() {
    let mut facts = views::plain_facts();
    let told = |facts: &NodeFacts| {
        let compiled = step(&service_view(1, 251), facts, &Held::default());
        compiled.problems.iter().any(|p| p.subject == "node n1")
    };
    assert!(!told(&facts));
    facts.outer = "192.0.9.9".parse().unwrap();
    assert!(told(&facts));
}

#[test]
fn a_second_vip_prefix_is_told() {
    let mut view = service_view(1, 251);
    view.vip_pool.push("241.7.0.0/16".parse().unwrap());
    let compiled = step(&view, &views::plain_facts(), &Held::default());
    assert!(compiled.problems.iter().any(|p| p.subject == "VIP pool"));
}

#[test]
fn what_the_programs_do_not_carry_is_told() {
    let mut view = service_view(1, 251);
    for import in view.imports.values_mut() {
        import.ports[0].protocol = causeway_proto::model::Protocol::Sctp;
    }
    let compiled = step(&view, &views::plain_facts(), &Held::default());
    assert!(
        compiled
            .problems
            .iter()
            .any(|p| p.message.contains("80/SCTP"))
    );
}

/// The node itself is a client by its own address, and an endpoint by the node's.
#[test]
fn a_nodes_processes_have_a_port() {
    let mut view = service_view(1, 251);
    let node: causeway_proto::model::Address = "192.0.1.1".parse().unwrap();
    for export in view.exports.values_mut() {
        for backends in export.ports.values_mut() {
            backends.generations[0].members[0].key.address = node;
        }
    }
    let mut facts = views::plain_facts();
    let without = step(&view, &facts, &Held::default()).image;
    assert!(without.local_backends.values().all(|b| b.ifindex != 9));
    facts.host = Some(views::host_facts());
    let image = step(&view, &facts, &Held::default()).image;
    let port = image.ports[&9];
    assert_eq!(port.flags, causeway_abi::port_flags::HOST);
    assert_eq!(port.identity, causeway_proto::model::IdentityNumber::HOST.0);
    assert_eq!(image.pods[&V6::mapped([241, 0, 224, 1])].ifindex, 9);
    assert!(image.local_backends.values().any(|b| b.ifindex == 9));
    // The other node's own address leads there.
    let other = crate::image::Lpm {
        bits: 128,
        data: V6::mapped([241, 0, 224, 2]),
    };
    assert!(image.places.contains_key(&other));
}

#[test]
fn a_nodes_processes_go_to_native_prefixes_as_to_the_pools() {
    let mut view = service_view(1, 251);
    let ways = |view: &View| -> Vec<String> {
        let ways = super::ways(view).into_iter();
        ways.map(|prefix| prefix.to_string()).collect()
    };
    let pools = ways(&view);
    assert_eq!(pools.len(), view.vip_pool.len() + view.mapping_pool.len());
    let mut peer = views::peer(5, Encryption::Plain);
    view.peers.insert("west".parse().unwrap(), peer.clone());
    assert_eq!(ways(&view), pools);
    peer.mappings[0].ours = "10.9.1.0/24".parse().unwrap();
    view.peers.insert("west".parse().unwrap(), peer);
    assert_eq!(
        ways(&view),
        [pools, vec!["10.9.1.0/24".to_owned()]].concat()
    );
}

#[test]
fn a_silent_gateway_gets_no_packets_and_may_send() {
    let mut view = service_view(1, 251);
    let [heard, silent] = ["192.0.2.5", "192.0.2.6"].map(|a| a.parse().unwrap());
    let mut peer = views::peer(5, Encryption::Plain);
    peer.gateways = vec![heard, silent];
    peer.silent_gateways = vec![silent];
    view.peers.insert("west".parse().unwrap(), peer);
    let image = step(&view, &views::plain_facts(), &Held::default()).image;
    let route = image.routes[&5];
    assert_eq!(route.peer_gateway_count, 1);
    assert_eq!(route.peer_gateways[0], super::wide(heard));
    for gateway in [heard, silent] {
        let key = causeway_abi::SourceKey4 {
            address: gateway.v4().unwrap().octets(),
        };
        let kind = image.sources[&key].kind;
        assert_eq!(kind, causeway_abi::source_kind::PEER_GATEWAY);
    }
}

/// Two gateways of ours beside this node's, and a peer whose packets are encrypted.
#[test]
fn packets_go_to_gateways_that_carry_them() {
    let mut view = service_view(1, 251);
    for n in [2, 3] {
        let mut node = view.nodes[&"n1".parse().unwrap()].clone();
        node.addresses = vec![format!("192.0.1.{n}").parse().unwrap()];
        view.nodes.insert(format!("n{n}").parse().unwrap(), node);
        let (gateway, node) = (format!("g{n}"), format!("n{n}"));
        let gateway = (gateway.parse().unwrap(), node.parse().unwrap());
        view.gateways.extend([gateway]);
    }
    let check = |gateway: Gateway, carried_by: &[&str], others: &[u8], here: bool| {
        let mut view = view.clone();
        let mut peer = views::peer(5, Encryption::Encrypted);
        peer.carried_by = carried_by.iter().map(|n| n.parse().unwrap()).collect();
        view.peers.insert("west".parse().unwrap(), peer);
        let mut facts = views::plain_facts();
        facts.gateway = gateway.clone();
        let route = step(&view, &facts, &Held::default()).image.routes[&5];
        let count = usize::from(route.own_gateway_count);
        let to: Vec<u8> = route.own_gateways[..count]
            .iter()
            .map(|a| a.octets()[15])
            .collect();
        let flagged = route.flags & causeway_abi::route_flags::HERE != 0;
        assert_eq!(
            (to.as_slice(), flagged),
            (others, here),
            "{gateway:?}, {carried_by:?}"
        );
    };
    let carries = |peers: &[u16]| Gateway::Carries(peers.iter().copied().collect());
    check(carries(&[5]), &["g1", "g2", "g3"], &[2, 3], true);
    check(carries(&[5, 6]), &["g1", "g3"], &[3], true);
    check(carries(&[6]), &["g1", "g3"], &[3], false);
    // None is known to: this node's may have a session first.
    check(carries(&[]), &[], &[2, 3], true);
    check(Gateway::Away, &["g2"], &[2], false);
    check(Gateway::Absent, &["g2"], &[2], false);
    // No other one is known to: packets wait for this one while it restarts, and no longer.
    check(carries(&[6]), &["g1"], &[2, 3], true);
    check(Gateway::Away, &["g1"], &[2, 3], true);
    check(Gateway::Absent, &["g1"], &[2, 3], false);
}

#[test]
fn a_veth_is_a_port_by_what_is_behind_it() {
    let view = service_view(1, 251);
    let node = "n1".parse().unwrap();
    let check = |addresses: &[&str], expect: bool| {
        let mut port = views::plain_facts().ports[&10].clone();
        port.addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(is_pod_side(&view, &node, &port), expect, "{addresses:?}");
    };
    check(&["10.244.1.10"], true);
    // Of the prefix, though no workload that is known.
    check(&["10.244.1.77"], true);
    check(&["fe80::1", "10.244.9.9"], true);
    check(&["172.17.0.2"], false);
    check(&[], false);
}
