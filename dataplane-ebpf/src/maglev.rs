//! Pure: weighted Maglev rings. Members with weights come in, a table of owners goes out, the same
//! on every node whatever it has seen before.
//!
//! Two stages use it: [`clusters`] picks the cluster at the client's node, [`ring`] the endpoint at a
//! gateway. A slot of the latter names the current owner and the previous one: the newest differing
//! owner that still exists, so that a flow begun before the last changes still finds its endpoint.
//!
//! A flow sits in slot `hash % slots`, and generations may differ in `slots`; then the older owner is
//! no function of the newest slot. So a ring whose size class grew has a second table, of the older
//! size, that is asked by its own modulus when the first one names no previous owner. With two sizes
//! among the generations this is exact. Three sizes need a sixteenfold growth within four changes;
//! the oldest of them is left out.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::Hasher;

use causeway_proto::limits::GENERATIONS;
use causeway_proto::model::{EndpointKey, Generation, Member, PeerNumber};
use siphasher::sip::SipHasher24;

/// Sizes that a ring may have: primes, each about four times the one before.
pub const CLASSES: [u32; 5] = [251, 1021, 4093, 16381, 65537];
/// No owner.
pub const NONE: u16 = u16::MAX;
/// Slots per member at least: shares are then within a hundredth of their weight.
const SLOTS_PER_MEMBER: usize = 100;

/// Nobody is there, not even to finish old flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no member is ready or draining")]
pub struct NoMember;

/// Who takes a flow, as indices into [`Ring::members`]; [`NONE`] is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Takes new flows.
    pub current: u16,
    /// May know an old one.
    pub previous: u16,
}

/// The ring of one service port over its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// Everybody who may own a slot, sorted by key: the newest generation and who drains.
    pub members: Vec<Member>,
    /// By `hash % slots.len()`. `current` is nobody only where the newest generation is empty.
    pub slots: Vec<Slot>,
    /// By `hash % older.len()`, for generations of another size, or of the same one where the newest is
    /// empty; asked for another owner when `slots` has none: the first of both that differs from the one
    /// that is known. Empty if not needed.
    pub older: Vec<Slot>,
}

impl Ring {
    /// What a gateway finds for a packet of a flow, the `first` one or another. The programs do the same.
    #[must_use]
    pub fn find(&self, hash: u32, first: bool) -> Slot {
        let at = |slots: &[Slot]| {
            let size = u32::try_from(slots.len()).unwrap_or(u32::MAX);
            let index = usize::try_from(hash.checked_rem(size)?).ok()?;
            slots.get(index).copied()
        };
        let none = Slot {
            current: NONE,
            previous: NONE,
        };
        let mut slot = at(&self.slots).unwrap_or(none);
        let older = at(&self.older).unwrap_or(none);
        let older = |than| differing(than, [older.current, older.previous]);
        if slot.previous == NONE {
            slot.previous = older(slot.current);
        }
        if slot.current == NONE && !first {
            slot.current = slot.previous;
            slot.previous = older(slot.current);
        }
        slot
    }
}

/// The first owner that is somebody and not `current`.
fn differing(current: u16, owners: impl IntoIterator<Item = u16>) -> u16 {
    owners
        .into_iter()
        .find(|owner| *owner != NONE && *owner != current)
        .unwrap_or(NONE)
}

/// The smallest class that holds `slots`, else the greatest: a size that is no class would make
/// permutations that miss slots.
#[must_use]
pub fn class(slots: u32) -> u32 {
    let [.., greatest] = CLASSES;
    CLASSES
        .into_iter()
        .find(|size| *size >= slots)
        .unwrap_or(greatest)
}

/// The class for so many members.
#[must_use]
pub fn class_for(members: usize) -> u32 {
    class(u32::try_from(members.saturating_mul(SLOTS_PER_MEMBER)).unwrap_or(u32::MAX))
}

/// The ring of a service port from its generations, newest first, and those who drain.
///
/// # Errors
/// [`NoMember`] when the newest generation is empty and nobody drains.
pub fn ring(generations: &[Generation], draining: &[Member]) -> Result<Ring, NoMember> {
    let generations = generations
        .get(..GENERATIONS.min(generations.len()))
        .unwrap_or_default();
    let newest = generations.first().map_or(&[][..], |g| &g.members);
    let mut by_key: BTreeMap<EndpointKey, &Member> = draining.iter().map(|m| (m.key, m)).collect();
    by_key.extend(newest.iter().map(|m| (m.key, m)));
    while by_key.len() >= usize::from(NONE) {
        by_key.pop_last();
    }
    if by_key.is_empty() {
        return Err(NoMember);
    }
    let index: BTreeMap<EndpointKey, u16> = by_key.keys().copied().zip(0..NONE).collect();
    let owners: Vec<(u32, Vec<u16>)> = generations
        .iter()
        .map(|g| (class(g.slots), owners(g, &index)))
        .collect();
    let size = owners.first().map_or(0, |(size, _)| *size);
    // Of an empty newest one both names are old owners, and `slots` has place for one.
    let older = owners.iter().map(|(s, _)| *s).find(|s| *s != size);
    let older = older.or_else(|| newest.is_empty().then_some(size));
    let of = |wanted: u32| -> Vec<&[u16]> {
        let same = owners.iter().filter(|(size, _)| *size == wanted);
        same.map(|(_, owners)| owners.as_slice()).collect()
    };
    Ok(Ring {
        members: by_key.into_values().cloned().collect(),
        slots: slots(size, &of(size), false),
        older: older.map_or_else(Vec::new, |size| slots(size, &of(size), true)),
    })
}

