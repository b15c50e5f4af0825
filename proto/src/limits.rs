//! Pure: every bound of what is sent or kept, each with its reason.

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
/// Tokens and enrolments that are open or burnt at one time.
pub const TOKENS: usize = 1000;
/// Features in a Hello.
pub const FEATURES: usize = 64;
