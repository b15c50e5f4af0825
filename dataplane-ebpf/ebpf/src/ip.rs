//! Pure: IP headers of both families.

use causeway_abi::{Address, DropReason, V4, V6};

use crate::parse::{checksum_after, fold, sum_20, sum_add, sum_replace};

/// What the steps need to know of an IP header.
pub trait Header: Copy {
    /// Its family's addresses.
    type Address: Address;

    /// Who sends.
    fn source(&self) -> Self::Address;

    /// To whom.
    fn destination(&self) -> Self::Address;

    /// Hops that are left: TTL, hop limit.
    fn hops(&self) -> u8;

    /// Bytes of the packet, this header included.
    fn total_length(&self) -> u32;

    /// Whether version and lengths can be right, `available` being the bytes from the header on. Fewer bytes named
    /// than there are is Ethernet padding.
    fn check(&self, available: u32) -> Result<(), DropReason>;

    /// With other addresses and one less hop; where the header has a checksum, it follows.
    #[must_use]
    fn forwarded(self, source: Self::Address, destination: Self::Address) -> Self;

    /// With other addresses, as in a quote.
    #[must_use]
    fn readdressed(self, source: Self::Address, destination: Self::Address) -> Self;

    /// For the way back, otherwise as it is.
    #[must_use]
    fn answered(&self) -> Self;

    /// The sum of its words.
    #[must_use]
    fn sum(&self) -> u32;

    /// For the way back: a header of ours, without options, before `length` bytes of this protocol.
    #[must_use]
    fn turned(&self, protocol: u8, length: u16) -> Self;
}

/// Hops that a packet of ours begins with.
pub const HOPS: u8 = 64;

/// An IPv4 header without its options. Aligned to words, as it lies in memory of ours.
#[repr(C, align(4))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ipv4 {
    pub version_ihl: u8,
    pub tos: u8,
    pub total_length: [u8; 2],
    pub id: [u8; 2],
    pub fragment: [u8; 2],
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: [u8; 2],
    pub source: [u8; 4],
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// Header length in bytes, options included.
    #[inline(always)]
    #[must_use]
    pub const fn header_length(&self) -> u32 {
        (self.version_ihl as u32 & 0x0f) * 4
    }

    /// More fragments to come, or not the first one.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        u16::from_be_bytes(self.fragment) & 0x3fff != 0
    }
}

impl Ipv4 {
    /// The header as bytes.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(&self) -> [u8; 20] {
        let [l0, l1] = self.total_length;
        let [i0, i1] = self.id;
        let [f0, f1] = self.fragment;
        let [c0, c1] = self.checksum;
        let [s0, s1, s2, s3] = self.source;
        let [d0, d1, d2, d3] = self.destination;
        let (v, t, ttl, p) = (self.version_ihl, self.tos, self.ttl, self.protocol);
        [
            v, t, l0, l1, i0, i1, f0, f1, ttl, p, c0, c1, s0, s1, s2, s3, d0, d1, d2, d3,
        ]
    }

    /// With the checksum that a header without options must have.
    #[inline(always)]
    #[must_use]
    pub const fn with_checksum(self) -> Self {
        let cleared = Self {
            checksum: [0; 2],
            ..self
        };
        Self {
            checksum: fold(sum_20(&cleared.bytes())),
            ..self
        }
    }
}

impl Header for Ipv4 {
    type Address = V4;

    #[inline(always)]
    fn source(&self) -> V4 {
        self.source
    }

    #[inline(always)]
    fn destination(&self) -> V4 {
        self.destination
    }

    #[inline(always)]
    fn hops(&self) -> u8 {
        self.ttl
    }

    #[inline(always)]
    fn total_length(&self) -> u32 {
        u32::from(u16::from_be_bytes(self.total_length))
    }

    #[inline(always)]
    fn check(&self, available: u32) -> Result<(), DropReason> {
        let (total, header) = (self.total_length(), self.header_length());
        if self.version_ihl >> 4 != 4 || header < 20 || total < header || total > available {
            return Err(DropReason::BadIpHeader);
        }
        Ok(())
    }

    // Options are untouched, so stay summed.
    #[inline(always)]
    fn forwarded(self, source: V4, destination: V4) -> Self {
        let ttl = self.ttl.wrapping_sub(1);
        let mut sum = sum_replace(0, self.source, source);
        sum = sum_replace(sum, self.destination, destination);
        sum = sum_replace(
            sum,
            [self.ttl, self.protocol, 0, 0],
            [ttl, self.protocol, 0, 0],
        );
        Self {
            ttl,
            source,
            destination,
            checksum: checksum_after(self.checksum, sum),
            ..self
        }
    }

    #[inline(always)]
    fn readdressed(self, source: V4, destination: V4) -> Self {
        let sum = sum_replace(
            sum_replace(0, self.source, source),
            self.destination,
            destination,
        );
        Self {
            source,
            destination,
            checksum: checksum_after(self.checksum, sum),
            ..self
        }
    }

    #[inline(always)]
    fn answered(&self) -> Self {
        let sum = sum_replace(
            0,
            [self.ttl, self.protocol, 0, 0],
            [HOPS, self.protocol, 0, 0],
        );
        Self {
            ttl: HOPS,
            source: self.destination,
            destination: self.source,
            checksum: checksum_after(self.checksum, sum),
            ..*self
        }
    }

    #[inline(always)]
    fn sum(&self) -> u32 {
        sum_20(&self.bytes())
    }

