//! Pure: the first stage's members: which clusters take new flows to a port, and with what weight.

use std::collections::BTreeMap;

use causeway_proto::model::{ImportPort, Locality, PeerNumber, ServiceName};

use super::Known;
use super::import::Offer;

/// The order in which clusters are used: a later rank only where an earlier one has nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Alive, or kept whatever happens.
    Usual,
    /// Its sessions are silent.
    Suspect,
    /// Silent, to be used when nobody else is left.
    Failover,
}

pub(super) fn targets(
    known: &Known<'_>,
    name: &ServiceName,
    port: &ImportPort,
    offers: &[Offer<'_>],
    locality: Locality,
) -> BTreeMap<PeerNumber, u32> {
    let mut best: Option<Rank> = None;
    let mut found: BTreeMap<PeerNumber, u32> = BTreeMap::new();
    for offer in offers {
        if !offer.exposes(port.protocol, port.port) {
            continue;
        }
        let own = offer.number == PeerNumber::OWN;
        if own && !has_member(known, name, port) {
            continue;
        }
        // The own count may be older than the own ring.
        let least = u32::from(own);
        let ready = offer.offer.ready_total().max(least);
        let weight = u32::from(offer.offer.weight).saturating_mul(ready);
        let Some(rank) = offer.rank().filter(|_| weight > 0) else {
            continue;
        };
        if own && locality == Locality::LocalFirst {
            return BTreeMap::from([(PeerNumber::OWN, 1)]);
        }
        if best.is_none_or(|best| rank < best) {
            best = Some(rank);
            found.clear();
        }
        if best == Some(rank) {
            found.insert(offer.number, weight);
        }
    }
    reduced(found)
}

/// Whether the own ring of this port has anybody.
fn has_member(known: &Known<'_>, name: &ServiceName, port: &ImportPort) -> bool {
    let ring = known.allocations.rings.get(name);
    let ring = ring.and_then(|ports| ports.get(&(port.protocol, port.port)));
    let newest = ring.and_then(|port| port.generations.first());
    newest.is_some_and(|generation| !generation.members.is_empty())
}

/// The same shares in the smallest numbers.
fn reduced(mut weights: BTreeMap<PeerNumber, u32>) -> BTreeMap<PeerNumber, u32> {
    let common = weights.values().fold(0, |sum, weight| gcd(sum, *weight));
    for weight in weights.values_mut() {
        *weight = weight.checked_div(common).unwrap_or(0);
    }
    weights
}

fn gcd(a: u32, b: u32) -> u32 {
    match a.checked_rem(b) {
        None => a,
        Some(rest) => gcd(b, rest),
    }
}
