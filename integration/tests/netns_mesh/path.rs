//! Paths between clusters that become narrower, or take no UDP.

use std::net::SocketAddr;
use std::time::Duration;

use causeway_integration::demo::manifests;
use causeway_integration::demo::mesh::{LIMIT, Mesh};
use causeway_integration::demo::report::Checks;
use causeway_integration::lab::hold::Holding;
use causeway_integration::lab::netns::Netns;
use causeway_integration::lab::topology::{CART_3, CLIENT, TWO};
use causeway_integration::lab::{self, fetch, firewall, wait};

use crate::{all_answered, alone, goes_on, nothing_plain, pair, paired, unbroken};

/// The paths of all sessions of a gateway, as it has found them.
fn path_mtus(mesh: &Mesh, gateway: &str) -> Vec<u64> {
    let peers = mesh.operator(gateway).json(&["peers"]).unwrap();
    let sessions = peers["peers"][0]["sessions"].as_array().unwrap();
    let mtus = sessions.iter().map(|s| s["path"]["mtu"].as_u64().unwrap());
    mtus.collect()
}

/// By all sessions and in both directions, or nobody would notice. Some end too late while a path is not known.
fn large_packets(client: &Netns, cart: SocketAddr, flows: u32) {
    let both = |up| {
        client.enter(|| match up {
            true => fetch::upload(cart, 2 << 20, LIMIT),
            false => fetch::download(cart, 2 << 20, LIMIT),
        })
    };
    std::thread::scope(|scope| {
        for flow in 0..flows {
            scope.spawn(move || drop(both(flow % 2 == 0)));
        }
    });
}

/// A path that becomes narrower, and says nothing of it, is found out; connections go on in smaller pieces.
#[test]
fn a_path_that_narrows_is_followed() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mesh, cart) = paired("t-mtu");
    let client = mesh.lab.pod(&CLIENT);
    // As packets on a wire, each by itself: a virtual one lets super-packets through whatever its MTU.
    for node in ["e1", "w1", "w2"] {
        let netns = mesh.lab.netns(node);
        netns.ip("link set eth0 gso_max_segs 1\n").unwrap();
    }
    let is = |limit, what, flows, wanted: fn(u64) -> bool| {
        wait::until(limit, what, || {
            large_packets(&client, cart, flows);
            let gateways = ["e1", "w1", "w2"].into_iter();
            Ok(gateways
                .flat_map(|gateway| path_mtus(&mesh, gateway))
                .all(wanted))
        })
    };
    is(LIMIT * 2, "the path to be known", 1, |mtu| mtu == 1500).unwrap();
    let holding = Holding::open(&client, cart, 30).unwrap();
    // The switch drops what this port does not take, either way, and tells nobody.
    let wan = mesh.lab.netns("wan");
    wan.ip("link set wan-e1 mtu 1300\n").unwrap();
    let download = || fetch::download(cart, 16 << 20, Duration::from_secs(30));
    assert!(client.enter(download).unwrap().unwrap(), "begun after it");
    is(
        Duration::from_secs(10),
        "the new path to be known",
        12,
        |mtu| mtu <= 1300,
    )
    .unwrap();
    assert!(
        mesh.operator("w1")
            .run(&["peers"])
            .unwrap()
            .contains(" of 1500 ")
    );
    // 1,400 bytes go in two pieces.
    let echo = SocketAddr::new(cart.ip(), 7);
    let text = "x".repeat(1_372);
    for _ in 0..10 {
        let echoed = client.enter(|| fetch::udp_echo(echo, &text, LIMIT));
        assert!(echoed.unwrap().unwrap().starts_with("cart"));
    }
    goes_on(&holding, LIMIT);
    unbroken(holding);
}

/// With more threads for packets there are more connections with each gateway; flows are spread over them, and nothing breaks
/// when they come and go.
#[test]
fn there_are_as_many_connections_as_threads() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::new("t-lanes", None).unwrap();
    mesh.packet_threads = Some(3);
    let cart = pair(&mut mesh);
    let client = mesh.lab.pod(&CLIENT);
    let paths = |mesh: &Mesh| -> Vec<(u64, u64)> {
        let peers = mesh.operator("e1").json(&["peers"]).unwrap();
        let sessions = peers["peers"][0]["sessions"].as_array().unwrap();
        let paths = sessions.iter().map(|session| &session["path"]);
        let number = |path: &serde_json::Value, of: &str| path[of].as_u64().unwrap();
        paths
            .map(|path| (number(path, "connections"), number(path, "sent")))
            .collect()
    };
    let all_there = |mesh: &Mesh| {
        wait::until(LIMIT, "three connections with each gateway", || {
            let paths = paths(mesh);
            Ok(paths.len() == 2 && paths.iter().all(|(connections, _)| *connections == 3))
        })
        .unwrap();
    };
    all_there(&mesh);
    let holding = Holding::open(&client, cart, 30).unwrap();
    // Of datagrams that fill a packet each, against packets of the sessions' own connections.
    let all = |mesh: &Mesh| -> u64 {
        let name = "causeway_gateway_session_datagrams_total{direction=\"sent\"";
        let lines = mesh.metrics("e1", name).unwrap();
        let counts = lines.iter().map(|line| line.rsplit(' ').next().unwrap());
        counts.map(|count| count.parse::<u64>().unwrap()).sum()
    };
    let own = |mesh: &Mesh| paths(mesh).iter().map(|(_, sent)| sent).sum::<u64>();
    let before = (all(&mesh), own(&mesh));
    large_packets(&client, cart, 24);
    let (all, own) = (all(&mesh) - before.0, own(&mesh) - before.1);
    assert!(
        all > 10_000 && own < all / 10 * 8,
        "{own} of {all} by the sessions' own"
    );
    goes_on(&holding, LIMIT);
    nothing_plain(&mesh);
    mesh.lab.processes.kill("gateway-w2").unwrap();
    all_answered(&mesh, cart, 40);
    mesh.run_gateway("w2").unwrap();
    all_there(&mesh);
    all_answered(&mesh, cart, 40);
    goes_on(&holding, LIMIT);
    unbroken(holding);
}

