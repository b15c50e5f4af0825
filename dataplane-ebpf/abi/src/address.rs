//! Pure: the two families of addresses, and how an address moves from one prefix to another.

use core::cmp::Ordering;
use core::fmt;
use core::net::Ipv6Addr;

/// An IPv4 address in network order.
pub type V4 = [u8; 4];

/// An IPv6 address, or an IPv4 one in its mapped form: 16 bytes in network order, kept as words, so that programs read four
/// and not sixteen.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct V6([u32; 4]);

// SAFETY: an array of integers.
#[cfg(feature = "user")]
unsafe impl aya::Pod for V6 {}

impl V6 {
    /// From its bytes.
    #[inline(always)]
    #[must_use]
    pub const fn new([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [u8; 16]) -> Self {
        Self([
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
            u32::from_ne_bytes([m, n, o, p]),
        ])
    }

    /// From words as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub const fn of_words(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// Its words as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        self.0
    }

    /// Its bytes.
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        let [x, y, z, w] = self.0;
        let ([a, b, c, d], [e, f, g, h]) = (x.to_ne_bytes(), y.to_ne_bytes());
        let ([i, j, k, l], [m, n, o, p]) = (z.to_ne_bytes(), w.to_ne_bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// Of an IPv4 address in its mapped form; else what stands there.
    #[inline(always)]
    #[must_use]
    pub const fn last_four(&self) -> V4 {
        let [_, _, _, last] = self.0;
        last.to_ne_bytes()
    }

    /// The mapped form of an IPv4 address (RFC 4291, 2.5.5.2).
    #[inline(always)]
    #[must_use]
    pub const fn mapped(address: V4) -> Self {
        Self([
            0,
            0,
            u32::from_ne_bytes([0, 0, 0xff, 0xff]),
            u32::from_ne_bytes(address),
        ])
    }
}

impl PartialOrd for V6 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for V6 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.octets().cmp(&other.octets())
    }
}

impl fmt::Debug for V6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv6Addr::from(self.octets()).fmt(f)
    }
}

/// An address of one family, in network order.
pub trait Address: Copy + Eq + Ord + fmt::Debug + Default + 'static {
    /// Bits of an address.
    const BITS: u32;
    /// 64-bit words that a source and a destination take in a flow's hash.
    type Words: AsRef<[u64]>;

    /// From the form that values have. IPv4: the last four bytes.
    #[must_use]
    fn of(wide: &V6) -> Self;

    /// The form that values have. IPv4: mapped.
    #[must_use]
    fn wide(self) -> V6;

    /// Both as words of a hash.
    #[must_use]
    fn words(source: Self, destination: Self) -> Self::Words;

    /// `self` moved from its prefix to the one of the same length at `base`.
    #[must_use]
    fn moved(self, base: Self, bits: u32) -> Self;
}

impl Address for V4 {
    const BITS: u32 = 32;
    type Words = [u64; 1];

    #[inline(always)]
    fn of(wide: &V6) -> Self {
        wide.last_four()
    }

    #[inline(always)]
    fn wide(self) -> V6 {
        V6::mapped(self)
    }

    #[inline(always)]
    fn words([a, b, c, d]: Self, [e, f, g, h]: Self) -> [u64; 1] {
        [u64::from_le_bytes([a, b, c, d, e, f, g, h])]
    }

    #[inline(always)]
    fn moved(self, base: Self, bits: u32) -> Self {
        let mask = leading(bits);
        ((u32::from_be_bytes(base) & mask) | (u32::from_be_bytes(self) & !mask)).to_be_bytes()
    }
}

impl Address for V6 {
    const BITS: u32 = 128;
    type Words = [u64; 4];

    #[inline(always)]
    fn of(wide: &V6) -> Self {
        *wide
    }

    #[inline(always)]
    fn wide(self) -> V6 {
        self
    }

    #[inline(always)]
    fn words(Self([a, b, c, d]): Self, Self([e, f, g, h]): Self) -> [u64; 4] {
        [pair(a, b), pair(c, d), pair(e, f), pair(g, h)]
    }

    #[inline(always)]
    fn moved(self, base: Self, bits: u32) -> Self {
        let (Self([a, b, c, d]), Self([w, x, y, z])) = (self, base);
        Self([
            moved_word(a, w, bits),
            moved_word(b, x, bits.saturating_sub(32)),
            moved_word(c, y, bits.saturating_sub(64)),
            moved_word(d, z, bits.saturating_sub(96)),
        ])
    }
}

/// Two words as they lie in memory, on any machine the same.
#[inline(always)]
const fn pair(a: u32, b: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (a.to_ne_bytes(), b.to_ne_bytes());
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[inline(always)]
const fn moved_word(own: u32, base: u32, bits: u32) -> u32 {
    let mask = leading(bits).to_be();
    (base & mask) | (own & !mask)
}

/// A word with so many leading ones; all of them where it has not as many bits.
#[inline(always)]
const fn leading(bits: u32) -> u32 {
    if bits == 0 {
        0
    } else if bits >= 32 {
        u32::MAX
    } else {
        u32::MAX << (32 - bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_what_stands_behind_the_prefix() {
        assert_eq!([10, 1, 2, 3].moved([242, 9, 0, 0], 16), [242, 9, 2, 3]);
        assert_eq!([10, 1, 2, 3].moved([242, 9, 0, 0], 0), [10, 1, 2, 3]);
        assert_eq!([10, 1, 2, 3].moved([242, 9, 8, 7], 32), [242, 9, 8, 7]);
        let (theirs, ours) = ([0xaa; 16], [0x55; 16]);
        for bits in 0..=128_u32 {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            let expected =
                (u128::from_be_bytes(ours) & !host) | (u128::from_be_bytes(theirs) & host);
            let moved = V6::new(theirs).moved(V6::new(ours), bits);
            assert_eq!(moved.octets(), expected.to_be_bytes(), "{bits}");
        }
    }

    #[test]
    fn an_ipv4_address_has_a_mapped_form() {
        let wide = [1, 2, 3, 4].wide();
        assert_eq!(
            wide.octets(),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4]
        );
        assert_eq!(V4::of(&wide), [1, 2, 3, 4]);
    }

    #[test]
    fn order_is_that_of_the_bytes() {
        let (mut low, mut high) = ([0; 16], [0; 16]);
        (low[3], high[2]) = (9, 1);
        assert!(V6::new(low) < V6::new(high));
    }
}
