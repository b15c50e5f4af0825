//! Peers that are not heard, or not by all: what becomes of their shares.

use std::net::SocketAddr;
use std::time::Duration;

use causeway_integration::demo::mesh::{LIMIT, Mesh};
use causeway_integration::demo::report::Checks;
use causeway_integration::lab::fetch::Dial;
use causeway_integration::lab::topology::{CLIENT, CLIENT_N, Node, Pod, THREE};
use causeway_integration::lab::{self, fetch, firewall, wait};

use crate::{EFFECT, all_answered, alone, paired, paired_with, rewrite_in};

/// Silence of both evidences, and what a busy machine takes to program it.
const WITHDRAWN: Duration = Duration::from_millis(3_500);
/// The lease of a session, and the same.
const LEASE: Duration = Duration::from_millis(11_000);

fn dial(mesh: &Mesh, from: &Pod, to: SocketAddr) -> Dial {
    let client = mesh.lab.pod(from);
    let dial = client.enter(|| fetch::dial(to, Duration::from_millis(200)));
    dial.unwrap().unwrap()
}

fn part(mesh: &Mesh, one: &str, other: &str) {
    let between = |(from, to): &(Node, Node)| {
        let pair = (from.cluster, to.cluster);
        pair == (one, other) || pair == (other, one)
    };
    let wan = mesh.lab.netns("wan");
    let pairs = mesh.topology.pairs().filter(between);
    firewall::block_between(&wan, pairs, "drop").unwrap();
}

/// Neither its sessions nor its packets are heard: new connections are rejected within seconds, not black-holed; names and
/// addresses stay; all is back once it is heard.
#[test]
fn a_silent_peer_is_withdrawn_and_its_services_reject() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mesh, cart) = paired("t-silent");
    part(&mesh, "east", "west");
    let since = wait::now();
    wait::until(WITHDRAWN, "new connections to be rejected", || {
        Ok(dial(&mesh, &CLIENT, cart) == Dial::Rejected)
    })
    .unwrap();
    eprintln!("withdrawn after {:?}", since.elapsed());
    let address = mesh.address(&CLIENT, "cart").unwrap();
    assert_eq!(SocketAddr::from((address, 80)), cart);
    let status = mesh.operator("e1").run(&["status"]).unwrap();
    assert!(status.contains("withdrawn"), "{status}");
    firewall::unblock(&mesh.lab.netns("wan")).unwrap();
    wait::until(LIMIT * 3, "west to be back", || {
        Ok(dial(&mesh, &CLIENT, cart) == Dial::Answered)
    })
    .unwrap();
    all_answered(&mesh, cart, 20);
}

/// While packets pass, sessions may be away for the lease; then the share is withdrawn all the same.
#[test]
fn a_peer_whose_sessions_alone_are_silent_has_the_lease() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mesh, cart) = paired_with("t-lease", &["east", "west"]);
    let wan = mesh.lab.netns("wan");
    firewall::block_sessions(&wan).unwrap();
    let since = wait::now();
    let liveness = || -> anyhow::Result<String> {
        let peers = mesh.operator("e1").json(&["peers"])?;
        Ok(peers["peers"][0]["liveness"].as_str().unwrap().to_owned())
    };
    wait::until(WITHDRAWN + EFFECT, "west to be suspect", || {
        Ok(liveness()? == "suspect")
    })
    .unwrap();
    all_answered(&mesh, cart, 20);
    wait::until(LEASE, "west to be withdrawn", || {
        Ok(dial(&mesh, &CLIENT, cart) == Dial::Rejected)
    })
    .unwrap();
    assert!(since.elapsed() > Duration::from_secs(8), "not before");
    assert_eq!(liveness().unwrap(), "withdrawn");
    firewall::unblock(&wan).unwrap();
    wait::until(LEASE, "west to be back", || {
        Ok(dial(&mesh, &CLIENT, cart) == Dial::Answered)
    })
    .unwrap();
}

/// Gateways that said that they come back are waited for, longer than the silence that withdraws others.
#[test]
fn gateways_that_restart_are_waited_for() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired_with("t-bye", &["east", "west"]);
    for gateway in ["gateway-w2", "gateway-w1"] {
        mesh.lab.processes.stop(gateway).unwrap();
    }
    let since = wait::now();
    while since.elapsed() < LEASE + EFFECT {
        all_answered(&mesh, cart, 5);
        std::thread::sleep(Duration::from_millis(200));
    }
    for gateway in ["w1", "w2"] {
        mesh.run_gateway(gateway).unwrap();
    }
    all_answered(&mesh, cart, 20);
}

