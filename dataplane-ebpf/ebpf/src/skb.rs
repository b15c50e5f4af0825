//! Shell: reading a packet, and its tunnel metadata, out of the kernel's buffer.

use aya_ebpf::{
    bindings::bpf_tunnel_key,
    helpers::{
        bpf_ktime_get_coarse_ns, bpf_skb_change_tail, bpf_skb_get_tunnel_key,
        bpf_skb_get_tunnel_opt, bpf_skb_set_tunnel_key, bpf_skb_set_tunnel_opt,
    },
    programs::TcContext,
};
use causeway_abi::{DropReason, FlowKey4, FlowKind, FlowTuple, protocol};

use crate::maps::hidden;
use crate::parse::{ETHERNET, Ipv4, Transport, least_transport, parse_icmp, parse_tcp, parse_udp};

/// EtherType of IPv4 as `__sk_buff::protocol` has it.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
/// `BPF_F_ZERO_CSUM_TX`: the inner packet's checksums suffice, and the outer one over IPv4 may be absent.
const ZERO_CSUM_TX: u64 = 1 << 1;
const UDP_HEADER: u32 = 8;

/// A clusterset packet, as read once.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Packet {
    pub ip: Ipv4,
    pub transport: Transport,
    /// Offset of the transport header in the frame.
    pub l4: u32,
    /// Bytes of the frame.
    pub length: u32,
}

impl Packet {
    /// The key under which the local end's entry stands, the packet coming from the local pod.
    #[inline(always)]
    #[must_use]
    pub fn outgoing_key(&self, kind: FlowKind) -> FlowKey4 {
        FlowKey4 {
            local: self.ip.source,
            remote: self.ip.destination,
            local_port: self.transport.source_port,
            remote_port: self.transport.destination_port,
            protocol: self.ip.protocol,
            kind: kind as u8,
            reserved: [0; 2],
        }
    }

    /// What the flow hash is of.
    #[inline(always)]
    #[must_use]
    pub fn tuple(&self, destination: [u8; 4], affinity: bool) -> FlowTuple {
        if affinity {
            return FlowTuple {
                source: self.ip.source,
                destination,
                ..FlowTuple::default()
            };
        }
        FlowTuple {
            source: self.ip.source,
            destination,
            source_port: self.transport.source_port,
            destination_port: self.transport.destination_port,
            protocol: self.ip.protocol,
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

/// Untagged (or offloaded tag) IPv4.
#[inline(always)]
#[must_use]
pub fn is_ipv4(ctx: &TcContext) -> bool {
    // SAFETY: as above.
    unsafe { (*ctx.skb.skb).protocol == IPV4 }
}

/// Bytes of the IP packet; of a super-packet of UDP, of one of those that it will be.
#[inline(always)]
#[must_use]
pub fn segment(ctx: &TcContext, packet: &Packet) -> u32 {
    // SAFETY: as above.
    let size = unsafe { (*ctx.skb.skb).gso_size };
    if size == 0 {
        u32::from(u16::from_be_bytes(packet.ip.total_length))
    } else {
        packet.l4 - ETHERNET + UDP_HEADER + size
    }
}

/// As much of an IPv4 packet as tells whether it is any of ours.
#[derive(Clone, Copy)]
pub struct Glance {
    pub protocol: u8,
    pub source: [u8; 4],
    pub destination: [u8; 4],
    /// Of TCP and UDP; zero in a later fragment, which has none.
    pub destination_port: [u8; 2],
}

/// Looks at a packet; none if it is no IPv4. Nearly all packets are somebody else's, and this is what they are charged:
/// headers are read in place where they lie in one piece, as they nearly always do.
#[inline(always)]
#[must_use]
pub fn glance(ctx: &TcContext) -> Option<Glance> {
    if !is_ipv4(ctx) {
        return None;
    }
    if let Some(glance) = glance_in_place(ctx) {
        return Some(glance);
    }
    let ip = header(ctx)?;
    let at = ETHERNET + ip.header_length() + 2;
    let ports = ctx.load::<[u8; 2]>(at as usize).unwrap_or_default();
    Some(Glance {
        protocol: ip.protocol,
        source: ip.source,
        destination: ip.destination,
        destination_port: port(ip.fragment, ports),
    })
}

#[inline(always)]
fn glance_in_place(ctx: &TcContext) -> Option<Glance> {
    let end = ctx.data_end();
    let start = ctx.data() + ETHERNET as usize;
    if start + size_of::<Plain>() > end {
        return None;
    }
    // SAFETY: within the packet, just checked; bytes have no alignment.
    let ip = unsafe { &*(start as *const Plain) };
    // One sum for check and reading, or the verifier knows nothing of what is read.
    let ports = start + hidden(u64::from(ip.version_ihl & 0x0f) * 4) as usize;
    if ports + 4 > end {
        return None;
    }
    // SAFETY: as above.
    let [_, _, high, low] = unsafe { *(ports as *const [u8; 4]) };
    Some(Glance {
        protocol: ip.protocol,
        source: ip.source,
        destination: ip.destination,
        destination_port: port(ip.fragment, [high, low]),
    })
}

/// An IPv4 header as it lies in the packet, at any address.
#[repr(C)]
struct Plain {
    version_ihl: u8,
    tos: u8,
    total_length: [u8; 2],
    id: [u8; 2],
    fragment: [u8; 2],
    ttl: u8,
    protocol: u8,
    checksum: [u8; 2],
    source: [u8; 4],
    destination: [u8; 4],
}

#[inline(always)]
const fn port(fragment: [u8; 2], port: [u8; 2]) -> [u8; 2] {
    if u16::from_be_bytes(fragment) & 0x1fff == 0 {
        port
    } else {
        [0; 2]
    }
}

/// The IPv4 header, unchecked.
#[inline(always)]
#[must_use]
pub fn header(ctx: &TcContext) -> Option<Ipv4> {
    ctx.load::<Ipv4>(ETHERNET as usize).ok()
}

/// Nanoseconds of CLOCK_MONOTONIC, to the tick.
#[inline(always)]
#[must_use]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Checks a whole packet of clusterset traffic and reads its transport header.
#[inline(always)]
pub fn packet(ctx: &TcContext, ip: Ipv4) -> Result<&'static Packet, DropReason> {
    let length = ctx.len();
    ip.check(length.saturating_sub(ETHERNET))?;
    if ip.is_fragment() {
        return Err(DropReason::Fragment);
    }
    if ip.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    let l4 = ETHERNET + ip.header_length();
    let transport = transport(ctx, ip.protocol, l4, ip.payload_length())?;
    let packet = &mut crate::maps::scratch()?.packet;
    *packet = Packet {
        ip,
        transport,
        l4,
        length,
    };
    Ok(packet)
}

#[inline(always)]
fn transport(ctx: &TcContext, number: u8, l4: u32, length: u32) -> Result<Transport, DropReason> {
    if length < least_transport(number)? {
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
        parse_icmp(&bytes)
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
