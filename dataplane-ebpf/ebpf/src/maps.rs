//! Shell: the maps. Unless said otherwise the agent writes and the programs read; keys are network-order bytes where
//! they are addresses. All are pinned by name, so that an agent's restart finds flows and content as they were.
//!
//! Safety of reading: values are plain bytes, and a value being replaced may be seen old or new (hash maps swap
//! elements) or, in arrays, word by word; nothing here depends on two words of an array value fitting each other
//! except `config`, which is written only when it changes.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, lpm_trie::Key},
};
use causeway_abi::{
    Address, Backend, Config, Counted, DropReason, Flow, FlowKey, Frontend, FrontendKey,
    LAYOUT_VERSION, LocalBackend, LocalBackendKey, MapIn, MapInKey, MapOut, Member, NodePlace,
    OrdinalKey, Pod, Port, Reverse, ReverseKey, Ring, RingRef, Route, ServiceCounters, Slot,
    Source, SourceKey4, V4, V6,
    limits::{self, RINGS},
    map_in_prefix,
};

use crate::{
    backend::Arrival,
    client::Home,
    family::Family,
    icmp::{Quote, Quoted},
    rewrite::Change,
    skb::Packet,
    tunnel::Inbound,
};

/// Key 0. Read first by every program; written last when the agent starts.
#[map(name = "config")]
static CONFIG: Array<Config> = Array::pinned(1, 0);
/// By ifindex of a pod-side port. Read by `pod_ingress`.
#[map(name = "ports")]
static PORTS: HashMap<u32, Port> = HashMap::pinned(limits::PORTS, BPF_F_NO_PREALLOC);
/// Stage one's members by (port id, ordinal).
#[map(name = "members")]
static MEMBERS: HashMap<OrdinalKey, Member> = HashMap::pinned(limits::MEMBERS, BPF_F_NO_PREALLOC);
/// Stage two's endpoints by (port id, ordinal).
#[map(name = "backends")]
static BACKENDS: HashMap<OrdinalKey, Backend> =
    HashMap::pinned(limits::BACKENDS, BPF_F_NO_PREALLOC);
/// Own endpoints' nodes by name: where to pass on to. Draining endpoints included.
#[map(name = "backend_nodes")]
static BACKEND_NODES: HashMap<[u8; 6], NodePlace> =
    HashMap::pinned(limits::BACKEND_NODES, BPF_F_NO_PREALLOC);
/// Who may send to us, by outer address.
#[map(name = "sources4")]
static SOURCES: HashMap<SourceKey4, Source> = HashMap::pinned(limits::SOURCES, BPF_F_NO_PREALLOC);
/// How to reach a peer, by number.
#[map(name = "routes")]
static ROUTES: HashMap<u32, Route> = HashMap::pinned(limits::PEERS, BPF_F_NO_PREALLOC);
/// When a peer's probe was last heard, by peer number. Written by `tunnel_ingress`, read by the agent.
#[map(name = "seen")]
static SEEN: HashMap<u32, u64> = HashMap::pinned(limits::PEERS, 0);
/// By `DropReason`. Written by the programs, read by the agent.
#[map(name = "drops")]
static DROPS: PerCpuArray<u64> = PerCpuArray::pinned(DropReason::COUNT, 0);
/// By `Counted`. Written by the programs, read by the agent.
#[map(name = "actions")]
static ACTIONS: PerCpuArray<u64> = PerCpuArray::pinned(Counted::COUNT, 0);
/// By service index. Written by the programs, read by the agent.
#[map(name = "services")]
static SERVICES: PerCpuArray<ServiceCounters> = PerCpuArray::pinned(limits::SERVICES, 0);

