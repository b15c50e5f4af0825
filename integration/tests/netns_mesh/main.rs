//! Level 6: the real programs in a lab, in trouble that the demo does not show. Needs root; fails without it
//! when `REQUIRE_ROOT=1`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something fails"
)]

mod diagnosis;
mod gateways;
mod introductions;
mod life;
mod path;
mod rotation;
mod state;
mod trust;

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_integration::demo::mesh::{LIMIT, Mesh};
use causeway_integration::demo::report::Checks;
use causeway_integration::lab::firewall::{self, SUPER};
use causeway_integration::lab::hold::Holding;
use causeway_integration::lab::topology::CLIENT;
use causeway_integration::lab::{self, fetch, wait};

/// How long a change of manifests may take to show, or not to.
const EFFECT: Duration = Duration::from_secs(3);

/// Eight programs each: one mesh at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two paired clusters, and `cart` as east's client dials it.
fn paired(tag: &str) -> (Mesh, SocketAddr) {
    paired_with(tag, &[])
}

/// The same, where these clusters let packets go plain.
fn paired_with(tag: &str, plain: &'static [&'static str]) -> (Mesh, SocketAddr) {
    let mut mesh = Mesh::new(tag, None).unwrap();
    mesh.plain = plain;
    let cart = pair(&mut mesh);
    (mesh, cart)
}

/// Brings up and pairs west and east of a mesh that is told what differs; `cart` as east's client dials it.
fn pair(mesh: &mut Mesh) -> SocketAddr {
    let mut checks = Checks::default();
    mesh.start(&mut checks).unwrap();
    mesh.pair(&mut checks).unwrap();
    mesh.settle(&mut checks).unwrap();
    assert!(checks.is_good());
    SocketAddr::from((mesh.address(&CLIENT, "cart").unwrap(), 80))
}

/// So many new connections of east's client are answered.
fn all_answered(mesh: &Mesh, to: SocketAddr, count: u32) {
    let client = mesh.lab.pod(&CLIENT);
    let tally = client.enter(|| fetch::tally(to, count, LIMIT)).unwrap();
    assert_eq!(tally.failures, Vec::<String>::new());
}

/// Held connections echo more.
fn goes_on(holding: &Holding, limit: Duration) {
    let before = holding.echoed();
    wait::until(limit, "held connections to go on", || {
        Ok(holding.echoed() > before + 60)
    })
    .unwrap();
}

/// None of them has broken.
fn unbroken(holding: Holding) {
    let held = holding.close();
    assert!(!held.is_empty());
    let broken: Vec<_> = held.iter().filter(|held| held.broken.is_some()).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// One piece of 64 KiB crosses the pod's port and the tunnel device as it is; nobody cuts it before the wire.
#[test]
fn super_packets_stay_whole() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mesh, cart) = paired_with("t-super", &["east", "west"]);
    let wan = mesh.lab.netns("wan");
    assert_eq!(firewall::counter(&wan, SUPER).unwrap(), 0);
    // How large TCP makes its packets depends on how fast it finds the way to be: a few connections find it fast.
    for _ in 0..5 {
        let send = || fetch::upload(cart, 64 << 20, Duration::from_secs(20));
        assert!(mesh.lab.pod(&CLIENT).enter(send).unwrap().unwrap());
        if firewall::counter(&wan, SUPER).unwrap() > 0 {
            // They are plain here, as both clusters say.
            assert_ne!(firewall::unsealed(&wan, "e1", "w1").unwrap(), 0);
            return;
        }
    }
    panic!("no packet above 60000 bytes on the wire");
}

/// Maps, links and flows are pinned: an agent that is killed and started again is not missed.
#[test]
fn a_restart_of_agents_loses_nothing() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired("t-restart");
    let holding = Holding::open(&mesh.lab.pod(&CLIENT), cart, 30).unwrap();
    let ask = |mesh: &Mesh, count| {
        mesh.lab
            .pod(&CLIENT)
            .enter(|| fetch::tally(cart, count, LIMIT))
            .unwrap()
    };
    for node in ["e1", "w1", "w2"] {
        mesh.lab.processes.kill(&format!("agent-{node}")).unwrap();
        assert_eq!(
            ask(&mesh, 20).failures,
            Vec::<String>::new(),
            "while the agent of {node} is gone"
        );
        mesh.start_agent(node).unwrap();
        for _ in 0..5 {
            assert_eq!(
                ask(&mesh, 20).failures,
                Vec::<String>::new(),
                "while the agent of {node} starts"
            );
        }
    }
    goes_on(&holding, LIMIT);
    unbroken(holding);
}

