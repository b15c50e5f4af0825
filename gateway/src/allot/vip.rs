//! Pure: addresses of services, exported and imported; sticky by name.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    Address, Allocations, Allotted, ClusterId, Exports, Prefix, Problem, ProblemKind, ServiceName,
    Timestamp,
};

use super::{PeerWants, Pools, node_range, rested, start};

pub(super) fn allot(
    next: &mut Allocations,
    exports: &Exports,
    peers: &BTreeMap<ClusterId, PeerWants>,
    pools: &Pools,
    now: Timestamp,
    problems: &mut Vec<Problem>,
) {
    let imported: BTreeSet<&ServiceName> = peers
        .values()
        .flat_map(|p| &p.services)
        .filter(|s| exports.namespaces.contains_key(&s.namespace))
        .collect();
    let wanted = |s: &ServiceName| exports.services.contains_key(s) || imported.contains(s);
    for (name, vip) in &mut next.vips {
        vip.freed = match (wanted(name), vip.freed) {
            (true, _) => None,
            (false, None) => Some(now),
            // By a clock that has gone back since: its rest begins now.
            (false, Some(since)) => Some(since.min(now)),
        };
    }
    next.vips.retain(|_, vip| !rested(vip.freed, now));
    // An address outside the pools was given out under another configuration.
    next.vips
        .retain(|_, vip| pools.vips.iter().any(|p| p.contains(vip.value)));
    let mut taken: BTreeSet<Address> = next.vips.values().map(|vip| vip.value).collect();
    let mut missing = Vec::new();
    let nodes = node_range(&pools.vips);
    for name in exports.services.keys().chain(imported) {
        if next.vips.contains_key(name) {
            continue;
        }
        match free(&pools.vips, nodes, &taken, name) {
            Some(value) => {
                taken.insert(value);
                let vip = Allotted { value, freed: None };
                next.vips.insert(name.clone(), vip);
            }
            None => missing.push(name.to_string()),
        }
    }
    if !missing.is_empty() {
        problems.push(full(&missing));
    }
}

/// A usable address of the pools that nobody has. The first and the last of a prefix are left out, and what is
/// for nodes.
fn free(
    pools: &[Prefix],
    nodes: Option<Prefix>,
    taken: &BTreeSet<Address>,
    name: &ServiceName,
) -> Option<Address> {
    pools.iter().find_map(|pool| {
        let for_nodes = nodes.filter(|n| pool.contains(n.base()));
        // It is the end of its pool.
        let size = pool
            .size()
            .saturating_sub(for_nodes.map_or(0, |n| n.size()));
        let usable = u64::try_from(size.saturating_sub(2)).unwrap_or(u64::MAX);
        let last = pool.nth(size.saturating_sub(1))?;
        let here = taken.range(pool.base()..=last).count();
        if u64::try_from(here).is_ok_and(|here| here >= usable) {
            return None;
        }
        let first = start(&name.to_string(), usable);
        (0..usable).find_map(|step| {
            let n = first.checked_add(step)?.checked_rem(usable)?;
            let address = pool.nth(u128::from(n).saturating_add(1))?;
            (!taken.contains(&address)).then_some(address)
        })
    })
}

fn full(missing: &[String]) -> Problem {
    let some: Vec<&str> = missing.iter().take(5).map(String::as_str).collect();
    let more = missing.len().saturating_sub(some.len());
    let more = match more {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    Problem {
        kind: ProblemKind::PoolFull,
        subject: "VIP pool".to_owned(),
        message: format!(
            "no address left for {}{more}; give the pool a shorter prefix around its own, or remove exports and wait an hour",
            some.join(", ")
        ),
    }
}
