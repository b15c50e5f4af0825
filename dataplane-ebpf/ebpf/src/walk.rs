//! Shell: the order of the steps. Each step is called from here and says what comes next, so that only one of them is
//! on the stack (512 bytes) at a time; what one leaves to the next lies in the scratch room.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason};

use crate::{
    backend, client, icmp, maps,
    parse::{Ipv4, Kind},
    pod, reject,
    skb::Packet,
    tunnel,
    verdict::{self, Action},
};

/// What comes next. Without fields, for the reason given at [`Action`].
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum Next {
    /// The packet has its tunnel header, and goes into the tunnel.
    Tunnel,
    /// Answered on the spot.
    Answered,
    /// Nothing more: it was for us.
    Consumed,
    /// A pod dials, or goes on with what it dialled.
    Dial,
    /// The own cluster was chosen for it.
    Own,
    /// A pod answers; its entry was found.
    Answer,
    /// A pod complains of what it was sent.
    Complain,
    /// To an endpoint, perhaps of this node.
    Arrive,
    /// To a client of this node.
    Home,
    /// From a peer, to be balanced.
    FromPeer,
    /// A peer's reply.
    FromPeerReply,
    /// From an own node.
    FromOwn,
}

impl Next {
    /// The action, if no step is left.
    #[inline(always)]
    const fn action(self) -> Option<Action> {
        match self {
            Self::Tunnel => Some(Action::Tunnel),
            Self::Answered => Some(Action::Answer),
            Self::Consumed => Some(Action::Consume),
            _ => None,
        }
    }
}

/// A pod's packet to clusterset addresses.
#[inline(always)]
pub fn from_pod(ctx: &TcContext, config: &Config, ip: &Ipv4) -> Result<Action, DropReason> {
    let mut found = None;
    let mut next = pod::examine(ctx, config, ip, &mut found)?;
    let packet = &maps::scratch()?.packet;
    if let Next::Dial = next {
        next = pod::dial(ctx, config, packet)?;
    }
    if let Next::Own = next {
        next = pod::own(ctx, config, packet)?;
    }
    if let Some(action) = next.action() {
        return Ok(action);
    }
    match (next, found) {
        (Next::Answer, Some(found)) => pod::answer(ctx, config, packet, &found),
        (Next::Complain, _) => icmp::from_pod(ctx, config, packet),
        _ => backend::arrive(ctx, config, packet),
    }
}

/// A packet of the tunnel device.
#[inline(always)]
pub fn from_tunnel(ctx: &TcContext, config: &Config) -> Result<Action, DropReason> {
    let next = tunnel::examine(ctx, config)?;
    onwards(ctx, config, next)
}

/// A peer's packet, from this node's gateway.
#[inline(always)]
pub fn from_gateway(ctx: &TcContext, config: &Config) -> Result<Action, DropReason> {
    let next = tunnel::examine_session(ctx, config)?;
    onwards(ctx, config, next)
}

#[inline(always)]
fn onwards(ctx: &TcContext, config: &Config, next: Next) -> Result<Action, DropReason> {
    let packet = &maps::scratch()?.packet;
    let next = match next {
        Next::FromPeer => match tunnel::from_peer(ctx, config, packet) {
            Err(reason) => {
                reject::in_place(ctx, config, reason)?;
                tunnel::back(ctx, config)?;
                return Ok(verdict::rejected(reason));
            }
            Ok(next) => next,
        },
        Next::FromPeerReply => tunnel::reply_from_peer(ctx, config, packet)?,
        Next::FromOwn => tunnel::from_own(ctx, config, packet)?,
        other => other,
    };
    match next.action() {
        Some(action) => Ok(action),
        None if matches!(next, Next::Home) => home(ctx, config, packet),
        None => backend::arrive(ctx, config, packet),
    }
}

#[inline(always)]
fn home(ctx: &TcContext, config: &Config, packet: &Packet) -> Result<Action, DropReason> {
    let pod = maps::pod(&packet.ip.destination).ok_or(DropReason::NoPlace)?;
    if packet.transport.kind == Kind::IcmpError {
        return icmp::to_client(ctx, config, packet, pod);
    }
    let scratch = maps::scratch()?;
    scratch.home = client::Home::of(packet, scratch.inbound.vni.number);
    client::arrive(ctx, config, packet, pod)
}
