//! Pure: every bound of what is sent or kept, each with its reason.

/// Clusters that one peer may vouch for: as many as are planned for, and a bound to what one that lies can invent.
pub const INTRODUCTIONS: usize = 256;
/// Ports of one service: far above what Services have, small enough that a part stays under its bound.
pub const PORTS_PER_SERVICE: usize = 64;
/// Endpoints of one service: five times what Kubernetes recommends for a Service.
pub const ENDPOINTS_PER_SERVICE: usize = 5000;
/// Ring generations that a View carries per port: a flow survives three changes of its slot's neighbours.
pub const GENERATIONS: usize = 4;
/// Peers: 12-bit numbers leave room, 250 clusters are planned for.
pub const PEERS: usize = 1000;
/// Gateways of one cluster that peers dial and send to.
pub const GATEWAYS_PER_CLUSTER: usize = 8;
/// Nodes of one cluster: Kubernetes' own limit.
pub const NODES_PER_CLUSTER: usize = 5000;
/// Prefixes of one cluster: one per node when they do not add up.
pub const PREFIXES_PER_CLUSTER: usize = 64;
/// One frame on a session: the largest part, and the unit of a Snapshot.
pub const FRAME_BYTES: usize = 1 << 20;
/// One namespace's part: what fits a frame with its proof.
pub const PART_BYTES: usize = FRAME_BYTES - (16 << 10);
/// Parts of one cluster's catalog: namespaces that export, plus one.
pub const PARTS: usize = 10_000;
/// A View on the local API: 250,000 endpoints of headless services, compactly.
pub const VIEW_BYTES: usize = 256 << 20;
/// Frames waiting for one peer before its session is closed and resynchronised.
pub const SESSION_QUEUE: usize = 1024;
/// Frames of one session that are taken at once, and then each second: a whole catalog of small parts comes at once, and
/// changes of a large one some hundred times a second.
pub const SESSION_BURST_FRAMES: u64 = 4096;
/// See `SESSION_BURST_FRAMES`.
pub const SESSION_FRAMES_PER_SECOND: u64 = 1000;
/// Their bytes at once, and then each second: a whole catalog of 15,000 endpoints and more, and what one core can check.
pub const SESSION_BURST_BYTES: u64 = 256 << 20;
/// See `SESSION_BURST_BYTES`.
pub const SESSION_BYTES_PER_SECOND: u64 = 32 << 20;
/// Labels of one object that are carried.
pub const LABELS: usize = 64;
/// Silence of both evidences after which a peer's share is withdrawn.
pub const SILENT_MS: u64 = 3_000;
/// Silence of the session alone after which a peer's share is withdrawn.
pub const LEASE_MS: u64 = 10_000;
/// How often a beat and a probe are sent.
pub const BEAT_MS: u64 = 1_000;
/// One certificate or request in DER: RSA 4096 with long names stays under it.
pub const CERTIFICATE_BYTES: usize = 16 << 10;
/// Certificates in one bundle: two CAs while one is rolled over, and room.
pub const CERTIFICATES: usize = 8;
/// A message or text for people, and any name that has no rule of its own.
pub const TEXT_BYTES: usize = 4096;
/// Annotations and labels of one object, keys and values together: Kubernetes' own bound.
pub const LABEL_BYTES: usize = 256 << 10;
/// Services of one cluster.
pub const SERVICES: usize = 20_000;
/// Pods and machines of one cluster: Kubernetes' own limit.
pub const WORKLOADS: usize = 150_000;
/// Problems and conditions that are carried; who has more says so in one of them.
pub const PROBLEMS: usize = 10_000;
/// Checks of one cluster's diagnosis, and bytes of each of their texts: together they fit a frame.
pub const CHECKS: usize = 400;
/// See [`CHECKS`].
pub const CHECK_BYTES: usize = 512;
/// Enrolments that are open at one time: a few per node.
pub const ENROLMENTS: usize = 4 * NODES_PER_CLUSTER;
/// Tokens that are open, or burnt, at one time.
pub const TOKENS: usize = 1000;
/// Features in a Hello.
pub const FEATURES: usize = 64;
/// An encoded header, and a signature: a few names and digests.
pub const HEADER_BYTES: usize = 4096;
/// Steps of a proof: a tree over `PARTS` leaves is 14 high.
pub const PROOF_STEPS: usize = 32;
/// Identities of one cluster: 16-bit numbers.
pub const IDENTITIES: usize = 65_536;
/// Services of all clusters together, as one cluster imports them.
pub const IMPORTS: usize = 100_000;
/// Ports of one import: a union over clusters.
pub const IMPORT_PORTS: usize = 4 * PORTS_PER_SERVICE;
/// Endpoints of one headless import, over all clusters.
pub const IMPORT_ENDPOINTS: usize = 50_000;
/// Outer addresses of one cluster's nodes: two families each.
pub const NODE_ADDRESSES: usize = 2 * NODES_PER_CLUSTER;
/// Slots of a ring: primes, the smallest at least a hundred times the members.
pub const RING_SLOTS: [u32; 5] = [251, 1021, 4093, 16_381, 65_537];
/// Conflicts of one service: one per field, and per port.
pub const CONFLICTS_PER_SERVICE: usize = 16 + IMPORT_PORTS;
/// Named reasons to drop a packet.
pub const DROP_REASONS: usize = 256;
/// Hooks, and pods with a port, on one node: ten times Kubernetes' usual 110 pods.
pub const HOOKS_PER_NODE: usize = 2048;
/// How long a Bye may keep a lease: a restart, or an upgrade with a reboot.
pub const BYE_LEASE_MS: u64 = 600_000;
/// A one-time secret.
pub const SECRET_BYTES: usize = 64;
/// Reasons to drop, over all nodes, that occurred.
pub const DROP_COUNTS: usize = 64 * NODES_PER_CLUSTER;
/// Sessions with one peer: each of our gateways with each of its own, while they are replaced.
pub const SESSIONS_PER_PEER: usize = 2 * GATEWAYS_PER_CLUSTER * GATEWAYS_PER_CLUSTER;
/// A projected service account token: a JWT of some 1.5 KiB, and room for long names and group lists.
pub const SERVICE_TOKEN_BYTES: usize = 16 << 10;
/// What a leader must not lose, in one message: addresses of all imports, identities with their labels, peers' bundles.
pub const STATE_BYTES: usize = 64 << 20;
