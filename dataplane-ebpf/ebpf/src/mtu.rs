//! Shell: what the path to a peer takes. TCP is told when it opens, and the gateway cuts smaller what was opened before the
//! path became narrower; a datagram goes in two pieces where it must, and its sender is told where not even that is enough.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason, V4, protocol};

use crate::{
    family::Family,
    maps, rewrite,
    skb::{self, Packet},
};

/// A TCP header without options.
const TCP: u32 = 20;
/// Bytes of the header between the two pieces of a packet, beyond that of a whole one.
const PIECE: u32 = 2;
/// Always passes, whatever the path (RFC 8200, section 5).
pub const LEAST: u16 = 1_280;

/// The largest segment that the tunnel takes in one piece; 0: as it comes.
#[inline(always)]
#[must_use]
pub fn mss<A: Family>(config: &Config) -> u32 {
    u32::from(config.mss).saturating_sub(A::LENGTH - V4::LENGTH)
}

/// Keeps a pod's packet to what goes to that peer.
#[inline(never)]
pub fn keep<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
    peer: u16,
) -> Result<(), DropReason> {
    let Some(route) = maps::route(&u32::from(peer)) else {
        return Ok(());
    };
    let mtu = u32::from(route.mtu);
    if mtu == 0 {
        return Ok(());
    }
    if packet.protocol == protocol::TCP {
        if config.mss == 0 {
            return Ok(());
        }
        return rewrite::clamp_mss(ctx, packet, mtu.saturating_sub(A::LENGTH + TCP));
    }
    let pieces = 2 * mtu.saturating_sub(PIECE);
    if skb::segment(ctx, packet) <= pieces {
        return Ok(());
    }
    maps::scratch()?.mtu = route.mtu.max(LEAST);
    Err(DropReason::TooBig)
}
