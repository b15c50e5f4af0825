//! Shell: answers made in place of the packet: TCP RST, ICMP port unreachable, echo reply.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason, faults, protocol};

use crate::{
    maps,
    parse::{ETHERNET, Ipv4, checksum_after, fold, sum_20, sum_add, sum_replace, tcp},
    rewrite::{TCP_CHECKSUM, store, store_macs},
    skb::{self, Packet},
    verdict::{self, Action, rejects},
};

/// Type and codes of ICMP errors (RFC 792).
const UNREACHABLE: u8 = 3;
const PORT_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
/// Where UDP's checksum stands.
const UDP_CHECKSUM: u32 = 6;
/// Hop limit of what we send ourselves.
const TTL: u8 = 64;
/// Where the transport header stands without IP options.
const L4: u32 = ETHERNET + 20;
/// Bytes of the refused packet in an ICMP error: its IP header and eight more (RFC 792).
const QUOTE: usize = 28;

apart! {
    /// Rejects a pod's own packet where the reason asks for it; the reason stays the outcome otherwise.
    pub fn to_pod = rejected_to_pod(ctx: &TcContext, config: &Config, reason: DropReason) -> Action
}

#[inline(always)]
fn rejected_to_pod(
    ctx: &TcContext,
    config: &Config,
    reason: DropReason,
) -> Result<Action, DropReason> {
    in_place(ctx, config, reason)?;
    let (pod, host) = skb::macs(ctx)?;
    store_macs(ctx, host, pod)?;
    verdict::reject(reason, skb::ifindex(ctx))
}

/// Turns the packet into its rejection, or gives `reason` back if there is none for it: of an answer, of an error, of
/// an RST, or with IP options (whose length would move what a device has been told of checksums).
#[inline(never)]
pub fn in_place(ctx: &TcContext, config: &Config, reason: DropReason) -> Result<(), DropReason> {
    if !rejects(reason) || config.faults & faults::REJECT != 0 {
        return Err(reason);
    }
    let ip = skb::header(ctx)
        .filter(|ip| ip.header_length() == 20)
        .ok_or(reason)?;
    if matches!(reason, DropReason::TooBig) {
        return too_big(ctx, &ip).map_err(|_| reason);
    }
    match ip.protocol {
        protocol::TCP => reset(ctx, &ip, reason),
        protocol::UDP => unreachable(ctx, &ip).map_err(|_| reason),
        _ => Err(reason),
    }
}

/// A header for the way back.
#[inline(always)]
const fn turned(ip: &Ipv4, number: u8, length: u16) -> Ipv4 {
    Ipv4 {
        version_ihl: 0x45,
        tos: 0,
        total_length: length.to_be_bytes(),
        id: [0; 2],
        fragment: [0; 2],
        ttl: TTL,
        protocol: number,
        checksum: [0; 2],
        source: ip.destination,
        destination: ip.source,
    }
    .with_checksum()
}

/// RFC 9293, 3.10.7.1: the reset that answers a segment for no connection.
#[inline(never)]
fn reset(ctx: &TcContext, ip: &Ipv4, reason: DropReason) -> Result<(), DropReason> {
    let segment: [u8; 20] = ctx.load(L4 as usize).map_err(|_| reason)?;
    let [
        sp0,
        sp1,
        dp0,
        dp1,
        s0,
        s1,
        s2,
        s3,
        a0,
        a1,
        a2,
        a3,
        offset,
        flags,
        ..,
    ] = segment;
    // What is missing for a moment must not kill connections that live.
    let opening = flags & tcp::SYN != 0;
    if flags & tcp::RST != 0
        || (matches!(reason, DropReason::NoRoute | DropReason::DanglingId) && !opening)
    {
        return Err(reason);
    }
    let data = ip
        .payload_length()
        .saturating_sub(u32::from(offset >> 4) * 4);
    let length = data + u32::from(flags & tcp::FIN) + u32::from(opening);
    let acknowledged = u32::from_be_bytes([s0, s1, s2, s3])
        .wrapping_add(length)
        .to_be_bytes();
    let (sequence, [k0, k1, k2, k3], flags) = if flags & tcp::ACK != 0 {
        ([a0, a1, a2, a3], [0; 4], tcp::RST)
    } else {
        ([0; 4], acknowledged, tcp::RST | tcp::ACK)
    };
    let [q0, q1, q2, q3] = sequence;
    let partial = sum_is_partial(ctx, L4 + TCP_CHECKSUM, reason)?;
    skb::resize(ctx, L4 + 20).map_err(|_| reason)?;
    let mut out = [
        dp0, dp1, sp0, sp1, q0, q1, q2, q3, k0, k1, k2, k3, 0x50, flags, 0, 0, 0, 0, 0, 0,
    ];
    let back = turned(ip, protocol::TCP, 40);
    let mut sum = sum_replace(
        sum_replace(0, [0; 4], back.source),
        [0; 4],
        back.destination,
    );
    sum = sum_replace(sum, [0; 4], [0, protocol::TCP, 0, 20]);
    let [c0, c1] = if partial {
        // A device adds the rest: the field holds the pseudo header's sum, not complemented.
        let [x, y] = fold(sum);
        [!x, !y]
    } else {
        fold(sum_add(sum, sum_20(&out)))
    };
    (out[16], out[17]) = (c0, c1);
    store(ctx, L4, &out).map_err(|_| reason)?;
    store(ctx, ETHERNET, &back).map_err(|_| reason)
}

