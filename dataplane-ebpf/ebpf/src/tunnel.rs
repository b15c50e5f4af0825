//! Shell: what the tunnel device brings, and the device to this node's gateway. From a peer: translated into our view and
//! given to an endpoint or a client. From an own node: an end-node step, or on to a peer. Stage one is never entered from
//! here.

use aya_ebpf::programs::TcContext;
use causeway_abi::{
    Backend, Config, DropReason, MAC_NONE, Mac, Source, SourceKey4, Vni, backend_flags,
    config_flags, faults, frontend_flags, route_flags, source_kind,
};

use crate::{
    backend::Arrival,
    family::Family,
    ip::Header,
    lookup, maps,
    parse::Kind,
    reject,
    rewrite::{self, Change},
    send::{self, BY_SESSION, Outer},
    skb::{self, Packet, TunnelHeader},
    verdict::Action,
    walk::{self, Next},
};

/// What was around a packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Inbound {
    /// [`BY_SESSION`]: a session of this node's gateway brought it.
    pub outer_source: [u8; 4],
    pub identity: u16,
    pub vni: Vni,
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
}

/// tcx ingress of the tunnel device.
#[inline(always)]
pub fn ingress<A: Family>(ctx: &TcContext) -> Result<Action, DropReason> {
    walk::from_tunnel::<A>(ctx, maps::config().ok_or(DropReason::NotConfigured)?)
}

apart! {
    /// Who sent it, may they, and which way is it going?
    pub fn examine<A> = examined(ctx: &TcContext, config: &Config) -> Next
}

#[inline(always)]
fn examined<A: Family>(ctx: &TcContext, config: &Config) -> Result<Next, DropReason> {
    let header = skb::tunnel_header(ctx).ok_or(DropReason::BadTunnelHeader)?;
    let vni = Vni::decode(header.vni).ok_or(DropReason::BadTunnelHeader)?;
    let kind = sender(config, &header, vni)?;
    if vni.probe {
        return probe(ctx, config, &header, vni);
    }
    let (destination_mac, source_mac) = skb::macs(ctx)?;
    let (outer_source, identity) = (header.source, header.identity);
    read::<A>(
        ctx,
        Inbound {
            outer_source,
            identity,
            vni,
            destination_mac,
            source_mac,
        },
    )?;
    Ok(match kind {
        source_kind::OWN_NODE => Next::FromOwn,
        _ => from_a_peer(vni),
    })
}

/// tcx ingress of the device to this node's gateway.
#[inline(always)]
pub fn from_gateway<A: Family>(ctx: &TcContext) -> Result<Action, DropReason> {
    walk::from_gateway::<A>(ctx, maps::config().ok_or(DropReason::NotConfigured)?)
}

apart! {
    /// The gateway says which peer's session it was; that peer's packets must come that way.
    pub fn examine_session<A> = examined_session(ctx: &TcContext, config: &Config) -> Next
}

#[inline(always)]
fn examined_session<A: Family>(ctx: &TcContext, _config: &Config) -> Result<Next, DropReason> {
    let (destination_mac, source_mac) = skb::macs(ctx)?;
    let (vni, identity) = Mac::header(source_mac).ok_or(DropReason::BadTunnelHeader)?;
    let route = maps::route(&u32::from(vni.number)).ok_or(DropReason::NoRoute)?;
    let odd = !vni.from || vni.probe || vni.passed_on || (vni.first && vni.reply);
    if odd || route.flags & route_flags::SESSION == 0 {
        return Err(DropReason::BadTunnelHeader);
    }
    read::<A>(
        ctx,
        Inbound {
            outer_source: BY_SESSION,
            identity,
            vni,
            destination_mac,
            source_mac: MAC_NONE,
        },
    )?;
    Ok(from_a_peer(vni))
}

/// Reads the packet itself; both are left in the scratch room.
#[inline(always)]
fn read<A: Family>(ctx: &TcContext, inbound: Inbound) -> Result<(), DropReason> {
    if skb::ethertype(ctx) != A::ETHERTYPE {
        return Err(DropReason::BadIpHeader);
    }
    skb::packet::<A>(ctx, skb::header::<A>(ctx)?)?;
    maps::scratch()?.inbound = inbound;
    Ok(())
}

