//! Pure: rings. A map per size class holds whole rings as values, so that a ring is written in one update.

use crate::limits::RING_SLOTS;

/// No member in this slot.
pub const NO_ORDINAL: u16 = 0xffff;

/// One ring of `N` slots, each a [`Slot`] as u32. Value of `ring_251`, `ring_1021`, ...
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring<const N: usize>(pub [u32; N]);

// SAFETY: an array of integers.
#[cfg(feature = "user")]
unsafe impl<const N: usize> aya::Pod for Ring<N> {}

plain! {
    /// Which ring: a size class and the index in that class's map.
    RingRef[4] {
        /// Index into [`RING_SLOTS`]; [`RingRef::NONE`]'s class means no ring.
        class: u8,
        reserved: u8,
        index: u16,
    }
}

impl RingRef {
    /// No ring: nobody to choose.
    pub const NONE: Self = Self {
        class: 0xff,
        reserved: 0,
        index: 0,
    };

    /// The ring `index` of size class `class`.
    #[must_use]
    pub const fn new(class: u8, index: u16) -> Self {
        Self {
            class,
            reserved: 0,
            index,
        }
    }

    /// Slots of a ring of this class; 0 if there is no ring.
    #[must_use]
    pub fn slots(self) -> u32 {
        RING_SLOTS
            .get(usize::from(self.class))
            .copied()
            .unwrap_or(0)
    }
}

/// One slot: ordinals into the service-port's own member or backend table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Who takes new flows.
    pub current: u16,
    /// Who owned the slot before and still exists, or [`NO_ORDINAL`].
    pub previous: u16,
}

impl Slot {
    /// Nobody.
    pub const EMPTY: Self = Self {
        current: NO_ORDINAL,
        previous: NO_ORDINAL,
    };

    /// Current in the low half, previous in the high half.
    #[must_use]
    pub const fn encode(self) -> u32 {
        self.current as u32 | (self.previous as u32) << 16
    }

    /// The opposite of [`Slot::encode`].
    #[must_use]
    pub const fn decode(word: u32) -> Self {
        Self {
            current: (word & 0xffff) as u16,
            previous: (word >> 16) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_round_trip() {
        let slot = Slot {
            current: 3,
            previous: 0x1234,
        };
        assert_eq!(slot.encode(), 0x1234_0003);
        assert_eq!(Slot::decode(slot.encode()), slot);
        assert_eq!(Slot::EMPTY.encode(), u32::MAX);
    }

    #[test]
    fn ring_ref_slots() {
        assert_eq!(RingRef::NONE.slots(), 0);
        assert_eq!(RingRef::new(4, 0).slots(), 65537);
    }
}