/// Where no UDP passes, clusters pair and packets pass by TCP; QUIC is taken again once it can be.
#[test]
fn udp_that_is_blocked_is_gone_around() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::new("t-tcp", None).unwrap();
    let mut checks = Checks::default();
    mesh.start(&mut checks).unwrap();
    let wan = mesh.lab.netns("wan");
    firewall::block_udp(&wan, TWO).unwrap();
    mesh.pair(&mut checks).unwrap();
    mesh.settle(&mut checks).unwrap();
    assert!(checks.is_good());
    let cart = SocketAddr::from((mesh.address(&CLIENT, "cart").unwrap(), 80));
    let by = |mesh: &Mesh| -> Vec<String> {
        let peers = mesh.operator("e1").json(&["peers"]).unwrap();
        let sessions = peers["peers"][0]["sessions"].as_array().unwrap();
        let by = sessions.iter().map(|s| s["transport"].as_str().unwrap());
        by.map(str::to_owned).collect()
    };
    assert_eq!(by(&mesh), ["tcp", "tcp"]);
    all_answered(&mesh, cart, 40);
    let send = || fetch::upload(cart, 64 << 20, Duration::from_secs(30));
    assert!(mesh.lab.pod(&CLIENT).enter(send).unwrap().unwrap());
    nothing_plain(&mesh);
    let holding = Holding::open(&mesh.lab.pod(&CLIENT), cart, 30).unwrap();
    firewall::unblock(&wan).unwrap();
    wait::until(Duration::from_secs(30), "sessions to go by QUIC", || {
        Ok(by(&mesh) == ["quic", "quic"])
    })
    .unwrap();
    all_answered(&mesh, cart, 40);
    // And the other way, under the same connections.
    firewall::block_udp(&wan, TWO).unwrap();
    wait::until(Duration::from_secs(10), "sessions to go by TCP", || {
        Ok(by(&mesh) == ["tcp", "tcp"])
    })
    .unwrap();
    all_answered(&mesh, cart, 40);
    goes_on(&holding, LIMIT);
    unbroken(holding);
    nothing_plain(&mesh);
    firewall::unblock(&wan).unwrap();
}

/// One side is behind a router that lets nobody begin: the session that it has begun carries packets and calls both ways, and
/// goes on when the router gives it another port.
#[test]
fn only_one_side_needs_to_be_reachable() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::new("t-nat", None).unwrap();
    let mut checks = Checks::default();
    mesh.start(&mut checks).unwrap();
    let e1 = mesh.lab.netns("e1");
    firewall::translate_sessions(&e1, 20_001).unwrap();
    mesh.pair(&mut checks).unwrap();
    mesh.settle(&mut checks).unwrap();
    assert!(checks.is_good());
    let cart = SocketAddr::from((mesh.address(&CLIENT, "cart").unwrap(), 80));
    // From west to east: its own backend of `catalog` goes.
    let west = mesh.manifests("west").unwrap();
    manifests::set_endpoints(&west, &manifests::CATALOG, &[]).unwrap();
    let catalog = SocketAddr::from((mesh.address(&CART_3, "catalog").unwrap(), 80));
    let inward = || mesh.lab.pod(&CART_3).enter(|| fetch::who(catalog, LIMIT));
    wait::until(LIMIT, "east to answer for west's catalog", || {
        Ok(inward()?.is_ok_and(|who| who.backend == "catalog-e"))
    })
    .unwrap();
    let addresses = || -> Vec<String> {
        let peers = mesh.operator("w1").json(&["peers"]).unwrap();
        let sessions = peers["peers"][0]["sessions"].as_array().unwrap();
        let at = sessions.iter().map(|s| s["address"].as_str().unwrap());
        at.map(str::to_owned).collect()
    };
    assert_eq!(addresses(), ["192.0.2.11:20001"]);
    let outward = Holding::open(&mesh.lab.pod(&CLIENT), cart, 20).unwrap();
    let inwards = Holding::open(&mesh.lab.pod(&CART_3), catalog, 20).unwrap();
    for port in [20_002, 20_003] {
        firewall::translate_sessions(&e1, port).unwrap();
        goes_on(&outward, LIMIT);
        goes_on(&inwards, LIMIT);
        let moved = [format!("192.0.2.11:{port}")];
        wait::until(
            LIMIT,
            "the new port to be told",
            || Ok(addresses() == moved),
        )
        .unwrap();
    }
    unbroken(outward);
    unbroken(inwards);
}