/// Reads of hash maps, all alike: in a family's implementation, or public.
macro_rules! read {
    (pub: $($(#[$meta:meta])* $name:ident: $map:ident[$key:ty] -> $value:ty;)*) => {
        $(
            $(#[$meta])*
            #[inline(always)]
            #[must_use]
            pub fn $name(key: &$key) -> Option<&'static $value> {
                // SAFETY: elements live until a grace period after their removal; see the module's head.
                unsafe { $map.get(key) }
            }
        )*
    };
    ($($name:ident: $map:ident[$key:ty] -> $value:ty;)*) => {
        $(
            #[inline(always)]
            fn $name(key: &$key) -> Option<&'static $value> {
                // SAFETY: as above.
                unsafe { $map.get(key) }
            }
        )*
    };
}

/// The maps whose keys hold an address, of one family. `places` (LPM, by pod prefix of other own nodes) is read where a reply
/// must go on; `map_in` and `map_out` (LPM) by (peer, their address), peer 0 being the self-map, and by our prefix.
pub trait Tables: Address {
    /// A local pod by its address.
    #[must_use]
    fn pod(address: &Self) -> Option<&'static Pod>;
    /// The own node of a pod address.
    #[must_use]
    fn place(address: Self) -> Option<&'static NodePlace>;
    /// What a VIP, port and protocol stand for.
    #[must_use]
    fn frontend(key: &FrontendKey<Self>) -> Option<&'static Frontend>;
    /// An endpoint of this node, by name and by what was dialled.
    #[must_use]
    fn local_backend(key: &LocalBackendKey<Self>) -> Option<&'static LocalBackend>;
    /// An own headless endpoint that peers may dial.
    #[must_use]
    fn exported(key: &FrontendKey<Self>) -> Option<&'static Backend>;
    /// Where a peer's address appears here.
    #[must_use]
    fn map_in(peer: u16, address: Self) -> Option<&'static MapIn>;
    /// Whose address this is.
    #[must_use]
    fn map_out(address: Self) -> Option<&'static MapOut>;
    /// Our VIP for a peer's.
    #[must_use]
    fn reverse(key: &ReverseKey<Self>) -> Option<&'static Reverse>;
    /// Live connections with an end here. Written by the programs.
    #[must_use]
    fn flows() -> &'static LruHashMap<FlowKey<Self>, Flow>;
    /// New connections that were not answered yet. Written by the programs.
    #[must_use]
    fn half() -> &'static LruHashMap<FlowKey<Self>, Flow>;
}

/// Declares one family's maps by their names, and how many entries its flow tables have.
macro_rules! tables {
    ($family:ident, $module:ident, $flow_limit:expr, $half_limit:expr, $pods:tt, $places:tt, $frontends:tt, $local_backends:tt,
     $exported:tt, $map_in:tt, $map_out:tt, $reverse:tt, $flows:tt, $half:tt) => {
        mod $module {
            use super::*;

            #[map(name = $pods)]
            static PODS: HashMap<$family, Pod> = HashMap::pinned(limits::PODS, BPF_F_NO_PREALLOC);
            #[map(name = $places)]
            static PLACES: LpmTrie<$family, NodePlace> = LpmTrie::pinned(limits::PLACES, 0);
            #[map(name = $frontends)]
            static FRONTENDS: HashMap<FrontendKey<$family>, Frontend> =
                HashMap::pinned(limits::FRONTENDS, BPF_F_NO_PREALLOC);
            #[map(name = $local_backends)]
            static LOCAL_BACKENDS: HashMap<LocalBackendKey<$family>, LocalBackend> =
                HashMap::pinned(limits::LOCAL_BACKENDS, BPF_F_NO_PREALLOC);
            #[map(name = $exported)]
            static EXPORTED: HashMap<FrontendKey<$family>, Backend> =
                HashMap::pinned(limits::EXPORTED, BPF_F_NO_PREALLOC);
            #[map(name = $map_in)]
            static MAP_IN: LpmTrie<MapInKey<$family>, MapIn> = LpmTrie::pinned(limits::MAPPINGS, 0);
            #[map(name = $map_out)]
            static MAP_OUT: LpmTrie<$family, MapOut> = LpmTrie::pinned(limits::MAPPINGS, 0);
            #[map(name = $reverse)]
            static REVERSE: HashMap<ReverseKey<$family>, Reverse> =
                HashMap::pinned(limits::REVERSE, BPF_F_NO_PREALLOC);
            #[map(name = $flows)]
            static FLOWS: LruHashMap<FlowKey<$family>, Flow> = LruHashMap::pinned($flow_limit, 0);
            #[map(name = $half)]
            static HALF: LruHashMap<FlowKey<$family>, Flow> = LruHashMap::pinned($half_limit, 0);

            impl Tables for $family {
                read! {
                    pod: PODS[$family] -> Pod;
                    frontend: FRONTENDS[FrontendKey<$family>] -> Frontend;
                    local_backend: LOCAL_BACKENDS[LocalBackendKey<$family>] -> LocalBackend;
                    exported: EXPORTED[FrontendKey<$family>] -> Backend;
                    reverse: REVERSE[ReverseKey<$family>] -> Reverse;
                }

                #[inline(always)]
                fn place(address: Self) -> Option<&'static NodePlace> {
                    PLACES.get(Key::new(Self::BITS, address))
                }

                #[inline(always)]
                fn map_in(peer: u16, address: Self) -> Option<&'static MapIn> {
                    let peer = u32::from(peer).to_be_bytes();
                    MAP_IN.get(Key::new(
                        map_in_prefix(Self::BITS),
                        MapInKey { peer, address },
                    ))
                }

                #[inline(always)]
                fn map_out(address: Self) -> Option<&'static MapOut> {
                    MAP_OUT.get(Key::new(Self::BITS, address))
                }

                #[inline(always)]
                fn flows() -> &'static LruHashMap<FlowKey<Self>, Flow> {
                    &FLOWS
                }

                #[inline(always)]
                fn half() -> &'static LruHashMap<FlowKey<Self>, Flow> {
                    &HALF
                }
            }
        }
    };
}

