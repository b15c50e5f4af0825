//! Level 6: real packets through real namespaces. Needs root; fails without it when `REQUIRE_ROOT=1`.
#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use causeway_integration::lab::firewall::{self, Kind};
use causeway_integration::lab::topology::{CART_1, CART_2, CART_3, OUTSIDE, Pod, TWO, W1, W2};
use causeway_integration::lab::{self, Lab, fetch, ping, programs, wait};

const LIMIT: Duration = Duration::from_secs(3);

/// West's two nodes with some pods; the tag makes tests independent.
fn west(tag: &str, pods: &[Pod]) -> Lab {
    let mut lab = Lab::new(tag).unwrap();
    for node in [W1, W2] {
        lab.add_node(&node, &[W1, W2]).unwrap();
    }
    for pod in pods {
        lab.add_pod(&lab::topology::node(pod.node).unwrap(), pod)
            .unwrap();
        let netns = lab.pod(pod);
        let program = programs().unwrap().join("causeway-lab");
        lab.spawn(
            &netns,
            pod.name,
            &program,
            &["serve-http", "--name", pod.name, "--port", "8080"],
            &[],
        )
        .unwrap();
    }
    lab
}

fn reach(lab: &Lab, from: &Pod, to: &Pod) -> fetch::Who {
    let address = SocketAddr::from((to.address, 8080));
    let ask = || fetch::who(address, LIMIT).map(Some);
    lab.pod(from)
        .enter(|| wait::value(LIMIT, "an answer", ask))
        .unwrap()
        .unwrap()
}

#[test]
fn pods_of_one_bridge_and_of_two_nodes_talk() {
    if !lab::test_may_run() {
        return;
    }
    let lab = west("t-talk", &[CART_1, CART_2, CART_3]);
    assert_eq!(reach(&lab, &CART_1, &CART_2).backend, "cart-2");
    let far = reach(&lab, &CART_1, &CART_3);
    assert_eq!(
        (far.backend.as_str(), far.client),
        ("cart-3", CART_1.address.into())
    );
    assert_eq!(
        firewall::counter(&lab.netns("w1"), firewall::MASQUERADED).unwrap(),
        0
    );
}

#[test]
fn masquerade_counts_what_leaves_the_pods() {
    if !lab::test_may_run() {
        return;
    }
    let lab = west("t-masq", &[CART_1]);
    let before = firewall::counter(&lab.netns("w1"), firewall::MASQUERADED).unwrap();
    assert!(
        lab.pod(&CART_1)
            .enter(|| ping::echo(OUTSIDE, LIMIT))
            .unwrap()
            .unwrap()
    );
    assert!(firewall::counter(&lab.netns("w1"), firewall::MASQUERADED).unwrap() > before);
}

#[test]
fn invalid_packets_are_counted_and_dropped() {
    if !lab::test_may_run() {
        return;
    }
    let lab = west("t-invalid", &[CART_1, CART_3]);
    lab.pod(&CART_1)
        .enter(|| ping::stray_reset(CART_1.address, CART_3.address))
        .unwrap()
        .unwrap();
    let seen = || Ok(firewall::counter(&lab.netns("w1"), firewall::INVALID)? > 0);
    wait::until(LIMIT, "the rule to count", seen).unwrap();
}

#[test]
fn the_wire_tells_requests_replies_and_probes() {
    if !lab::test_may_run() {
        return;
    }
    let lab = west("t-wire", &[]);
    let wan = lab.netns("wan");
    firewall::watch_wire(&wan, TWO, 7472).unwrap();
    let send = |reply: bool, probe: bool| {
        let vni = (u32::from(reply) << 9) | (u32::from(probe) << 7);
        let mut payload = vec![0x88, 0, 0, 0];
        payload.extend((vni << 8).to_be_bytes());
        let (from, to) = (
            SocketAddrV4::new(W1.uplink, 40000),
            SocketAddrV4::new(W2.uplink, 7472),
        );
        lab.netns("w1")
            .enter(|| ping::forge_udp(from, to, &payload))
            .unwrap()
            .unwrap();
    };
    send(false, false);
    send(true, false);
    send(true, false);
    send(false, true);
    for (kind, count) in [(Kind::Request, 1), (Kind::Reply, 2), (Kind::Probe, 1)] {
        let seen = || Ok(firewall::on_wire(&wan, kind, "w1", "w2")? == count);
        wait::until(LIMIT, &format!("{kind:?}"), seen).unwrap();
        assert_eq!(firewall::on_wire(&wan, kind, "w2", "w1").unwrap(), 0);
    }
}

#[test]
fn a_lab_leaves_nothing() {
    if !lab::test_may_run() {
        return;
    }
    let mut lab = west("t-leaves", &[CART_1]);
    let pins = lab.pins("w1").unwrap();
    let (node, pod) = (lab.netns("w1"), lab.pod(&CART_1));
    assert!(node.path().exists() && pod.path().exists() && pins.exists());
    drop(lab);
    assert!(!node.path().exists() && !pod.path().exists() && !pins.exists());
    assert_eq!(lab::remove("t-leaves").unwrap(), 0);
}
