//! Shell: what a pod sends. Its requests choose a cluster once; its answers go straight back by their entry.

use aya_ebpf::programs::TcContext;
use causeway_abi::{
    Config, DropReason, Flow, FlowKey, FlowKind, MAC_NONE, NO_ORDINAL, OrdinalKey, Vni,
    backend_flags, faults, flow_hash, frontend_flags, port_flags, protocol, stage_one_hash,
};

use crate::{
    backend::Arrival,
    client::{self, Home},
    family::Family,
    flow::{self, Found},
    ip::Header,
    lookup, maps, mtu,
    parse::{ETHERNET, Kind},
    reject,
    rewrite::{self, Change},
    send::{self, Outer},
    skb::{self, Packet},
    verdict::Action,
    walk::{self, Next},
};

/// No service's counters.
const NO_SERVICE: u32 = u32::MAX;

/// tcx ingress of a pod-side port.
#[inline(always)]
pub fn ingress<A: Family>(ctx: &TcContext) -> Result<Action, DropReason> {
    let (Some(config), Some(glance)) = (maps::config(), skb::glance::<A>(ctx)) else {
        return Ok(Action::Pass);
    };
    // To the tunnel's UDP port, whatever the address: only gateways and agents may.
    if glance.protocol == protocol::UDP
        && glance.destination_port == config.tunnel_port
        && config.faults & faults::TUNNEL_PORT == 0
    {
        return Err(DropReason::PodToTunnelPort);
    }
    if !lookup::covers(config, glance.destination) {
        return Ok(Action::Pass);
    }
    match walk::from_pod::<A>(ctx, config) {
        Err(reason) => reject::to_pod::<A>(ctx, config, reason),
        done => done,
    }
}

apart! {
    /// Is it the port's own pod, and what does it want?
    pub fn examine<A> = examined(ctx: &TcContext, config: &Config, entry: &mut Option<Found>) -> Next
}

#[inline(always)]
fn examined<A: Family>(
    ctx: &TcContext,
    config: &Config,
    entry: &mut Option<Found>,
) -> Result<Next, DropReason> {
    let ip = skb::header::<A>(ctx)?;
    ip.check(ctx.len().saturating_sub(ETHERNET))?;
    let port = maps::port(&skb::ifindex(ctx)).ok_or(DropReason::UnknownPort)?;
    let address = A::own(port);
    let own = (ip.source() == address && address != A::default())
        || config.faults & faults::POD_CHECK != 0;
    if !own && port.flags & port_flags::HOST == 0 {
        return Err(DropReason::SpoofedSource);
    }
    let packet = skb::packet::<A>(ctx, ip)?;
    maps::scratch()?.identity = port.identity;
    if packet.transport.kind == Kind::IcmpError {
        return Ok(Next::Complain);
    }
    rewrite::clamp_mss(ctx, packet, mtu::mss::<A>(config))?;
    if !A::is_vip(config, ip.destination()) {
        *entry = flow::find(packet.outgoing_key(FlowKind::Backend)?);
        if entry.is_some() {
            return Ok(Next::Answer);
        }
    }
    // What the node answers by another of its addresses, an entry had to know.
    if !own {
        Err(DropReason::SpoofedSource)
    } else if lookup::opens(packet) {
        Ok(Next::Dial)
    } else {
        Err(DropReason::NoFlow)
    }
}

apart! {
    /// The pod answers: its entry knows as whom, and its peer's client where.
    pub fn answer<A> = answered(ctx: &TcContext, config: &Config, packet: &Packet<A>, found: &Found) -> Next
}

