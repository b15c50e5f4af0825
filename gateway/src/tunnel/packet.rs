//! Pure: as much of IPv4 (RFC 791) and TCP (RFC 9293) as cutting and merging need. Sums are the Internet checksum
//! (RFC 1071).

/// Protocol numbers, and where their checksums stand.
pub const TCP: u8 = 6;
const UDP: u8 = 17;
const TCP_SUM: usize = 16;
const UDP_SUM: usize = 6;

/// TCP's flags.
pub mod flags {
    pub const FIN: u8 = 1;
    pub const PSH: u8 = 1 << 3;
    pub const ACK: u8 = 1 << 4;
    pub const CWR: u8 = 1 << 7;
}

const LEAST_IP: usize = 20;
const LEAST_TCP: usize = 20;

/// Big-endian at `at`.
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*two))
}

/// Big-endian at `at`.
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*four))
}

/// Writes at `at`, where there is room.
pub fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<N>) {
        *place = value;
    }
}

/// An IPv4 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip {
    /// Its bytes.
    pub length: usize,
    /// Bytes of the whole packet.
    pub total: usize,
    /// What follows.
    pub protocol: u8,
    /// Whether this is a fragment.
    pub fragment: bool,
}

impl Ip {
    /// Of a packet, whose bytes may go on behind its end. `None`: it is no IPv4 packet.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let [first, ..] = packet.first_chunk::<LEAST_IP>()?;
        let length = usize::from(first & 0x0f) * 4;
        let total = usize::from(be16(packet, 2)?);
        let well = first >> 4 == 4 && length >= LEAST_IP && length <= total;
        if !well || total > packet.len() {
            return None;
        }
        Some(Self {
            length,
            total,
            protocol: *packet.get(9)?,
            fragment: be16(packet, 6)? & 0x3fff != 0,
        })
    }

    /// Where the transport's checksum stands, from the transport header on; `None` where there is none to leave to a device.
    pub fn sum_at(&self) -> Option<usize> {
        let at = match self.protocol {
            TCP => TCP_SUM,
            UDP => UDP_SUM,
            _ => return None,
        };
        (!self.fragment && self.total >= self.length + at + 2).then_some(at)
    }
}

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Bytes of the IP header.
    pub ip: usize,
    /// Bytes of both headers.
    pub headers: usize,
    /// Its first byte's number.
    pub sequence: u32,
    /// See [`flags`].
    pub flags: u8,
}

impl Segment {
    /// `None`: the packet is none, or not whole.
    pub fn read(packet: &[u8], ip: &Ip) -> Option<Self> {
        if ip.protocol != TCP || ip.fragment {
            return None;
        }
        let tcp = packet.get(ip.length..ip.total)?;
        let [.., offset, flags, _, _, _, _, _, _] = tcp.first_chunk::<LEAST_TCP>()?;
        let length = usize::from(offset >> 4) * 4;
        (length >= LEAST_TCP && length <= tcp.len()).then_some(Self {
            ip: ip.length,
            headers: ip.length + length,
            sequence: be32(tcp, 4)?,
            flags: *flags,
        })
    }
}

/// Adds up 16-bit words; not folded.
fn add(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2);
    words
        .map(|word| match word {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        })
        .sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Makes the headers say that the packet is as long as it is: its length, the sum of the IP header, and the transport's sum
/// of the pseudo-header alone, which a device completes.
pub fn settle(packet: &mut [u8]) {
    let total = packet.len();
    put(packet, 2, (total as u16).to_be_bytes());
    let Some(ip) = Ip::read(packet) else { return };
    put(packet, 10, [0, 0]);
    let header = packet.get(..ip.length).map_or(0, add);
    put(packet, 10, (!fold(header)).to_be_bytes());
    if let Some(at) = ip.sum_at() {
        let addresses = packet.get(12..20).map_or(0, add);
        let rest = u32::from(ip.protocol) + (total - ip.length) as u32;
        put(packet, ip.length + at, fold(addresses + rest).to_be_bytes());
    }
}

/// The sum over a whole TCP or UDP packet, pseudo-header included: 0 where its checksum is right.
#[cfg(test)]
pub fn verify(packet: &[u8]) -> u16 {
    let ip = Ip::read(packet).unwrap();
    let transport = packet.get(ip.length..ip.total).unwrap();
    let pseudo = add(packet.get(12..20).unwrap()) + u32::from(ip.protocol);
    !fold(pseudo + transport.len() as u32 + u32::from(fold(add(transport))))
}

/// Completes what [`settle`] leaves to a device.
#[cfg(test)]
pub fn complete(packet: &mut [u8]) {
    let ip = Ip::read(packet).unwrap();
    let at = ip.length + ip.sum_at().unwrap();
    let sum = add(packet.get(ip.length..ip.total).unwrap());
    put(packet, at, (!fold(sum)).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_rfc_1071() {
        // Its example, section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(add(&bytes)), 0xddf2);
        assert_eq!(fold(add(&[0x12])), 0x1200);
    }

    #[test]
    fn what_is_no_ipv4_is_not_read() {
        let mut packet = vec![0_u8; 40];
        assert_eq!(Ip::read(&packet), None);
        put(&mut packet, 0, [0x45]);
        assert_eq!(Ip::read(&packet), None, "shorter than its header");
        put(&mut packet, 2, [0, 41]);
        assert_eq!(Ip::read(&packet), None, "longer than it is");
        put(&mut packet, 2, [0, 40]);
        put(&mut packet, 9, [TCP]);
        let ip = Ip::read(&packet).unwrap();
        assert_eq!((ip.length, ip.total, ip.sum_at()), (20, 40, Some(16)));
        assert_eq!(Segment::read(&packet, &ip), None, "a header of no words");
        put(&mut packet, 32, [0x60]);
        assert_eq!(Segment::read(&packet, &ip), None, "a header beyond the end");
        put(&mut packet, 32, [0x50, flags::ACK]);
        let segment = Segment::read(&packet, &ip).unwrap();
        assert_eq!((segment.headers, segment.flags), (40, flags::ACK));
        put(&mut packet, 6, [0x20, 0]);
        let fragment = Ip::read(&packet).unwrap();
        assert_eq!(Segment::read(&packet, &fragment), None);
        assert_eq!(fragment.sum_at(), None);
    }
}
