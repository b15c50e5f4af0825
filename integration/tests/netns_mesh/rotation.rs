//! Another CA takes over in a cluster whose peers know the one before.

use std::net::SocketAddr;
use std::time::Duration;

use causeway_integration::demo::mesh::Mesh;
use causeway_integration::demo::report::Checks;
use causeway_integration::lab::hold::Holding;
use causeway_integration::lab::topology::{CLIENT, THREE};
use causeway_integration::lab::{self, wait};

use crate::introductions::live;
use crate::{EFFECT, all_answered, alone, goes_on, unbroken};

/// Each looks once in a minute whether it is time.
const LOOKED: Duration = Duration::from_secs(90);

/// The certificates in a file of a node, the keys left out.
fn certificates(mesh: &Mesh, node: &str, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(mesh.lab.path(node).join(file)).unwrap();
    let text = text.replace("\\n", "\n");
    let each = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    let each = each.filter_map(|rest| rest.split_once("-----END"));
    each.map(|(body, _)| body.trim().to_owned()).collect()
}

/// Until that process's leaf is of that CA.
fn takes(mesh: &Mesh, (node, process): (&str, &str), ca: &str, within: Duration) {
    let what = format!("{process} of {node} to have a leaf of the CA that took over");
    let file = format!("{process}-state/leaf.pem");
    wait::until(within, &what, || {
        Ok(certificates(mesh, node, &file).get(1).map(String::as_str) == Some(ca))
    })
    .inspect_err(|_| {
        for name in ["gateway-w2", "gateway-w1"] {
            eprintln!("{name}: {}", mesh.lab.processes.tail(name, 40));
        }
    })
    .unwrap();
}

/// Until north is a peer of both others.
fn knows_north(mesh: &Mesh) {
    wait::until(EFFECT * 5, "north to be a peer of both", || {
        Ok(live(mesh, "e1").contains("north") && live(mesh, "n1").contains("west"))
    })
    .unwrap();
}

/// Connections stay, over the day in which both are taken and after it. Whom a token or a voucher brings meanwhile is a peer,
/// and so is one that was away until there was another one still.
#[test]
fn another_ca_takes_over_under_traffic() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::of("t-rotate", THREE).unwrap();
    mesh.clocks = true;
    let mut checks = Checks::default();
    mesh.start(&mut checks).unwrap();
    mesh.pair_by("west", "east", &mut checks).unwrap();
    mesh.settle(&mut checks).unwrap();
    assert!(checks.is_good());
    let cart = SocketAddr::from((mesh.address(&CLIENT, "cart").unwrap(), 80));
    let holding = Holding::open(&mesh.lab.pod(&CLIENT), cart, 30).unwrap();
    let former = certificates(&mesh, "w1", "gateway-state/ca.pem").remove(0);

    let said = mesh.operator("w1").run(&["ca", "rotate"]).unwrap();
    assert!(said.contains("are taken until"), "{said}");
    let ca = certificates(&mesh, "w1", "gateway-state/ca.pem").remove(0);
    assert_ne!(ca, former);
    let again = format!(
        "{:#}",
        mesh.operator("w1").run(&["ca", "rotate"]).unwrap_err()
    );
    assert!(again.contains("can be rotated again after that"), "{again}");
    takes(&mesh, ("w2", "gateway"), &ca, Duration::from_secs(10));
    goes_on(&holding, EFFECT);
    // East knows the former alone until its gateway is told, and again when it has forgotten all that it was told.
    for gateway in ["w2", "w1"] {
        mesh.lab
            .processes
            .kill(&format!("gateway-{gateway}"))
            .unwrap();
        mesh.run_gateway(gateway).unwrap();
        goes_on(&holding, EFFECT);
    }
    all_answered(&mesh, cart, 20);
    // North comes by a token of the CA that took over, and knows east by west's word.
    mesh.pair_by("west", "north", &mut checks).unwrap();
    knows_north(&mesh);

    // North is away while all leaves become those of the CA that took over, and the former ends.
    for gateway in ["n1", "n2"] {
        mesh.lab
            .processes
            .kill(&format!("gateway-{gateway}"))
            .unwrap();
    }
    let all_are = |hours: i64| {
        for cluster in ["east", "west", "north"] {
            mesh.set_clock(cluster, hours * 3_600).unwrap();
        }
    };
    all_are(19);
    for of in [("w1", "agent"), ("w2", "agent"), ("w2", "gateway")] {
        takes(&mesh, of, &ca, LOOKED);
    }
    goes_on(&holding, EFFECT);
    all_are(26);
    // The former is over, so there may be a next one.
    let rotated = || Ok(mesh.operator("w1").run(&["ca", "rotate"]).is_ok());
    wait::until(EFFECT, "the former to be over", rotated).unwrap();
    let next = certificates(&mesh, "w1", "gateway-state/ca.pem").remove(0);
    takes(&mesh, ("w2", "gateway"), &next, Duration::from_secs(10));
    goes_on(&holding, EFFECT);
    // The one that does not hold the CA would have to be enrolled anew.
    mesh.run_gateway("n1").unwrap();
    knows_north(&mesh);
    unbroken(holding);
    all_answered(&mesh, cart, 20);
}
