//! Gateways whose state on disk is damaged.

use std::net::SocketAddr;

use causeway_integration::demo::mesh::LIMIT;
use causeway_integration::lab::topology::CLIENT;
use causeway_integration::lab::{self, fetch, wait};

use crate::{alone, paired};

/// A follower takes it from the leader, and a leader from its follower: addresses stay, and both say what has happened.
#[test]
fn a_damaged_state_is_set_aside_and_taken_from_others() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired("t-damage");
    let epoch = |mesh: &causeway_integration::demo::mesh::Mesh| {
        mesh.operator("w1").json(&["status"]).unwrap()["epoch"]
            .as_u64()
            .unwrap()
    };
    let before = epoch(&mesh);
    for gateway in ["w2", "w1"] {
        mesh.lab
            .processes
            .stop(&format!("gateway-{gateway}"))
            .unwrap();
        let state = mesh.lab.path(gateway).join("gateway-state");
        let file = state.join("state.redb");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[..512].fill(0xee);
        std::fs::write(&file, &bytes).unwrap();
        mesh.run_gateway(gateway).unwrap();
        let status = || mesh.operator(gateway).run(&["status"]);
        wait::until(LIMIT, "status to tell of it", || {
            Ok(status()?.contains("state file was damaged"))
        })
        .unwrap();
        let aside = std::fs::read_dir(&state).unwrap().filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_string_lossy().into_owned();
            name.contains("damaged").then_some(path)
        });
        let aside: Vec<_> = aside.collect();
        assert_eq!(aside.len(), 1);
        assert_eq!(std::fs::read(&aside[0]).unwrap(), bytes, "nothing is lost");
        wait::until(LIMIT * 3, "east to be a peer again", || {
            let peers = mesh.operator(gateway).json(&["peers"])?;
            let live = peers["peers"][0]["liveness"].as_str() == Some("live");
            Ok(live && peers["peers"][0]["held"].is_string())
        })
        .unwrap();
    }
    assert!(epoch(&mesh) > before, "a new leadership");
    let client = mesh.lab.pod(&CLIENT);
    let address = mesh.address(&CLIENT, "cart").unwrap();
    assert_eq!(SocketAddr::from((address, 80)), cart);
    wait::until(LIMIT * 2, "every backend to answer", || {
        let tally = client.enter(|| fetch::tally(cart, 20, LIMIT))?;
        Ok(tally.failures.is_empty() && tally.backends.len() == 3)
    })
    .unwrap();
}
