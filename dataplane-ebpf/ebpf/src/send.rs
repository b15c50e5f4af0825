//! Shell: the ways out: into the tunnel, to this node's gateway, into a pod's port.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason, MAC_NONE, Mac, Vni};

use crate::{
    rewrite::store_macs,
    skb,
    verdict::{Action, leave},
};

/// In place of a node's outer address: this node's gateway, whose sessions with the peer carry the packet.
pub const BY_SESSION: [u8; 4] = [0; 4];

/// What goes around a packet in the tunnel.
#[derive(Clone, Copy)]
pub struct Outer {
    /// The next node's outer address, or [`BY_SESSION`].
    pub node: [u8; 4],
    pub vni: Vni,
    /// Identity number of the sender, in its owner's numbering.
    pub identity: u16,
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
}

impl Outer {
    /// Between and towards gateways: the MACs carry the flow hash.
    #[inline(always)]
    #[must_use]
    pub const fn hashed(node: [u8; 4], vni: Vni, identity: u16, hash: u32) -> Self {
        Self {
            node,
            vni,
            identity,
            destination_mac: Mac::of_hash(hash),
            source_mac: MAC_NONE,
        }
    }
}

/// Hands the packet to the tunnel device, or to the gateway.
#[inline(always)]
pub fn tunnel(ctx: &TcContext, config: &Config, outer: &Outer) -> Result<Action, DropReason> {
    if outer.node == BY_SESSION {
        return to_gateway(ctx, config, outer);
    }
    store_macs(ctx, outer.destination_mac, outer.source_mac)?;
    let (node, vni) = (u32::from_be_bytes(outer.node), outer.vni.encode());
    if skb::set_tunnel(ctx, node, vni, u32::from(outer.identity)) {
        leave(Action::Tunnel, config.tunnel_ifindex)
    } else {
        Err(DropReason::KernelRefused)
    }
}

#[inline(always)]
fn to_gateway(ctx: &TcContext, config: &Config, outer: &Outer) -> Result<Action, DropReason> {
    if config.session_ifindex == 0 {
        return Err(DropReason::NoRoute);
    }
    let header = Mac::of_header(outer.vni, outer.identity);
    store_macs(ctx, outer.destination_mac, header)?;
    leave(Action::Tunnel, config.session_ifindex)
}

/// Hands the packet to a pod.
#[inline(always)]
pub fn deliver(
    ctx: &TcContext,
    ifindex: u32,
    pod: [u8; 6],
    host: [u8; 6],
) -> Result<Action, DropReason> {
    store_macs(ctx, pod, host)?;
    leave(Action::Deliver, ifindex)
}
