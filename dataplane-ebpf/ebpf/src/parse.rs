//! Pure: headers from bytes, and checksum arithmetic. Everything here also runs on the host.

use causeway_abi::DropReason;

/// Length of an Ethernet header, where the IP header starts.
pub const ETHERNET: u32 = 14;

/// What a packet is to us.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Udp,
    EchoRequest,
    EchoReply,
    /// Destination unreachable, packet too big, time exceeded or parameter problem.
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

/// An ICMP header (RFC 792).
#[inline(always)]
pub const fn parse_icmp(h: &[u8; 8]) -> Result<Transport, DropReason> {
    match h[0] {
        8 if h[1] == 0 => Ok(echo(h, Kind::EchoRequest)),
        0 if h[1] == 0 => Ok(echo(h, Kind::EchoReply)),
        3 | 11 | 12 => Ok(error()),
        _ => Err(DropReason::UnsupportedProtocol),
    }
}

/// An ICMPv6 header (RFC 4443).
#[inline(always)]
pub const fn parse_icmp6(h: &[u8; 8]) -> Result<Transport, DropReason> {
    match h[0] {
        128 if h[1] == 0 => Ok(echo(h, Kind::EchoRequest)),
        129 if h[1] == 0 => Ok(echo(h, Kind::EchoReply)),
        1..=4 => Ok(error()),
        _ => Err(DropReason::UnsupportedProtocol),
    }
}

#[inline(always)]
const fn echo(h: &[u8; 8], kind: Kind) -> Transport {
    let id = [h[4], h[5]];
    let (source_port, destination_port) = match kind {
        Kind::EchoRequest => (id, [0; 2]),
        _ => ([0; 2], id),
    };
    Transport {
        kind,
        tcp_flags: 0,
        source_port,
        destination_port,
    }
}

#[inline(always)]
const fn error() -> Transport {
    Transport {
        kind: Kind::IcmpError,
        tcp_flags: 0,
        source_port: [0; 2],
        destination_port: [0; 2],
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

#[cfg(test)]
mod tests {
    use super::*;

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