/// The last good state of manifests stays while a file is broken, and what follows a mended one counts.
#[test]
fn broken_manifests_change_nothing() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired("t-yaml");
    let file = mesh.manifests("west").unwrap().join("cart.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "kind: Service\nmetadata: [\n").unwrap();
    wait::until(EFFECT, "the controller to complain", || {
        let log = mesh.lab.processes.tail("controller-west", 50);
        Ok(log.contains("cart.yaml"))
    })
    .unwrap();
    all_answered(&mesh, cart, 20);
    std::fs::write(&file, good).unwrap();
    assert_eq!(mesh.lab.processes.dead(), Vec::<String>::new());
}

/// A gateway that comes back has its names, addresses and peers from disk.
#[test]
fn a_restart_of_gateways_keeps_addresses() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired_with("t-state", &["east", "west"]);
    for node in ["e1", "w1", "w2"] {
        mesh.lab.processes.kill(&format!("gateway-{node}")).unwrap();
    }
    let tally = mesh
        .lab
        .pod(&CLIENT)
        .enter(|| fetch::tally(cart, 20, LIMIT))
        .unwrap();
    assert_eq!(
        tally.failures,
        Vec::<String>::new(),
        "packets need no gateway process"
    );
    for node in ["w1", "w2", "e1"] {
        mesh.run_gateway(node).unwrap();
    }
    let address = wait::value(LIMIT, "cart to resolve", || {
        Ok(mesh.address(&CLIENT, "cart").ok())
    })
    .unwrap();
    assert_eq!(SocketAddr::from((address, 80)), cart);
    all_answered(&mesh, cart, 20);
}

/// One word for it is enough: also where the other cluster would let packets go plain, none does.
#[test]
fn packets_are_encrypted_where_one_side_requires_it() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mesh, cart) = paired_with("t-strict", &["west"]);
    all_answered(&mesh, cart, 20);
    nothing_plain(&mesh);
}

/// All that went between the clusters went by sessions of their gateways.
fn nothing_plain(mesh: &Mesh) {
    let wan = mesh.lab.netns("wan");
    for west in ["w1", "w2"] {
        for (from, to) in [("e1", west), (west, "e1")] {
            let plain = firewall::unsealed(&wan, from, to).unwrap();
            assert_eq!(plain, 0, "{from} to {to}");
        }
    }
}

/// Where both clusters require it, all that goes between them goes by the gateways' sessions, and a gateway that restarts is
/// not missed.
#[test]
fn packets_are_encrypted_where_both_require_it() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired("t-encrypted");
    let ask = |mesh: &Mesh, count| {
        let client = mesh.lab.pod(&CLIENT);
        client.enter(|| fetch::tally(cart, count, LIMIT)).unwrap()
    };
    let tally = ask(&mesh, 60);
    assert_eq!(tally.failures, Vec::<String>::new());
    let send = || fetch::upload(cart, 64 << 20, Duration::from_secs(30));
    assert!(mesh.lab.pod(&CLIENT).enter(send).unwrap().unwrap());
    nothing_plain(&mesh);
    let holding = Holding::open(&mesh.lab.pod(&CLIENT), cart, 30).unwrap();
    for gateway in ["e1", "w1", "w2"] {
        mesh.lab
            .processes
            .kill(&format!("gateway-{gateway}"))
            .unwrap();
        mesh.run_gateway(gateway).unwrap();
        goes_on(&holding, LIMIT * 3);
    }
    unbroken(holding);
}

/// Two clusters that mean different things by one port: the older export wins, everybody is told, traffic is right.
#[test]
fn clashing_exports_are_told_and_the_older_wins() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mesh, _) = paired("t-clash");
    rewrite(
        &mesh,
        "east",
        "kind: ServiceExport\nmetadata:\n",
        "kind: ServiceExport\nmetadata:\n  creationTimestamp: '2020-01-01T00:00:00Z'\n",
    );
    rewrite(&mesh, "west", "      port: 80\n", "      port: 81\n");
    for node in ["e1", "w1"] {
        let told = || {
            let status = mesh.operator(node).run(&["status"])?;
            Ok(status.contains("shop/catalog")
                && status.contains("oldest service export in \"east\""))
        };
        wait::until(EFFECT, &format!("{node} to tell of the conflict"), told).unwrap();
    }
    let catalog = SocketAddr::from((mesh.address(&CLIENT, "catalog").unwrap(), 80));
    let tally = mesh
        .lab
        .pod(&CLIENT)
        .enter(|| fetch::tally(catalog, 20, LIMIT))
        .unwrap();
    assert_eq!(tally.failures, Vec::<String>::new());
    assert_eq!(tally.backends.keys().collect::<Vec<_>>(), ["catalog-e"]);
}

/// Changes a cluster's `catalog.yaml`.
fn rewrite(mesh: &Mesh, cluster: &str, from: &str, to: &str) {
    rewrite_in(mesh, cluster, "catalog.yaml", from, to);
}

/// Changes a manifest of a cluster.
fn rewrite_in(mesh: &Mesh, cluster: &str, file: &str, from: &str, to: &str) {
    let file = mesh.manifests(cluster).unwrap().join(file);
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text.replace(from, to);
    assert_ne!(text, changed);
    std::fs::write(&file, changed).unwrap();
}
