//! Shell: ICMP errors, made in place of the packet that they are about.

use aya_ebpf::programs::TcContext;
use causeway_abi::DropReason;

use crate::{
    family::Family,
    ip::Header,
    maps,
    parse::{ETHERNET, fold, sum_add},
    reject::{pseudo, sum_is_partial},
    rewrite::{UDP_CHECKSUM, store},
    skb,
};

/// Bytes of the transport header that are quoted (RFC 792; ports and sequence number are among them).
const QUOTED: u32 = 8;
/// Bytes of an ICMP header.
const ICMP: u32 = 8;
/// Destination options as an extension header (RFC 8200, section 4.6).
const DESTINATION_OPTIONS: u8 = 60;
/// An option that who does not know it steps over: for experiments (RFC 4727).
const OPTION: u8 = 0x1e;
/// Bytes of destination options with this one alone.
const OPTIONS: u32 = 8;

/// An ICMP error's own part.
#[derive(Clone, Copy)]
struct Complaint {
    /// Type and code.
    kind: [u8; 2],
    /// What follows the checksum.
    rest: [u8; 4],
}

/// Nobody takes datagrams there.
pub fn port_unreachable<A: Family>(
    ctx: &TcContext,
    ip: &A::Header,
    udp: bool,
) -> Result<(), DropReason> {
    let complaint = Complaint {
        kind: A::PORT_UNREACHABLE,
        rest: [0; 4],
    };
    complain::<A>(ctx, ip, udp, &complaint)
}

/// The packet is too big; what goes is in the scratch room (RFC 1191, RFC 8201).
pub fn too_big<A: Family>(ctx: &TcContext, ip: &A::Header, udp: bool) -> Result<(), DropReason> {
    let [high, low] = maps::scratch()?.mtu.to_be_bytes();
    let complaint = Complaint {
        kind: A::TOO_BIG,
        rest: [0, 0, high, low],
    };
    complain::<A>(ctx, ip, udp, &complaint)
}

/// A device may still be told to fill in the checksum of the datagram that the error replaces: the sum of all from the
/// transport header on, complemented, at that offset. In ICMP that is the last half of `rest`, and with a right checksum
/// what is filled in is what belongs there, so it is left to the device. ICMPv6's checksum has more in it: there it goes
/// into an option of its own, before the message.
#[inline(never)]
fn complain<A: Family>(
    ctx: &TcContext,
    ip: &A::Header,
    udp: bool,
    complaint: &Complaint,
) -> Result<(), DropReason> {
    let l4 = ETHERNET + A::LENGTH;
    let filled = l4 + UDP_CHECKSUM;
    let partial = udp && sum_is_partial(ctx, filled)?;
    if udp && !partial {
        // As it was: it is quoted.
        ctx.l4_csum_replace(filled as usize, 0x0101, 0, 2)
            .map_err(|_| DropReason::KernelRefused)?;
    }
    let transport: [u8; QUOTED as usize] = ctx
        .load(l4 as usize)
        .map_err(|_| DropReason::KernelRefused)?;
    let apart = partial && A::ICMP_KNOWS_ADDRESSES;
    let options = if apart { OPTIONS } else { 0 };
    let message = ICMP + A::LENGTH + QUOTED;
    let (at, length) = (l4 + options, message + options);
    skb::resize(ctx, l4 + length)?;
    let next = if apart { DESTINATION_OPTIONS } else { A::ICMP };
    let back = ip.turned(next, length as u16);
    let [kind, code] = complaint.kind;
    let [a, b, c, d, e, f, g, h] = transport;
    let mut sum = if A::ICMP_KNOWS_ADDRESSES {
        pseudo::<A>(&back, A::ICMP, message as u8)
    } else {
        0
    };
    for word in [
        [kind, code, 0, 0],
        complaint.rest,
        [a, b, c, d],
        [e, f, g, h],
    ] {
        sum = sum_add(sum, u32::from_ne_bytes(word));
    }
    let [c0, c1] = fold(sum_add(sum, ip.sum()));
    let [r0, r1, r2, r3] = complaint.rest;
    let [r2, r3] = if partial && !apart { [0; 2] } else { [r2, r3] };
    if apart {
        store(ctx, l4, &[A::ICMP, 0, OPTION, 4, 0, 0, 0, 0])?;
    }
    store(ctx, at, &[kind, code, c0, c1, r0, r1, r2, r3])?;
    store(ctx, at + ICMP, ip)?;
    store(ctx, at + ICMP + A::LENGTH, &transport)?;
    store(ctx, ETHERNET, &back)
}