tables!(
    V4,
    four,
    limits::FLOWS,
    limits::HALF,
    "pods4",
    "places4",
    "frontends4",
    "local_backends4",
    "exported4",
    "map_in4",
    "map_out4",
    "reverse4",
    "flows4",
    "half4"
);
tables!(
    V6,
    six,
    limits::FLOWS6,
    limits::HALF6,
    "pods6",
    "places6",
    "frontends6",
    "local_backends6",
    "exported6",
    "map_in6",
    "map_out6",
    "reverse6",
    "flows6",
    "half6"
);

/// Room for what would not fit the stack, one per CPU: programs of one hook run to their end undisturbed. What is read
/// back from it is unknown to the verifier, which keeps the number of states small. Not pinned.
#[map(name = "scratch")]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Whole rings, a map per size class; an element not named by any frontend is free to be written.
#[map(name = "ring_251")]
static RING_251: Array<Ring<251>> = Array::pinned(RINGS[0], 0);
#[map(name = "ring_1021")]
static RING_1021: Array<Ring<1021>> = Array::pinned(RINGS[1], 0);
#[map(name = "ring_4093")]
static RING_4093: Array<Ring<4093>> = Array::pinned(RINGS[2], 0);
#[map(name = "ring_16381")]
static RING_16381: Array<Ring<16_381>> = Array::pinned(RINGS[3], 0);
#[map(name = "ring_65537")]
static RING_65537: Array<Ring<65_537>> = Array::pinned(RINGS[4], 0);

/// What a program keeps while it runs.
#[repr(C)]
pub struct Scratch {
    pub four: Room<V4>,
    pub six: Room<V6>,
    pub inbound: Inbound,
    pub flow: Flow,
    /// An entry on its way from `half4` to `flows4`.
    pub promoted: Flow,
    /// Where a walk over TCP options stands.
    pub cursor: u32,
    /// The interface by which the packet leaves.
    pub target: u32,
    /// Identity number of the pod that sends.
    pub identity: u16,
    /// The pod's entry has seen no answer yet.
    pub first: u16,
    /// What the sender of a packet that is too big is told, in bytes.
    pub mtu: u16,
}

/// What holds addresses, for packets of one family.
#[repr(C)]
pub struct Room<A: Family> {
    pub packet: Packet<A>,
    pub arrival: Arrival<A>,
    pub home: Home<A>,
    /// The packet that an ICMP error is about.
    pub quote: Quote<A>,
    /// What becomes of it.
    pub quoted: Quoted<A>,
    /// What becomes of the packet.
    pub change: Change<A>,
    /// The entry of the packet, or of what an ICMP error is about.
    pub key: FlowKey<A>,
    /// Another one that would be the same connection elsewhere.
    pub other: FlowKey<A>,
}

/// This CPU's room for packets of that family.
#[inline(always)]
pub fn room<A: Family>() -> Result<&'static mut Room<A>, DropReason> {
    Ok(A::room(scratch()?))
}

/// This CPU's scratch room.
#[inline(always)]
pub fn scratch() -> Result<&'static mut Scratch, DropReason> {
    let scratch = SCRATCH.get_ptr_mut(0).ok_or(DropReason::KernelRefused)?;
    // SAFETY: this CPU's own element, and one program runs on it at a time; callers use disjoint fields.
    Ok(unsafe { &mut *scratch })
}