#[inline(always)]
fn answered<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
    found: &Found,
) -> Result<Next, DropReason> {
    let identity = maps::scratch()?.identity;
    let flow = *found.flow();
    flow::answer_seen(
        packet.outgoing_key(FlowKind::Backend)?,
        found,
        packet,
        skb::now(),
    )?;
    let (peer, client) = lookup::mapped_out(packet.ip.destination())?;
    let as_dialled = A::of(&flow.address);
    if peer != flow.peer {
        return Err(DropReason::NoFlow);
    }
    if peer == 0 && A::pod(&client).is_some() {
        maps::room::<A>()?.home = Home {
            source: as_dialled,
            destination: client,
            source_port: flow.port,
            peer,
        };
        return Ok(Next::Home);
    }
    if peer != 0 {
        mtu::keep(ctx, config, packet, peer)?;
    }
    let outer = answer_outer(config, &flow, client, identity)?;
    let change = Change::of(packet)?;
    change.destination = client;
    if config.faults & faults::REPLY_REWRITE == 0 {
        change.source = as_dialled;
        change.source_port = flow.port;
    }
    rewrite::apply(ctx, packet, change)?;
    send::tunnel(ctx, config, &outer).map(|_| Next::Tunnel)
}

/// The way of an answer: to the client's node in the own cluster, else towards the peer.
#[inline(always)]
pub fn answer_outer<A: Family>(
    config: &Config,
    flow: &Flow,
    client: A,
    identity: u16,
) -> Result<Outer, DropReason> {
    if flow.peer == 0 {
        let place = A::place(client).ok_or(DropReason::NoPlace)?;
        let vni = Vni {
            from: true,
            reply: true,
            ..Vni::default()
        };
        return Ok(Outer::hashed(
            place.node.last_four(),
            vni,
            identity,
            flow.hash,
        ));
    }
    let hop = lookup::hop(config, flow.peer, flow.hash, true)?;
    Ok(Outer::hashed(
        hop.node,
        hop.vni(false, true),
        identity,
        flow.hash,
    ))
}

apart! {
    /// The pod dials a VIP, or a mapped address of an endpoint or a VIP, or goes on with what it dialled.
    pub fn dial<A> = dialled(ctx: &TcContext, config: &Config, packet: &Packet<A>) -> Next
}

#[inline(always)]
fn dialled<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Next, DropReason> {
    let identity = maps::scratch()?.identity;
    let key = packet.outgoing_key(FlowKind::Client)?;
    let now = skb::now();
    let pinned = config.faults & faults::PIN == 0;
    let first = match flow::find(key) {
        Some(found) if pinned && flow::binds(&found, packet, now) => {
            let flow = &mut maps::scratch()?.flow;
            *flow = *found.flow();
            maps::count_sent(flow.service, packet.length, false);
            let first = flow::is_first(Some(&found), packet);
            flow::opener_seen(key, &found, packet, now)?;
            first
        }
        before => {
            open(config, packet, key, &before)?;
            flow::is_first(None, packet)
        }
    };
    let flow = &maps::scratch()?.flow;
    if flow.peer == 0 {
        maps::scratch()?.first = u16::from(first);
        return Ok(Next::Own);
    }
    mtu::keep(ctx, config, packet, flow.peer)?;
    let hop = lookup::hop(config, flow.peer, flow.hash, false)?;
    let change = Change::of(packet)?;
    change.destination = A::of(&flow.address);
    rewrite::apply(ctx, packet, change)?;
    send::tunnel(
        ctx,
        config,
        &Outer::hashed(hop.node, hop.vni(first, false), identity, flow.hash),
    )
    .map(|_| Next::Tunnel)
}

