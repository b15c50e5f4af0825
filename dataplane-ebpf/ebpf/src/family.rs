//! Shell: what differs between IPv4 and IPv6. All other steps are written once, for an address `A` of either.

use aya_ebpf::programs::TcContext;
use causeway_abi::{Address, Config, DropReason, Port, V4, V6, protocol};

use crate::{
    ip::{Header, Ipv4, Ipv6},
    maps::{Room, Scratch, Tables, hidden},
    parse::{self, ETHERNET, Transport, sum_add, sum_replace},
    skb::{Glance, Place, header},
};

/// Extension headers (RFC 8200, section 4).
mod extension {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const DESTINATION: u8 = 60;
    /// How many are stepped over: one of each kind, and destination options twice.
    pub const MOST: u8 = 4;
}

/// A family, by its addresses.
pub trait Family: Tables {
    /// Its IP header, without options or extensions.
    type Header: Header<Address = Self>;
    /// As `__sk_buff::protocol` has it.
    const ETHERTYPE: u32;
    /// Its ICMP's number as a protocol.
    const ICMP: u8;
    /// Whether that ICMP's checksum covers the addresses.
    const ICMP_KNOWS_ADDRESSES: bool;
    /// Types of its ICMP's echo request and reply.
    const ECHO: (u8, u8);
    /// Type and code of its ICMP errors.
    const PORT_UNREACHABLE: [u8; 2];
    /// See [`Family::PORT_UNREACHABLE`].
    const TOO_BIG: [u8; 2];
    /// Bytes of its IP header.
    const LENGTH: u32;

    /// A sum of words with one address taken out and another put in.
    #[must_use]
    fn replaced(sum: u32, old: Self, new: Self) -> u32;

    /// Whether an address is of the VIP pool.
    #[must_use]
    fn is_vip(config: &Config, address: Self) -> bool;

    /// Whether an address is of the mapping pool.
    #[must_use]
    fn is_mapped(config: &Config, address: Self) -> bool;

    /// What a packet is at first sight, if its headers lie in one piece and have no extensions.
    #[must_use]
    fn glance_in_place(ctx: &TcContext) -> Option<Glance<Self>>;

    /// The same wherever they lie.
    #[must_use]
    fn glance_apart(ctx: &TcContext) -> Option<Glance<Self>>;

    /// Where the transport header stands, of a header that starts at `at`.
    fn transport_at(ctx: &TcContext, ip: &Self::Header, at: u32) -> Result<Place, DropReason>;

    /// The same of the packet itself, which must not be a fragment.
    fn transport(ctx: &TcContext, ip: &Self::Header) -> Result<Place, DropReason>;

    /// The address that a port's pod has in this family.
    #[must_use]
    fn own(port: &Port) -> Self;

    /// Its ICMP header.
    fn parse_icmp(bytes: &[u8; 8]) -> Result<Transport, DropReason>;

    /// Room for its packets.
    #[must_use]
    fn room(scratch: &'static mut Scratch) -> &'static mut Room<Self>;
}

impl Family for V4 {
    type Header = Ipv4;
    const ETHERTYPE: u32 = 0x0800_u16.to_be() as u32;
    const ICMP: u8 = protocol::ICMP;
    const ICMP_KNOWS_ADDRESSES: bool = false;
    const ECHO: (u8, u8) = (8, 0);
    const PORT_UNREACHABLE: [u8; 2] = [3, 3];
    const TOO_BIG: [u8; 2] = [3, 4];
    const LENGTH: u32 = 20;

    #[inline(always)]
    fn replaced(sum: u32, old: V4, new: V4) -> u32 {
        sum_replace(sum, old, new)
    }

    #[inline(always)]
    fn is_vip(config: &Config, address: V4) -> bool {
        u32::from_ne_bytes(address) & u32::from_ne_bytes(config.vip_mask)
            == u32::from_ne_bytes(config.vip_base)
    }

    #[inline(always)]
    fn is_mapped(config: &Config, address: V4) -> bool {
        let number = u32::from_be_bytes(address);
        number >= u32::from_be_bytes(config.mapping_low)
            && number <= u32::from_be_bytes(config.mapping_high)
    }

