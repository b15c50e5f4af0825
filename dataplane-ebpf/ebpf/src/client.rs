//! Shell: the end-node step at the client: a reply comes home, only as answer to the client's entry.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason, FlowKey4, FlowKind, Pod};

use crate::{
    flow, lookup, maps,
    rewrite::{self, Change},
    send,
    skb::{self, Packet},
    verdict::Action,
};

/// A reply on its last step, its addresses in the owners' numbering (the packet itself may still say otherwise).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Home {
    pub source: [u8; 4],
    pub destination: [u8; 4],
    pub source_port: [u8; 2],
    pub peer: u16,
}

impl Home {
    /// The packet says it all.
    #[inline(always)]
    #[must_use]
    pub const fn of(packet: &Packet, peer: u16) -> Self {
        Self {
            source: packet.ip.source,
            destination: packet.ip.destination,
            source_port: packet.transport.source_port,
            peer,
        }
    }
}

apart! {
    /// Gives a reply (`Scratch::home`) to the client that waits for it.
    pub fn arrive = arrived(ctx: &TcContext, config: &Config, packet: &Packet, pod: &Pod) -> Action
}

#[inline(always)]
fn arrived(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet,
    pod: &Pod,
) -> Result<Action, DropReason> {
    let home = &maps::scratch()?.home;
    let view = lookup::seen_here(config, home.peer, home.source).ok_or(DropReason::NoFlow)?;
    let key = FlowKey4 {
        local: home.destination,
        remote: view,
        local_port: packet.transport.destination_port,
        remote_port: home.source_port,
        protocol: packet.ip.protocol,
        kind: FlowKind::Client as u8,
        reserved: [0; 2],
    };
    let found = flow::find(&key).ok_or(DropReason::NoFlow)?;
    if found.flow().peer != home.peer || found.flow().address != home.source {
        return Err(DropReason::NoFlow);
    }
    flow::answer_seen(&key, &found, packet, skb::now())?;
    let change = Change {
        source: view,
        destination: home.destination,
        source_port: home.source_port,
        ..Change::none(packet)
    };
    rewrite::apply(ctx, packet, &change)?;
    send::deliver(ctx, pod.ifindex, pod.pod_mac, pod.host_mac)
}
