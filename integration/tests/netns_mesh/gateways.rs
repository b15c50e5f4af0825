//! Gateways that leave, die and restart, and what is lost by it.

use std::net::SocketAddr;
use std::time::Duration;

use causeway_integration::demo::manifests;
use causeway_integration::demo::mesh::{LIMIT, Mesh};
use causeway_integration::lab::hold::Holding;
use causeway_integration::lab::rate::Rate;
use causeway_integration::lab::topology::{CART_5, CLIENT, Node, TWO_AND_A_NODE, W1};
use causeway_integration::lab::{self, fetch, firewall, wait};

use crate::{all_answered, alone, pair, paired, unbroken};

/// Datagrams of eight flows, a hundred a second each, while `trouble` happens: lost ones, and the longest silence.
fn during(mesh: &mut Mesh, cart: SocketAddr, trouble: impl FnOnce(&mut Mesh)) -> (u64, Duration) {
    let echo = SocketAddr::new(cart.ip(), 7);
    let client = mesh.lab.pod(&CLIENT);
    let rate = Rate::start(&client, echo, 8, Duration::from_millis(10)).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    trouble(mesh);
    std::thread::sleep(Duration::from_secs(2));
    let seen = rate.stop().unwrap();
    let lost = seen.iter().map(|seen| seen.sent - seen.answered).sum();
    let silence = seen.iter().map(|seen| seen.silence).max().unwrap();
    eprintln!("lost {lost}, longest silence {silence:?}: {seen:?}");
    (lost, silence)
}

/// A gateway says that it leaves before it leaves; nothing is lost, whichever it is.
#[test]
fn a_gateway_that_leaves_is_not_missed() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired("t-drain");
    for gateway in ["w2", "w1"] {
        let (lost, silence) = during(&mut mesh, cart, |mesh| {
            mesh.lab
                .processes
                .stop(&format!("gateway-{gateway}"))
                .unwrap();
            std::thread::sleep(Duration::from_secs(1));
            mesh.run_gateway(gateway).unwrap();
        });
        assert_eq!(lost, 0, "{gateway}");
        assert!(
            silence < Duration::from_millis(100),
            "{gateway}: {silence:?}"
        );
    }
}

/// One that dies is out of the way within a second, of the own nodes at once.
#[test]
fn a_gateway_that_dies_is_passed_by_within_a_second() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired("t-dies");
    for gateway in ["w2", "w1"] {
        let (_, silence) = during(&mut mesh, cart, |mesh| {
            mesh.lab
                .processes
                .kill(&format!("gateway-{gateway}"))
                .unwrap();
        });
        assert!(silence < Duration::from_secs(1), "{gateway}: {silence:?}");
        let (lost, _) = during(&mut mesh, cart, |mesh| mesh.run_gateway(gateway).unwrap());
        assert_eq!(lost, 0, "{gateway} comes back");
    }
}

/// The only gateway of a cluster is back within a second, whether it was asked to end or not.
#[test]
fn a_lone_gateway_restarts_within_a_second() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired("t-lone");
    for killed in [false, true] {
        let (lost, silence) = during(&mut mesh, cart, |mesh| {
            let processes = &mut mesh.lab.processes;
            if killed {
                processes.kill("gateway-e1").unwrap();
            } else {
                processes.stop("gateway-e1").unwrap();
            }
            mesh.run_gateway("e1").unwrap();
        });
        assert!(
            silence < Duration::from_secs(1),
            "killed: {killed}: {silence:?}"
        );
        // Of more than two thousand: packets wait for it, at both ends; what was on its way to one that is killed is lost.
        assert!(killed || lost < 20, "{lost} lost");
    }
}

/// A thousand open connections outlive the restart of every gateway, agent and controller, one after the other, as an upgrade
/// does it.
#[test]
fn a_thousand_connections_outlive_every_restart() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired("t-thousand");
    let client = mesh.lab.pod(&CLIENT);
    let holding = Holding::open(&client, cart, 1_000).unwrap();
    let (_, silence) = during(&mut mesh, cart, |mesh| {
        for node in ["w2", "w1", "e1"] {
            mesh.lab.processes.stop(&format!("gateway-{node}")).unwrap();
            mesh.run_gateway(node).unwrap();
            mesh.lab.processes.stop(&format!("agent-{node}")).unwrap();
            mesh.start_agent(node).unwrap();
        }
        for cluster in ["west", "east"] {
            let name = format!("controller-{cluster}");
            mesh.lab.processes.stop(&name).unwrap();
            mesh.start_controller(cluster).unwrap();
        }
        // New ones, meanwhile and after.
        all_answered(mesh, cart, 100);
    });
    // Of the lone gateway of east; the others are not missed.
    assert!(silence < Duration::from_secs(1), "{silence:?}");
    unbroken(holding);
}

/// A node without a gateway has its View from one whose node dies: its own packets, too, go by the others within a second.
#[test]
fn a_gateways_node_that_dies_is_passed_by_within_a_second() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::of("t-node", TWO_AND_A_NODE).unwrap();
    let cart = pair(&mut mesh);
    let west = mesh.manifests("west").unwrap();
    manifests::set_endpoints(&west, &manifests::CART, &[CART_5]).unwrap();
    let client = mesh.lab.pod(&CLIENT);
    wait::until(LIMIT, "all to go to that node", || {
        let tally = client.enter(|| fetch::tally(cart, 12, LIMIT))?;
        Ok(tally.failures.is_empty() && tally.backends.keys().eq(["cart-5"]))
    })
    .unwrap();
    let wan = mesh.lab.netns("wan");
    // The first listed one, from which it has its View, and the leader.
    let (_, silence) = during(&mut mesh, cart, |mesh| {
        let dead = |(from, to): &(Node, Node)| *from == W1 || *to == W1;
        let pairs = mesh.topology.pairs().filter(dead);
        firewall::block_between(&wan, pairs, "drop").unwrap();
        std::thread::sleep(Duration::from_secs(6));
    });
    assert!(silence < Duration::from_secs(1), "{silence:?}");
    firewall::unblock(&wan).unwrap();
    all_answered(&mesh, cart, 20);
}
