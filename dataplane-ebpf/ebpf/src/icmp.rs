//! Shell: ICMP errors about known flows, answerer to client. Their quotes are translated by the same entries.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Config, DropReason, FlowKey, FlowKind, Pod, protocol};

use crate::{
    client,
    family::Family,
    flow,
    ip::Header,
    lookup, maps,
    parse::Kind,
    pod::answer_outer,
    rewrite::{self, Change, ICMP_CHECKSUM, store},
    send,
    skb::{self, Packet, Place},
    verdict::Action,
};

/// The packet that an error is about, as far as it is quoted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Quote<A: Family> {
    ip: A::Header,
    /// Offset of the quoted IP header in the frame.
    at: u32,
    /// Offset of the quoted transport header, and whose it is.
    l4: u32,
    protocol: u8,
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

#[inline(always)]
fn quote<A: Family>(ctx: &TcContext, packet: &Packet<A>) -> Result<&'static Quote<A>, DropReason> {
    let at = packet.l4 + 8;
    let quote = &mut maps::room::<A>()?.quote;
    let ip = &mut quote.ip;
    skb::load(ctx, at, ip).ok_or(DropReason::BadTransport)?;
    // It may say more bytes than were quoted.
    ip.check(u32::MAX).map_err(|_| DropReason::BadTransport)?;
    let Place { protocol, l4 } = A::transport_at(ctx, ip, at)?;
    // RFC 792 grants eight bytes of what follows the header.
    let bytes: [u8; 8] = ctx
        .load(l4 as usize)
        .map_err(|_| DropReason::BadTransport)?;
    let [a, b, c, d, ..] = bytes;
    let (source_port, destination_port) = match protocol {
        protocol::TCP | protocol::UDP => ([a, b], [c, d]),
        _ if protocol == A::ICMP => match A::parse_icmp(&bytes)? {
            echo if echo.kind == Kind::EchoRequest => (echo.source_port, [0; 2]),
            _ => return Err(DropReason::UnsupportedProtocol),
        },
        _ => return Err(DropReason::UnsupportedProtocol),
    };
    quote.at = at;
    quote.l4 = l4;
    quote.protocol = protocol;
    quote.source_port = source_port;
    quote.destination_port = destination_port;
    Ok(quote)
}

/// What becomes of a quote.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Quoted<A> {
    source: A,
    destination: A,
    destination_port: [u8; 2],
}

/// Translates the quote. Where a header has a checksum, that makes up for its addresses, and only ports touch the ICMP
/// checksum.
#[inline(never)]
fn rewrite_quote<A: Family>(
    ctx: &TcContext,
    packet: &Packet<A>,
    quote: &Quote<A>,
    to: &Quoted<A>,
) -> Result<(), DropReason> {
    store(
        ctx,
        quote.at,
        &quote.ip.readdressed(to.source, to.destination),
    )?;
    let checksum = (packet.l4 + ICMP_CHECKSUM) as usize;
    if A::ICMP_KNOWS_ADDRESSES {
        let sum = A::replaced(0, quote.ip.source(), to.source);
        let sum = A::replaced(sum, quote.ip.destination(), to.destination);
        ctx.l4_csum_replace(checksum, 0, u64::from(sum), 0)
            .map_err(|_| DropReason::KernelRefused)?;
    }
    let port = to.destination_port;
    if quote.protocol == A::ICMP || port == quote.destination_port {
        return Ok(());
    }
    let (from, to) = (
        u16::from_ne_bytes(quote.destination_port),
        u16::from_ne_bytes(port),
    );
    ctx.l4_csum_replace(checksum, u64::from(from), u64::from(to), 2)
        .map_err(|_| DropReason::KernelRefused)?;
    store(ctx, quote.l4 + 2, &port)
}

apart! {
    /// A pod says that what a peer's client sent it went wrong.
    pub fn from_pod<A> = complained(ctx: &TcContext, config: &Config, packet: &Packet<A>) -> Action
}

#[inline(always)]
fn complained<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
) -> Result<Action, DropReason> {
    let identity = maps::scratch()?.identity;
    let (pod, client) = (packet.ip.source(), packet.ip.destination());
    if A::is_vip(config, client) {
        return Err(DropReason::UnsupportedProtocol);
    }
    let quote = quote(ctx, packet)?;
    let key = &mut maps::room::<A>()?.key;
    *key = FlowKey {
        local: pod,
        remote: client,
        local_port: quote.destination_port,
        remote_port: quote.source_port,
        protocol: quote.protocol,
        kind: FlowKind::Backend as u8,
        reserved: [0; 2],
    };
    let found = flow::find(key).ok_or(DropReason::NoFlow)?;
    if quote.ip.source() != client || quote.ip.destination() != pod {
        return Err(DropReason::NoFlow);
    }
    let flow = found.flow();
    let (peer, client) = lookup::mapped_out(client)?;
    if peer != flow.peer {
        return Err(DropReason::NoFlow);
    }
    let dialled = A::of(&flow.address);
    let change = Change::of(packet)?;
    change.source = dialled;
    change.destination = client;
    let quoted = &mut maps::room::<A>()?.quoted;
    *quoted = Quoted {
        source: client,
        destination: dialled,
        destination_port: flow.port,
    };
    if peer == 0
        && let Some(pod) = A::pod(&client)
    {
        rewrite_quote(ctx, packet, quote, quoted)?;
        rewrite::apply(ctx, packet, change)?;
        return send::deliver(ctx, pod.ifindex, pod.pod_mac, pod.host_mac);
    }
    let outer = answer_outer(config, flow, client, identity)?;
    rewrite_quote(ctx, packet, quote, quoted)?;
    rewrite::apply(ctx, packet, change)?;
    send::tunnel(ctx, config, &outer)
}

apart! {
    /// An error comes home to the client whose entry it quotes.
    pub fn to_client<A> = told(ctx: &TcContext, config: &Config, packet: &Packet<A>, pod: &Pod) -> Action
}

#[inline(always)]
fn told<A: Family>(
    ctx: &TcContext,
    config: &Config,
    packet: &Packet<A>,
    pod: &Pod,
) -> Result<Action, DropReason> {
    let peer = maps::scratch()?.inbound.vni.number;
    let quote = quote(ctx, packet)?;
    let (client, theirs) = (packet.ip.destination(), quote.ip.destination());
    let key = &mut maps::room::<A>()?.key;
    *key = FlowKey {
        local: client,
        remote: A::default(),
        local_port: quote.source_port,
        remote_port: quote.destination_port,
        protocol: quote.protocol,
        kind: FlowKind::Client as u8,
        reserved: [0; 2],
    };
    if quote.ip.source() != client {
        return Err(DropReason::NoFlow);
    }
    client::entry(config, key, peer, theirs)?;
    let view = key.remote;
    let quoted = &mut maps::room::<A>()?.quoted;
    *quoted = Quoted {
        source: client,
        destination: view,
        destination_port: quote.destination_port,
    };
    rewrite_quote(ctx, packet, quote, quoted)?;
    // A hop of theirs that has no address here speaks as the service.
    let source = lookup::seen_here(config, peer, packet.ip.source()).unwrap_or(view);
    let change = Change::of(packet)?;
    change.source = source;
    rewrite::apply(ctx, packet, change)?;
    send::deliver(ctx, pod.ifindex, pod.pod_mac, pod.host_mac)
}
