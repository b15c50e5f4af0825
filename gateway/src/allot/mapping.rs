//! Pure: numbers of peers, and our prefixes for theirs and, behind a VIP, for our own.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits::PREFIXES_PER_CLUSTER;
use causeway_proto::model::{
    Allocations, Allotted, ClusterId, Mapping, PeerAllotment, PeerNumber, Prefix, Problem,
    ProblemKind, Timestamp,
};

use super::{PeerWants, Pools, SHORTEST_MAPPED, overlapping, rested};

pub(super) fn allot(
    next: &mut Allocations,
    peers: &BTreeMap<ClusterId, PeerWants>,
    pools: &Pools,
    now: Timestamp,
    problems: &mut Vec<Problem>,
) {
    for (id, peer) in &mut next.peers {
        peer.freed = match (peers.contains_key(id), peer.freed) {
            (true, _) => None,
            (false, None) => Some(now),
            // By a clock that has gone back since: its rest begins now.
            (false, Some(since)) => Some(since.min(now)),
        };
    }
    next.peers.retain(|_, peer| !rested(peer.freed, now));
    self_map(next, pools, problems);
    for (id, wants) in peers {
        if !next.peers.contains_key(id) && !number(next, id, problems) {
            continue;
        }
        map_peer(next, id, wants, pools, problems);
    }
}

/// What a cluster that is no peer yet would get for its prefixes here, and what would not fit.
#[must_use]
pub fn foretell(
    held: &Allocations,
    id: &ClusterId,
    prefixes: &[Prefix],
    pools: &Pools,
    now: Timestamp,
) -> (Vec<Mapping>, Vec<Problem>) {
    let wants = PeerWants {
        prefixes: prefixes.to_vec(),
        ..PeerWants::default()
    };
    let (mut next, mut problems) = (held.clone(), Vec::new());
    let peers = BTreeMap::from([(id.clone(), wants)]);
    allot(&mut next, &peers, pools, now, &mut problems);
    let wanted = outermost(prefixes);
    let peer = next.peers.remove(id);
    let mappings = peer.map(|p| p.value.mappings).unwrap_or_default();
    let named = mappings.into_iter().filter(|m| wanted.contains(&m.theirs));
    (named.collect(), problems)
}

fn self_map(next: &mut Allocations, pools: &Pools, problems: &mut Vec<Problem>) {
    for theirs in outermost(&pools.own) {
        if next.self_map.iter().any(|m| m.theirs == theirs) {
            continue;
        }
        match gap(&pools.mappings, &all(next), theirs) {
            Some(ours) => next.self_map.push(Mapping { theirs, ours }),
            None => problems.push(full("self-map", theirs)),
        }
    }
}

/// Gives a peer its number; false when there is none left.
fn number(next: &mut Allocations, id: &ClusterId, problems: &mut Vec<Problem>) -> bool {
    let taken: BTreeSet<u16> = next
        .peers
        .values()
        .map(|p| p.value.number.number())
        .collect();
    let free = (1..=PeerNumber::MAX).find(|n| !taken.contains(n));
    let Some(number) = free.and_then(|n| PeerNumber::try_from(n).ok()) else {
        problems.push(Problem {
            kind: ProblemKind::LimitReached,
            subject: format!("peer {id}"),
            message: "all 4095 peer numbers are taken or rest; it cannot be joined now".to_owned(),
        });
        return false;
    };
    let value = PeerAllotment {
        number,
        mappings: Vec::new(),
    };
    next.peers
        .insert(id.clone(), Allotted { value, freed: None });
    true
}

fn map_peer(
    next: &mut Allocations,
    id: &ClusterId,
    wants: &PeerWants,
    pools: &Pools,
    problems: &mut Vec<Problem>,
) {
    let wanted = outermost(&wants.prefixes);
    let subject = format!("peer {id}");
    for theirs in &wanted {
        let others = all(next);
        let Some(peer) = next.peers.get_mut(id) else {
            return;
        };
        let held = &mut peer.value.mappings;
        if held.iter().any(|m| m.theirs == *theirs) {
            continue;
        }
        // What it no longer names is kept while there is room, so that it may come back to the same.
        if held.len() >= PREFIXES_PER_CLUSTER {
            held.retain(|m| wanted.contains(&m.theirs));
        }
        if held.len() >= PREFIXES_PER_CLUSTER || theirs.family_len() < SHORTEST_MAPPED {
            problems.push(Problem {
                kind: ProblemKind::LimitReached,
                subject: subject.clone(),
                message: format!(
                    "its prefix {theirs} gets no mapping: at most {PREFIXES_PER_CLUSTER} prefixes, none shorter than /{SHORTEST_MAPPED}"
                ),
            });
            continue;
        }
        match ours(id, *theirs, pools, &others) {
            Some(ours) => held.push(Mapping {
                theirs: *theirs,
                ours,
            }),
            None => problems.push(full(&subject, *theirs)),
        }
    }
}

/// Our prefix for one of a peer's: its own where configuration allows it and nothing here has it.
fn ours(id: &ClusterId, theirs: Prefix, pools: &Pools, others: &[Mapping]) -> Option<Prefix> {
    // A peer names the prefixes of its nodes, who configures us perhaps the one around them.
    let mut native = pools.native.get(id).into_iter().flatten();
    let listed = native.any(|prefix| prefix.covers(theirs));
    let ours = pools
        .own
        .iter()
        .chain(&pools.vips)
        .any(|p| p.overlaps(theirs));
    if listed && !ours && !overlapping(others, theirs) {
        return Some(theirs);
    }
    gap(&pools.mappings, others, theirs)
}

/// All that is given out, what rests included.
fn all(next: &Allocations) -> Vec<Mapping> {
    let peers = next.peers.values().flat_map(|p| &p.value.mappings);
    next.self_map.iter().chain(peers).copied().collect()
}

/// Lowest free prefix of the same family and length.
fn gap(pools: &[Prefix], taken: &[Mapping], like: Prefix) -> Option<Prefix> {
    let fits = |p: &&Prefix| p.base().is_v4() == like.base().is_v4() && p.bits() <= like.bits();
    pools.iter().filter(fits).find_map(|pool| {
        let mut base = pool.base();
        loop {
            let candidate = Prefix::new(base, like.bits()).ok()?;
            if !pool.contains(base) {
                return None;
            }
            // Behind the greatest of those in the way: either it or the candidate is the larger one.
            let in_way = taken.iter().filter(|m| m.ours.overlaps(candidate));
            let Some(last) = in_way.max_by_key(|m| m.ours.base()) else {
                return Some(candidate);
            };
            let larger = last.ours.size().max(candidate.size());
            let from = last.ours.base().min(candidate.base());
            base = from.offset(larger)?;
        }
    })
}

/// Without those that lie inside another, in their order: what comes first is mapped first.
fn outermost(prefixes: &[Prefix]) -> Vec<Prefix> {
    let inside = |p: &Prefix| {
        let mut others = prefixes.iter();
        others.any(|o| o != p && o.covers(*p))
    };
    let mut kept = Vec::new();
    for prefix in prefixes {
        if !inside(prefix) && !kept.contains(prefix) {
            kept.push(*prefix);
        }
    }
    kept
}

fn full(subject: &str, theirs: Prefix) -> Problem {
    Problem {
        kind: ProblemKind::PoolFull,
        subject: "mapping pool".to_owned(),
        message: format!(
            "no prefix left for {theirs} of {subject}: its packets are refused; add a prefix to the pool"
        ),
    }
}
