//! Pure: the same frames as IPv6, so that one test is of both families. Each address stands behind a prefix ([`wide`]), ICMP's
//! types become ICMPv6's, IP options a header of destination options, and a quoted packet is translated too.

use std::net::Ipv4Addr;

use super::{Frame, Transport, address, checksum, put, word};

/// Before an IPv4 address.
pub const PREFIX: [u8; 12] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Bytes of the IPv6 header.
const HEADER: usize = 40;
const ETHERTYPE: [u8; 2] = [0x86, 0xdd];
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// What ICMPv6 does not have is shifted by this, out of the way of what it has.
const STRANGE: u8 = 150;

/// An address as IPv6.
#[must_use]
pub const fn wide(address: Ipv4Addr) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = PREFIX;
    let [m, n, o, p] = address.octets();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// The number of a protocol.
#[must_use]
pub const fn protocol(number: u8) -> u8 {
    match number {
        ICMP => ICMP6,
        number => number,
    }
}

const fn four(number: u8) -> u8 {
    match number {
        ICMP6 => ICMP,
        number => number,
    }
}

/// Type and code of ICMP (RFC 792) as of ICMPv6 (RFC 4443).
const fn complaint(kind: u8, code: u8) -> (u8, u8) {
    match (kind, code) {
        (8, code) => (128, code),
        (0, code) => (129, code),
        (3, 4) => (2, 0),
        (3, 3) => (1, 4),
        (3, 1) => (1, 3),
        (3, code) => (1, code),
        (11, code) => (3, code),
        (12, code) => (4, code),
        (kind, code) => (kind.wrapping_add(STRANGE), code),
    }
}

const fn complaint4(kind: u8, code: u8) -> (u8, u8) {
    match (kind, code) {
        (128, code) => (8, code),
        (129, code) => (0, code),
        (2, _) => (3, 4),
        (1, 4) => (3, 3),
        (1, 3) => (3, 1),
        (1, code) => (3, code),
        (3, code) => (11, code),
        (4, code) => (12, code),
        (kind, code) => (kind.wrapping_sub(STRANGE), code),
    }
}

const fn is_error(kind: u8) -> bool {
    matches!(kind, 1..=4)
}

/// A quoted IPv4 header and what follows, as a quoted IPv6 packet.
fn quote(quoted: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = quoted.split_at_checked(20)?;
    let total = word(header, 2)?.saturating_sub(20);
    let mut out = vec![0x60, 0, 0, 0];
    out.extend(total.to_be_bytes());
    out.extend([protocol(*header.get(9)?), *header.get(8)?]);
    out.extend(wide(address(header, 12)?));
    out.extend(wide(address(header, 16)?));
    out.extend(quoted_transport(*header.get(9)?, rest, complaint));
    Some(out)
}

/// A quoted IPv6 header and what follows, as a quoted IPv4 packet.
#[must_use]
pub fn quote4(quoted: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = quoted.split_at_checked(HEADER)?;
    let number = four(*header.get(6)?);
    let mut out = vec![0x45, 0];
    out.extend((word(header, 4)? + 20).to_be_bytes());
    out.extend([0, 7, 0x40, 0, *header.get(7)?, number, 0, 0]);
    out.extend(header.get(20..24)?);
    out.extend(header.get(36..40)?);
    let sum = checksum(&[&out]);
    put(&mut out, 10, sum);
    out.extend(quoted_transport(number, rest, complaint4));
    Some(out)
}

fn quoted_transport(number: u8, bytes: &[u8], kinds: fn(u8, u8) -> (u8, u8)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let (ICMP, [kind, code, ..]) = (number, bytes.as_mut_slice()) {
        (*kind, *code) = kinds(*kind, *code);
    }
    bytes
}

fn pseudo(source: Ipv4Addr, destination: Ipv4Addr, number: u8, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(wide(source));
    bytes.extend(wide(destination));
    bytes.extend((length as u32).to_be_bytes());
    bytes.extend([0, 0, 0, number]);
    bytes
}

/// The offset of the checksum, where there is one.
fn checksum_at(number: u8) -> Option<usize> {
    match number {
        6 => Some(16),
        17 => Some(6),
        ICMP6 => Some(2),
        _ => None,
    }
}

