//! Clusters that become peers because another one vouches for them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use causeway_integration::demo::manifests::{self, Sliced};
use causeway_integration::demo::mesh::{LIMIT, Mesh};
use causeway_integration::demo::report::Checks;
use causeway_integration::lab::topology::{CLIENT, FIVE, STOCK_1, STOCK_2, THREE};
use causeway_integration::lab::{self, fetch, wait};

use crate::{EFFECT, all_answered, alone};

/// A newcomer is told, dialled, and has told its own.
const KNOWN: Duration = Duration::from_secs(15);

const STOCK: Sliced = Sliced {
    service: "stock",
    ports: &[("http", "TCP", 8080)],
};

/// The peers of a cluster that are live, as its gateway on this node says.
pub fn live(mesh: &Mesh, node: &str) -> BTreeSet<String> {
    let peers = mesh.operator(node).json(&["peers"]).unwrap();
    let peers = peers["peers"].as_array().unwrap().clone();
    let live = peers
        .iter()
        .filter(|peer| peer["liveness"] == "live" && peer["held"].is_string());
    live.map(|peer| peer["cluster"].as_str().unwrap().to_owned())
        .collect()
}

/// Two that were paired with a third one serve each other; one that is revoked does not come back by it.
#[test]
fn whom_a_peer_vouches_for_is_a_peer() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::of("t-vouch", THREE).unwrap();
    let mut checks = Checks::default();
    mesh.start(&mut checks).unwrap();
    let north = mesh.manifests("north").unwrap();
    manifests::export(&north, STOCK.service).unwrap();
    manifests::set_endpoints(&north, &STOCK, &[STOCK_1, STOCK_2]).unwrap();
    for user in ["east", "north"] {
        mesh.pair_by("west", user, &mut checks).unwrap();
    }
    mesh.settle(&mut checks).unwrap();
    assert!(checks.is_good());
    wait::until(KNOWN, "east and north to be peers", || {
        Ok(live(&mesh, "e1").contains("north") && live(&mesh, "n2").contains("east"))
    })
    .unwrap();
    let status = mesh.operator("e1").json(&["status"]).unwrap();
    let conditions = status["conditions"].to_string();
    assert!(conditions.contains("west vouches for it"), "{conditions}");
    let address = wait::value(LIMIT, "stock to resolve", || {
        Ok(mesh.address(&CLIENT, "stock").ok())
    });
    let stock = SocketAddr::from((address.unwrap(), 80));
    let client = mesh.lab.pod(&CLIENT);
    wait::until(LIMIT, "both backends to answer", || {
        let tally = client.enter(|| fetch::tally(stock, 12, LIMIT))?;
        Ok(tally.failures.is_empty() && tally.backends.len() == 2)
    })
    .unwrap();
    all_answered(&mesh, stock, 20);

    mesh.operator("e1")
        .run(&["peer", "revoke", "north"])
        .unwrap();
    let dial = || {
        client
            .enter(|| fetch::dial(stock, Duration::from_millis(100)))
            .unwrap()
    };
    wait::until(Duration::from_secs(1), "north to be cut off", || {
        Ok(dial()? != fetch::Dial::Answered)
    })
    .unwrap();
    mesh.lab.processes.kill("gateway-e1").unwrap();
    mesh.run_gateway("e1").unwrap();
    std::thread::sleep(EFFECT * 2);
    assert_ne!(
        dial().unwrap(),
        fetch::Dial::Answered,
        "west still vouches for it"
    );
    assert_eq!(live(&mesh, "e1"), BTreeSet::from(["west".to_owned()]));
    // North is told by east itself, and west takes nobody's side.
    assert_eq!(live(&mesh, "n1"), BTreeSet::from(["west".to_owned()]));
    assert_eq!(live(&mesh, "w1").len(), 2);
}

/// Of five clusters each was paired with one alone, and one was away while another joined: all are peers of all.
#[test]
fn five_clusters_know_each_other_by_one() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::of("t-five", FIVE).unwrap();
    let mut checks = Checks::default();
    mesh.start(&mut checks).unwrap();
    for user in ["east", "north", "ocean"] {
        mesh.pair_by("west", user, &mut checks).unwrap();
    }
    mesh.lab.processes.kill("gateway-o1").unwrap();
    mesh.pair_by("west", "south", &mut checks).unwrap();
    assert!(checks.is_good());
    wait::until(KNOWN, "south to know those that are there", || {
        let there = ["east", "north", "west"].map(str::to_owned);
        Ok(live(&mesh, "s1") == BTreeSet::from(there))
    })
    .unwrap();
    mesh.run_gateway("o1").unwrap();
    wait::until(KNOWN, "all to know all", || {
        let nodes = FIVE.nodes.iter();
        Ok(nodes.clone().all(|node| {
            let others = nodes.clone().filter(|other| *other != node);
            let others: BTreeSet<_> = others.map(|other| other.cluster.to_owned()).collect();
            live(&mesh, node.name) == others
        }))
    })
    .unwrap();
}
