//! Pure: numbers given out within one step. What is held stays taken, whether it is still wanted or not.

use std::collections::{BTreeMap, BTreeSet};

use causeway_abi::{RingRef, limits};

use crate::image::{MapImage, RingSlots};

/// Numbers from `from` up to, but not including, `end`.
pub struct Ids {
    taken: BTreeSet<u32>,
    next: u32,
    end: u32,
}

impl Ids {
    /// `taken` are those in use before this step.
    pub fn new(taken: BTreeSet<u32>, from: u32, end: u32) -> Self {
        Self {
            taken,
            next: from,
            end,
        }
    }

    /// The smallest that was free before this step and is free now.
    pub fn take(&mut self) -> Option<u32> {
        while self.next < self.end {
            let id = self.next;
            self.next = self.next.saturating_add(1);
            if !self.taken.contains(&id) {
                return Some(id);
            }
        }
        None
    }
}

/// Places for rings. Rings with the same slots share one: many services have the same clusters.
pub struct Rings {
    held: BTreeMap<RingSlots, RingRef>,
    given: BTreeMap<RingSlots, RingRef>,
    free: Vec<Ids>,
}

impl Rings {
    /// From what the maps hold.
    pub fn new(held: &MapImage) -> Self {
        let free = (0u8..).zip(limits::RINGS).map(|(class, end)| {
            let taken = held.rings.keys().filter(|at| at.class == class);
            Ids::new(taken.map(|at| u32::from(at.index)).collect(), 0, end)
        });
        Self {
            held: held.rings.iter().map(|(at, s)| (s.clone(), *at)).collect(),
            given: BTreeMap::new(),
            free: free.collect(),
        }
    }

    /// A place for these slots: the one that has them, else one that nobody names.
    pub fn place(&mut self, slots: &RingSlots) -> Option<RingRef> {
        if let Some(at) = self.given.get(slots) {
            return Some(*at);
        }
        let at = match self.held.get(slots) {
            Some(at) => *at,
            None => self.fresh(slots.len())?,
        };
        self.given.insert(slots.clone(), at);
        Some(at)
    }

    fn fresh(&mut self, length: usize) -> Option<RingRef> {
        let length = u32::try_from(length).ok()?;
        let class = limits::RING_SLOTS.iter().position(|n| *n == length)?;
        let index = self.free.get_mut(class)?.take()?;
        Some(RingRef::new(
            u8::try_from(class).ok()?,
            u16::try_from(index).ok()?,
        ))
    }
}
