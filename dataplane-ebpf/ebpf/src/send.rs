//! Shell: the two ways out: into the tunnel, into a pod's port.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason, MAC_NONE, Mac, Vni};

use crate::{
    rewrite::store_macs,
    skb,
    verdict::{Action, leave},
};

/// What goes around a packet in the tunnel.
#[derive(Clone, Copy)]
pub struct Outer {
    /// The next node's outer address.
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

/// Hands the packet to the tunnel device.
#[inline(always)]
pub fn tunnel(ctx: &TcContext, config: &Config, outer: &Outer) -> Result<Action, DropReason> {
    store_macs(ctx, outer.destination_mac, outer.source_mac)?;
    let (node, vni) = (u32::from_be_bytes(outer.node), outer.vni.encode());
    if skb::set_tunnel(ctx, node, vni, u32::from(outer.identity)) {
        leave(Action::Tunnel, config.tunnel_ifindex)
    } else {
        Err(DropReason::KernelRefused)
    }
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