#[inline(always)]
const fn from_a_peer(vni: Vni) -> Next {
    if vni.reply {
        Next::FromPeerReply
    } else {
        Next::FromPeer
    }
}

/// Who sent this, and may it say what the header says?
#[inline(always)]
fn sender(config: &Config, header: &TunnelHeader, vni: Vni) -> Result<u16, DropReason> {
    let source = match maps::source(&SourceKey4 {
        address: header.source,
    }) {
        Some(source) => *source,
        None if config.faults & faults::SOURCE_CHECK != 0 => Source {
            kind: source_kind::PEER_GATEWAY,
            peer: vni.number,
        },
        None => return Err(DropReason::UnlistedSource),
    };
    let fits = if source.kind == source_kind::OWN_NODE {
        !vni.probe
    } else {
        let may_ask = (vni.reply && !vni.probe) || source.kind == source_kind::PEER_GATEWAY;
        vni.number == source.peer && vni.from && !vni.passed_on && may_ask
    };
    if fits && !(vni.first && vni.reply) {
        Ok(source.kind)
    } else {
        Err(DropReason::BadTunnelHeader)
    }
}

apart! {
    /// Is the data path alive? Hearing is noted, a question is answered.
    fn probe = probed(ctx: &TcContext, config: &Config, header: &TunnelHeader, vni: Vni) -> Next
}

#[inline(always)]
fn probed(
    ctx: &TcContext,
    config: &Config,
    header: &TunnelHeader,
    vni: Vni,
) -> Result<Next, DropReason> {
    maps::note_seen(vni.number, skb::now());
    if vni.reply {
        return Ok(Next::Consumed);
    }
    let number = lookup::their_number(vni.number)?;
    let vni = Vni {
        number,
        from: true,
        reply: true,
        probe: true,
        ..Vni::default()
    };
    send::tunnel(ctx, config, &Outer::hashed(header.source, vni, 0, 0))?;
    Ok(Next::Answered)
}

apart! {
    /// A peer's client dials: a VIP of ours, or a headless endpoint. No state is kept.
    pub fn from_peer<A> = balanced(ctx: &TcContext, config: &Config, packet: &Packet<A>) -> Next
}

#[inline(always)]
fn balanced<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Next, DropReason> {
    let inbound = &maps::scratch()?.inbound;
    let peer = inbound.vni.number;
    let mut client =
        lookup::mapped_in(peer, packet.ip.source()).ok_or(DropReason::BadInnerSource)?;
    if config.faults & faults::MAPPING != 0 {
        client = packet.ip.source();
    }
    if !lookup::opens(packet) {
        return Err(DropReason::UnsupportedProtocol);
    }
    let key = lookup::dialled(packet, packet.ip.destination());
    let (current, previous): (&Backend, [u8; 6]) = if A::is_vip(config, packet.ip.destination()) {
        let frontend = A::frontend(&key).ok_or(DropReason::NoFrontend)?;
        if frontend.flags & frontend_flags::EXPORTED == 0 {
            return Err(DropReason::NotExported);
        }
        if packet.transport.kind == Kind::EchoRequest {
            reject::echo(ctx, packet)?;
            back(ctx, config)?;
            return Ok(Next::Answered);
        }
        let chosen = lookup::stage_two(
            frontend,
            Mac::hash(inbound.destination_mac),
            inbound.vni.first,
        )?;
        (chosen.current, chosen.previous)
    } else {
        (A::exported(&key).ok_or(DropReason::NotExported)?, MAC_NONE)
    };
    if current.flags & backend_flags::LOCAL != 0 {
        let arrival = &mut maps::room::<A>()?.arrival;
        *arrival = Arrival {
            client,
            dialled: packet.ip.destination(),
            current: current.name,
            previous,
            peer,
            identity: inbound.identity,
            first: inbound.vni.first,
            passed_on: false,
        };
        return Ok(Next::Arrive);
    }
    let change = Change::of(packet)?;
    change.source = client;
    rewrite::apply(ctx, packet, change)?;
    let outer = Outer {
        node: current.node.last_four(),
        vni: Vni {
            passed_on: false,
            ..inbound.vni
        },
        identity: inbound.identity,
        destination_mac: current.name,
        source_mac: previous,
    };
    send::tunnel(ctx, config, &outer).map(|_| Next::Tunnel)
}