/// Owners of the slots of one generation, as indices of those who still exist.
fn owners(generation: &Generation, index: &BTreeMap<EndpointKey, u16>) -> Vec<u16> {
    let members: BTreeMap<EndpointKey, u32> = generation
        .members
        .iter()
        .map(|m| (m.key, u32::from(m.weight)))
        .collect();
    let numbers: Vec<u16> = members
        .keys()
        .map(|key| index.get(key).copied().unwrap_or(NONE))
        .collect();
    let turns: Vec<(u64, u32)> = members
        .iter()
        .map(|(key, weight)| (endpoint_hash(key), *weight))
        .collect();
    fill(class(generation.slots), &turns)
        .into_iter()
        .map(|turn| numbers.get(usize::from(turn)).copied().unwrap_or(NONE))
        .collect()
}

/// Slots from tables of owners of one size, newest first. Where `gone` is allowed the newest owner
/// may have gone, and the next one counts as current.
fn slots(size: u32, tables: &[&[u16]], gone: bool) -> Vec<Slot> {
    let at = |slot: usize, table: &[u16]| table.get(slot).copied().unwrap_or(NONE);
    (0..usize::try_from(size).unwrap_or(0))
        .map(|slot| {
            let owners = tables.iter().map(|table| at(slot, table));
            let current = if gone {
                differing(NONE, owners.clone())
            } else {
                owners.clone().next().unwrap_or(NONE)
            };
            Slot {
                current,
                previous: differing(current, owners),
            }
        })
        .collect()
}

/// The ring of a service port over clusters: the number that owns each slot. Empty when nobody does.
#[must_use]
pub fn clusters(targets: &BTreeMap<PeerNumber, u32>) -> Vec<PeerNumber> {
    let turns: Vec<(u64, u32)> = targets
        .iter()
        .map(|(number, weight)| (keyed(&number.number().to_be_bytes()), *weight))
        .collect();
    let numbers: Vec<PeerNumber> = targets.keys().copied().collect();
    fill(class_for(targets.len()), &turns)
        .into_iter()
        .filter_map(|turn| numbers.get(usize::from(turn)).copied())
        .collect()
}

/// The key is no secret: flows cannot aim at a slot, since their hash is keyed by the leader's seed.
fn keyed(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(0x4361_7573_6577_6179, 0x4d61_676c_6576_0001);
    hasher.write(bytes);
    hasher.finish()
}

fn endpoint_hash(key: &EndpointKey) -> u64 {
    let mut bytes = key.address.bytes().to_vec();
    bytes.push(key.protocol.number());
    bytes.extend(key.port.to_be_bytes());
    keyed(&bytes)
}

/// A member that waits for its next turn, which comes at time `taken + 1` over `weight`.
#[derive(Debug, PartialEq, Eq)]
struct Turn {
    taken: u64,
    weight: u64,
    member: u16,
    at: u64,
    skip: u64,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        let mine = self.taken.saturating_add(1).saturating_mul(other.weight);
        let others = other.taken.saturating_add(1).saturating_mul(self.weight);
        mine.cmp(&others).then(self.member.cmp(&other.member))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Maglev: members take turns in proportion to their weight, each the next free slot of a permutation
/// of its own. `members` are (hash of the name, weight); weight 0 takes none. The result names
/// them by index; it is empty when nobody has a weight.
fn fill(size: u32, members: &[(u64, u32)]) -> Vec<u16> {
    let size = u64::from(size);
    let mut turns: BinaryHeap<Reverse<Turn>> = (0..NONE)
        .zip(members)
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(member, (hash, weight))| {
            Reverse(Turn {
                taken: 0,
                weight: u64::from(*weight),
                member,
                at: (hash >> 32).checked_rem(size).unwrap_or(0),
                skip: (hash & 0xffff_ffff)
                    .checked_rem(size.saturating_sub(1))
                    .unwrap_or(0)
                    .saturating_add(1),
            })
        })
        .collect();
    if turns.is_empty() {
        return Vec::new();
    }
    let mut owners = vec![NONE; usize::try_from(size).unwrap_or(0)];
    for _ in 0..owners.len() {
        let Some(mut turn) = turns.peek_mut() else {
            break;
        };
        let turn = &mut turn.0;
        // The permutation visits every slot and one is free, so this ends within `size` steps.
        loop {
            let owner = usize::try_from(turn.at)
                .ok()
                .and_then(|at| owners.get_mut(at));
            turn.at = turn
                .at
                .saturating_add(turn.skip)
                .checked_rem(size)
                .unwrap_or(0);
            match owner {
                Some(owner) if *owner == NONE => {
                    *owner = turn.member;
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
        turn.taken = turn.taken.saturating_add(1);
    }
    owners
}

#[cfg(test)]
mod tests;