    #[inline(always)]
    fn turned(&self, protocol: u8, length: u16) -> Self {
        Self {
            version_ihl: 0x45,
            tos: 0,
            total_length: (20 + length).to_be_bytes(),
            id: [0; 2],
            fragment: [0; 2],
            ttl: HOPS,
            protocol,
            checksum: [0; 2],
            source: self.destination,
            destination: self.source,
        }
        .with_checksum()
    }
}

/// An IPv6 header (RFC 8200). Aligned to words, as it lies in memory of ours.
#[repr(C, align(4))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ipv6 {
    /// Version, traffic class, flow label.
    pub first: [u8; 4],
    pub payload_length: [u8; 2],
    /// The protocol, or an extension header's number.
    pub next: u8,
    pub hops: u8,
    pub source: V6,
    pub destination: V6,
}

impl Header for Ipv6 {
    type Address = V6;

    #[inline(always)]
    fn source(&self) -> V6 {
        self.source
    }

    #[inline(always)]
    fn destination(&self) -> V6 {
        self.destination
    }

    #[inline(always)]
    fn hops(&self) -> u8 {
        self.hops
    }

    #[inline(always)]
    fn total_length(&self) -> u32 {
        40 + u32::from(u16::from_be_bytes(self.payload_length))
    }

    #[inline(always)]
    fn check(&self, available: u32) -> Result<(), DropReason> {
        let [first, ..] = self.first;
        if first >> 4 != 6 || self.total_length() > available {
            return Err(DropReason::BadIpHeader);
        }
        Ok(())
    }

    #[inline(always)]
    fn forwarded(self, source: V6, destination: V6) -> Self {
        Self {
            hops: self.hops.wrapping_sub(1),
            source,
            destination,
            ..self
        }
    }

    #[inline(always)]
    fn readdressed(self, source: V6, destination: V6) -> Self {
        Self {
            source,
            destination,
            ..self
        }
    }

    #[inline(always)]
    fn answered(&self) -> Self {
        Self {
            hops: HOPS,
            source: self.destination,
            destination: self.source,
            ..*self
        }
    }

    #[inline(always)]
    fn sum(&self) -> u32 {
        let [l0, l1] = self.payload_length;
        let mut sum = sum_add(
            u32::from_ne_bytes(self.first),
            u32::from_ne_bytes([l0, l1, self.next, self.hops]),
        );
        for address in [self.source, self.destination] {
            for word in address.words() {
                sum = sum_add(sum, word);
            }
        }
        sum
    }

    #[inline(always)]
    fn turned(&self, protocol: u8, length: u16) -> Self {
        Self {
            first: [0x60, 0, 0, 0],
            payload_length: length.to_be_bytes(),
            next: protocol,
            hops: HOPS,
            source: self.destination,
            destination: self.source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use causeway_abi::protocol;

    fn header() -> Ipv4 {
        Ipv4 {
            version_ihl: 0x45,
            total_length: [0, 60],
            ttl: 64,
            protocol: protocol::TCP,
            source: [10, 244, 0, 6],
            destination: [241, 0, 0, 9],
            ..Ipv4::default()
        }
        .with_checksum()
    }

    #[test]
    fn checksum_of_a_known_header() {
        // From RFC 1071-style worked examples: 4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7.
        let known = Ipv4 {
            version_ihl: 0x45,
            total_length: [0, 0x73],
            fragment: [0x40, 0],
            ttl: 0x40,
            protocol: 0x11,
            source: [0xc0, 0xa8, 0, 1],
            destination: [0xc0, 0xa8, 0, 0xc7],
            ..Ipv4::default()
        };
        assert_eq!(known.with_checksum().checksum, [0xb8, 0x61]);
    }

    #[test]
    fn forwarding_keeps_the_checksum_right() {
        let after = header().forwarded([242, 0, 0, 6], [10, 244, 3, 4]);
        assert_eq!(after.ttl, 63);
        assert_eq!(after.checksum, after.with_checksum().checksum);
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!(header().check(60), Ok(()));
        assert_eq!(header().check(64), Ok(()), "padding");
        assert_eq!(header().check(59), Err(DropReason::BadIpHeader));
        assert_eq!(
            Ipv4 {
                version_ihl: 0x44,
                ..header()
            }
            .check(60),
            Err(DropReason::BadIpHeader)
        );
        assert_eq!(
            Ipv4 {
                version_ihl: 0x65,
                ..header()
            }
            .check(60),
            Err(DropReason::BadIpHeader)
        );
        assert_eq!(
            Ipv4 {
                total_length: [0, 19],
                ..header()
            }
            .check(60),
            Err(DropReason::BadIpHeader)
        );
        assert_eq!(
            Ipv4 {
                version_ihl: 0x4f,
                total_length: [0, 40],
                ..header()
            }
            .check(60),
            Err(DropReason::BadIpHeader)
        );
    }

    #[test]
    fn fragments_are_seen() {
        assert!(
            !Ipv4 {
                fragment: [0x40, 0],
                ..header()
            }
            .is_fragment(),
            "do not fragment"
        );
        assert!(
            Ipv4 {
                fragment: [0x20, 0],
                ..header()
            }
            .is_fragment(),
            "more to come"
        );
        assert!(
            Ipv4 {
                fragment: [0, 1],
                ..header()
            }
            .is_fragment(),
            "later one"
        );
    }
}
