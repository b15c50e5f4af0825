//! Shell: the end-node step at the client: a reply comes home, only as answer to the client's entry.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason, FlowKey, FlowKind, Pod};

use crate::{
    family::Family,
    flow::{self, Found},
    ip::Header,
    lookup, maps,
    rewrite::{self, Change},
    send,
    skb::{self, Packet},
    verdict::Action,
};

/// A reply on its last step, its addresses in the owners' numbering (the packet itself may still say otherwise).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Home<A> {
    pub source: A,
    pub destination: A,
    pub source_port: [u8; 2],
    pub peer: u16,
}

impl<A: Family> Home<A> {
    /// The packet says it all.
    #[inline(always)]
    #[must_use]
    pub fn of(packet: &Packet<A>, peer: u16) -> Self {
        Self {
            source: packet.ip.source(),
            destination: packet.ip.destination(),
            source_port: packet.transport.source_port,
            peer,
        }
    }
}

apart! {
    /// Gives a reply (`Room::home`) to the client that waits for it.
    pub fn arrive<A> = arrived(ctx: &TcContext, config: &Config, packet: &Packet<A>, pod: &Pod) -> Action
}

#[inline(always)]
fn arrived<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
    pod: &Pod,
) -> Result<Action, DropReason> {
    let home = &maps::room::<A>()?.home;
    let key = &mut maps::room::<A>()?.key;
    *key = FlowKey {
        local: home.destination,
        remote: A::default(),
        local_port: packet.transport.destination_port,
        remote_port: home.source_port,
        protocol: packet.protocol,
        kind: FlowKind::Client as u8,
        reserved: [0; 2],
    };
    let found = entry(config, key, home.peer, home.source)?;
    flow::answer_seen(key, &found, packet, skb::now())?;
    let change = Change::of(packet)?;
    change.source = key.remote;
    change.destination = home.destination;
    change.source_port = home.source_port;
    rewrite::apply(ctx, packet, change)?;
    send::deliver(ctx, pod.ifindex, pod.pod_mac, pod.host_mac)
}

/// The entry of a client for an address of a peer's, and in the key what the client dialled: our VIP for the service, or
/// that address as it appears here.
#[inline(always)]
pub fn entry<A: Family>(
    config: &Config,
    key: &mut FlowKey<A>,
    peer: u16,
    theirs: A,
) -> Result<Found, DropReason> {
    key.remote = lookup::seen_here(config, peer, theirs).ok_or(DropReason::NoFlow)?;
    if let Some(found) = of(key, peer, theirs) {
        return Ok(found);
    }
    let mapped = lookup::mapped_in(peer, theirs).ok_or(DropReason::NoFlow)?;
    if mapped == key.remote {
        return Err(DropReason::NoFlow);
    }
    key.remote = mapped;
    of(key, peer, theirs).ok_or(DropReason::NoFlow)
}

/// What is found under a key, if it is of that address.
#[inline(always)]
#[must_use]
pub fn of<A: Family>(key: &FlowKey<A>, peer: u16, theirs: A) -> Option<Found> {
    let found = flow::find(key)?;
    let flow = found.flow();
    if flow.peer == peer && A::of(&flow.address) == theirs {
        Some(found)
    } else {
        None
    }
}
