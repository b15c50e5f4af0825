//! Shell: the end-node step at the backend: which of this node's endpoints takes the packet, or is it passed on?

use aya_ebpf::programs::TcContext;
use causeway_abi::{
    Config, DropReason, Flow, FlowKey4, FlowKind, LocalBackend, LocalBackendKey4, MAC_NONE, Vni,
    faults, flow_hash, v4,
};

use crate::{
    flow::{self, Found},
    maps,
    rewrite::{self, Change},
    send::{self, Outer},
    skb::{self, Packet},
    verdict::Action,
};

/// What is known of a packet that comes to its backend (the packet itself may still have other addresses).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Arrival {
    /// The client as it appears here.
    pub client: [u8; 4],
    /// VIP, or the endpoint's own address if headless.
    pub dialled: [u8; 4],
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
    pub fn arrive = arrived(ctx: &TcContext, config: &Config, packet: &Packet) -> Action
}

#[inline(always)]
fn arrived(ctx: &TcContext, config: &Config, packet: &Packet) -> Result<Action, DropReason> {
    let arrival = &maps::scratch()?.arrival;
    let current = candidate(packet, arrival, arrival.current);
    let taken = current.backend.is_some() && (arrival.first || knows(&current, packet, arrival));
    let chosen = if taken || arrival.previous == MAC_NONE {
        current
    } else {
        let previous = candidate(packet, arrival, arrival.previous);
        if previous.backend.is_none() {
            if !arrival.passed_on
                && config.faults & faults::PASS_ON == 0
                && let Some(place) = maps::backend_node(&arrival.previous)
            {
                return pass_on(ctx, config, packet, v4(&place.node));
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
    take(ctx, packet, arrival, &chosen)
}

/// The named endpoint, if it is of this node and was dialled rightly, and its entry.
#[inline(always)]
fn candidate(packet: &Packet, arrival: &Arrival, name: [u8; 6]) -> Candidate {
    let backend = local(packet, arrival, name);
    let found = match backend {
        Some(backend) => flow::find(&key(packet, arrival, backend)),
        None => None,
    };
    Candidate { backend, found }
}

#[inline(always)]
fn knows(candidate: &Candidate, packet: &Packet, arrival: &Arrival) -> bool {
    match (candidate.backend, candidate.found) {
        (Some(backend), Some(found)) => matches(&found, packet, arrival, backend),
        _ => false,
    }
}

#[inline(always)]
fn local(packet: &Packet, arrival: &Arrival, name: [u8; 6]) -> Option<&'static LocalBackend> {
    let port = packet.transport.destination_port;
    maps::local_backend(&LocalBackendKey4 {
        name,
        port,
        address: arrival.dialled,
    })
}

#[inline(always)]
fn key(packet: &Packet, arrival: &Arrival, backend: &LocalBackend) -> FlowKey4 {
    FlowKey4 {
        local: v4(&backend.address),
        remote: arrival.client,
        local_port: backend.port,
        remote_port: packet.transport.source_port,
        protocol: packet.ip.protocol,
        kind: FlowKind::Backend as u8,
        reserved: [0; 2],
    }
}

/// Whether an entry is of this very connection.
#[inline(always)]
fn matches(found: &Found, packet: &Packet, arrival: &Arrival, backend: &LocalBackend) -> bool {
    let flow = found.flow();
    flow.peer == arrival.peer
        && flow.address == arrival.dialled
        && flow.port == packet.transport.destination_port
        && flow.generation == backend.generation
}

/// Gives the packet to its endpoint, with an entry.
#[inline(always)]
fn take(
    ctx: &TcContext,
    packet: &Packet,
    arrival: &Arrival,
    candidate: &Candidate,
) -> Result<Action, DropReason> {
    let backend = candidate.backend.ok_or(DropReason::NoBackend)?;
    let now = skb::now();
    let key = key(packet, arrival, backend);
    let new = match candidate.found {
        Some(found) if matches(&found, packet, arrival, backend) => {
            flow::opener_seen(&key, &found, packet, now)?;
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
            flow::open(&key, entry, other)?;
            true
        }
    };
    maps::count_served(backend.service, packet.length, new);
    let change = Change {
        source: arrival.client,
        destination: v4(&backend.address),
        destination_port: backend.port,
        ..Change::none(packet)
    };
    rewrite::apply(ctx, packet, &change)?;
    send::deliver(ctx, backend.ifindex, backend.pod_mac, backend.host_mac)
}

#[inline(always)]
fn entry(
    packet: &Packet,
    arrival: &Arrival,
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
        address: arrival.dialled,
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
    fn pass_on = passed_on(ctx: &TcContext, config: &Config, packet: &Packet, node: [u8; 4]) -> Action
}

#[inline(always)]
fn passed_on(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet,
    node: [u8; 4],
) -> Result<Action, DropReason> {
    let arrival = &maps::scratch()?.arrival;
    let change = Change {
        source: arrival.client,
        destination: arrival.dialled,
        ..Change::none(packet)
    };
    rewrite::apply(ctx, packet, &change)?;
    let outer = Outer {
        node,
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