impl Frame {
    /// The bytes on the wire as IPv6, checksums right.
    #[must_use]
    pub fn build6(&self) -> Vec<u8> {
        let (number, mut body) = self.transport.build(self.source, self.destination);
        let number = protocol(number);
        if let (ICMP6, [kind, code, ..]) = (number, body.as_mut_slice()) {
            (*kind, *code) = complaint(*kind, *code);
        }
        if let (ICMP6, Some(kind)) = (number, body.first().copied())
            && is_error(kind)
            && let Some(quoted) = body.get(8..).and_then(quote)
        {
            body.truncate(8);
            body.extend(quoted);
        }
        let without = matches!(
            self.transport,
            Transport::Udp {
                checksum: false,
                ..
            }
        );
        if let Some(at) = checksum_at(number)
            && body.len() >= at + 2
            && !without
        {
            put(&mut body, at, 0);
            let pseudo = pseudo(self.source, self.destination, number, body.len());
            let sum = checksum(&[&pseudo, &body]);
            put(
                &mut body,
                at,
                if sum == 0 && number == 17 {
                    0xffff
                } else {
                    sum
                },
            );
        }
        let (next, extensions) = self.extensions(number);
        let mut frame = Vec::new();
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        frame.extend(ETHERTYPE);
        frame.extend([0x60 | self.tos >> 4, self.tos << 4, 0, 0]);
        frame.extend(((extensions.len() + body.len()) as u16).to_be_bytes());
        frame.extend([next, self.ttl]);
        frame.extend(wide(self.source));
        frame.extend(wide(self.destination));
        frame.extend(extensions);
        frame.extend(body);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// Extension headers, and the first one's number.
    fn extensions(&self, number: u8) -> (u8, Vec<u8>) {
        let mut next = number;
        let mut headers = Vec::new();
        if self.fragment & 0x3fff != 0 {
            let [high, low] = (self.fragment << 3 | self.fragment >> 13 & 1).to_be_bytes();
            headers.extend([next, 0, high, low, 0, 0, 0, 7]);
            next = FRAGMENT;
        }
        if !self.options.is_empty() {
            headers.splice(0..0, [next, 0, 1, 4, 0, 0, 0, 0]);
            next = DESTINATION_OPTIONS;
        }
        (next, headers)
    }

    /// Takes an IPv6 frame apart, addresses without their prefix; `None` if it is cut off or of another form. A header of
    /// destination options is eight bytes of `options`.
    #[must_use]
    pub fn parse6(frame: &[u8]) -> Option<Self> {
        let (ethernet, rest) = frame.split_at_checked(14)?;
        if ethernet.get(12..14)? != ETHERTYPE {
            return None;
        }
        let ip = rest.get(..HEADER)?;
        let total = HEADER + usize::from(word(rest, 4)?);
        let mut body = rest.get(HEADER..total)?;
        let mut number = *ip.get(6)?;
        let mut options = Vec::new();
        if number == DESTINATION_OPTIONS {
            let (header, after) = body.split_at_checked(8)?;
            (number, body, options) = (*header.first()?, after, header.to_vec());
        }
        let mut transport = Transport::parse(four(number), body)?;
        if let Transport::Icmp {
            kind, code, data, ..
        } = &mut transport
        {
            if is_error(*kind) {
                *data = quote4(data).unwrap_or_default();
            }
            (*kind, *code) = complaint4(*kind, *code);
        }
        let [first, second, ..] = ip else { return None };
        Some(Self {
            destination_mac: ethernet.get(..6)?.try_into().ok()?,
            source_mac: ethernet.get(6..12)?.try_into().ok()?,
            source: address(ip, 20)?,
            destination: address(ip, 36)?,
            tos: first << 4 | second >> 4,
            id: 7,
            fragment: 0x4000,
            ttl: *ip.get(7)?,
            options,
            transport,
            padding: rest.len().checked_sub(total)?,
        })
    }

    /// Says which checksum of an IPv6 frame is wrong.
    pub fn verify6(frame: &[u8]) -> Result<(), String> {
        let parsed = Self::parse6(frame).ok_or("not a whole IPv6 frame")?;
        let start = 14 + HEADER + parsed.options.len();
        let body = frame.get(start..frame.len() - parsed.padding);
        let body = body.unwrap_or_default();
        let next = match parsed.options.first() {
            Some(next) => *next,
            None => frame.get(20).copied().unwrap_or_default(),
        };
        let without = matches!(
            parsed.transport,
            Transport::Udp {
                checksum: false,
                ..
            }
        );
        let pseudo = pseudo(parsed.source, parsed.destination, next, body.len());
        if checksum_at(next).is_none() || without || checksum(&[&pseudo, body]) == 0 {
            Ok(())
        } else {
            Err(format!("wrong transport checksum: {parsed:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::flags;

    #[test]
    fn round_trip() {
        let (a, b) = (Ipv4Addr::new(10, 244, 0, 6), Ipv4Addr::new(241, 0, 0, 1));
        let quoted = Frame::new(b, a, Transport::udp(53, 9, b"q"));
        let transports = [
            Transport::tcp(40_000, 80, flags::SYN),
            Transport::udp(1, 2, b"odd"),
            Transport::echo(false, 9),
            Transport::Icmp {
                kind: 3,
                code: 4,
                rest: [0, 0, 5, 0],
                data: quoted.build().get(14..42).unwrap_or_default().to_vec(),
            },
            Transport::Raw {
                protocol: 132,
                data: vec![1, 2, 3],
            },
        ];
        for transport in transports {
            let frame = Frame {
                padding: 3,
                tos: 0xb8,
                ..Frame::new(a, b, transport)
            };
            let bytes = frame.build6();
            assert_eq!(Frame::parse6(&bytes), Some(frame));
            assert_eq!(Frame::verify6(&bytes), Ok(()));
        }
    }

    #[test]
    fn a_wrong_checksum_is_named() {
        let (a, b) = (Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED);
        let mut bytes = Frame::new(a, b, Transport::echo(true, 1)).build6();
        bytes[60] ^= 1;
        assert!(Frame::verify6(&bytes).is_err());
    }
}
