//! Whole gateways on loopback: two clusters pair, exchange catalogs, survive restarts and the loss of a leader.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on stops"
)]

mod appointed;
mod controller;
mod harness;
mod hostile;
mod metrics;

use std::time::Duration;

use causeway_certs::dial::{self, GatewayAt};
use causeway_gateway::app;
use causeway_proto::model::{Encryption, Liveness, Publication, View, WatchScope};
use causeway_proto::wire::{Encoded, pb};
use harness::{Cluster, exports, pair, until};

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_exchange_catalogs() {
    let east = Cluster::start("east", "e1").await;
    let west = Cluster::start("west", "w1").await;
    pair(&west, &east).await;
    // Nothing is imported into a namespace that does not exist.
    east.publish(exports("e1", &[])).await;

    west.publish(exports("w1", &["10.244.1.5", "10.244.1.6"]))
        .await;
    let view = until(&east, "cart imported", |view| {
        let cart = view.imports.get(&"shop/cart".parse().unwrap());
        cart.is_some_and(|cart| cart.vip.is_some() && !cart.stale)
    })
    .await;
    let cart = &view.imports[&"shop/cart".parse().unwrap()];
    let share = &cart.shares[&"west".parse().unwrap()];
    assert_eq!(share.ready, 2);
    assert_eq!(cart.ports[0].targets.len(), 1);
    let peer = &view.peers[&"west".parse().unwrap()];
    assert_eq!(peer.liveness, Liveness::Live);
    assert_eq!(peer.encryption, Encryption::Plain);
    assert!(peer.our_number_there.is_some());
    // Its pods, and its nodes' own addresses.
    assert_eq!(peer.mappings.len(), 2);
    assert_eq!(peer.gateways.len(), 1);

    // Equal pod prefixes: east offers the same service from the same addresses.
    east.publish(exports("e1", &["10.244.1.5"])).await;
    until(&west, "both offer cart", |view| {
        let cart = view.imports.get(&"shop/cart".parse().unwrap());
        cart.is_some_and(|cart| cart.shares.len() == 2)
    })
    .await;
    until(&west, "east acknowledged our node", |view| {
        let east = &view.peers[&"east".parse().unwrap()];
        !east.acknowledged_nodes.is_empty()
    })
    .await;

    // One session stays between the two gateways, whoever dialled.
    let sessions = |cluster: &Cluster, peer: &str| {
        let facts = cluster.running().core.facts();
        let peer = facts.peers.get(&peer.parse().unwrap()).cloned();
        peer.map_or(0, |p| p.sessions.len())
    };
    harness::eventually("one session", || {
        sessions(&east, "west") == 1 && sessions(&west, "east") == 1
    })
    .await;

    // Nothing exported any more: absence means removal.
    west.publish(exports("w1", &[])).await;
    until(&east, "west's share gone", |view| {
        let cart = view.imports.get(&"shop/cart".parse().unwrap());
        cart.is_some_and(|cart| !cart.shares.contains_key(&"west".parse().unwrap()))
    })
    .await;
    east.stop().await;
    west.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let mut east = Cluster::start("east", "e1").await;
    let west = Cluster::start("west", "w1").await;
    pair(&west, &east).await;
    // Nothing is imported into a namespace that does not exist.
    east.publish(exports("e1", &[])).await;
    west.publish(exports("w1", &["10.244.1.5"])).await;
    let cart = "shop/cart".parse().unwrap();
    let before = until(&east, "cart imported", |view| {
        let cart = view.imports.get(&cart);
        cart.is_some_and(|cart| cart.vip.is_some())
    })
    .await;
    // Catalogs are written within a second.
    harness::eventually("catalog on disk", || east.state_is_kept()).await;
    let epoch = east.running().core.facts().epoch;
    west.stop().await;
    east.restart().await;

    // With west down, east still knows it: synced, from disk.
    let after = until(&east, "cart from disk", |view| {
        view.imports.contains_key(&cart)
    })
    .await;
    assert_eq!(after.imports[&cart].vip, before.imports[&cart].vip);
    let west_id = "west".parse().unwrap();
    assert_eq!(after.peers[&west_id].number, before.peers[&west_id].number);
    assert_eq!(
        after.peers[&west_id].mappings,
        before.peers[&west_id].mappings
    );
    assert_eq!(after.seed, before.seed);
    assert!(after.sync.missing.is_empty());
    harness::eventually("a higher epoch", || {
        east.running().core.facts().epoch > epoch
    })
    .await;
    let view = until(&east, "west withdrawn", |view| {
        view.peers[&west_id].liveness == Liveness::Withdrawn
    })
    .await;
    assert!(view.imports[&cart].stale);
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_serves_and_outlives_its_leader() {
    let east = Cluster::start("east", "e1").await;
    let mut west = Cluster::start("west", "w1").await;
    let follower = west.follower("w2").await;
    pair(&west, &east).await;
    // Nothing is imported into a namespace that does not exist.
    east.publish(exports("e1", &[])).await;
    west.publish(exports("w1", &["10.244.1.5"])).await;
    let cart = "shop/cart".parse().unwrap();
    let own = until(&follower, "follower has the export", |view| {
        view.exports.contains_key(&cart)
    })
    .await;
    assert!(own.frozen_since.is_none());
    assert_eq!(own.exports, west.running().core.view().exports);
    assert_eq!(own.seed, west.running().core.view().seed);
    assert_eq!(own.gateways.len(), 2);
    until(&east, "cart by both gateways of west", |view| {
        let peer = view.peers.get(&"west".parse().unwrap());
        peer.is_some_and(|p| p.gateways.len() == 2) && view.imports.contains_key(&cart)
    })
    .await;
    let facts = || east.running().core.facts();
    harness::eventually("sessions with both", || {
        facts().peers[&"west".parse().unwrap()].sessions.len() == 2
    })
    .await;

    west.kill();
    let frozen = until(&follower, "frozen", |view| view.frozen_since.is_some()).await;
    assert!(frozen.exports.contains_key(&cart));
    // The follower's session alone keeps the lease.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let view = east.running().core.view();
    assert_eq!(
        view.peers[&"west".parse().unwrap()].liveness,
        Liveness::Live
    );
    assert!(!view.imports[&cart].stale);

    west.restart().await;
    until(&follower, "leader is back", |view| {
        view.frozen_since.is_none()
    })
    .await;
    follower.stop().await;
    west.stop().await;
    east.stop().await;
}

/// The leader's disk is gone; its keys are not, and its follower has what it wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_lost_its_state_has_it_from_its_follower() {
    let east = Cluster::start("east", "e1").await;
    let mut west = Cluster::start("west", "w1").await;
    let follower = west.follower("w2").await;
    pair(&west, &east).await;
    east.publish(exports("e1", &[])).await;
    west.publish(exports("w1", &["10.244.1.5"])).await;
    let cart = "shop/cart".parse().unwrap();
    let imported = |view: &causeway_proto::model::View| view.imports.contains_key(&cart);
    let there = until(&east, "cart imported", imported).await;
    let before = until(&follower, "follower has the export", |view| {
        view.exports.contains_key(&cart) && view.peers.contains_key(&"east".parse().unwrap())
    })
    .await;
    let epoch = west.running().core.facts().epoch;
    west.kill();
    until(&follower, "frozen", |view| view.frozen_since.is_some()).await;
    std::fs::remove_file(west.state_dir().join("state.redb")).unwrap();
    west.restart().await;
    // A controller publishes anew on each connection.
    west.publish(exports("w1", &["10.244.1.5"])).await;

    let after = until(&west, "leads again", |view| {
        view.exports.contains_key(&cart) && view.peers.contains_key(&"east".parse().unwrap())
    })
    .await;
    assert_eq!(after.exports[&cart].vip, before.exports[&cart].vip);
    assert_eq!(after.exports[&cart].ports, before.exports[&cart].ports);
    assert_eq!(after.seed, before.seed);
    let east_id = "east".parse().unwrap();
    assert_eq!(after.peers[&east_id].number, before.peers[&east_id].number);
    assert_eq!(
        after.peers[&east_id].mappings,
        before.peers[&east_id].mappings
    );
    assert!(west.running().core.facts().epoch > epoch);
    // East never saw it go.
    let now = east.running().core.view();
    assert_eq!(now.imports[&cart].shares, there.imports[&cart].shares);
    follower.stop().await;
    west.stop().await;
    east.stop().await;
}

/// All that a cluster offers goes in one message, and all that is seen of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_cluster_is_published_and_watched() {
    let west = Cluster::start("west", "w1").await;
    let mut large = exports("w1", &["10.244.1.5"]);
    let (_, workload) = large.workloads.first_key_value().unwrap();
    let workload = workload.clone();
    for n in 0..50_000u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0af4_8000 + n);
        let mut pod = workload.clone();
        pod.name = format!("pod-with-a-name-as-long-as-they-are-in-a-large-cluster-{n}");
        large.workloads.insert(address.into(), pod);
    }
    let publication = Publication {
        exports: large.clone(),
        ..Publication::default()
    };
    assert!(publication.to_bytes().len() > 4 << 20, "gRPC's own bound");
    west.publish(large).await;

    let socket = GatewayAt::Unix(west.running().addresses.socket.clone());
    let mut client = dial::local(&socket, None, app::PATIENCE).await.unwrap();
    let whole = pb::local::WatchRequest::from(&WatchScope::Whole);
    let mut views = client.watch(whole).await.unwrap().into_inner();
    let view = views.message().await.unwrap().unwrap();
    let view = View::try_from(view).unwrap();
    assert_eq!(view.workloads.len(), 50_001);
    west.stop().await;
}
