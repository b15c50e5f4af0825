//! Shell: connections with traffic on them while backends come and go.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use causeway_dataplane::maglev::{self, NoMember};
use causeway_proto::model::{EndpointKey, Generation, Member, Protocol};

use super::manifests::{self, CART};
use super::mesh::{LIMIT, Mesh};
use super::report::Checks;
use super::services::said_backends;
use crate::lab::hold::{Held, Holding};
use crate::lab::topology::{CART_1, CART_2, CART_3, CART_4, CLIENT, Pod};
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
    verdict(&held, checks)?;
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

fn verdict(held: &[Held], checks: &mut Checks) -> anyhow::Result<()> {
    checks.same("connections that were held", CONNECTIONS, held.len());
    let (gone, live): (Vec<_>, Vec<_>) = held.iter().partition(|held| held.backend == CART_2.name);
    checks.check(
        "of them to cart-2, as a control",
        "some",
        gone.len(),
        !gone.is_empty(),
    );
    let broken: Vec<_> = live.iter().filter(|held| held.broken.is_some()).collect();
    let model = slots_that_break(&[
        &[CART_1, CART_2, CART_3],
        &[CART_1, CART_2, CART_3, CART_4],
        &[CART_1, CART_3, CART_4],
    ])?;
    checks.same(
        "slots whose flows the model of the rings says to break",
        0,
        model,
    );
    checks.same("broken whose backend lives", model, broken.len());
    if let Some(first) = broken.first() {
        checks.note(&format!(
            "first: {} after {} lines: {:?}",
            first.backend, first.echoed, first.broken
        ));
    }
    Ok(())
}

/// The plain model: a flow of the first membership sits in a slot. The last ring names that slot's owner and
/// the newest other one that still exists; a flow of a live backend that is neither is lost.
fn slots_that_break(memberships: &[&[Pod]]) -> anyhow::Result<usize> {
    let owners = memberships
        .iter()
        .map(|pods| owners(pods))
        .collect::<Result<Vec<_>, _>>()?;
    let last = memberships.last().copied().unwrap_or_default();
    let lives = |address: &Ipv4Addr| last.iter().any(|pod| pod.address == *address);
    let slots = owners.first().map_or(0, Vec::len);
    let broken = (0..slots).filter(|slot| {
        let mut history = owners
            .iter()
            .rev()
            .filter_map(|owners| owners.get(*slot))
            .filter(|owner| lives(owner));
        let current = history.next();
        let previous = history.find(|owner| Some(*owner) != current);
        let began = owners
            .first()
            .and_then(|owners| owners.get(*slot))
            .filter(|owner| lives(owner));
        began.is_some() && began != current && began != previous
    });
    Ok(broken.count())
}

/// Who owns each slot of a ring that never knew another membership.
fn owners(pods: &[Pod]) -> Result<Vec<Ipv4Addr>, NoMember> {
    let members = pods.iter().filter_map(|pod| {
        let key = EndpointKey {
            address: IpAddr::V4(pod.address).into(),
            protocol: Protocol::Tcp,
            port: 8080,
        };
        Some(Member {
            key,
            node: pod.node.parse().ok()?,
            weight: 1,
        })
    });
    let generation = Generation {
        number: 1,
        slots: maglev::class_for(pods.len()),
        members: members.collect(),
    };
    let ring = maglev::ring(&[generation], &[])?;
    let owner = |slot: &maglev::Slot| {
        ring.members
            .get(usize::from(slot.current))
            .map(|member| member.key.address)
    };
    let owners = ring.slots.iter().filter_map(|slot| owner(slot)?.v4());
    Ok(owners.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_counts_what_two_owners_cannot_hold() {
        let all: &[Pod] = &[CART_1, CART_2, CART_3];
        assert_eq!(
            slots_that_break(&[all, &[CART_1, CART_3, CART_4]]).unwrap(),
            0
        );
        // A ring that was emptied down to others and refilled has had more live owners than it names.
        let refilled: &[Pod] = &[CART_1, CART_2, CART_3, CART_4];
        let lost = slots_that_break(&[all, &[CART_3], &[CART_4], refilled]).unwrap();
        assert!(lost > 0, "{lost}");
    }
}
