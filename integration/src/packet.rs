//! Pure: Ethernet frames for packet tests: built with right checksums, taken apart, and checked.

pub mod six;

use std::net::Ipv4Addr;

/// TCP flag bits.
pub mod flags {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const PSH: u8 = 8;
    pub const ACK: u8 = 16;
}

/// What an IPv4 packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Options are padded to whole words by the caller.
    Tcp {
        source: u16,
        destination: u16,
        sequence: u32,
        acknowledgement: u32,
        flags: u8,
        options: Vec<u8>,
        data: Vec<u8>,
    },
    /// `checksum` false sends none (zero).
    Udp {
        source: u16,
        destination: u16,
        checksum: bool,
        data: Vec<u8>,
    },
    /// Echo, errors and all else of ICMP: type, code, the four bytes after the checksum, the rest.
    Icmp {
        kind: u8,
        code: u8,
        rest: [u8; 4],
        data: Vec<u8>,
    },
    /// Any protocol, as it is.
    Raw { protocol: u8, data: Vec<u8> },
}

/// A frame with an IPv4 packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub tos: u8,
    pub id: u16,
    /// Flags and offset as in the header.
    pub fragment: u16,
    pub ttl: u8,
    /// IP options, padded to whole words by the caller.
    pub options: Vec<u8>,
    pub transport: Transport,
    /// Ethernet padding after the packet.
    pub padding: usize,
}

impl Frame {
    /// A frame with everything ordinary.
    #[must_use]
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, transport: Transport) -> Self {
        Self {
            destination_mac: [0x0a, 0, 0, 0, 0, 1],
            source_mac: [0x0a, 0, 0, 0, 0, 2],
            source,
            destination,
            tos: 0,
            id: 7,
            fragment: 0x4000,
            ttl: 64,
            options: Vec::new(),
            transport,
            padding: 0,
        }
    }

    /// The bytes on the wire, checksums right.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let (protocol, body) = self.transport.build(self.source, self.destination);
        let header = 20 + self.options.len();
        let mut ip = vec![0x40 | (header / 4) as u8, self.tos];
        ip.extend(((header + body.len()) as u16).to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([self.ttl, protocol, 0, 0]);
        ip.extend(self.source.octets());
        ip.extend(self.destination.octets());
        ip.extend(&self.options);
        let sum = checksum(&[&ip]);
        put(&mut ip, 10, sum);
        let mut frame = Vec::new();
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        frame.extend([8, 0]);
        frame.extend(ip);
        frame.extend(body);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// Takes a frame apart; `None` if it is cut off or no IPv4.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (ethernet, rest) = frame.split_at_checked(14)?;
        if ethernet.get(12..14)? != [8, 0] {
            return None;
        }
        let header = usize::from(rest.first()? & 0x0f) * 4;
        let total = usize::from(word(rest, 2)?);
        let ip = rest.get(..header)?;
        let body = rest.get(header..total)?;
        Some(Self {
            destination_mac: ethernet.get(..6)?.try_into().ok()?,
            source_mac: ethernet.get(6..12)?.try_into().ok()?,
            source: address(ip, 12)?,
            destination: address(ip, 16)?,
            tos: *ip.get(1)?,
            id: word(ip, 4)?,
            fragment: word(ip, 6)?,
            ttl: *ip.get(8)?,
            options: ip.get(20..)?.to_vec(),
            transport: Transport::parse(*ip.get(9)?, body)?,
            padding: rest.len().checked_sub(total)?,
        })
    }

    /// Says which checksum of a frame is wrong.
    pub fn verify(frame: &[u8]) -> Result<(), String> {
        let parsed = Self::parse(frame).ok_or("not a whole IPv4 frame")?;
        let (header, total) = (34 + parsed.options.len(), frame.len() - parsed.padding);
        let ip = frame.get(14..header).unwrap_or_default();
        let body = frame.get(header..total).unwrap_or_default();
        if checksum(&[ip]) != 0 {
            return Err("wrong IP header checksum".to_owned());
        }
        let pseudo = |protocol| pseudo(parsed.source, parsed.destination, protocol, body.len());
        let right = match parsed.transport {
            Transport::Tcp { .. } => checksum(&[&pseudo(6), body]) == 0,
            Transport::Udp { checksum: with, .. } => !with || checksum(&[&pseudo(17), body]) == 0,
            Transport::Icmp { .. } => checksum(&[body]) == 0,
            Transport::Raw { .. } => true,
        };
        if right {
            Ok(())
        } else {
            Err(format!("wrong transport checksum: {parsed:?}"))
        }
    }
}

fn pseudo(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend([0, protocol]);
    bytes.extend((length as u16).to_be_bytes());
    bytes
}

