//! Shell: the decisions that are lookups: which pool, mapping, ring stages, next hop.

use causeway_abi::{
    Backend, Config, DropReason, Frontend, FrontendKey, MAC_NONE, NO_ORDINAL, OrdinalKey,
    ReverseKey, Route, Slot, V6, Vni, config_flags, faults, limits::ROUTE_GATEWAYS, route_flags,
};

use crate::{
    family::Family,
    maps::{self, hidden},
    parse::Kind,
    send::BY_SESSION,
    skb::Packet,
};

/// Whether an address is one of ours to translate: VIP pool, mapping pool, native prefixes.
#[inline(always)]
#[must_use]
pub fn covers<A: Family>(config: &Config, address: A) -> bool {
    A::is_vip(config, address)
        || A::is_mapped(config, address)
        || (config.flags & config_flags::NATIVE != 0 && A::map_out(address).is_some())
}

/// A peer's address as it appears here.
#[inline(always)]
#[must_use]
pub fn mapped_in<A: Family>(peer: u16, address: A) -> Option<A> {
    let mapping = A::map_in(peer, address)?;
    Some(address.moved(A::of(&mapping.base), mapping.bits))
}

/// An address of ours in its owner's numbering, and the owner.
#[inline(always)]
pub fn mapped_out<A: Family>(address: A) -> Result<(u16, A), DropReason> {
    let mapping = A::map_out(address).ok_or(DropReason::NoMapping)?;
    Ok((
        mapping.peer,
        address.moved(A::of(&mapping.base), mapping.bits),
    ))
}

/// What the clients here call the address that a peer calls `theirs`: our VIP for its VIP, or a mapped address.
#[inline(always)]
#[must_use]
pub fn seen_here<A: Family>(config: &Config, peer: u16, theirs: A) -> Option<A> {
    if peer == 0 && A::is_vip(config, theirs) {
        return Some(theirs);
    }
    let key = ReverseKey {
        peer: u32::from(peer).to_be_bytes(),
        vip: theirs,
    };
    if let Some(reverse) = A::reverse(&key) {
        return Some(A::of(&reverse.vip));
    }
    mapped_in(peer, theirs)
}

/// The key of what this packet dials. Echo is keyed without a port.
#[inline(always)]
#[must_use]
pub fn dialled<A: Family>(packet: &Packet<A>, address: A) -> FrontendKey<A> {
    let port = if packet.protocol == A::ICMP {
        [0; 2]
    } else {
        packet.transport.destination_port
    };
    FrontendKey {
        address,
        port,
        protocol: packet.protocol,
        reserved: 0,
    }
}

/// May this packet open anything? An answer or an error never does.
#[inline(always)]
#[must_use]
pub const fn opens<A: Family>(packet: &Packet<A>) -> bool {
    matches!(
        packet.transport.kind,
        Kind::Tcp | Kind::Udp | Kind::EchoRequest
    )
}

/// Stage two's answer: where to, and the two names for the MACs.
#[derive(Clone, Copy)]
pub struct Chosen {
    pub current: &'static Backend,
    /// [`MAC_NONE`] if none.
    pub previous: [u8; 6],
}

/// Stage two: the endpoint for a flow hash. Where all members are gone and some still drain, a slot has previous
/// owners only, and takes nothing new.
#[inline(always)]
pub fn stage_two(frontend: &Frontend, hash: u32, first: bool) -> Result<Chosen, DropReason> {
    let Slot {
        mut current,
        mut previous,
    } = maps::slot(frontend.stage_two, hash);
    if previous == NO_ORDINAL {
        previous = older_owner(frontend, hash, current);
    }
    if current == NO_ORDINAL && !first {
        current = previous;
        previous = older_owner(frontend, hash, current);
    }
    if current == NO_ORDINAL {
        maps::count_rejected(frontend.service);
        return Err(DropReason::NobodyReady);
    }
    let key = |ordinal| OrdinalKey {
        port_id: frontend.port_id,
        ordinal,
        reserved: 0,
    };
    let current = maps::backend(&key(current)).ok_or(DropReason::DanglingId)?;
    let previous = if previous == NO_ORDINAL {
        None
    } else {
        maps::backend(&key(previous))
    };
    Ok(Chosen {
        current,
        previous: previous.map_or(MAC_NONE, |backend| backend.name),
    })
}

