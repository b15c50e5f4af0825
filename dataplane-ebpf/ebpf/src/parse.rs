//! Pure: headers from bytes, and checksum arithmetic. Everything here also runs on the host.

use causeway_abi::{DropReason, protocol};

/// Length of an Ethernet header, where the IP header starts.
pub const ETHERNET: u32 = 14;

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

    /// Bytes after the header, as the header says.
    #[inline(always)]
    #[must_use]
    pub const fn payload_length(&self) -> u32 {
        (u16::from_be_bytes(self.total_length) as u32).saturating_sub(self.header_length())
    }

    /// Whether version and lengths can be right, `available` being the bytes from the header on. Fewer bytes named
    /// than there are is Ethernet padding.
    #[inline(always)]
    pub const fn check(&self, available: u32) -> Result<(), DropReason> {
        let total = u16::from_be_bytes(self.total_length) as u32;
        let header = self.header_length();
        if self.version_ihl >> 4 != 4 || header < 20 || total < header || total > available {
            return Err(DropReason::BadIpHeader);
        }
        Ok(())
    }

    /// More fragments to come, or not the first one.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        u16::from_be_bytes(self.fragment) & 0x3fff != 0
    }
}

/// What a packet is to us.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Udp,
    EchoRequest,
    EchoReply,
    /// Destination unreachable, time exceeded or parameter problem.
    IcmpError,
}

/// What of the transport header matters. ICMP echo: the id stands on the client's side, 0 on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    pub kind: Kind,
    pub tcp_flags: u8,
    pub source_port: [u8; 2],
    pub destination_port: [u8; 2],
}

/// TCP flag bits.
pub mod tcp {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// The fixed part of a TCP header in a packet with `length` bytes of transport.
#[inline(always)]
pub const fn parse_tcp(h: &[u8; 20], length: u32) -> Result<Transport, DropReason> {
    let offset = (h[12] >> 4) as u32 * 4;
    if offset < 20 || offset > length {
        return Err(DropReason::BadTransport);
    }
    Ok(Transport {
        kind: Kind::Tcp,
        tcp_flags: h[13],
        source_port: [h[0], h[1]],
        destination_port: [h[2], h[3]],
    })
}

/// A UDP header in a packet with `length` bytes of transport.
#[inline(always)]
pub const fn parse_udp(h: &[u8; 8], length: u32) -> Result<Transport, DropReason> {
    let said = u16::from_be_bytes([h[4], h[5]]) as u32;
    if said < 8 || said > length {
        return Err(DropReason::BadTransport);
    }
    Ok(Transport {
        kind: Kind::Udp,
        tcp_flags: 0,
        source_port: [h[0], h[1]],
        destination_port: [h[2], h[3]],
    })
}

/// An ICMP header.
#[inline(always)]
pub const fn parse_icmp(h: &[u8; 8]) -> Result<Transport, DropReason> {
    let id = [h[4], h[5]];
    let none = [0; 2];
    let (kind, source_port, destination_port) = match h[0] {
        8 if h[1] == 0 => (Kind::EchoRequest, id, none),
        0 if h[1] == 0 => (Kind::EchoReply, none, id),
        3 | 11 | 12 => (Kind::IcmpError, none, none),
        _ => return Err(DropReason::UnsupportedProtocol),
    };
    Ok(Transport {
        kind,
        tcp_flags: 0,
        source_port,
        destination_port,
    })
}

/// The least bytes of transport header that this protocol needs here, if it is one of ours.
#[inline(always)]
pub const fn least_transport(number: u8) -> Result<u32, DropReason> {
    match number {
        protocol::TCP => Ok(20),
        protocol::UDP | protocol::ICMP => Ok(8),
        _ => Err(DropReason::UnsupportedProtocol),
    }
}

/// One's complement sum of 32-bit words as the kernel's `csum_add`.
#[inline(always)]
#[must_use]
pub const fn sum_add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(carry as u32)
}

/// `sum` with `old` taken out and `new` put in; the words as they lie in memory.
#[inline(always)]
#[must_use]
pub const fn sum_replace(sum: u32, old: [u8; 4], new: [u8; 4]) -> u32 {
    sum_add(
        sum_add(sum, !u32::from_ne_bytes(old)),
        u32::from_ne_bytes(new),
    )
}

/// A 32-bit sum as checksum field (complemented), as it lies in memory.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> [u8; 2] {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_ne_bytes()
}

/// RFC 1624: a checksum after a difference of sums.
#[inline(always)]
#[must_use]
pub const fn checksum_after(checksum: [u8; 2], difference: u32) -> [u8; 2] {
    fold(sum_add(
        !u16::from_ne_bytes(checksum) as u32 & 0xffff,
        difference,
    ))
}

/// The sum over 20 bytes.
#[inline(always)]
#[must_use]
pub const fn sum_20(b: &[u8; 20]) -> u32 {
    let mut sum = sum_add(
        u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
        u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
    );
    sum = sum_add(sum, u32::from_ne_bytes([b[8], b[9], b[10], b[11]]));
    sum = sum_add(sum, u32::from_ne_bytes([b[12], b[13], b[14], b[15]]));
    sum_add(sum, u32::from_ne_bytes([b[16], b[17], b[18], b[19]]))
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

    /// With other addresses and one less hop, the checksum following (options are untouched, so stay summed).
    #[inline(always)]
    #[must_use]
    pub const fn forwarded(self, source: [u8; 4], destination: [u8; 4]) -> Self {
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
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn transports() {
        let mut tcp = [0; 20];
        tcp[12] = 0x50;
        assert!(parse_tcp(&tcp, 20).is_ok());
        tcp[12] = 0x60;
        assert_eq!(parse_tcp(&tcp, 20), Err(DropReason::BadTransport));
        tcp[12] = 0x40;
        assert_eq!(parse_tcp(&tcp, 20), Err(DropReason::BadTransport));
        assert!(parse_udp(&[0, 1, 0, 2, 0, 8, 0, 0], 8).is_ok());
        assert_eq!(
            parse_udp(&[0, 1, 0, 2, 0, 9, 0, 0], 8),
            Err(DropReason::BadTransport)
        );
        assert_eq!(
            parse_udp(&[0, 1, 0, 2, 0, 7, 0, 0], 8),
            Err(DropReason::BadTransport)
        );
        assert_eq!(
            parse_icmp(&[8, 0, 0, 0, 7, 7, 0, 0]).map(|t| t.source_port),
            Ok([7, 7])
        );
        assert_eq!(
            parse_icmp(&[0, 0, 0, 0, 7, 7, 0, 0]).map(|t| t.destination_port),
            Ok([7, 7])
        );
        assert_eq!(
            parse_icmp(&[5, 0, 0, 0, 0, 0, 0, 0]),
            Err(DropReason::UnsupportedProtocol)
        );
    }
}
