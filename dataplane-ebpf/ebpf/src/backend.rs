//! Shell: the end-node step at the backend: which of this node's endpoints takes the packet, or is it passed on?

use aya_ebpf::programs::TcContext;
use causeway_abi::{
    Config, DropReason, Flow, FlowKey, FlowKind, LocalBackend, LocalBackendKey, MAC_NONE, Vni,
    faults, flow_hash,
};

use crate::{
    family::Family,
    flow::{self, Found},
    maps,
    rewrite::{self, Change},
    send::{self, Outer},
    skb::{self, Packet},
    verdict::Action,
    walk::Next,
};

/// What is known of a packet that comes to its backend (the packet itself may still have other addresses).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Arrival<A> {
    /// The client as it appears here.
    pub client: A,
    /// VIP, or the endpoint's own address if headless.
    pub dialled: A,
    pub current: [u8; 6],
    /// [`MAC_NONE`] if none.
    pub previous: [u8; 6],
    pub peer: u16,
    pub identity: u16,
    pub first: bool,
    pub passed_on: bool,
}

/// The endpoint that takes a packet, and its entry if there is one.
#[derive(Clone, Copy)]
struct Candidate {
    backend: Option<&'static LocalBackend>,
    found: Option<Found>,
}

apart! {
    /// The current endpoint takes what is new or known to it, the previous one what is known to it; else the packet is
    /// passed on once to the previous one's node, and taken by the last node asked.
    pub fn arrive<A> = arrived(ctx: &TcContext, config: &Config, packet: &Packet<A>) -> Next
}

#[inline(always)]
fn arrived<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Next, DropReason> {
    let arrival = &maps::room::<A>()?.arrival;
    let current = candidate(packet, arrival, arrival.current)?;
    let taken = current.backend.is_some() && (arrival.first || knows(&current, packet, arrival));
    let chosen = if taken || arrival.previous == MAC_NONE {
        current
    } else {
        let previous = candidate(packet, arrival, arrival.previous)?;
        if previous.backend.is_none() {
            if !arrival.passed_on
                && config.faults & faults::PASS_ON == 0
                && maps::backend_node(&arrival.previous).is_some()
            {
                return Ok(Next::PassOn);
            }
            current
        } else if current.backend.is_none()
            || arrival.passed_on
            || knows(&previous, packet, arrival)
        {
            previous
        } else {
            current
        }
    };
    take(ctx, packet, arrival, &chosen).map(|_| Next::Delivered)
}

/// The named endpoint, if it is of this node and was dialled rightly, and its entry.
#[inline(always)]
fn candidate<A: Family>(
    packet: &Packet<A>,
    arrival: &Arrival<A>,
    name: [u8; 6],
) -> Result<Candidate, DropReason> {
    let backend = local(packet, arrival, name);
    let found = match backend {
        Some(backend) => flow::find(key(packet, arrival, backend)?),
        None => None,
    };
    Ok(Candidate { backend, found })
}

#[inline(always)]
fn knows<A: Family>(candidate: &Candidate, packet: &Packet<A>, arrival: &Arrival<A>) -> bool {
    match (candidate.backend, candidate.found) {
        (Some(backend), Some(found)) => matches(&found, packet, arrival, backend),
        _ => false,
    }
}

#[inline(always)]
fn local<A: Family>(
    packet: &Packet<A>,
    arrival: &Arrival<A>,
    name: [u8; 6],
) -> Option<&'static LocalBackend> {
    let port = packet.transport.destination_port;
    A::local_backend(&LocalBackendKey {
        name,
        port,
        address: arrival.dialled,
    })
}

