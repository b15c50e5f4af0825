//! Shell: answers made in place of the packet: TCP RST, ICMP errors, echo reply.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason, faults, protocol};

use crate::{
    complain,
    family::Family,
    ip::Header,
    parse::{ETHERNET, fold, sum_20, sum_add, sum_replace, tcp},
    rewrite::{ICMP_CHECKSUM, TCP_CHECKSUM, store, store_macs},
    skb::{self, Packet},
    verdict::{self, Action, rejects},
};

apart! {
    /// Rejects a pod's own packet where the reason asks for it; the reason stays the outcome otherwise.
    pub fn to_pod<A> = rejected_to_pod(ctx: &TcContext, config: &Config, reason: DropReason) -> Action
}

#[inline(always)]
fn rejected_to_pod<A: Family>(
    ctx: &TcContext,
    config: &Config,
    reason: DropReason,
) -> Result<Action, DropReason> {
    in_place::<A>(ctx, config, reason)?;
    let (pod, host) = skb::macs(ctx)?;
    store_macs(ctx, host, pod)?;
    verdict::reject(reason, skb::ifindex(ctx))
}

/// Turns the packet into its rejection, or gives `reason` back if there is none for it: of an answer, of an error, of
/// an RST, or with IP options (whose length would move what a device has been told of checksums).
#[inline(never)]
pub fn in_place<A: Family>(
    ctx: &TcContext,
    config: &Config,
    reason: DropReason,
) -> Result<(), DropReason> {
    if !rejects(reason) || config.faults & faults::REJECT != 0 {
        return Err(reason);
    }
    let ip = skb::header::<A>(ctx).map_err(|_| reason)?;
    let place = A::transport(ctx, ip).map_err(|_| reason)?;
    if place.l4 != ETHERNET + A::LENGTH {
        return Err(reason);
    }
    let udp = place.protocol == protocol::UDP;
    match (reason, place.protocol) {
        (DropReason::TooBig, _) => complain::too_big::<A>(ctx, ip, udp),
        (_, protocol::TCP) => return reset::<A>(ctx, ip, reason),
        (_, protocol::UDP) => complain::port_unreachable::<A>(ctx, ip, udp),
        _ => Err(reason),
    }
    .map_err(|_| reason)
}

/// RFC 9293, 3.10.7.1: the reset that answers a segment for no connection.
#[inline(never)]
fn reset<A: Family>(ctx: &TcContext, ip: &A::Header, reason: DropReason) -> Result<(), DropReason> {
    let l4 = ETHERNET + A::LENGTH;
    let segment: [u8; 20] = ctx.load(l4 as usize).map_err(|_| reason)?;
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
    let headers = A::LENGTH + u32::from(offset >> 4) * 4;
    let data = ip.total_length().saturating_sub(headers);
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
    let partial = sum_is_partial(ctx, l4 + TCP_CHECKSUM).map_err(|_| reason)?;
    skb::resize(ctx, l4 + 20).map_err(|_| reason)?;
    let mut out = [
        dp0, dp1, sp0, sp1, q0, q1, q2, q3, k0, k1, k2, k3, 0x50, flags, 0, 0, 0, 0, 0, 0,
    ];
    let back = ip.turned(protocol::TCP, 20);
    let sum = pseudo::<A>(&back, protocol::TCP, 20);
    let [c0, c1] = if partial {
        // A device adds the rest: the field holds the pseudo header's sum, not complemented.
        let [x, y] = fold(sum);
        [!x, !y]
    } else {
        fold(sum_add(sum, sum_20(&out)))
    };
    (out[16], out[17]) = (c0, c1);
    store(ctx, l4, &out).map_err(|_| reason)?;
    store(ctx, ETHERNET, &back).map_err(|_| reason)
}

/// The sum of a pseudo header (RFC 9293, 3.1; RFC 8200, 8.1).
#[inline(always)]
pub fn pseudo<A: Family>(ip: &A::Header, number: u8, length: u8) -> u32 {
    let sum = A::replaced(0, A::default(), ip.source());
    let sum = A::replaced(sum, A::default(), ip.destination());
    sum_replace(sum, [0; 4], [0, number, 0, length])
}

/// Whether a device is still to fill in the checksum there. Nothing tells programs, but a replacement that is not of the
/// pseudo header changes the field only if not.
#[inline(always)]
pub fn sum_is_partial(ctx: &TcContext, at: u32) -> Result<bool, DropReason> {
    let at = at as usize;
    let before: u16 = ctx.load(at).map_err(|_| DropReason::KernelRefused)?;
    ctx.l4_csum_replace(at, 0, 0x0101, 2)
        .map_err(|_| DropReason::KernelRefused)?;
    let after: u16 = ctx.load(at).map_err(|_| DropReason::KernelRefused)?;
    Ok(before == after)
}

/// Turns an echo request into its reply; MACs turned round too.
#[inline(never)]
pub fn echo<A: Family>(ctx: &TcContext, packet: &Packet<A>) -> Result<(), DropReason> {
    let (request, reply) = A::ECHO;
    ctx.l4_csum_replace(
        (packet.l4 + ICMP_CHECKSUM) as usize,
        u64::from(u16::from_ne_bytes([request, 0])),
        u64::from(u16::from_ne_bytes([reply, 0])),
        2,
    )
    .map_err(|_| DropReason::KernelRefused)?;
    store(ctx, packet.l4, &[reply, 0])?;
    store(ctx, ETHERNET, &packet.ip.answered())?;
    let (pod, host) = skb::macs(ctx)?;
    store_macs(ctx, host, pod)
}
