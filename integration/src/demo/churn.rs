//! Shell: connections with traffic on them while backends come and go.

use std::net::SocketAddr;
use std::time::Duration;

use super::manifests::{self, CART};
use super::mesh::{LIMIT, Mesh};
use super::report::Checks;
use super::services::said_backends;
use crate::lab::hold::{Held, Holding};
use crate::lab::topology::{CART_1, CART_2, CART_3, CART_4, CLIENT};
use crate::lab::{fetch, wait};

const CONNECTIONS: usize = 200;
/// From the change of the manifest to its effect.
const EFFECT: Duration = Duration::from_secs(1);
/// Lines that must cross after the last change, to show which connections live.
const ROUNDS: u64 = 3;

/// cart-4 joins, cart-2 leaves.
pub fn backends(mesh: &mut Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let holding = Holding::open(&mesh.lab.pod(&CLIENT), cart, CONNECTIONS)?;
    let west = mesh.manifests("west")?;
    mesh.start_pod(&CART_4)?;
    manifests::add_pod(&west, &CART_4, "cart")?;
    // The server must be up before it is called ready, as its readiness probe would see to.
    let own = SocketAddr::from((CART_4.address, 8080));
    mesh.lab
        .pod(&CART_4)
        .enter(|| wait::value(LIMIT, "cart-4 to serve", || Ok(fetch::who(own, LIMIT).ok())))??;

    manifests::set_endpoints(&west, &CART, &[CART_1, CART_2, CART_3, CART_4])?;
    let start = wait::now();
    let ask = |count| {
        mesh.lab
            .pod(&CLIENT)
            .enter(|| fetch::tally(cart, count, LIMIT))
    };
    let reached = wait::until(LIMIT, "cart-4 to be reached", || {
        Ok(ask(4)?.backends.contains_key("cart-4"))
    });
    let took = start.elapsed();
    let seen = if reached.is_ok() {
        format!("after {:.2} s", took.as_secs_f64())
    } else {
        "never".to_owned()
    };
    checks.check(
        "new connections reach cart-4",
        "within 1 s",
        seen,
        reached.is_ok() && took <= EFFECT,
    );

    let before = holding.echoed();
    manifests::set_endpoints(&west, &CART, &[CART_1, CART_3, CART_4])?;
    let start = wait::now();
    // Nothing to see means to look until the second is over.
    let mut last = Duration::ZERO;
    while start.elapsed() < EFFECT {
        if ask(4)?.backends.contains_key("cart-2") {
            last = start.elapsed();
        }
    }
    let tally = ask(100)?;
    let none = !tally.backends.contains_key("cart-2") && tally.failures.is_empty();
    checks.note(&format!(
        "cart-2 was reached last {:.2} s after it left",
        last.as_secs_f64()
    ));
    checks.check(
        "new connections a second after cart-2 left",
        "100, none to cart-2",
        said_backends(&tally),
        none,
    );
    mesh.lab.remove_pod(&CART_2)?;

    let wanted = before.saturating_add(u64::try_from(CONNECTIONS)?.saturating_mul(ROUNDS));
    wait::until(LIMIT, "held connections to go on", || {
        Ok(holding.echoed() >= wanted)
    })?;
    let held = holding.close();
    verdict(&held, checks);
    mesh.start_pod(&CART_2)?;
    manifests::set_endpoints(&west, &CART, &[CART_1, CART_2, CART_3])?;
    wait::until(LIMIT, "cart-4 to leave again", || {
        Ok(!mesh
            .lab
            .pod(&CLIENT)
            .enter(|| fetch::tally(cart, 12, LIMIT))?
            .backends
            .contains_key("cart-4"))
    })?;
    mesh.lab.remove_pod(&CART_4)
}

fn verdict(held: &[Held], checks: &mut Checks) {
    checks.same("connections that were held", CONNECTIONS, held.len());
    let (gone, live): (Vec<_>, Vec<_>) = held.iter().partition(|held| held.backend == CART_2.name);
    checks.check(
        "of them to cart-2, as a control",
        "some",
        gone.len(),
        !gone.is_empty(),
    );
    let broken: Vec<_> = live.iter().filter(|held| held.broken.is_some()).collect();
    checks.same(
        "broken whose backend lives, as the model of the rings says",
        0,
        broken.len(),
    );
    if let Some(first) = broken.first() {
        checks.note(&format!(
            "first: {} after {} lines: {:?}",
            first.backend, first.echoed, first.broken
        ));
    }
}
