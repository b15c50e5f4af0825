//! Peers that are trusted no more.

use std::time::Duration;

use causeway_integration::lab::hold::Holding;
use causeway_integration::lab::topology::CLIENT;
use causeway_integration::lab::{self, fetch, wait};

use crate::{EFFECT, alone, paired};

/// What is cut off is cut off at once, packets of open connections too, and stays so over a restart.
#[test]
fn a_peer_that_is_revoked_is_cut_off_within_a_second() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired("t-revoke");
    let client = mesh.lab.pod(&CLIENT);
    let holding = Holding::open(&client, cart, 10).unwrap();
    mesh.operator("e1")
        .run(&["peer", "revoke", "west"])
        .unwrap();
    let dial = || client.enter(|| fetch::dial(cart, Duration::from_millis(100)));
    wait::until(Duration::from_secs(1), "west to be cut off", || {
        Ok(dial()?? != fetch::Dial::Answered)
    })
    .unwrap();
    let cut = holding.echoed();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(holding.echoed(), cut, "nothing of open connections passes");
    let held = holding.close();
    assert!(held.iter().all(|held| held.broken.is_some()));
    mesh.lab.processes.kill("gateway-e1").unwrap();
    mesh.run_gateway("e1").unwrap();
    std::thread::sleep(EFFECT);
    assert_ne!(dial().unwrap().unwrap(), fetch::Dial::Answered);
    let west = mesh.operator("w1").json(&["peers"]).unwrap();
    assert_eq!(west["peers"][0]["sessions"].as_array().unwrap().len(), 0);
}
