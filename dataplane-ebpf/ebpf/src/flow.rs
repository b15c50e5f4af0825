//! Shell: entries of connections, at the two end nodes only. A new one waits in `half4` until both directions were
//! seen, so that a flood of new ones evicts only its like.

use core::ptr::NonNull;

use causeway_abi::{
    DropReason, Flow, FlowKey, flow_flags,
    limits::{COLLISION_NANOS, DATAGRAM_IDLE_NANOS, HALF_OPEN_NANOS, SEEN_STEP_NANOS},
};

use crate::{
    family::Family,
    maps,
    parse::{Kind, tcp},
    skb::Packet,
};

/// An entry in its table. A mere pointer, so that "none" is null and nothing of it is undefined to the verifier.
#[derive(Clone, Copy)]
pub struct Found(NonNull<Flow>);

impl Found {
    /// The entry.
    #[inline(always)]
    #[must_use]
    pub fn flow(&self) -> &'static Flow {
        // SAFETY: an LRU element is memory of the map for ever; were it reused this moment we would read another flow's
        // fields, as with any LRU map.
        unsafe { &*self.0.as_ptr() }
    }

    #[inline(always)]
    fn half(&self) -> bool {
        self.flow().flags & flow_flags::HALF != 0
    }

    #[inline(always)]
    fn set_flags(&self, flags: u16) {
        // SAFETY: as above; a lost update costs a retransmission at worst.
        unsafe { (*self.0.as_ptr()).flags = flags }
    }

    /// Notes that it was used now.
    #[inline(always)]
    pub fn touch(&self, now: u64) {
        if now.wrapping_sub(self.flow().seen) > SEEN_STEP_NANOS {
            // SAFETY: as above.
            unsafe { (*self.0.as_ptr()).seen = now }
        }
    }

    #[inline(always)]
    fn replied(&self) -> bool {
        self.flow().flags & flow_flags::REPLIED != 0
    }
}

/// Looks in both tables.
#[inline(always)]
#[must_use]
pub fn find<A: Family>(key: &FlowKey<A>) -> Option<Found> {
    if let Some(entry) = A::flows().get_ptr_mut(key) {
        return NonNull::new(entry).map(Found);
    }
    NonNull::new(A::half().get_ptr_mut(key)?).map(Found)
}

/// A new entry, half-open; whatever stood under its key before goes.
#[inline(always)]
pub fn open<A: Family>(
    key: &FlowKey<A>,
    flow: &mut Flow,
    before: Option<Found>,
) -> Result<(), DropReason> {
    if before.is_some_and(|found| !found.half()) {
        // Absent by now is as good.
        let _ = A::flows().remove(key);
    }
    flow.flags |= flow_flags::HALF;
    let flow: &Flow = flow;
    A::half()
        .insert(key, flow, 0)
        .map_err(|_| DropReason::KernelRefused)
}

#[inline(always)]
fn promote<A: Family>(key: &FlowKey<A>, found: &Found) -> Result<(), DropReason> {
    let promoted = &mut maps::scratch()?.promoted;
    *promoted = *found.flow();
    promoted.flags &= !flow_flags::HALF;
    let promoted: &Flow = promoted;
    A::flows()
        .insert(key, promoted, 0)
        .map_err(|_| DropReason::KernelRefused)?;
    // Evicted by now is as good.
    let _ = A::half().remove(key);
    Ok(())
}

/// A packet of the opener hit its entry: the client's at the client's node, or arriving at the backend's.
#[inline(always)]
pub fn opener_seen<A: Family>(
    key: &FlowKey<A>,
    found: &Found,
    packet: &Packet<A>,
    now: u64,
) -> Result<(), DropReason> {
    found.touch(now);
    let flags = found.flow().flags;
    if packet.has(tcp::FIN | tcp::RST) && flags & flow_flags::CLOSING == 0 {
        found.set_flags(flags | flow_flags::CLOSING);
    }
    if packet.has(tcp::SYN) && flags & flow_flags::CLOSING != 0 {
        found.set_flags(flags & !flow_flags::CLOSING);
    }
    if found.half() && found.replied() && packet.has(tcp::ACK) && !packet.has(tcp::SYN | tcp::RST) {
        return promote(key, found);
    }
    Ok(())
}

/// A packet of the answerer hit the entry.
#[inline(always)]
pub fn answer_seen<A: Family>(
    key: &FlowKey<A>,
    found: &Found,
    packet: &Packet<A>,
    now: u64,
) -> Result<(), DropReason> {
    found.touch(now);
    let mut flags = found.flow().flags;
    if packet.has(tcp::FIN | tcp::RST) {
        flags |= flow_flags::CLOSING;
    }
    // A refusal is no answer: the next SYN is a new choice.
    if !packet.has(tcp::RST) {
        flags |= flow_flags::REPLIED;
    }
    if flags != found.flow().flags {
        found.set_flags(flags);
    }
    if found.half() && packet.transport.kind != Kind::Tcp {
        promote(key, found)
    } else {
        Ok(())
    }
}

/// Whether a client's entry still binds this packet of the client, or the choice is to be made anew.
#[inline(always)]
#[must_use]
pub fn binds<A: Family>(found: &Found, packet: &Packet<A>, now: u64) -> bool {
    let syn = packet.has(tcp::SYN) && !packet.has(tcp::ACK);
    if found.half() {
        // Unanswered, so nothing can break; the ring gives the same answer unless it changed.
        return found.replied() || (packet.transport.kind == Kind::Tcp && !syn);
    }
    if packet.transport.kind == Kind::Tcp {
        !syn
    } else {
        idle(found, now) < DATAGRAM_IDLE_NANOS
    }
}

/// The client's entry has seen no answer, and this packet may open a connection.
#[inline(always)]
#[must_use]
pub fn is_first<A: Family>(found: Option<&Found>, packet: &Packet<A>) -> bool {
    let answered = found.is_some_and(|found| !found.half() || found.replied());
    !answered && (packet.transport.kind != Kind::Tcp || packet.has(tcp::SYN))
}

/// Whether an entry of another VIP still holds its (client port, backend).
#[inline(always)]
#[must_use]
pub fn blocks(found: &Found, now: u64) -> bool {
    let limit = if found.half() && !found.replied() {
        HALF_OPEN_NANOS
    } else {
        COLLISION_NANOS
    };
    found.flow().flags & flow_flags::CLOSING == 0 && idle(found, now) < limit
}

#[inline(always)]
fn idle(found: &Found, now: u64) -> u64 {
    now.saturating_sub(found.flow().seen)
}