#[inline(always)]
fn key<A: Family>(
    packet: &Packet<A>,
    arrival: &Arrival<A>,
    backend: &LocalBackend,
) -> Result<&'static FlowKey<A>, DropReason> {
    let key = &mut maps::room::<A>()?.key;
    *key = FlowKey {
        local: A::of(&backend.address),
        remote: arrival.client,
        local_port: backend.port,
        remote_port: packet.transport.source_port,
        protocol: packet.protocol,
        kind: FlowKind::Backend as u8,
        reserved: [0; 2],
    };
    Ok(key)
}

/// Whether an entry is of this very connection.
#[inline(always)]
fn matches<A: Family>(
    found: &Found,
    packet: &Packet<A>,
    arrival: &Arrival<A>,
    backend: &LocalBackend,
) -> bool {
    let flow = found.flow();
    flow.peer == arrival.peer
        && A::of(&flow.address) == arrival.dialled
        && flow.port == packet.transport.destination_port
        && flow.generation == backend.generation
}

/// Gives the packet to its endpoint, with an entry.
#[inline(always)]
fn take<A: Family>(
    ctx: &TcContext,
    packet: &Packet<A>,
    arrival: &Arrival<A>,
    candidate: &Candidate,
) -> Result<Action, DropReason> {
    let backend = candidate.backend.ok_or(DropReason::NoBackend)?;
    let now = skb::now();
    let key = key(packet, arrival, backend)?;
    let new = match candidate.found {
        Some(found) if matches(&found, packet, arrival, backend) => {
            flow::opener_seen(key, &found, packet, now)?;
            false
        }
        // The same endpoint generation under another VIP: two connections that the backend could not tell apart.
        Some(found)
            if found.flow().generation == backend.generation && flow::blocks(&found, now) =>
        {
            return Err(DropReason::VipCollision);
        }
        other => {
            let entry = entry(packet, arrival, backend, now)?;
            flow::open(key, entry, other)?;
            true
        }
    };
    maps::count_served(backend.service, packet.length, new);
    let change = Change::of(packet)?;
    change.source = arrival.client;
    change.destination = A::of(&backend.address);
    change.destination_port = backend.port;
    rewrite::apply(ctx, packet, change)?;
    send::deliver(ctx, backend.ifindex, backend.pod_mac, backend.host_mac)
}

#[inline(always)]
fn entry<A: Family>(
    packet: &Packet<A>,
    arrival: &Arrival<A>,
    backend: &LocalBackend,
    now: u64,
) -> Result<&'static mut Flow, DropReason> {
    // Replies may take any gateway: the hash of what the backend sees will do.
    let seed = maps::config().map_or([0; 16], |config| config.hash_seed);
    let mut tuple = packet.tuple(arrival.dialled, false);
    tuple.source = arrival.client;
    let flow = &mut maps::scratch()?.flow;
    *flow = Flow {
        peer: arrival.peer,
        identity: arrival.identity,
        port: packet.transport.destination_port,
        address: arrival.dialled.wide(),
        hash: flow_hash(&seed, &tuple),
        generation: backend.generation,
        service: backend.service,
        started: now,
        seen: now,
        ..Flow::default()
    };
    Ok(flow)
}

apart! {
    /// To the node of the previous endpoint.
    pub fn pass_on<A> = passed_on(ctx: &TcContext, config: &Config, packet: &Packet<A>) -> Action
}

#[inline(always)]
fn passed_on<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Action, DropReason> {
    let arrival = &maps::room::<A>()?.arrival;
    let place = maps::backend_node(&arrival.previous).ok_or(DropReason::NoBackend)?;
    let change = Change::of(packet)?;
    change.source = arrival.client;
    change.destination = arrival.dialled;
    rewrite::apply(ctx, packet, change)?;
    let outer = Outer {
        node: place.node.last_four(),
        vni: Vni {
            number: arrival.peer,
            from: true,
            first: arrival.first,
            passed_on: true,
            ..Vni::default()
        },
        identity: arrival.identity,
        destination_mac: arrival.current,
        source_mac: arrival.previous,
    };
    send::tunnel(ctx, config, &outer).map(|_| Action::PassOn)
}
