//! Pure: one packet, or one of its two parts, as a QUIC DATAGRAM (RFC 9221): eight bytes, then the inner IP packet.
//!
//! From the most significant bit: the sender's identity number in its owner's numbering (16); first, reply, unsummed,
//! front part, back part, 11 zero bits; the flow hash (32). A part has the number of its packet (16) behind that. Which
//! cluster sent it is known by the session.

use bytes::BufMut;

/// Bytes before a whole packet.
pub const HEADER: usize = 8;
/// Bytes before a part.
pub const PART_HEADER: usize = HEADER + 2;

const FIRST: u16 = 1 << 15;
const REPLY: u16 = 1 << 14;
const UNSUMMED: u16 = 1 << 13;
const FRONT: u16 = 1 << 12;
const BACK: u16 = 1 << 11;
const ZERO: u16 = BACK - 1;

/// What only the ends know of a packet, and the way needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Label {
    /// Of the sender's workload, in its owner's numbering.
    pub identity: u16,
    /// The client's entry has seen no answer yet.
    pub first: bool,
    /// Made by an answering entry.
    pub reply: bool,
    /// The same for all packets of a flow in one direction.
    pub hash: u32,
}

/// Which part of its packet this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first bytes of the packet of that number.
    Front(u16),
    /// The rest of it.
    Back(u16),
}

/// A datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Of the packet.
    pub label: Label,
    /// The TCP or UDP checksum covers the pseudo-header alone: the packet comes from a pod that leaves sums to its device,
    /// and goes to one that does; the session authenticates every byte between.
    pub unsummed: bool,
    /// Of the packet.
    pub part: Part,
    /// The inner bytes.
    pub bytes: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads one. `None`: it is none.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let ([i0, i1, b0, b1, hash @ ..], rest) = bytes.split_first_chunk::<HEADER>()?;
        let bits = u16::from_be_bytes([*b0, *b1]);
        let is = |bit: u16| bits & bit != 0;
        if is(ZERO) || (is(FIRST) && is(REPLY)) {
            return None;
        }
        let (part, bytes) = match (is(FRONT), is(BACK)) {
            (false, false) => (Part::Whole, rest),
            (true, true) => return None,
            (front, _) => {
                let (number, rest) = rest.split_first_chunk::<2>()?;
                let number = u16::from_be_bytes(*number);
                let part = if front {
                    Part::Front(number)
                } else {
                    Part::Back(number)
                };
                (part, rest)
            }
        };
        Some(Self {
            label: Label {
                identity: u16::from_be_bytes([*i0, *i1]),
                first: is(FIRST),
                reply: is(REPLY),
                hash: u32::from_be_bytes(*hash),
            },
            unsummed: is(UNSUMMED),
            part,
            bytes,
        })
    }

    /// Writes what stands before the inner bytes.
    pub fn head(label: Label, unsummed: bool, part: Part, to: &mut impl BufMut) {
        let bit = |set: bool, bit: u16| if set { bit } else { 0 };
        let number = match part {
            Part::Whole => None,
            Part::Front(number) | Part::Back(number) => Some(number),
        };
        let bits = bit(label.first, FIRST)
            | bit(label.reply, REPLY)
            | bit(unsummed, UNSUMMED)
            | bit(matches!(part, Part::Front(_)), FRONT)
            | bit(matches!(part, Part::Back(_)), BACK);
        to.put_u16(label.identity);
        to.put_u16(bits);
        to.put_u32(label.hash);
        if let Some(number) = number {
            to.put_u16(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(datagram: &Datagram<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        Datagram::head(datagram.label, datagram.unsummed, datagram.part, &mut out);
        out.extend_from_slice(datagram.bytes);
        out
    }

    #[test]
    fn the_form_is_what_the_module_says() {
        let datagram = Datagram {
            label: Label {
                identity: 0x1234,
                first: true,
                reply: false,
                hash: 0xdead_beef,
            },
            unsummed: true,
            part: Part::Back(7),
            bytes: b"x",
        };
        let expected = [0x12, 0x34, 0xa8, 0, 0xde, 0xad, 0xbe, 0xef, 0, 7, b'x'];
        assert_eq!(written(&datagram), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_written_alike(bytes: Vec<u8>) {
            if let Some(datagram) = Datagram::decode(&bytes) {
                prop_assert_eq!(written(&datagram), bytes);
            }
        }

        #[test]
        fn what_is_written_is_read(
            identity: u16, hash: u32, kind in 0..3, unsummed: bool, part in 0..3, number: u16, bytes: Vec<u8>,
        ) {
            let datagram = Datagram {
                label: Label { identity, first: kind == 1, reply: kind == 2, hash },
                unsummed,
                part: match part {
                    0 => Part::Whole,
                    1 => Part::Front(number),
                    _ => Part::Back(number),
                },
                bytes: &bytes,
            };
            let bytes = written(&datagram);
            prop_assert_eq!(Datagram::decode(&bytes), Some(datagram));
        }

        #[test]
        fn a_cut_off_header_is_none(bytes in proptest::collection::vec(any::<u8>(), 0..HEADER)) {
            prop_assert_eq!(Datagram::decode(&bytes), None);
        }
    }
}
