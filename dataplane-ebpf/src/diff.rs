//! Pure: from one content of the maps to another by single writes, none of which leaves something
//! that refers to nothing.
//!
//! First all puts, what is referred to before what refers to it; then all deletions the other way
//! round. In between both contents are there, which is why an id that was freed is not given out again
//! in the same step: that is `compile`'s part of the bargain.

use crate::image::{Entry, MapImage, MapOp, Table};

/// The writes that make `new` of `old`.
#[must_use]
pub fn diff(old: &MapImage, new: &MapImage) -> Vec<MapOp> {
    let mut puts = new.puts(old);
    let rings = new.rings.iter();
    puts.extend(
        rings
            .filter(|(at, slots)| old.rings.get(at) != Some(slots))
            .map(|(at, slots)| Entry::Ring(*at, slots.clone())),
    );
    if old.config != new.config {
        puts.push(Entry::Config(new.config));
    }
    puts.sort_by_key(rank);
    let mut gone = new.gone(old);
    gone.sort_by_key(|gone| std::cmp::Reverse(gone.table()));
    puts.into_iter()
        .map(MapOp::Put)
        .chain(gone.into_iter().map(MapOp::Delete))
        .collect()
}

/// When a put is made: tables in their order, rings just before the frontends that name them, the
/// configuration last, since it switches the programs on.
fn rank(entry: &Entry) -> (bool, Option<Table>, bool) {
    match entry {
        Entry::Config(_) => (true, None, false),
        Entry::Ring(..) => (false, Some(Table::Frontends), false),
        entry => (false, entry.table(), true),
    }
}

/// What `image` refers to and does not have; empty in every state that `diff` goes through.
#[must_use]
pub fn dangling(image: &MapImage) -> Vec<String> {
    let mut found = Vec::new();
    for (key, frontend) in &image.frontends {
        let stages = [
            (frontend.stage_one, true),
            (frontend.stage_two, false),
            (frontend.stage_two_older, false),
        ];
        for (at, clusters) in stages {
            if at == causeway_abi::RingRef::NONE {
                continue;
            }
            let Some(slots) = image.rings.get(&at) else {
                found.push(format!("{key:?} names ring {at:?}"));
                continue;
            };
            for ordinal in ordinals(slots) {
                let key = causeway_abi::OrdinalKey {
                    port_id: frontend.port_id,
                    ordinal,
                    reserved: 0,
                };
                let known = if clusters {
                    image.members.contains_key(&key)
                } else {
                    image.backends.contains_key(&key)
                };
                if !known {
                    found.push(format!("ring {at:?} names {key:?}"));
                }
            }
        }
    }
    for (key, member) in &image.members {
        if member.peer != 0 && !image.routes.contains_key(&u32::from(member.peer)) {
            found.push(format!("{key:?} names peer {}", member.peer));
        }
    }
    let backends = image.backends.values().chain(image.exported.values());
    for backend in backends {
        if !image.backend_nodes.contains_key(&backend.name) {
            found.push(format!("{backend:?} has no node"));
        }
    }
    for (key, backend) in &image.local_backends {
        if !image.ports.contains_key(&backend.ifindex) {
            found.push(format!("{key:?} names port {}", backend.ifindex));
        }
    }
    found
}

/// Ordinals that a ring names, each once.
#[must_use]
pub fn ordinals(slots: &[u32]) -> std::collections::BTreeSet<u16> {
    slots
        .iter()
        .map(|word| causeway_abi::Slot::decode(*word))
        .flat_map(|slot| [slot.current, slot.previous])
        .filter(|ordinal| *ordinal != causeway_abi::NO_ORDINAL)
        .collect()
}