apart! {
    /// Sends the packet, turned round already, back to the gateway it came from, or by a session as it came.
    pub fn back = sent_back(ctx: &TcContext, config: &Config) -> Action
}

#[inline(always)]
fn sent_back(ctx: &TcContext, config: &Config) -> Result<Action, DropReason> {
    let inbound = &maps::scratch()?.inbound;
    let by_session = inbound.outer_source == BY_SESSION;
    let number = if by_session {
        inbound.vni.number
    } else {
        lookup::their_number(inbound.vni.number)?
    };
    let vni = Vni {
        number,
        from: !by_session,
        reply: true,
        ..Vni::default()
    };
    let hash = Mac::hash(inbound.destination_mac);
    send::tunnel(
        ctx,
        config,
        &Outer::hashed(inbound.outer_source, vni, 0, hash),
    )
}

apart! {
    /// A peer's reply: to its client here, or to the client's node.
    pub fn reply_from_peer<A> = reply_forwarded(ctx: &TcContext, config: &Config, packet: &Packet<A>) -> Next
}

#[inline(always)]
fn reply_forwarded<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Next, DropReason> {
    let inbound = &maps::scratch()?.inbound;
    let peer = inbound.vni.number;
    // An error may come from any hop of theirs; the flow that it quotes is what counts.
    if packet.transport.kind != Kind::IcmpError
        && lookup::seen_here(config, peer, packet.ip.source()).is_none()
    {
        return Err(DropReason::BadInnerSource);
    }
    if A::pod(&packet.ip.destination()).is_some() {
        return Ok(Next::Home);
    }
    let place = A::place(packet.ip.destination()).ok_or(DropReason::NoPlace)?;
    let outer = Outer {
        node: place.node.last_four(),
        vni: inbound.vni,
        identity: inbound.identity,
        destination_mac: inbound.destination_mac,
        source_mac: MAC_NONE,
    };
    forward(ctx, config, packet, &outer)
}

#[inline(always)]
fn forward<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
    outer: &Outer,
) -> Result<Next, DropReason> {
    rewrite::apply(ctx, packet, Change::of(packet)?)?;
    send::tunnel(ctx, config, outer).map(|_| Next::Tunnel)
}

apart! {
    /// From an own node: this is the end node, or a gateway on the way to a peer.
    pub fn from_own<A> = of_own_node(ctx: &TcContext, config: &Config, packet: &Packet<A>) -> Next
}

#[inline(always)]
fn of_own_node<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Next, DropReason> {
    let inbound = &maps::scratch()?.inbound;
    let vni = inbound.vni;
    if !vni.from {
        if config.flags & config_flags::GATEWAY == 0 {
            return Err(DropReason::NotGateway);
        }
        let hash = Mac::hash(inbound.destination_mac);
        // What another gateway's node has passed on stays here: it may have no way either.
        let hop = if vni.passed_on {
            lookup::last_hop(config, vni.number)?
        } else {
            lookup::hop(config, vni.number, hash, vni.reply)?
        };
        let passed_on = !hop.straight && hop.node != BY_SESSION;
        let next = Vni {
            passed_on,
            ..hop.vni(vni.first, vni.reply)
        };
        let outer = Outer::hashed(hop.node, next, inbound.identity, hash);
        return forward(ctx, config, packet, &outer);
    }
    if vni.reply {
        return Ok(Next::Home);
    }
    if !lookup::opens(packet) {
        return Err(DropReason::UnsupportedProtocol);
    }
    let arrival = &mut maps::room::<A>()?.arrival;
    *arrival = Arrival {
        client: packet.ip.source(),
        dialled: packet.ip.destination(),
        current: inbound.destination_mac,
        previous: inbound.source_mac,
        peer: vni.number,
        identity: inbound.identity,
        first: vni.first,
        passed_on: vni.passed_on,
    };
    Ok(Next::Arrive)
}