impl Transport {
    fn build(&self, source: Ipv4Addr, destination: Ipv4Addr) -> (u8, Vec<u8>) {
        let pseudo = |protocol, length| pseudo(source, destination, protocol, length);
        match self {
            Self::Tcp {
                source,
                destination,
                sequence,
                acknowledgement,
                flags,
                options,
                data,
            } => {
                let mut body = Vec::new();
                body.extend(source.to_be_bytes());
                body.extend(destination.to_be_bytes());
                body.extend(sequence.to_be_bytes());
                body.extend(acknowledgement.to_be_bytes());
                body.extend([((20 + options.len()) / 4) as u8 * 16, *flags]);
                body.extend([0xff, 0xff, 0, 0, 0, 0]);
                body.extend(options);
                body.extend(data);
                let sum = checksum(&[&pseudo(6, body.len()), &body]);
                put(&mut body, 16, sum);
                (6, body)
            }
            Self::Udp {
                source,
                destination,
                checksum: with,
                data,
            } => {
                let mut body = Vec::new();
                body.extend(source.to_be_bytes());
                body.extend(destination.to_be_bytes());
                body.extend(((8 + data.len()) as u16).to_be_bytes());
                body.extend([0, 0]);
                body.extend(data);
                if *with {
                    let sum = checksum(&[&pseudo(17, body.len()), &body]);
                    put(&mut body, 6, if sum == 0 { 0xffff } else { sum });
                }
                (17, body)
            }
            Self::Icmp {
                kind,
                code,
                rest,
                data,
            } => {
                let mut body = vec![*kind, *code, 0, 0];
                body.extend(rest);
                body.extend(data);
                let sum = checksum(&[&body]);
                put(&mut body, 2, sum);
                (1, body)
            }
            Self::Raw { protocol, data } => (*protocol, data.clone()),
        }
    }

    fn parse(protocol: u8, body: &[u8]) -> Option<Self> {
        let long =
            |at: usize| Some(u32::from(word(body, at)?) << 16 | u32::from(word(body, at + 2)?));
        Some(match protocol {
            6 => {
                let offset = usize::from(body.get(12)? >> 4) * 4;
                Self::Tcp {
                    source: word(body, 0)?,
                    destination: word(body, 2)?,
                    sequence: long(4)?,
                    acknowledgement: long(8)?,
                    flags: *body.get(13)?,
                    options: body.get(20..offset)?.to_vec(),
                    data: body.get(offset..)?.to_vec(),
                }
            }
            17 => Self::Udp {
                source: word(body, 0)?,
                destination: word(body, 2)?,
                checksum: word(body, 6)? != 0,
                data: body.get(8..)?.to_vec(),
            },
            1 => Self::Icmp {
                kind: *body.first()?,
                code: *body.get(1)?,
                rest: body.get(4..8)?.try_into().ok()?,
                data: body.get(8..)?.to_vec(),
            },
            protocol => Self::Raw {
                protocol,
                data: body.to_vec(),
            },
        })
    }

    /// A TCP segment without options or data.
    #[must_use]
    pub fn tcp(source: u16, destination: u16, flags: u8) -> Self {
        Self::Tcp {
            source,
            destination,
            sequence: 1000,
            acknowledgement: 2000,
            flags,
            options: Vec::new(),
            data: Vec::new(),
        }
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(source: u16, destination: u16, data: &[u8]) -> Self {
        Self::Udp {
            source,
            destination,
            checksum: true,
            data: data.to_vec(),
        }
    }

    /// An echo request, or its reply.
    #[must_use]
    pub fn echo(reply: bool, id: u16) -> Self {
        let [a, b] = id.to_be_bytes();
        Self::Icmp {
            kind: if reply { 0 } else { 8 },
            code: 0,
            rest: [a, b, 0, 1],
            data: b"echo".to_vec(),
        }
    }
}

/// RFC 1071 over the concatenation, each part of even length but the last.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([
                pair.first().copied().unwrap_or(0),
                low,
            ]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let (a, b) = (Ipv4Addr::new(10, 244, 0, 6), Ipv4Addr::new(241, 0, 0, 1));
        let transports = [
            Transport::tcp(40_000, 80, flags::SYN),
            Transport::udp(1, 2, b"odd"),
            Transport::echo(false, 9),
            Transport::Raw {
                protocol: 132,
                data: vec![1, 2, 3],
            },
        ];
        for transport in transports {
            let frame = Frame {
                padding: 3,
                options: vec![1, 1, 1, 0],
                ..Frame::new(a, b, transport)
            };
            let bytes = frame.build();
            assert_eq!(Frame::parse(&bytes), Some(frame));
            assert_eq!(Frame::verify(&bytes), Ok(()));
        }
    }

    #[test]
    fn a_wrong_checksum_is_named() {
        let (a, b) = (Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED);
        let mut bytes = Frame::new(a, b, Transport::tcp(1, 2, flags::ACK)).build();
        bytes[50] ^= 1;
        assert!(Frame::verify(&bytes).is_err());
    }
}