read! { pub:
    /// The pod behind a port.
    port: PORTS[u32] -> Port;
    /// A cluster by ordinal.
    member: MEMBERS[OrdinalKey] -> Member;
    /// An endpoint by ordinal.
    backend: BACKENDS[OrdinalKey] -> Backend;
    /// The node of an endpoint.
    backend_node: BACKEND_NODES[[u8; 6]] -> NodePlace;
    /// Who an outer address is.
    source: SOURCES[SourceKey4] -> Source;
    /// The way to a peer.
    route: ROUTES[u32] -> Route;
}

/// The configuration, if the agent has written one of this layout.
#[inline(always)]
#[must_use]
pub fn config() -> Option<&'static Config> {
    CONFIG
        .get(0)
        .filter(|config| config.layout == LAYOUT_VERSION)
}

/// The slot of `hash` in a ring, empty if there is no such ring.
#[inline(always)]
#[must_use]
pub fn slot(ring: RingRef, hash: u32) -> Slot {
    Slot::decode(slot_word(
        u32::from(ring.class),
        u32::from(ring.index),
        hash,
    ))
}

#[inline(never)]
fn slot_word(class: u32, index: u32, hash: u32) -> u32 {
    let word = match class {
        0 => ring_word(&RING_251, index, hash),
        1 => ring_word(&RING_1021, index, hash),
        2 => ring_word(&RING_4093, index, hash),
        3 => ring_word(&RING_16381, index, hash),
        4 => ring_word(&RING_65537, index, hash),
        _ => None,
    };
    word.unwrap_or(Slot::EMPTY.encode())
}

#[inline(always)]
fn ring_word<const N: usize>(map: &Array<Ring<N>>, index: u32, hash: u32) -> Option<u32> {
    let ring = map.get(index)?;
    // The verifier does not derive a bound from `%`, and the compiler would drop a check it can prove: hide it.
    let slot = hidden(u64::from(hash % N as u32)) as usize;
    if slot >= N {
        return None;
    }
    // SAFETY: below N, just checked.
    Some(unsafe { *ring.0.as_ptr().add(slot) })
}

/// The same value, of which the compiler knows nothing. An instruction, not an empty sequence: line information must
/// not name one place twice, or the kernel refuses it.
#[inline(always)]
#[must_use]
pub fn hidden(value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: a move to itself.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack)) };
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    core::hint::black_box(value)
}

/// Notes that a probe of this peer was heard.
#[inline(always)]
pub fn note_seen(peer: u16, now: u64) {
    // A full map would be one of 4096 peers with 12-bit numbers: cannot happen.
    let _ = SEEN.insert(u32::from(peer), now, 0);
}

#[inline(always)]
fn add_one(map: &PerCpuArray<u64>, index: u32) {
    if let Some(counter) = map.get_ptr_mut(index) {
        // SAFETY: this CPU's own element; programs of one CPU do not preempt each other here.
        unsafe { *counter = (*counter).wrapping_add(1) };
    }
}

/// Counts a drop.
#[inline(always)]
pub fn count_drop(reason: DropReason) {
    add_one(&DROPS, reason.index());
}

/// Counts what became of a packet.
#[inline(always)]
pub fn count_action(action: Counted) {
    add_one(&ACTIONS, action.index());
}

/// Counts a client's packet to a service.
#[inline(always)]
pub fn count_sent(service: u32, bytes: u32, new: bool) {
    if let Some(counters) = SERVICES.get_ptr_mut(service) {
        // SAFETY: as in `add_one`.
        unsafe {
            (*counters).sent_packets = (*counters).sent_packets.wrapping_add(1);
            (*counters).sent_bytes = (*counters).sent_bytes.wrapping_add(u64::from(bytes));
            (*counters).sent_flows = (*counters).sent_flows.wrapping_add(u64::from(new));
        }
    }
}

/// Counts a packet of a service that nobody is ready to take.
#[inline(always)]
pub fn count_rejected(service: u32) {
    if let Some(counters) = SERVICES.get_ptr_mut(service) {
        // SAFETY: as in `add_one`.
        unsafe { (*counters).rejected = (*counters).rejected.wrapping_add(1) };
    }
}

/// Counts a packet delivered to an endpoint of this node.
#[inline(always)]
pub fn count_served(service: u32, bytes: u32, new: bool) {
    if let Some(counters) = SERVICES.get_ptr_mut(service) {
        // SAFETY: as in `add_one`.
        unsafe {
            (*counters).served_packets = (*counters).served_packets.wrapping_add(1);
            (*counters).served_bytes = (*counters).served_bytes.wrapping_add(u64::from(bytes));
            (*counters).served_flows = (*counters).served_flows.wrapping_add(u64::from(new));
        }
    }
}
