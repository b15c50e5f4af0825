//! Shell: reading a packet, and its tunnel metadata, out of the kernel's buffer.

use aya_ebpf::{
    bindings::bpf_tunnel_key,
    helpers::{
        bpf_ktime_get_coarse_ns, bpf_skb_change_tail, bpf_skb_get_tunnel_key,
        bpf_skb_get_tunnel_opt, bpf_skb_load_bytes, bpf_skb_set_tunnel_key, bpf_skb_set_tunnel_opt,
    },
    programs::TcContext,
};
use causeway_abi::{DropReason, FlowKey, FlowKind, FlowTuple, protocol};

use crate::family::Family;
use crate::ip::Header;
use crate::maps;
use crate::parse::{ETHERNET, Transport, parse_tcp, parse_udp};

/// `BPF_F_ZERO_CSUM_TX`: the inner packet's checksums suffice, and the outer one over IPv4 may be absent.
const ZERO_CSUM_TX: u64 = 1 << 1;
const UDP_HEADER: u32 = 8;

/// A clusterset packet, as read once.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Packet<A: Family> {
    pub ip: A::Header,
    pub transport: Transport,
    /// Of the transport.
    pub protocol: u8,
    /// Offset of the transport header in the frame.
    pub l4: u32,
    /// Bytes of the frame.
    pub length: u32,
}

impl<A: Family> Packet<A> {
    /// The key under which the local end's entry stands, the packet coming from the local pod. In the scratch room.
    #[inline(always)]
    pub fn outgoing_key(&self, kind: FlowKind) -> Result<&'static mut FlowKey<A>, DropReason> {
        let key = &mut maps::room::<A>()?.key;
        *key = FlowKey {
            local: self.ip.source(),
            remote: self.ip.destination(),
            local_port: self.transport.source_port,
            remote_port: self.transport.destination_port,
            protocol: self.protocol,
            kind: kind as u8,
            reserved: [0; 2],
        };
        Ok(key)
    }

    /// What the flow hash is of.
    #[inline(always)]
    #[must_use]
    pub fn tuple(&self, destination: A, affinity: bool) -> FlowTuple<A> {
        if affinity {
            return FlowTuple {
                source: self.ip.source(),
                destination,
                ..FlowTuple::default()
            };
        }
        FlowTuple {
            source: self.ip.source(),
            destination,
            source_port: self.transport.source_port,
            destination_port: self.transport.destination_port,
            protocol: self.protocol,
        }
    }

    /// Has this TCP flag; never for other protocols.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.transport.tcp_flags & flag != 0
    }
}

/// The interface whose hook this is.
#[inline(always)]
#[must_use]
pub fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel gives a valid context.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// EtherType as `__sk_buff::protocol` has it: of an untagged packet, or one whose tag the device keeps apart.
#[inline(always)]
#[must_use]
pub fn ethertype(ctx: &TcContext) -> u32 {
    // SAFETY: as above.
    unsafe { (*ctx.skb.skb).protocol }
}

/// Bytes of the IP packet; of a super-packet of UDP, of one of those that it will be.
#[inline(always)]
#[must_use]
pub fn segment<A: Family>(ctx: &TcContext, packet: &Packet<A>) -> u32 {
    // SAFETY: as above.
    let size = unsafe { (*ctx.skb.skb).gso_size };
    if size == 0 {
        packet.ip.total_length()
    } else {
        packet.l4 - ETHERNET + UDP_HEADER + size
    }
}

/// As much of a packet as tells whether it is any of ours.
#[derive(Clone, Copy)]
pub struct Glance<A> {
    pub protocol: u8,
    pub source: A,
    pub destination: A,
    /// Of TCP and UDP; zero in a later fragment, which has none.
    pub destination_port: [u8; 2],
}

/// Looks at a packet; none if it is of another family. Nearly all packets are somebody else's, and this is what they are
/// charged: headers are read in place where they lie in one piece, as they nearly always do.
#[inline(always)]
#[must_use]
pub fn glance<A: Family>(ctx: &TcContext) -> Option<Glance<A>> {
    if ethertype(ctx) != A::ETHERTYPE {
        return None;
    }
    A::glance_in_place(ctx).or_else(|| A::glance_apart(ctx))
}

/// The IP header, unchecked. In the scratch room, where a packet's header stands.
#[inline(always)]
pub fn header<A: Family>(ctx: &TcContext) -> Result<&'static A::Header, DropReason> {
    let ip = &mut maps::room::<A>()?.packet.ip;
    load(ctx, ETHERNET, ip).ok_or(DropReason::BadIpHeader)?;
    Ok(ip)
}

/// Reads bytes of the frame into memory of the scratch room; a type of plain bytes.
#[inline(always)]
pub fn load<T>(ctx: &TcContext, at: u32, into: &mut T) -> Option<()> {
    // SAFETY: the room of `into`, of which any bytes are valid.
    let done = unsafe {
        bpf_skb_load_bytes(
            ctx.skb.skb.cast(),
            at,
            core::ptr::from_mut(into).cast(),
            size_of::<T>() as u32,
        )
    };
    (done == 0).then_some(())
}

