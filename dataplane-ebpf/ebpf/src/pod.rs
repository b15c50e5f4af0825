//! Shell: what a pod sends. Its requests choose a cluster once; its answers go straight back by their entry.

use aya_ebpf::programs::TcContext;
use causeway_abi::{
    Config, DropReason, Flow, FlowKey4, FlowKind, MAC_NONE, NO_ORDINAL, OrdinalKey, Vni,
    backend_flags, faults, flow_hash, frontend_flags, port_flags, protocol, stage_one_hash, v4,
};

use crate::{
    backend::Arrival,
    client::{self, Home},
    flow::{self, Found},
    lookup, maps, mtu,
    parse::{ETHERNET, Ipv4, Kind},
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
pub fn ingress(ctx: &TcContext) -> Result<Action, DropReason> {
    let (Some(config), Some(glance)) = (maps::config(), skb::glance(ctx)) else {
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
    let ip = skb::header(ctx).ok_or(DropReason::BadIpHeader)?;
    match walk::from_pod(ctx, config, &ip) {
        Err(reason) => reject::to_pod(ctx, config, reason),
        done => done,
    }
}

apart! {
    /// Is it the port's own pod, and what does it want?
    pub fn examine = examined(ctx: &TcContext, config: &Config, ip: &Ipv4, entry: &mut Option<Found>) -> Next
}

#[inline(always)]
fn examined(
    ctx: &TcContext,
    config: &Config,
    ip: &Ipv4,
    entry: &mut Option<Found>,
) -> Result<Next, DropReason> {
    ip.check(ctx.len().saturating_sub(ETHERNET))?;
    let port = maps::port(&skb::ifindex(ctx)).ok_or(DropReason::UnknownPort)?;
    let own = ip.source == v4(&port.address) || config.faults & faults::POD_CHECK != 0;
    if !own && port.flags & port_flags::HOST == 0 {
        return Err(DropReason::SpoofedSource);
    }
    let packet = skb::packet(ctx, *ip)?;
    maps::scratch()?.identity = port.identity;
    if packet.transport.kind == Kind::IcmpError {
        return Ok(Next::Complain);
    }
    rewrite::clamp_mss(ctx, packet, u32::from(config.mss))?;
    if !lookup::is_vip(config, ip.destination) {
        *entry = flow::find(&packet.outgoing_key(FlowKind::Backend));
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
    pub fn answer = answered(ctx: &TcContext, config: &Config, packet: &Packet, found: &Found) -> Action
}

#[inline(always)]
fn answered(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet,
    found: &Found,
) -> Result<Action, DropReason> {
    let identity = maps::scratch()?.identity;
    let flow = *found.flow();
    flow::answer_seen(
        &packet.outgoing_key(FlowKind::Backend),
        found,
        packet,
        skb::now(),
    )?;
    let (peer, client) = lookup::mapped_out(packet.ip.destination)?;
    if peer != flow.peer {
        return Err(DropReason::NoFlow);
    }
    if peer == 0
        && let Some(pod) = maps::pod(&client)
    {
        maps::scratch()?.home = Home {
            source: flow.address,
            destination: client,
            source_port: flow.port,
            peer,
        };
        return client::arrive(ctx, config, packet, pod);
    }
    if peer != 0 {
        mtu::keep(ctx, config, packet, peer)?;
    }
    let outer = answer_outer(config, &flow, client, identity)?;
    let mut change = Change {
        source: flow.address,
        destination: client,
        source_port: flow.port,
        ..Change::none(packet)
    };
    if config.faults & faults::REPLY_REWRITE != 0 {
        change = Change {
            destination: client,
            ..Change::none(packet)
        };
    }
    rewrite::apply(ctx, packet, &change)?;
    send::tunnel(ctx, config, &outer)
}

/// The way of an answer: to the client's node in the own cluster, else towards the peer.
#[inline(always)]
pub fn answer_outer(
    config: &Config,
    flow: &Flow,
    client: [u8; 4],
    identity: u16,
) -> Result<Outer, DropReason> {
    if flow.peer == 0 {
        let place = maps::place(client).ok_or(DropReason::NoPlace)?;
        let vni = Vni {
            from: true,
            reply: true,
            ..Vni::default()
        };
        return Ok(Outer::hashed(v4(&place.node), vni, identity, flow.hash));
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
    pub fn dial = dialled(ctx: &TcContext, config: &Config, packet: &Packet) -> Next
}

#[inline(always)]
fn dialled(ctx: &TcContext, config: &Config, packet: &Packet) -> Result<Next, DropReason> {
    let identity = maps::scratch()?.identity;
    let key = packet.outgoing_key(FlowKind::Client);
    let now = skb::now();
    let pinned = config.faults & faults::PIN == 0;
    let first = match flow::find(&key) {
        Some(found) if pinned && flow::binds(&found, packet, now) => {
            let flow = &mut maps::scratch()?.flow;
            *flow = *found.flow();
            maps::count_sent(flow.service, packet.length, false);
            let first = flow::is_first(Some(&found), packet);
            flow::opener_seen(&key, &found, packet, now)?;
            first
        }
        before => {
            open(config, packet, &key, &before)?;
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
    rewrite::apply(
        ctx,
        packet,
        &Change {
            destination: flow.address,
            ..Change::none(packet)
        },
    )?;
    send::tunnel(
        ctx,
        config,
        &Outer::hashed(hop.node, hop.vni(first, false), identity, flow.hash),
    )
    .map(|_| Next::Tunnel)
}

/// Stage one, or the owner of a mapped address, which may be its VIP; kept in a new entry.
#[inline(never)]
fn open(
    config: &Config,
    packet: &Packet,
    key: &FlowKey4,
    before: &Option<Found>,
) -> Result<(), DropReason> {
    let dialled = packet.ip.destination;
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
    let other;
    if lookup::is_vip(config, dialled) {
        let frontend =
            maps::frontend(&lookup::dialled(packet, dialled)).ok_or(DropReason::NoFrontend)?;
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
        (flow.peer, flow.address, flow.service) = (member.peer, v4(&member.vip), frontend.service);
        other = lookup::mapped_in(flow.peer, flow.address);
    } else {
        (flow.peer, flow.address) = lookup::mapped_out(dialled)?;
        other = lookup::seen_here(config, flow.peer, flow.address);
        // A VIP of that cluster: affinity and counters are those of the service.
        if let Some(vip) = other
            && lookup::is_vip(config, vip)
        {
            let frontend =
                maps::frontend(&lookup::dialled(packet, vip)).ok_or(DropReason::NoFrontend)?;
            affinity = frontend.affinity_secs != 0;
            flow.service = frontend.service;
        }
    }
    // From one port to both there would be one connection at the other end.
    if let Some(other) = other
        && other != dialled
        && let Some(found) = client::of(
            &FlowKey4 {
                remote: other,
                ..*key
            },
            flow.peer,
            flow.address,
        )
        && flow::blocks(&found, now)
    {
        return Err(DropReason::VipCollision);
    }
    flow.hash = flow_hash(&config.hash_seed, &packet.tuple(flow.address, affinity));
    maps::count_sent(flow.service, packet.length, true);
    flow::open(key, flow, *before)
}

apart! {
    /// The own cluster was chosen: stage two here, the client appearing under the self-map.
    pub fn own = chosen_own(ctx: &TcContext, config: &Config, packet: &Packet) -> Next
}

#[inline(always)]
fn chosen_own(ctx: &TcContext, config: &Config, packet: &Packet) -> Result<Next, DropReason> {
    let scratch = maps::scratch()?;
    let (flow, identity, first) = (&scratch.flow, scratch.identity, scratch.first != 0);
    let client = lookup::mapped_in(0, packet.ip.source).ok_or(DropReason::NoMapping)?;
    let key = lookup::dialled(packet, flow.address);
    let (current, previous) = if lookup::is_vip(config, flow.address) {
        let frontend = maps::frontend(&key).ok_or(DropReason::NoFrontend)?;
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
        (
            maps::exported(&key).ok_or(DropReason::NotExported)?,
            MAC_NONE,
        )
    };
    if current.flags & backend_flags::LOCAL != 0 {
        scratch.arrival = Arrival {
            client,
            dialled: flow.address,
            current: current.name,
            previous,
            peer: 0,
            identity,
            first,
            passed_on: false,
        };
        return Ok(Next::Arrive);
    }
    rewrite::apply(
        ctx,
        packet,
        &Change {
            source: client,
            destination: flow.address,
            ..Change::none(packet)
        },
    )?;
    let outer = Outer {
        node: v4(&current.node),
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
