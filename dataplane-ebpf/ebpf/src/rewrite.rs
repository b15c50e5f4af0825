//! Shell: changing a packet in place. Checksums follow by differences through the kernel's helpers, so packets whose
//! checksum a device is still to fill in (CHECKSUM_PARTIAL) and super-packets stay right.

use aya_ebpf::{bindings::BPF_F_PSEUDO_HDR, programs::TcContext};
use causeway_abi::DropReason;

use crate::{
    family::Family,
    ip::Header,
    parse::{ETHERNET, Kind, tcp},
    skb::Packet,
};

/// UDP's "no checksum" stays so.
const MARK_MANGLED_0: u64 = 1 << 5;
/// Offset of the checksum in a TCP header.
pub const TCP_CHECKSUM: u32 = 16;
/// Offset of the checksum in a UDP header.
pub const UDP_CHECKSUM: u32 = 6;

/// Offset of the checksum in an ICMP header.
pub const ICMP_CHECKSUM: u32 = 2;

/// What a packet becomes. Ports count for TCP and UDP only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Change<A> {
    pub source: A,
    pub destination: A,
    pub source_port: [u8; 2],
    pub destination_port: [u8; 2],
}

impl<A: Family> Change<A> {
    /// None yet. In the scratch room.
    #[inline(always)]
    pub fn of(packet: &Packet<A>) -> Result<&'static mut Self, DropReason> {
        let change = &mut crate::maps::room::<A>()?.change;
        *change = Self {
            source: packet.ip.source(),
            destination: packet.ip.destination(),
            source_port: packet.transport.source_port,
            destination_port: packet.transport.destination_port,
        };
        Ok(change)
    }
}

/// Writes addresses, ports and a TTL one lower, and lets all checksums follow.
#[inline(never)]
pub fn apply<A: Family>(
    ctx: &TcContext,
    packet: &Packet<A>,
    change: &Change<A>,
) -> Result<(), DropReason> {
    let (at, mangled) = match packet.transport.kind {
        Kind::Tcp => (packet.l4 + TCP_CHECKSUM, 0),
        Kind::Udp => (packet.l4 + UDP_CHECKSUM, MARK_MANGLED_0),
        _ if A::ICMP_KNOWS_ADDRESSES => (packet.l4 + ICMP_CHECKSUM, 0),
        Kind::EchoRequest | Kind::EchoReply | Kind::IcmpError => (0, 0),
    };
    if at != 0 {
        let mut sum = A::replaced(0, packet.ip.source(), change.source);
        sum = A::replaced(sum, packet.ip.destination(), change.destination);
        ctx.l4_csum_replace(
            at as usize,
            0,
            u64::from(sum),
            u64::from(BPF_F_PSEUDO_HDR) | mangled,
        )
        .map_err(|_| DropReason::KernelRefused)?;
        let old = word(
            packet.transport.source_port,
            packet.transport.destination_port,
        );
        let new = word(change.source_port, change.destination_port);
        if old != new && has_ports(packet.transport.kind) {
            ctx.l4_csum_replace(at as usize, u64::from(old), u64::from(new), 4 | mangled)
                .map_err(|_| DropReason::KernelRefused)?;
            store(ctx, packet.l4, &new)?;
        }
    }
    store(
        ctx,
        ETHERNET,
        &packet.ip.forwarded(change.source, change.destination),
    )
}

#[inline(always)]
const fn has_ports(kind: Kind) -> bool {
    matches!(kind, Kind::Tcp | Kind::Udp)
}

#[inline(always)]
const fn word([a, b]: [u8; 2], [c, d]: [u8; 2]) -> u32 {
    u32::from_ne_bytes([a, b, c, d])
}

/// Writes bytes of the frame.
#[inline(always)]
pub fn store<T>(ctx: &TcContext, at: u32, value: &T) -> Result<(), DropReason> {
    ctx.store(at as usize, value, 0)
        .map_err(|_| DropReason::KernelRefused)
}

/// Writes both MAC addresses.
#[inline(always)]
pub fn store_macs(
    ctx: &TcContext,
    destination: [u8; 6],
    source: [u8; 6],
) -> Result<(), DropReason> {
    let [a, b, c, d, e, f] = destination;
    let [g, h, i, j, k, l] = source;
    store(ctx, 0, &[a, b, c, d, e, f, g, h, i, j, k, l])
}

/// Lowers the MSS option of a SYN or SYN-ACK to `most`, wherever among the options it stands. Never raises it.
#[inline(never)]
pub fn clamp_mss<A: Family>(
    ctx: &TcContext,
    packet: &Packet<A>,
    most: u32,
) -> Result<(), DropReason> {
    if most == 0 || !packet.has(tcp::SYN) {
        return Ok(());
    }
    let words: u8 = ctx
        .load(packet.l4 as usize + 12)
        .map_err(|_| DropReason::BadTransport)?;
    let end = packet.l4 + u32::from(words >> 4) * 4;
    let cursor = &raw mut crate::maps::scratch()?.cursor;
    // SAFETY: valid memory. Volatile, so that the place is read back from memory each time: then the verifier knows
    // nothing of it, and all ways through the loop look the same to it.
    unsafe { cursor.write_volatile(packet.l4 + 20) };
    // An option is a byte at least, so 40 steps see all of them.
    for _ in 0..causeway_abi::limits::TCP_OPTIONS {
        // SAFETY: as above.
        let at = unsafe { cursor.read_volatile() };
        if at + 4 > end {
            return Ok(());
        }
        let [kind, length, high, low]: [u8; 4] = ctx
            .load(at as usize)
            .map_err(|_| DropReason::BadTransport)?;
        let step = match kind {
            0 => return Ok(()),
            1 => 1,
            2 if length == 4 => return lower_mss(ctx, packet, at, [high, low], most),
            _ if length < 2 => return Ok(()),
            _ => u32::from(length),
        };
        // SAFETY: as above.
        unsafe { cursor.write_volatile(at + step) };
    }
    Ok(())
}

#[inline(always)]
fn lower_mss<A: Family>(
    ctx: &TcContext,
    packet: &Packet<A>,
    at: u32,
    old: [u8; 2],
    most: u32,
) -> Result<(), DropReason> {
    if u32::from(u16::from_be_bytes(old)) <= most {
        return Ok(());
    }
    let new = (most as u16).to_be_bytes();
    let (mut from, mut to) = (u16::from_ne_bytes(old), u16::from_ne_bytes(new));
    // A checksum is over words counted from the header's start: a value at an odd offset stands in them swapped.
    if (at - packet.l4) & 1 == 1 {
        (from, to) = (from.swap_bytes(), to.swap_bytes());
    }
    ctx.l4_csum_replace(
        (packet.l4 + TCP_CHECKSUM) as usize,
        u64::from(from),
        u64::from(to),
        2,
    )
    .map_err(|_| DropReason::KernelRefused)?;
    store(ctx, at + 2, &new)
}