/// Whether a device is still to fill in the checksum there. Nothing tells programs, but a replacement that is not of the
/// pseudo header changes the field only if not.
#[inline(always)]
fn sum_is_partial(ctx: &TcContext, at: u32, reason: DropReason) -> Result<bool, DropReason> {
    let at = at as usize;
    let before: u16 = ctx.load(at).map_err(|_| reason)?;
    ctx.l4_csum_replace(at, 0, 0x0101, 2).map_err(|_| reason)?;
    let after: u16 = ctx.load(at).map_err(|_| reason)?;
    Ok(before == after)
}

/// ICMP port unreachable. Its checksum is right without its device's help, and stays right with it: the field that a
/// device may be told to fill (UDP's, here the unused MTU) is zero, and so would be what is filled in.
#[inline(never)]
fn unreachable(ctx: &TcContext, ip: &Ipv4) -> Result<(), DropReason> {
    complain(ctx, ip, PORT_UNREACHABLE, 0, false)
}

/// ICMP "fragmentation needed" with what goes (RFC 1191). The MTU stands where a device may be told to fill in UDP's
/// checksum; then it is left to it: what makes the sum of all else right is the MTU.
#[inline(never)]
fn too_big(ctx: &TcContext, ip: &Ipv4) -> Result<(), DropReason> {
    let at = L4 + UDP_CHECKSUM;
    let partial = ip.protocol == protocol::UDP && sum_is_partial(ctx, at, DropReason::TooBig)?;
    if ip.protocol == protocol::UDP && !partial {
        // As it was: it is quoted.
        ctx.l4_csum_replace(at as usize, 0x0101, 0, 2)
            .map_err(|_| DropReason::TooBig)?;
    }
    complain(ctx, ip, FRAGMENTATION_NEEDED, maps::scratch()?.mtu, partial)
}

/// Destination unreachable with this code. `filled`: a device fills the MTU in.
#[inline(always)]
fn complain(
    ctx: &TcContext,
    ip: &Ipv4,
    code: u8,
    mtu: u16,
    filled: bool,
) -> Result<(), DropReason> {
    let quote: [u8; QUOTE] = ctx
        .load(ETHERNET as usize)
        .map_err(|_| DropReason::KernelRefused)?;
    skb::resize(ctx, L4 + 8 + QUOTE as u32)?;
    let [m0, m1] = mtu.to_be_bytes();
    let mut sum = sum_add(
        u32::from_ne_bytes([UNREACHABLE, code, 0, 0]),
        u32::from_ne_bytes([0, 0, m0, m1]),
    );
    let (words, _) = quote.as_chunks::<4>();
    for word in words {
        sum = sum_add(sum, u32::from_ne_bytes(*word));
    }
    let [c0, c1] = fold(sum);
    store(ctx, L4 + 8, &quote)?;
    let [m0, m1] = if filled { [0, 0] } else { [m0, m1] };
    store(ctx, L4, &[UNREACHABLE, code, c0, c1, 0, 0, m0, m1])?;
    store(
        ctx,
        ETHERNET,
        &turned(ip, protocol::ICMP, 20 + 8 + QUOTE as u16),
    )
}

/// Turns an echo request into its reply; MACs turned round too.
#[inline(never)]
pub fn echo(ctx: &TcContext, packet: &Packet) -> Result<(), DropReason> {
    let ip = &packet.ip;
    let sum = sum_replace(0, [ip.ttl, ip.protocol, 0, 0], [TTL, ip.protocol, 0, 0]);
    let back = Ipv4 {
        ttl: TTL,
        source: ip.destination,
        destination: ip.source,
        checksum: checksum_after(ip.checksum, sum),
        ..*ip
    };
    ctx.l4_csum_replace(
        packet.l4 as usize + 2,
        u64::from(u16::from_ne_bytes([8, 0])),
        u64::from(u16::from_ne_bytes([0, 0])),
        2,
    )
    .map_err(|_| DropReason::KernelRefused)?;
    store(ctx, packet.l4, &[0_u8, 0])?;
    store(ctx, ETHERNET, &back)?;
    let (pod, host) = skb::macs(ctx)?;
    store_macs(ctx, host, pod)
}