/// What an export says of its loss is what happens: kept, its share stays where it is; for failover only, it is used where
/// nobody else is left.
#[test]
fn each_service_says_what_becomes_of_its_share() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mesh, cart) = paired("t-loss");
    let says = |cluster, file, policy| {
        let kind = "kind: ServiceExport\nmetadata:\n";
        let annotated =
            format!("{kind}  annotations:\n    federation.causeway.dev/on-loss: {policy}\n");
        rewrite_in(&mesh, cluster, file, kind, &annotated);
    };
    says("west", "cart.yaml", "keep");
    let of_cart = || mesh.operator("e1").json(&["services", "shop/cart"]);
    let before = of_cart().unwrap();
    std::thread::sleep(EFFECT);
    part(&mesh, "east", "west");
    std::thread::sleep(WITHDRAWN * 2);
    assert_eq!(dial(&mesh, &CLIENT, cart), Dial::Silent, "it is kept");
    let after = of_cart().unwrap();
    assert_eq!(
        before["services"][0]["ports"], after["services"][0]["ports"],
        "all of it"
    );
    firewall::unblock(&mesh.lab.netns("wan")).unwrap();
    wait::until(LIMIT * 3, "west to be back", || {
        Ok(dial(&mesh, &CLIENT, cart) == Dial::Answered)
    })
    .unwrap();
    // `withdraw` and `failover-only` differ where nobody else is left.
    rewrite_in(
        &mesh,
        "west",
        "cart.yaml",
        "on-loss: keep",
        "on-loss: failover-only",
    );
    std::thread::sleep(EFFECT);
    part(&mesh, "east", "west");
    std::thread::sleep(WITHDRAWN * 2);
    assert_eq!(
        dial(&mesh, &CLIENT, cart),
        Dial::Silent,
        "nobody else is left"
    );
    firewall::unblock(&mesh.lab.netns("wan")).unwrap();
}

/// One sees a peer that another does not: each goes by what it sees, and nobody takes another's word for it.
#[test]
fn clusters_that_see_different_peers_go_by_what_they_see() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::of("t-split", THREE).unwrap();
    let mut checks = Checks::default();
    mesh.start(&mut checks).unwrap();
    for (maker, user) in [("west", "east"), ("west", "north"), ("north", "east")] {
        mesh.pair_by(maker, user, &mut checks).unwrap();
    }
    mesh.settle(&mut checks).unwrap();
    assert!(checks.is_good());
    let cart = |from: &Pod| {
        let address = wait::value(LIMIT, "cart to resolve", || {
            Ok(mesh.address(from, "cart").ok())
        });
        SocketAddr::from((address.unwrap(), 80))
    };
    let (east, north) = (cart(&CLIENT), cart(&CLIENT_N));
    wait::until(LIMIT * 2, "north to reach west", || {
        Ok(dial(&mesh, &CLIENT_N, north) == Dial::Answered)
    })
    .unwrap();
    part(&mesh, "north", "west");
    wait::until(WITHDRAWN, "north to have withdrawn west", || {
        Ok(dial(&mesh, &CLIENT_N, north) == Dial::Rejected)
    })
    .unwrap();
    let liveness = |node: &str, of: &str| {
        let peers = mesh.operator(node).json(&["peers"]).unwrap();
        let peers = peers["peers"].as_array().unwrap().clone();
        let peer = peers.iter().find(|peer| peer["cluster"] == of).unwrap();
        peer["liveness"].as_str().unwrap().to_owned()
    };
    all_answered(&mesh, east, 20);
    for (node, of, is) in [
        ("n1", "west", "withdrawn"),
        ("n2", "west", "withdrawn"),
        ("n1", "east", "live"),
        ("w1", "north", "withdrawn"),
        ("e1", "west", "live"),
        ("e2", "north", "live"),
    ] {
        assert_eq!(liveness(node, of), is, "{of} as {node} sees it");
    }
    firewall::unblock(&mesh.lab.netns("wan")).unwrap();
    wait::until(LIMIT * 3, "north to see west again", || {
        Ok(dial(&mesh, &CLIENT_N, north) == Dial::Answered)
    })
    .unwrap();
}
