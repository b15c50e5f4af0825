//! Shell: the order of the steps. Each step is called from here and says what comes next, so that only one of them is
//! on the stack (512 bytes) at a time; what one leaves to the next lies in the scratch room.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason};

use crate::{
    backend, client,
    family::Family,
    icmp,
    ip::Header,
    maps,
    parse::Kind,
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
    /// The endpoint has it.
    Delivered,
    /// To the node of the endpoint before.
    PassOn,
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
pub fn from_pod<A: Family>(ctx: &TcContext, config: &Config) -> Result<Action, DropReason> {
    let mut found = None;
    let mut next = pod::examine::<A>(ctx, config, &mut found)?;
    let packet = &maps::room::<A>()?.packet;
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
        (Next::Answer, Some(found)) => match pod::answer(ctx, config, packet, &found)? {
            Next::Home => home(ctx, config, packet),
            _ => Ok(Action::Tunnel),
        },
        (Next::Complain, _) => icmp::from_pod(ctx, config, packet),
        _ => arrive(ctx, config, packet),
    }
}

/// A packet of the tunnel device.
#[inline(always)]
pub fn from_tunnel<A: Family>(ctx: &TcContext, config: &Config) -> Result<Action, DropReason> {
    let next = tunnel::examine::<A>(ctx, config)?;
    onwards::<A>(ctx, config, next)
}

/// A peer's packet, from this node's gateway.
#[inline(always)]
pub fn from_gateway<A: Family>(ctx: &TcContext, config: &Config) -> Result<Action, DropReason> {
    let next = tunnel::examine_session::<A>(ctx, config)?;
    onwards::<A>(ctx, config, next)
}

#[inline(always)]
fn onwards<A: Family>(ctx: &TcContext, config: &Config, next: Next) -> Result<Action, DropReason> {
    let packet = &maps::room::<A>()?.packet;
    let next = match next {
        Next::FromPeer => match tunnel::from_peer(ctx, config, packet) {
            Err(reason) => {
                reject::in_place::<A>(ctx, config, reason)?;
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
        None if matches!(next, Next::Home) => came_home(ctx, config, packet),
        None => arrive(ctx, config, packet),
    }
}

#[inline(always)]
fn arrive<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Action, DropReason> {
    match backend::arrive(ctx, config, packet)? {
        Next::PassOn => backend::pass_on(ctx, config, packet),
        _ => Ok(Action::Deliver),
    }
}

/// A reply from elsewhere.
#[inline(always)]
fn came_home<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Action, DropReason> {
    let peer = maps::scratch()?.inbound.vni.number;
    maps::room::<A>()?.home = client::Home::of(packet, peer);
    if packet.transport.kind == Kind::IcmpError {
        let pod = A::pod(&packet.ip.destination()).ok_or(DropReason::NoPlace)?;
        return icmp::to_client(ctx, config, packet, pod);
    }
    home(ctx, config, packet)
}

/// The reply that `Room::home` tells of.
#[inline(always)]
fn home<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Action, DropReason> {
    let client = &maps::room::<A>()?.home.destination;
    let pod = A::pod(client).ok_or(DropReason::NoPlace)?;
    client::arrive(ctx, config, packet, pod)
}
