//! Pure: what has one author. From what is wanted and what is held to the next [`Allocations`]: sticky
//! addresses, numbers, mappings, ring generations, seed and salts. The leader's alone. In: exports, peers,
//! what is held, pools, the time and randomness. Out: allocations and what did not fit. No clock, no RNG.

mod identity;
mod ledger;
mod mapping;
mod node;
mod own;
mod ring;
mod vip;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use causeway_proto::model::{
    Allocations, ClusterId, Exports, Mapping, PartKey, Prefix, Problem, ServiceName, Timestamp,
};

pub use identity::of as identity_of;
pub use ledger::{Holder, Ledger};
pub use mapping::foretell;
pub use node::{range as node_range, told as told_vips};
pub use own::own as own_prefixes;
pub use ring::{SIZE_CLASSES, size_class};

/// How long a VIP, an identity number, a peer's number or mapping rests before somebody else gets it: flows and
/// DNS answers that still use it have gone by then.
pub const REST_MS: u64 = 3_600_000;
/// Shortest prefix that a peer may ask a mapping for, in bits of its family: one peer cannot eat the pool.
pub const SHORTEST_MAPPED: u8 = 12;

/// Above this no clock and no leadership comes: who claims it has made it up.
pub const GREATEST_EPOCH: u64 = 1 << 52;

/// Where addresses are taken from; by configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pools {
    /// VIPs.
    pub vips: Vec<Prefix>,
    /// Mappings and the self-map.
    pub mappings: Vec<Prefix>,
    /// This cluster's own prefixes, which the self-map covers.
    pub own: Vec<Prefix>,
    /// Prefixes that a peer may use here as they are.
    pub native: BTreeMap<ClusterId, Vec<Prefix>>,
}

/// What a peer needs here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerWants {
    /// Its prefixes, in its own numbering.
    pub prefixes: Vec<Prefix>,
    /// What it offers.
    pub services: BTreeSet<ServiceName>,
}

/// The next allocations. `held` that is still wanted stays; the version counts up when anything differs.
#[must_use]
pub fn allot(
    exports: &Exports,
    peers: &BTreeMap<ClusterId, PeerWants>,
    held: &Allocations,
    pools: &Pools,
    now: Timestamp,
    random: &[u8; 32],
) -> (Allocations, Vec<Problem>) {
    let mut next = held.clone();
    let mut problems = Vec::new();
    vip::allot(&mut next, exports, peers, pools, now, &mut problems);
    node::allot(&mut next, exports, pools, now, &mut problems);
    mapping::allot(&mut next, peers, pools, now, &mut problems);
    identity::allot(&mut next, exports, now, &mut problems);
    ring::allot(&mut next, exports, &mut problems);
    seeds(&mut next, exports, random);
    if next != *held {
        next.version = held.version.saturating_add(1);
    }
    (next, problems)
}

/// The epoch of a new leadership: above all that anybody has seen of this cluster, and above the clock, so that
/// a leader that lost everything still does not fall back.
#[must_use]
pub fn next_epoch(own: u64, followers: u64, peers_hold: u64, unix_secs: u64) -> u64 {
    // A peer cannot push it to where nothing is above it.
    let said = |epoch: u64| if epoch < GREATEST_EPOCH { epoch } else { 0 };
    let others = said(followers).max(said(peers_hold));
    own.max(others).max(unix_secs).saturating_add(1)
}

/// The epoch of a leader that a controller appoints: above what is `known` and above the clock; in its last 16 bits eight of
/// the term and eight for restarts, so that two leaders that know nothing of each other never cut in one epoch.
#[must_use]
pub fn appointed_epoch(known: u64, unix_secs: u64, term: u64) -> u64 {
    let place = (known >> 16).max(unix_secs).saturating_add(1);
    (place << 16) | ((term & 0xff) << 8)
}

/// The epoch of an appointed leader that restarts by the word of `term`, after `own`, in which it may have said more than
/// its disk knows. Not above the clock: by now another may lead, and its epoch is.
#[must_use]
pub fn resumed_epoch(own: u64, term: u64) -> u64 {
    let next = own.saturating_add(1);
    if next >> 8 & 0xff == term & 0xff && own >> 8 == next >> 8 {
        next
    } else {
        appointed_epoch(own, 0, term)
    }
}

/// Namespaces that have a part: those that export something.
pub(crate) fn part_keys(exports: &Exports) -> BTreeSet<PartKey> {
    let namespaces = exports.services.keys().map(|s| s.namespace.clone());
    let parts = namespaces.map(PartKey::Namespace);
    parts.chain([PartKey::Cluster]).collect()
}

fn seeds(next: &mut Allocations, exports: &Exports, random: &[u8; 32]) {
    if next.seed == [0; 16] {
        next.seed = draw(random, "seed");
    }
    let keys = part_keys(exports);
    next.salts.retain(|key, _| keys.contains(key));
    for key in keys {
        let salt = draw(random, &format!("salt {key}"));
        next.salts.entry(key).or_insert(salt);
    }
}

/// 16 bytes for one purpose out of what was drawn.
fn draw(random: &[u8; 32], purpose: &str) -> [u8; 16] {
    let bytes: Vec<u8> = random.iter().copied().chain(purpose.bytes()).collect();
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(digest(&SHA256, &bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// Where the search for a free number starts: by name, so that a leader that lost its state mostly finds the
/// same again.
fn start(name: &str, size: u64) -> u64 {
    let hash = digest(&SHA256, name.as_bytes());
    let first = hash.as_ref().iter().take(8);
    let value = first.fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    value.checked_rem(size).unwrap_or(0)
}

/// Whether something freed has rested.
fn rested(freed: Option<Timestamp>, now: Timestamp) -> bool {
    freed.is_some_and(|freed| now.since(freed) >= REST_MS)
}

fn overlapping(mappings: &[Mapping], prefix: Prefix) -> bool {
    mappings.iter().any(|m| m.ours.overlaps(prefix))
}
