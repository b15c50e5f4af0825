//! Pure: a frame of the device between the programs and this gateway: what the device shall still do (virtio 1.2, 5.1.6),
//! MAC bytes that say what the tunnel's header would, and the packet.

use bytes::BufMut;
use causeway_abi::{Mac, Vni};

use super::datagram::Label;
use super::packet::Ip;

/// Bytes before the MAC bytes. The device has the form without a count of buffers, in this machine's byte order.
const VIRTIO: usize = 10;
const ETHERNET: usize = 14;
/// Bytes before the packet.
pub const HEAD: usize = VIRTIO + ETHERNET;

const IPV4: u16 = 0x0800;
const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
/// The segments of a super-packet may carry congestion marks.
const GSO_ECN: u8 = 0x80;

/// Why a frame is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// It ends before its packet does.
    #[error("the frame is cut off")]
    Short,
    /// Neither plain nor a TCP super-packet.
    #[error("the frame asks for what this gateway does not do: flags {0}, segmentation {1}")]
    Offload(u8, u8),
    /// The MAC bytes say nothing that programs say.
    #[error("the frame's MAC bytes are no header towards a peer")]
    Header,
    /// Not of the programs: of the host itself, say.
    #[error("the frame is of another protocol than IPv4")]
    Foreign,
    /// No IPv4 packet.
    #[error("the frame holds no IPv4 packet")]
    Packet,
}

/// A packet for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Its number here.
    pub peer: u16,
    /// Of the packet.
    pub label: Label,
    /// Its transport checksum covers the pseudo-header alone.
    pub unsummed: bool,
    /// A super-packet, to be cut into segments of so many bytes of payload.
    pub segment: Option<u16>,
    /// From the IP header on.
    pub packet: &'a [u8],
}

impl<'a> Outgoing<'a> {
    /// Reads a frame of the device.
    ///
    /// # Errors
    /// When the programs would not have sent it.
    pub fn read(frame: &'a [u8]) -> Result<Self, Bad> {
        let (virtio, rest) = frame.split_first_chunk::<VIRTIO>().ok_or(Bad::Short)?;
        let (ethernet, packet) = rest.split_first_chunk::<ETHERNET>().ok_or(Bad::Short)?;
        let [flags, gso, _, _, size @ .., _, _, _, _] = virtio;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, kind @ ..] = ethernet;
        if u16::from_be_bytes(*kind) != IPV4 {
            return Err(Bad::Foreign);
        }
        let (vni, identity) = Mac::header([*s0, *s1, *s2, *s3, *s4, *s5]).ok_or(Bad::Header)?;
        let odd = vni.from || vni.probe || vni.passed_on || (vni.first && vni.reply);
        if odd || vni.number == 0 {
            return Err(Bad::Header);
        }
        let unsummed = flags & NEEDS_CSUM != 0;
        let segment = match gso & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 if unsummed => Some(u16::from_ne_bytes(*size)),
            _ => return Err(Bad::Offload(*flags, *gso)),
        };
        let ip = Ip::read(packet).ok_or(Bad::Packet)?;
        Ok(Self {
            peer: vni.number,
            label: Label {
                identity,
                first: vni.first,
                reply: vni.reply,
                hash: Mac::hash([*d0, *d1, *d2, *d3, *d4, *d5]),
            },
            unsummed,
            segment,
            packet: packet.get(..ip.total).ok_or(Bad::Packet)?,
        })
    }
}

/// What the device shall do with a packet of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// Complete the checksum: where the sum begins, and where it goes from there; from the IP header on.
    pub sum: Option<(u16, u16)>,
    /// A super-packet: bytes of both headers, and of a segment's payload.
    pub segments: Option<(u16, u16)>,
}

/// Writes what stands before a packet of that peer.
pub fn head(peer: u16, label: Label, offload: Offload, to: &mut impl BufMut) {
    let ethernet = ETHERNET as u16;
    let (start, offset) = offload.sum.unwrap_or_default();
    let (headers, size) = offload.segments.unwrap_or_default();
    let flags = if offload.sum.is_some() { NEEDS_CSUM } else { 0 };
    let gso = if offload.segments.is_some() {
        GSO_TCPV4
    } else {
        GSO_NONE
    };
    let behind = |at: u16, is: bool| if is { at.saturating_add(ethernet) } else { 0 };
    to.put_slice(&[flags, gso]);
    to.put_slice(&behind(headers, offload.segments.is_some()).to_ne_bytes());
    to.put_slice(&size.to_ne_bytes());
    to.put_slice(&behind(start, offload.sum.is_some()).to_ne_bytes());
    to.put_slice(&offset.to_ne_bytes());
    let vni = Vni {
        number: peer,
        from: true,
        first: label.first,
        reply: label.reply,
        ..Vni::default()
    };
    to.put_slice(&Mac::of_hash(label.hash));
    to.put_slice(&Mac::of_header(vni, label.identity));
    to.put_u16(IPV4);
}
