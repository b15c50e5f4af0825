//! Shell: steps in which a gateway, and then a whole cluster, is gone.

use std::net::SocketAddr;
use std::time::Duration;

use super::mesh::{LIMIT, Mesh};
use super::report::Checks;
use super::services::said_backends;
use crate::lab::fetch::{self, Dial};
use crate::lab::hold::Holding;
use crate::lab::topology::{CART_1, CLIENT};
use crate::lab::wait;

/// Both evidences of life are silent for 3 s, and a second to see it.
const WITHDRAWN: Duration = Duration::from_secs(4);
/// Sessions, catalogs and probes come back.
const BACK: Duration = Duration::from_secs(15);

/// The leader is killed; nothing is withdrawn; it comes back.
pub fn leader(mesh: &mut Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let holding = Holding::open(&mesh.lab.pod(&CLIENT), cart, 40)?;
    let own = mesh.address(&CART_1, "cart")?;
    mesh.lab.processes.kill("gateway-w1")?;
    let frozen = wait::until(BACK, "status to say frozen", || {
        Ok(mesh
            .operator("w2")
            .run(&["status"])?
            .contains("frozen since"))
    });
    checks.check(
        "status of the other gateway",
        "frozen since",
        if frozen.is_ok() {
            "frozen since"
        } else {
            "silent about it"
        },
        frozen.is_ok(),
    );
    // Longer than silence is suffered, so that a withdrawal would show.
    let until = wait::now();
    let mut failed = 0usize;
    while until.elapsed() < Duration::from_secs(5) {
        failed = failed.saturating_add(
            mesh.lab
                .pod(&CLIENT)
                .enter(|| fetch::tally(cart, 5, LIMIT))?
                .failures
                .len(),
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    checks.same("new connections that failed meanwhile", 0, failed);
    let resolved = mesh.address(&CLIENT, "cart")?;
    checks.check("cart in DNS", cart.ip(), resolved, cart.ip() == resolved);
    mesh.run_gateway("w1")?;
    let thawed = wait::until(BACK, "status to say no more frozen", || {
        Ok(!mesh
            .operator("w2")
            .run(&["status"])?
            .contains("frozen since"))
    });
    checks.check(
        "after it came back",
        "not frozen",
        if thawed.is_ok() {
            "not frozen"
        } else {
            "frozen"
        },
        thawed.is_ok(),
    );
    let after = mesh.address(&CART_1, "cart")?;
    checks.same(
        "west's own address of cart, from the leader's disk",
        own,
        after,
    );
    let broken = holding
        .close()
        .iter()
        .filter(|held| held.broken.is_some())
        .count();
    checks.same("of 40 held connections broken", 0, broken);
    Ok(())
}

/// Nothing of west is heard any more; then it is back.
pub fn cut_off(mesh: &mut Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let catalog = SocketAddr::from((mesh.address(&CLIENT, "catalog")?, 80));
    let wires = |state: &str| {
        mesh.lab.netns("wan").ip(&format!(
            "link set wan-w1 {state}\nlink set wan-w2 {state}\n"
        ))
    };
    let dial = || {
        mesh.lab
            .pod(&CLIENT)
            .enter(|| fetch::dial(cart, Duration::from_millis(100)))?
    };
    wires("down")?;
    let start = wait::now();
    let rejected = wait::until(
        BACK,
        "cart to be rejected",
        || Ok(dial()? == Dial::Rejected),
    );
    let took = start.elapsed();
    checks.check(
        "connections to cart",
        "rejected within 4 s",
        format!(
            "{} after {:.1} s",
            if rejected.is_ok() { "rejected" } else { "hung" },
            took.as_secs_f64()
        ),
        rejected.is_ok() && took <= WITHDRAWN,
    );
    let tally = mesh
        .lab
        .pod(&CLIENT)
        .enter(|| fetch::tally(catalog, 20, LIMIT))?;
    let local = tally.failures.is_empty() && tally.backends.keys().all(|name| name == "catalog-e");
    checks.check(
        "catalog",
        "catalog-e, 20 times",
        said_backends(&tally),
        local,
    );
    let resolved = mesh.address(&CLIENT, "cart")?;
    checks.check(
        "cart in DNS meanwhile",
        cart.ip(),
        resolved,
        cart.ip() == resolved,
    );
    wires("up")?;
    let start = wait::now();
    let back = wait::until(BACK, "cart to answer again", || {
        Ok(dial()? == Dial::Answered)
    });
    checks.check(
        "after the cut",
        "cart answers",
        format!(
            "{} after {:.1} s",
            if back.is_ok() { "answers" } else { "silent" },
            start.elapsed().as_secs_f64()
        ),
        back.is_ok(),
    );
    let resolved = mesh.address(&CLIENT, "cart")?;
    checks.check("its address", cart.ip(), resolved, cart.ip() == resolved);
    Ok(())
}