    #[inline(always)]
    fn glance_in_place(ctx: &TcContext) -> Option<Glance<V4>> {
        let end = ctx.data_end();
        let start = ctx.data() + ETHERNET as usize;
        if start + size_of::<Plain4>() > end {
            return None;
        }
        // SAFETY: within the packet, just checked; bytes have no alignment.
        let ip = unsafe { &*(start as *const Plain4) };
        // One sum for check and reading, or the verifier knows nothing of what is read.
        let ports = start + hidden(u64::from(ip.version_ihl & 0x0f) * 4) as usize;
        if ports + 4 > end {
            return None;
        }
        // SAFETY: as above.
        let [_, _, high, low] = unsafe { *(ports as *const [u8; 4]) };
        Some(Glance {
            protocol: ip.protocol,
            source: ip.source,
            destination: ip.destination,
            destination_port: first_port(ip.fragment, [high, low]),
        })
    }

    #[inline(always)]
    fn glance_apart(ctx: &TcContext) -> Option<Glance<V4>> {
        let ip = header::<V4>(ctx).ok()?;
        let at = ETHERNET + ip.header_length() + 2;
        let port = ctx.load::<[u8; 2]>(at as usize).unwrap_or_default();
        Some(Glance {
            protocol: ip.protocol,
            source: ip.source,
            destination: ip.destination,
            destination_port: first_port(ip.fragment, port),
        })
    }

    #[inline(always)]
    fn transport(ctx: &TcContext, ip: &Ipv4) -> Result<Place, DropReason> {
        if ip.is_fragment() {
            return Err(DropReason::Fragment);
        }
        Self::transport_at(ctx, ip, ETHERNET)
    }

    #[inline(always)]
    fn transport_at(_ctx: &TcContext, ip: &Ipv4, at: u32) -> Result<Place, DropReason> {
        Ok(Place {
            protocol: ip.protocol,
            l4: at + ip.header_length(),
        })
    }

    #[inline(always)]
    fn own(port: &Port) -> V4 {
        V4::of(&port.address)
    }

    #[inline(always)]
    fn parse_icmp(bytes: &[u8; 8]) -> Result<Transport, DropReason> {
        parse::parse_icmp(bytes)
    }

    #[inline(always)]
    fn room(scratch: &'static mut Scratch) -> &'static mut Room<V4> {
        &mut scratch.four
    }
}

/// An IPv4 header as it lies in the packet, at any address.
#[repr(C)]
struct Plain4 {
    version_ihl: u8,
    tos: u8,
    total_length: [u8; 2],
    id: [u8; 2],
    fragment: [u8; 2],
    ttl: u8,
    protocol: u8,
    checksum: [u8; 2],
    source: V4,
    destination: V4,
}

/// A port, which only the first fragment has.
#[inline(always)]
const fn first_port(fragment: [u8; 2], port: [u8; 2]) -> [u8; 2] {
    if u16::from_be_bytes(fragment) & 0x1fff == 0 {
        port
    } else {
        [0; 2]
    }
}

impl Family for V6 {
    type Header = Ipv6;
    const ETHERTYPE: u32 = 0x86dd_u16.to_be() as u32;
    const ICMP: u8 = protocol::ICMP6;
    const ICMP_KNOWS_ADDRESSES: bool = true;
    const ECHO: (u8, u8) = (128, 129);
    const PORT_UNREACHABLE: [u8; 2] = [1, 4];
    const TOO_BIG: [u8; 2] = [2, 0];
    const LENGTH: u32 = 40;

    #[inline(always)]
    fn replaced(mut sum: u32, old: V6, new: V6) -> u32 {
        for word in old.words() {
            sum = sum_add(sum, !word);
        }
        for word in new.words() {
            sum = sum_add(sum, word);
        }
        sum
    }

    #[inline(always)]
    fn is_vip(config: &Config, address: V6) -> bool {
        under(address, &config.vip6_base, &config.vip6_mask)
    }

    #[inline(always)]
    fn is_mapped(config: &Config, address: V6) -> bool {
        under(address, &config.mapping6_base, &config.mapping6_mask)
    }