/// Stage one, or the owner of a mapped address, which may be its VIP; kept in a new entry.
#[inline(never)]
fn open<A: Family>(
    config: &Config,
    packet: &Packet<A>,
    key: &FlowKey<A>,
    before: &Option<Found>,
) -> Result<(), DropReason> {
    let dialled = packet.ip.destination();
    let now = skb::now();
    let flow = &mut maps::scratch()?.flow;
    *flow = Flow {
        service: NO_SERVICE,
        started: now,
        seen: now,
        ..Flow::default()
    };
    let mut affinity = false;
    // By what else the same address of the same cluster may be dialled here.
    let (theirs, other);
    if A::is_vip(config, dialled) {
        let frontend =
            A::frontend(&lookup::dialled(packet, dialled)).ok_or(DropReason::NoFrontend)?;
        affinity = frontend.affinity_secs != 0;
        let hash = stage_one_hash(&config.hash_seed, &packet.tuple(dialled, affinity));
        let slot = maps::slot(frontend.stage_one, hash);
        if slot.current == NO_ORDINAL {
            maps::count_rejected(frontend.service);
            return Err(DropReason::NobodyReady);
        }
        let ordinal = OrdinalKey {
            port_id: frontend.port_id,
            ordinal: slot.current,
            reserved: 0,
        };
        let member = maps::member(&ordinal).ok_or(DropReason::DanglingId)?;
        (flow.peer, theirs, flow.service) = (member.peer, A::of(&member.vip), frontend.service);
        other = lookup::mapped_in(flow.peer, theirs);
    } else {
        (flow.peer, theirs) = lookup::mapped_out(dialled)?;
        other = lookup::seen_here(config, flow.peer, theirs);
        // A VIP of that cluster: affinity and counters are those of the service.
        if let Some(vip) = other
            && A::is_vip(config, vip)
        {
            let frontend =
                A::frontend(&lookup::dialled(packet, vip)).ok_or(DropReason::NoFrontend)?;
            affinity = frontend.affinity_secs != 0;
            flow.service = frontend.service;
        }
    }
    // From one port to both there would be one connection at the other end.
    if let Some(other) = other
        && other != dialled
        && let Some(found) = client::of(as_other(key, other)?, flow.peer, theirs)
        && flow::blocks(&found, now)
    {
        return Err(DropReason::VipCollision);
    }
    flow.address = theirs.wide();
    flow.hash = flow_hash(&config.hash_seed, &packet.tuple(theirs, affinity));
    maps::count_sent(flow.service, packet.length, true);
    flow::open(key, flow, *before)
}

/// The key of a connection from the same port to another address.
#[inline(always)]
fn as_other<A: Family>(key: &FlowKey<A>, other: A) -> Result<&'static FlowKey<A>, DropReason> {
    let room = &mut maps::room::<A>()?.other;
    *room = FlowKey {
        remote: other,
        ..*key
    };
    Ok(room)
}

apart! {
    /// The own cluster was chosen: stage two here, the client appearing under the self-map.
    pub fn own<A> = chosen_own(ctx: &TcContext, config: &Config, packet: &Packet<A>) -> Next
}

#[inline(always)]
fn chosen_own<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Next, DropReason> {
    let scratch = maps::scratch()?;
    let (flow, identity, first) = (&scratch.flow, scratch.identity, scratch.first != 0);
    let dialled = A::of(&flow.address);
    let client = lookup::mapped_in(0, packet.ip.source()).ok_or(DropReason::NoMapping)?;
    let key = lookup::dialled(packet, dialled);
    let (current, previous) = if A::is_vip(config, dialled) {
        let frontend = A::frontend(&key).ok_or(DropReason::NoFrontend)?;
        if packet.transport.kind == Kind::EchoRequest
            && frontend.flags & frontend_flags::EXPORTED != 0
        {
            reject::echo(ctx, packet)?;
            maps::scratch()?.target = skb::ifindex(ctx);
            return Ok(Next::Answered);
        }
        let chosen = lookup::stage_two(frontend, flow.hash, first)?;
        (chosen.current, chosen.previous)
    } else {
        (A::exported(&key).ok_or(DropReason::NotExported)?, MAC_NONE)
    };
    if current.flags & backend_flags::LOCAL != 0 {
        maps::room::<A>()?.arrival = Arrival {
            client,
            dialled,
            current: current.name,
            previous,
            peer: 0,
            identity,
            first,
            passed_on: false,
        };
        return Ok(Next::Arrive);
    }
    let change = Change::of(packet)?;
    change.source = client;
    change.destination = dialled;
    rewrite::apply(ctx, packet, change)?;
    let outer = Outer {
        node: current.node.last_four(),
        vni: Vni {
            from: true,
            first,
            ..Vni::default()
        },
        identity,
        destination_mac: current.name,
        source_mac: previous,
    };
    send::tunnel(ctx, config, &outer).map(|_| Next::Tunnel)
}