/// The owner by generations of another ring size, if there are any.
#[inline(always)]
fn older_owner(frontend: &Frontend, hash: u32, current: u16) -> u16 {
    let slot = maps::slot(frontend.stage_two_older, hash);
    if slot.current != NO_ORDINAL && slot.current != current {
        slot.current
    } else if slot.previous != current {
        slot.previous
    } else {
        NO_ORDINAL
    }
}

/// The next hop towards a peer.
#[derive(Clone, Copy)]
pub struct Hop {
    pub node: [u8; 4],
    pub number: u16,
    /// Straight to the peer: it comes from us. Else towards it, by a gateway of ours.
    pub straight: bool,
}

impl Hop {
    /// The VNI for this hop.
    #[inline(always)]
    #[must_use]
    pub const fn vni(&self, first: bool, reply: bool) -> Vni {
        Vni {
            number: self.number,
            from: self.straight,
            first,
            reply,
            passed_on: false,
            probe: false,
        }
    }
}

/// Finds the next hop: straight from a gateway node, or for replies where the peer takes them so. What is to be encrypted
/// goes by a gateway in any case.
#[inline(always)]
pub fn hop(config: &Config, peer: u16, hash: u32, reply: bool) -> Result<Hop, DropReason> {
    let route = maps::route(&u32::from(peer)).ok_or(DropReason::NoRoute)?;
    let gateway = config.flags & config_flags::GATEWAY != 0;
    let encrypted = route.flags & route_flags::SESSION != 0;
    if encrypted && route.flags & route_flags::HERE != 0 {
        return Ok(Hop {
            node: BY_SESSION,
            number: peer,
            straight: false,
        });
    }
    let direct = reply
        && !encrypted
        && route.flags & route_flags::DIRECT_REPLY != 0
        && config.faults & faults::DIRECT_REPLY == 0;
    if (gateway && !encrypted) || direct {
        if let Some(node) = pick(&route.peer_gateways, route.peer_gateway_count, hash) {
            return Ok(Hop {
                node,
                number: route.their_number,
                straight: true,
            });
        }
        if gateway {
            return Err(DropReason::NoRoute);
        }
    }
    let node =
        pick(&route.own_gateways, route.own_gateway_count, hash).ok_or(DropReason::NoRoute)?;
    Ok(Hop {
        node,
        number: peer,
        straight: false,
    })
}

/// The next hop where no other gateway may be asked any more: this node's, whatever it can do.
#[inline(always)]
pub fn last_hop(config: &Config, peer: u16) -> Result<Hop, DropReason> {
    let route = maps::route(&u32::from(peer)).ok_or(DropReason::NoRoute)?;
    if route.flags & route_flags::SESSION == 0 {
        return Err(DropReason::BadTunnelHeader);
    }
    if config.session_ifindex == 0 {
        return Err(DropReason::NoRoute);
    }
    Ok(Hop {
        node: BY_SESSION,
        number: peer,
        straight: false,
    })
}

/// The number under which a peer knows us.
#[inline(always)]
pub fn their_number(peer: u16) -> Result<u16, DropReason> {
    let route: &Route = maps::route(&u32::from(peer)).ok_or(DropReason::NoRoute)?;
    Ok(route.their_number)
}

#[inline(always)]
fn pick(list: &[V6; ROUTE_GATEWAYS], count: u16, hash: u32) -> Option<[u8; 4]> {
    let count = u32::from(count).min(ROUTE_GATEWAYS as u32);
    if count == 0 {
        return None;
    }
    // Hidden from the compiler, which would drop a check that the verifier needs.
    let index = hidden(u64::from(hash % count)) as usize;
    if index >= ROUTE_GATEWAYS {
        return None;
    }
    // SAFETY: within the list, just checked.
    Some(unsafe { &*list.as_ptr().add(index) }.last_four())
}
