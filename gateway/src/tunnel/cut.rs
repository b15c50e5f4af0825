//! Pure: a packet becomes datagrams that fit the path.
//!
//! TCP is cut at its own segments, so that a lost datagram costs one of them, and smaller than asked where the path has
//! become narrower: TCP does not mind. Another packet is split in two if it must be, so that the 1,280 bytes which pass
//! everywhere (RFC 8200, section 5) pass here too; one that two datagrams cannot hold is refused, and its sender is to be
//! told what fits.

use bytes::{BufMut, Bytes, BytesMut};

use super::datagram::{Datagram, HEADER, Label, PART_HEADER, Part};
use super::frame::Outgoing;
use super::packet::{Ip, Segment, be16, flags, put, settle};

/// The smallest segment that is worth its headers.
const LEAST_SEGMENT: usize = 64;

/// The packet does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packet has {length} bytes, and {fits} fit the path")]
pub struct TooLarge {
    /// Bytes of the packet.
    pub length: usize,
    /// Bytes that fit.
    pub fits: usize,
}

/// Cuts it into datagrams of up to `room` bytes. `split` counts the packets that were split: their halves are told by it.
///
/// # Errors
/// When it does not fit; nothing of it is given out then.
pub fn cut(
    packet: &Outgoing<'_>,
    room: usize,
    split: &mut u16,
    out: &mut Vec<Bytes>,
) -> Result<(), TooLarge> {
    let bytes = packet.packet;
    let label = packet.label;
    let (length, fits) = (bytes.len(), room.saturating_sub(HEADER));
    if packet.segment.is_none() && length <= fits {
        out.push(datagram(label, packet.unsummed, Part::Whole, bytes));
        return Ok(());
    }
    let tcp = Ip::read(bytes).and_then(|ip| Segment::read(bytes, &ip));
    if let Some(tcp) = tcp.filter(|_| packet.unsummed) {
        let most = fits.saturating_sub(tcp.headers);
        let asked = packet.segment.map_or(most, usize::from);
        let size = asked.min(most);
        if size >= LEAST_SEGMENT.min(asked).max(1) {
            segments(label, bytes, tcp, size, out);
            return Ok(());
        }
    }
    let half = length.div_ceil(2);
    if packet.segment.is_none() && half + PART_HEADER <= room {
        *split = split.wrapping_add(1);
        let (front, back) = bytes.split_at(half);
        out.push(datagram(label, packet.unsummed, Part::Front(*split), front));
        out.push(datagram(label, packet.unsummed, Part::Back(*split), back));
        return Ok(());
    }
    Err(TooLarge { length, fits })
}

fn datagram(label: Label, unsummed: bool, part: Part, bytes: &[u8]) -> Bytes {
    let mut all = BytesMut::with_capacity(PART_HEADER + bytes.len());
    Datagram::head(label, unsummed, part, &mut all);
    all.put_slice(bytes);
    all.freeze()
}

/// All of them lie in one piece of memory.
fn segments(label: Label, bytes: &[u8], tcp: Segment, size: usize, out: &mut Vec<Bytes>) {
    let Some((headers, payload)) = bytes.split_at_checked(tcp.headers) else {
        return;
    };
    let count = payload.len().div_ceil(size);
    let mut room = BytesMut::with_capacity(count * (HEADER + tcp.headers) + payload.len());
    let id = be16(headers, 4).unwrap_or_default();
    for (n, chunk) in payload.chunks(size).enumerate() {
        Datagram::head(label, true, Part::Whole, &mut room);
        room.put_slice(headers);
        room.put_slice(chunk);
        let mut one = room.split();
        if let Some(packet) = one.get_mut(HEADER..) {
            let mut flags = tcp.flags;
            if n > 0 {
                flags &= !flags::CWR;
            }
            if n + 1 < count {
                flags &= !(flags::FIN | flags::PSH);
            }
            let sequence = tcp.sequence.wrapping_add((n * size) as u32);
            put(packet, 4, id.wrapping_add(n as u16).to_be_bytes());
            put(packet, tcp.ip + 4, sequence.to_be_bytes());
            put(packet, tcp.ip + 13, [flags]);
            settle(packet);
        }
        out.push(one.freeze());
    }
}