    #[inline(always)]
    fn glance_in_place(ctx: &TcContext) -> Option<Glance<V6>> {
        let end = ctx.data_end();
        let start = ctx.data() + ETHERNET as usize;
        if start + size_of::<Plain6>() > end {
            return None;
        }
        // SAFETY: within the packet, just checked; an IP header starts at an even address on any link (`NET_IP_ALIGN`).
        let ip = unsafe { &*(start as *const Plain6) };
        if is_extension(ip.next) {
            return None;
        }
        Some(Glance {
            protocol: ip.next,
            source: halves(ip.source),
            destination: halves(ip.destination),
            destination_port: ip.destination_port,
        })
    }

    #[inline(always)]
    fn glance_apart(ctx: &TcContext) -> Option<Glance<V6>> {
        let ip = header::<V6>(ctx).ok()?;
        // A fragment, or what cannot be read, shows no port.
        let place = Self::transport_at(ctx, ip, ETHERNET);
        let (protocol, port) = match place {
            Ok(place) => (
                place.protocol,
                ctx.load(place.l4 as usize + 2).unwrap_or_default(),
            ),
            Err(_) => (ip.next, [0; 2]),
        };
        Some(Glance {
            protocol,
            source: ip.source,
            destination: ip.destination,
            destination_port: port,
        })
    }

    #[inline(always)]
    fn transport(ctx: &TcContext, ip: &Ipv6) -> Result<Place, DropReason> {
        Self::transport_at(ctx, ip, ETHERNET)
    }

    #[inline(always)]
    fn transport_at(ctx: &TcContext, ip: &Ipv6, at: u32) -> Result<Place, DropReason> {
        let place = behind_extensions(ctx, ip.next, at + Self::LENGTH);
        if place == FRAGMENT {
            return Err(DropReason::Fragment);
        }
        if place == 0 {
            return Err(DropReason::BadTransport);
        }
        Ok(Place {
            protocol: place as u8,
            l4: place >> 8,
        })
    }

    #[inline(always)]
    fn own(port: &Port) -> V6 {
        port.address6
    }

    #[inline(always)]
    fn parse_icmp(bytes: &[u8; 8]) -> Result<Transport, DropReason> {
        parse::parse_icmp6(bytes)
    }

    #[inline(always)]
    fn room(scratch: &'static mut Scratch) -> &'static mut Room<V6> {
        &mut scratch.six
    }
}

/// An IPv6 header as it lies in the packet, at any even address, and the ports of what mostly follows.
#[repr(C)]
struct Plain6 {
    first: [u8; 4],
    payload_length: [u8; 2],
    next: u8,
    hops: u8,
    source: [u16; 8],
    destination: [u16; 8],
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

#[inline(always)]
const fn halves([a, b, c, d, e, f, g, h]: [u16; 8]) -> V6 {
    V6::of_words([whole(a, b), whole(c, d), whole(e, f), whole(g, h)])
}

#[inline(always)]
const fn whole(first: u16, second: u16) -> u32 {
    let ([a, b], [c, d]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

/// In place of an offset: a fragment.
const FRAGMENT: u32 = u32::MAX;

/// Whether something other than the transport header follows.
#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        extension::HOP_BY_HOP | extension::ROUTING | extension::FRAGMENT | extension::DESTINATION
    )
}

/// The transport's offset and number (in the low byte) behind extension headers; [`FRAGMENT`]; 0 where they are cut off, are
/// too many, or name further hops, whose addresses the checksums would be of. One number: see `outcome`.
#[inline(never)]
fn behind_extensions(ctx: &TcContext, next: u8, at: u32) -> u32 {
    let (mut next, mut at) = (next, at);
    for _ in 0..extension::MOST {
        if !is_extension(next) {
            return at << 8 | u32::from(next);
        }
        if next == extension::FRAGMENT {
            return FRAGMENT;
        }
        let Ok([following, length, _, segments_left]) = ctx.load::<[u8; 4]>(at as usize) else {
            return 0;
        };
        if next == extension::ROUTING && segments_left != 0 {
            return 0;
        }
        at += (u32::from(length) + 1) * 8;
        next = following;
    }
    if is_extension(next) {
        return 0;
    }
    at << 8 | u32::from(next)
}

/// Whether an address is under a prefix.
#[inline(always)]
fn under(address: V6, base: &V6, mask: &V6) -> bool {
    let [a, b, c, d] = address.words();
    let ([w, x, y, z], [m, n, o, p]) = (base.words(), mask.words());
    ((a & m) ^ w) | ((b & n) ^ x) | ((c & o) ^ y) | ((d & p) ^ z) == 0
}
