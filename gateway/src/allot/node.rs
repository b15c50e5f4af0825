//! Pure: one address for each node, from the end of the VIP pool: by it the node's own processes are clients.
//! Together they are one prefix, so that peers need one mapping for all of them.

use std::collections::BTreeSet;

use causeway_proto::model::{
    Address, Allocations, Allotted, Exports, Prefix, Problem, ProblemKind, Timestamp,
};

use super::{Pools, SHORTEST_MAPPED, rested, start};

/// The part of the pool that is for nodes, as a power of two: an eighth, 8,190 nodes of a /16.
const SHARE: u8 = 3;
/// A pool of fewer bits than this leaves no room for nodes.
const LONGEST: u8 = 32 - 4 - SHARE;

/// Prefixes of the pool that peers are told: pods' prefixes need the room.
const POOLS_TOLD: usize = 8;

/// The prefix that holds the addresses of nodes: the end of the first IPv4 prefix of VIPs.
#[must_use]
pub fn range(vips: &[Prefix]) -> Option<Prefix> {
    let pool = vips.iter().find(|p| p.base().is_v4())?;
    if pool.family_len() > LONGEST {
        return None;
    }
    // Of a large pool less: it has to be a prefix that peers map.
    let share = SHARE.max(SHORTEST_MAPPED.saturating_sub(pool.family_len()));
    let bits = pool.bits().checked_add(share)?;
    let size = pool.size() >> share;
    let base = pool.nth(pool.size().checked_sub(size)?)?;
    Prefix::new(base, bits).ok()
}

/// What peers are told of the pool: all of it, so that they see each service of this cluster under an address of its own,
/// and each node. Of a prefix that is too large to be mapped the part for nodes.
#[must_use]
pub fn told(vips: &[Prefix]) -> Vec<Prefix> {
    let nodes = range(vips);
    let each = vips.iter().take(POOLS_TOLD).filter_map(|pool| {
        let small = pool.family_len() >= SHORTEST_MAPPED;
        let part = || nodes.filter(|n| pool.contains(n.base()));
        small.then_some(*pool).or_else(part)
    });
    each.collect()
}

pub(super) fn allot(
    next: &mut Allocations,
    exports: &Exports,
    pools: &Pools,
    now: Timestamp,
    problems: &mut Vec<Problem>,
) {
    for (name, held) in &mut next.nodes {
        held.freed = match (exports.nodes.contains_key(name), held.freed) {
            (true, _) => None,
            (false, None) => Some(now),
            // By a clock that has gone back since: its rest begins now.
            (false, Some(since)) => Some(since.min(now)),
        };
    }
    let range = range(&pools.vips);
    next.nodes.retain(|_, held| {
        !rested(held.freed, now) && range.is_some_and(|range| range.contains(held.value))
    });
    // Before there was a range for nodes, services had addresses of it.
    let vips = next.vips.values().map(|vip| vip.value);
    let mut taken: BTreeSet<Address> = next.nodes.values().map(|n| n.value).chain(vips).collect();
    let mut missing = 0_usize;
    for name in exports.nodes.keys() {
        if next.nodes.contains_key(name) {
            continue;
        }
        match range.and_then(|range| free(range, &taken, name.as_str())) {
            Some(value) => {
                taken.insert(value);
                let address = Allotted { value, freed: None };
                next.nodes.insert(name.clone(), address);
            }
            None => missing = missing.saturating_add(1),
        }
    }
    if missing > 0 {
        problems.push(Problem {
            kind: ProblemKind::PoolFull,
            subject: "VIP pool".to_owned(),
            message: format!(
                "no address left for {missing} nodes, whose own processes cannot be clients: give the pool a shorter prefix around its own"
            ),
        });
    }
}

/// The last address is left out, as some tools take it for a broadcast.
fn free(range: Prefix, taken: &BTreeSet<Address>, node: &str) -> Option<Address> {
    let usable = u64::try_from(range.size().saturating_sub(1)).unwrap_or(u64::MAX);
    let first = start(&format!("node {node}"), usable);
    (0..usable).find_map(|step| {
        let n = first.checked_add(step)?.checked_rem(usable)?;
        let address = range.nth(u128::from(n))?;
        (!taken.contains(&address)).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_told_of_the_pool_or_of_its_part_for_nodes() {
        let told = |pools: &[&str]| {
            let pools: Vec<Prefix> = pools.iter().map(|p| p.parse().unwrap()).collect();
            let told = told(&pools).into_iter().map(|p| p.to_string());
            told.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            told(&["241.0.0.0/16", "fd00::/64"]),
            "241.0.0.0/16 fd00::/64"
        );
        // A peer takes none shorter than /12.
        assert_eq!(told(&["241.0.0.0/12"]), "241.0.0.0/12");
        assert_eq!(
            told(&["240.0.0.0/8", "241.0.0.0/16"]),
            "240.240.0.0/12 241.0.0.0/16"
        );
    }
}
