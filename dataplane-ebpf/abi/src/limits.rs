//! Pure: the bound of every map, each with its reason. Sparse hash maps are not preallocated, so a bound costs nothing
//! until it is used; rings and flows are, and their memory is named.

/// Pod-side interfaces of a node: Kubernetes recommends 110 pods, large nodes run 500.
pub const PORTS: u32 = 4096;
/// Pods of this node, by address.
pub const PODS: u32 = 4096;
/// Pod prefixes of own nodes: 5,000 nodes, some with two, and single addresses of nodes from the VIP pool.
pub const PLACES: u32 = 16_384;
/// Frontends: 65,534 VIPs of a /16 pool, two ports each.
pub const FRONTENDS: u32 = 131_072;
/// (frontend, cluster) pairs: most services are exported by one or two clusters.
pub const MEMBERS: u32 = 262_144;
/// Own endpoints times ports: 15,000 services of a dozen endpoints.
pub const BACKENDS: u32 = 262_144;
/// Endpoints on this node times the frontends that reach them.
pub const LOCAL_BACKENDS: u32 = 16_384;
/// Own endpoints by name.
pub const BACKEND_NODES: u32 = 262_144;
/// Own headless endpoints times ports.
pub const EXPORTED: u32 = 65_536;
/// Mapped prefixes: 250 peers, several each.
pub const MAPPINGS: u32 = 4096;
/// (peer, VIP) pairs imported.
pub const REVERSE: u32 = 262_144;
/// Outer addresses: own nodes, peers' gateways, and peers' nodes for direct replies.
pub const SOURCES: u32 = 65_536;
/// Peers: what 12 bits can number.
pub const PEERS: u32 = 4096;
/// Gateways named per route, each side: more add nothing, as a flow uses one.
pub const ROUTE_GATEWAYS: usize = 8;
/// IPv4 connections with an end on this node (29 MB, least recently used goes first): 250 pods, 1,000 each.
pub const FLOWS: u32 = 262_144;
/// New ones that saw no answer yet (7 MB): a flood of them evicts only its like.
pub const HALF: u32 = 65_536;
/// IPv6 connections (18 MB): where there are both, half of them.
pub const FLOWS6: u32 = 131_072;
/// New ones (4 MB).
pub const HALF6: u32 = 32_768;
/// Services with counters: 48 bytes per CPU each.
pub const SERVICES: u32 = 16_384;

/// Slots of a ring by size class. Primes; the smallest at least 100 times the members is taken.
pub const RING_SLOTS: [u32; 5] = [251, 1021, 4093, 16_381, 65_537];
/// Rings of each class (8, 8, 8, 4 and 4 MB). Two rings per service-port, and a spare to write before the flip.
pub const RINGS: [u32; 5] = [8192, 2048, 512, 64, 16];

/// Bytes of TCP options are 40 at most (RFC 9293, data offset is 4 bits of words).
pub const TCP_OPTIONS: usize = 40;
/// A half-open entry of another VIP blocks its (client port, backend) this long: a SYN's first retransmissions.
pub const HALF_OPEN_NANOS: u64 = 10_000_000_000;
/// A live entry of another VIP blocks its (client port, backend) while it was used this recently.
pub const COLLISION_NANOS: u64 = 120_000_000_000;
/// A UDP or ICMP client entry unused this long is decided anew (RFC 4787 asks for two minutes at least).
pub const DATAGRAM_IDLE_NANOS: u64 = 120_000_000_000;
/// `Flow::seen` is written at most this often.
pub const SEEN_STEP_NANOS: u64 = 1_000_000_000;
