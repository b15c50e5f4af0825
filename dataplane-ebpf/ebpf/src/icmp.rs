//! Shell: ICMP errors about known flows, answerer to client. Their quotes are translated by the same entries.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason, FlowKey4, FlowKind, Pod, protocol};

use crate::{
    client, flow, lookup, maps,
    parse::{Ipv4, checksum_after, sum_replace},
    pod::answer_outer,
    rewrite::{self, Change, store},
    send,
    skb::Packet,
    verdict::Action,
};

/// The packet that an error is about, as far as it is quoted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Quote {
    ip: Ipv4,
    /// Offset of the quoted IP header in the frame.
    at: u32,
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

#[inline(always)]
fn quote(ctx: &TcContext, packet: &Packet) -> Result<&'static Quote, DropReason> {
    let at = packet.l4 + 8;
    let ip: Ipv4 = ctx
        .load(at as usize)
        .map_err(|_| DropReason::BadTransport)?;
    let length = ip.header_length();
    if ip.version_ihl >> 4 != 4 || length < 20 {
        return Err(DropReason::BadTransport);
    }
    // RFC 792 grants eight bytes of what follows the header.
    let l4: [u8; 8] = ctx
        .load((at + length) as usize)
        .map_err(|_| DropReason::BadTransport)?;
    let [a, b, c, d, id0, id1, _, _] = l4;
    let (source_port, destination_port) = match ip.protocol {
        protocol::TCP | protocol::UDP => ([a, b], [c, d]),
        protocol::ICMP if a == 8 => ([id0, id1], [0; 2]),
        _ => return Err(DropReason::UnsupportedProtocol),
    };
    let quote = &mut maps::scratch()?.quote;
    *quote = Quote {
        ip,
        at,
        source_port,
        destination_port,
    };
    Ok(quote)
}

/// Translates the quote. A header's checksum makes up for its addresses, so only ports touch the ICMP checksum.
#[inline(never)]
fn rewrite_quote(
    ctx: &TcContext,
    packet: &Packet,
    quote: &Quote,
    source: [u8; 4],
    destination: ([u8; 4], [u8; 2]),
) -> Result<(), DropReason> {
    let (address, port) = destination;
    let sum = sum_replace(
        sum_replace(0, quote.ip.source, source),
        quote.ip.destination,
        address,
    );
    let ip = Ipv4 {
        source,
        destination: address,
        checksum: checksum_after(quote.ip.checksum, sum),
        ..quote.ip
    };
    store(ctx, quote.at, &ip)?;
    if quote.ip.protocol == protocol::ICMP || port == quote.destination_port {
        return Ok(());
    }
    let (from, to) = (
        u16::from_ne_bytes(quote.destination_port),
        u16::from_ne_bytes(port),
    );
    ctx.l4_csum_replace(packet.l4 as usize + 2, u64::from(from), u64::from(to), 2)
        .map_err(|_| DropReason::KernelRefused)?;
    store(ctx, quote.at + quote.ip.header_length() + 2, &port)
}

apart! {
    /// A pod says that what a peer's client sent it went wrong.
    pub fn from_pod = complained(ctx: &TcContext, config: &Config, packet: &Packet) -> Action
}

#[inline(always)]
fn complained(ctx: &TcContext, config: &Config, packet: &Packet) -> Result<Action, DropReason> {
    let identity = maps::scratch()?.identity;
    if lookup::is_vip(config, packet.ip.destination) {
        return Err(DropReason::UnsupportedProtocol);
    }
    let quote = quote(ctx, packet)?;
    let key = FlowKey4 {
        local: packet.ip.source,
        remote: packet.ip.destination,
        local_port: quote.destination_port,
        remote_port: quote.source_port,
        protocol: quote.ip.protocol,
        kind: FlowKind::Backend as u8,
        reserved: [0; 2],
    };
    let found = flow::find(&key).ok_or(DropReason::NoFlow)?;
    if quote.ip.source != packet.ip.destination || quote.ip.destination != packet.ip.source {
        return Err(DropReason::NoFlow);
    }
    let flow = found.flow();
    let (peer, client) = lookup::mapped_out(packet.ip.destination)?;
    if peer != flow.peer {
        return Err(DropReason::NoFlow);
    }
    let change = Change {
        source: flow.address,
        destination: client,
        ..Change::none(packet)
    };
    if peer == 0
        && let Some(pod) = maps::pod(&client)
    {
        rewrite_quote(ctx, packet, quote, client, (flow.address, flow.port))?;
        rewrite::apply(ctx, packet, &change)?;
        return send::deliver(ctx, pod.ifindex, pod.pod_mac, pod.host_mac);
    }
    let outer = answer_outer(config, flow, client, identity)?;
    rewrite_quote(ctx, packet, quote, client, (flow.address, flow.port))?;
    rewrite::apply(ctx, packet, &change)?;
    send::tunnel(ctx, config, &outer)
}

apart! {
    /// An error comes home to the client whose entry it quotes.
    pub fn to_client = told(ctx: &TcContext, config: &Config, packet: &Packet, pod: &Pod) -> Action
}

#[inline(always)]
fn told(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet,
    pod: &Pod,
) -> Result<Action, DropReason> {
    let peer = maps::scratch()?.inbound.vni.number;
    let quote = quote(ctx, packet)?;
    let theirs = quote.ip.destination;
    let mut key = FlowKey4 {
        local: packet.ip.destination,
        remote: [0; 4],
        local_port: quote.source_port,
        remote_port: quote.destination_port,
        protocol: quote.ip.protocol,
        kind: FlowKind::Client as u8,
        reserved: [0; 2],
    };
    if quote.ip.source != packet.ip.destination {
        return Err(DropReason::NoFlow);
    }
    client::entry(config, &mut key, peer, theirs)?;
    let view = key.remote;
    rewrite_quote(
        ctx,
        packet,
        quote,
        quote.ip.source,
        (view, quote.destination_port),
    )?;
    // A hop of theirs that has no address here speaks as the service.
    let source = lookup::seen_here(config, peer, packet.ip.source).unwrap_or(view);
    rewrite::apply(
        ctx,
        packet,
        &Change {
            source,
            ..Change::none(packet)
        },
    )?;
    send::deliver(ctx, pod.ifindex, pod.pod_mac, pod.host_mac)
}