/// Nanoseconds of CLOCK_MONOTONIC, to the tick.
#[inline(always)]
#[must_use]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Checks a whole packet of clusterset traffic, whose header was read, and reads its transport header.
#[inline(always)]
pub fn packet<A: Family>(
    ctx: &TcContext,
    ip: &'static A::Header,
) -> Result<&'static Packet<A>, DropReason> {
    let length = ctx.len();
    ip.check(length.saturating_sub(ETHERNET))?;
    let Place { protocol, l4 } = A::transport(ctx, ip)?;
    if ip.hops() <= 1 {
        return Err(DropReason::TtlExpired);
    }
    let left = (ETHERNET + ip.total_length()).saturating_sub(l4);
    let transport = transport::<A>(ctx, protocol, l4, left)?;
    let packet = &mut maps::room::<A>()?.packet;
    packet.transport = transport;
    packet.protocol = protocol;
    packet.l4 = l4;
    packet.length = length;
    Ok(packet)
}

/// Where the transport header of a packet stands, and whose it is.
#[derive(Clone, Copy)]
pub struct Place {
    pub protocol: u8,
    /// Offset in the frame.
    pub l4: u32,
}

#[inline(always)]
fn transport<A: Family>(
    ctx: &TcContext,
    number: u8,
    l4: u32,
    length: u32,
) -> Result<Transport, DropReason> {
    let least = match number {
        protocol::TCP => 20,
        protocol::UDP => 8,
        _ if number == A::ICMP => 8,
        _ => return Err(DropReason::UnsupportedProtocol),
    };
    if length < least {
        return Err(DropReason::BadTransport);
    }
    let at = l4 as usize;
    if number == protocol::TCP {
        return parse_tcp(&ctx.load(at).map_err(|_| DropReason::BadTransport)?, length);
    }
    let bytes: [u8; 8] = ctx.load(at).map_err(|_| DropReason::BadTransport)?;
    if number == protocol::UDP {
        parse_udp(&bytes, length)
    } else {
        A::parse_icmp(&bytes)
    }
}

/// What the tunnel device took off a packet.
#[derive(Clone, Copy)]
pub struct TunnelHeader {
    /// The 24-bit id.
    pub vni: u32,
    /// Outer source.
    pub source: [u8; 4],
    /// Identity number.
    pub identity: u16,
}

/// Reads the tunnel metadata of a packet on the tunnel device.
#[inline(always)]
#[must_use]
pub fn tunnel_header(ctx: &TcContext) -> Option<TunnelHeader> {
    // SAFETY: plain integers, all zero is valid.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
    let mut gbp = 0_u32;
    // SAFETY: both buffers live here and have the sizes given.
    unsafe {
        if bpf_skb_get_tunnel_key(
            ctx.skb.skb,
            &raw mut key,
            size_of::<bpf_tunnel_key>() as u32,
            0,
        ) != 0
        {
            return None;
        }
        // A packet without the GBP bit has no options: identity unknown.
        if bpf_skb_get_tunnel_opt(ctx.skb.skb, (&raw mut gbp).cast(), 4) < 0 {
            gbp = 0;
        }
        Some(TunnelHeader {
            vni: key.tunnel_id,
            source: key.__bindgen_anon_1.remote_ipv4.to_be_bytes(),
            identity: (gbp & 0xffff) as u16,
        })
    }
}

/// Sets the tunnel metadata with which the tunnel device will send this packet.
#[inline(never)]
pub fn set_tunnel(ctx: &TcContext, remote: u32, vni: u32, identity: u32) -> bool {
    // SAFETY: plain integers, all zero is valid.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
    let mut gbp = identity & 0xffff;
    key.tunnel_id = vni;
    key.tunnel_ttl = 64;
    key.__bindgen_anon_1.remote_ipv4 = remote;
    // SAFETY: both buffers live here and have the sizes given.
    unsafe {
        bpf_skb_set_tunnel_key(
            ctx.skb.skb,
            &raw mut key,
            size_of::<bpf_tunnel_key>() as u32,
            ZERO_CSUM_TX,
        ) == 0
            && bpf_skb_set_tunnel_opt(ctx.skb.skb, (&raw mut gbp).cast(), 4) == 0
    }
}

/// Cuts or extends the frame.
#[inline(always)]
pub fn resize(ctx: &TcContext, length: u32) -> Result<(), DropReason> {
    // SAFETY: a valid context; flags must be zero.
    if unsafe { bpf_skb_change_tail(ctx.skb.skb, length, 0) } == 0 {
        Ok(())
    } else {
        Err(DropReason::KernelRefused)
    }
}

/// The MAC bytes: destination, source.
#[inline(always)]
pub fn macs(ctx: &TcContext) -> Result<([u8; 6], [u8; 6]), DropReason> {
    let [a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12] =
        ctx.load(0).map_err(|_| DropReason::KernelRefused)?;
    Ok(([a, b, c, d, e, f], [g, h, i, j, k, l]))
}
