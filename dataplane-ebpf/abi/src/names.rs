//! Pure: the maps' names in the object. Types and meanings stand in the programs' `maps.rs`.

/// ARRAY\[1\] of `Config`.
pub const CONFIG: &str = "config";
/// HASH: ifindex u32 to `Port`.
pub const PORTS: &str = "ports";
/// HASH: `V4` to `Pod`.
pub const PODS: &str = "pods4";
/// LPM: `V4` to `NodePlace`.
pub const PLACES: &str = "places4";
/// HASH: `FrontendKey4` to `Frontend`.
pub const FRONTENDS: &str = "frontends4";
/// ARRAY of `Ring<N>` per size class, in the order of `limits::RING_SLOTS`.
pub const RINGS: [&str; 5] = [
    "ring_251",
    "ring_1021",
    "ring_4093",
    "ring_16381",
    "ring_65537",
];
/// HASH: `OrdinalKey` to `Member`.
pub const MEMBERS: &str = "members";
/// HASH: `OrdinalKey` to `Backend`.
pub const BACKENDS: &str = "backends";
/// HASH: `LocalBackendKey4` to `LocalBackend`.
pub const LOCAL_BACKENDS: &str = "local_backends4";
/// HASH: name `[u8; 6]` to `NodePlace`.
pub const BACKEND_NODES: &str = "backend_nodes";
/// HASH: `FrontendKey4` to `Backend`.
pub const EXPORTED: &str = "exported4";
/// LPM: `MapInKey4` to `MapIn`.
pub const MAP_IN: &str = "map_in4";
/// LPM: `V4` to `MapOut`.
pub const MAP_OUT: &str = "map_out4";
/// HASH: `ReverseKey4` to `Reverse`.
pub const REVERSE: &str = "reverse4";
/// HASH: `SourceKey4` to `Source`.
pub const SOURCES: &str = "sources4";
/// HASH: peer number u32 to `Route`.
pub const ROUTES: &str = "routes";
/// LRU HASH: `FlowKey4` to `Flow`.
pub const FLOWS: &str = "flows4";
/// LRU HASH: `FlowKey4` to `Flow`.
pub const HALF: &str = "half4";
/// HASH: peer number u32 to u64, CLOCK_MONOTONIC nanoseconds of the last probe heard.
pub const SEEN: &str = "seen";
/// PERCPU_ARRAY of u64 by `DropReason`.
pub const DROPS: &str = "drops";
/// PERCPU_ARRAY of u64 by `Counted`.
pub const ACTIONS: &str = "actions";
/// PERCPU_ARRAY of `ServiceCounters` by service index.
pub const SERVICES: &str = "services";

/// How the device to the gateway gets there: the agent dials the gateway's socket, and is told by one byte whether the gateway
/// has it. From then on the gateway says which peers it carries packets to: a count and their numbers, 16 bits each in network
/// byte order; whenever that changes, and as a sign of life.
pub mod handover {
    /// The gateway has no device: the agent sends one byte, and the device's descriptor with it (`SCM_RIGHTS`).
    pub const WANTED: u8 = b'?';
    /// The gateway has it.
    pub const HELD: u8 = b'!';
    /// How often it says at least which peers it carries packets to, in milliseconds.
    pub const ALIVE_MS: u64 = 200;
    /// A gateway that has said nothing for so long takes no packets, where another does, in milliseconds. One that ends is
    /// missed at once, as its end of the socket closes; this is for one that hangs.
    pub const SILENT_MS: u64 = 900;
}

/// Programs: tcx ingress of pod-side ports, of the tunnel device, of the uplink, of the device to the gateway; tcx egress of
/// the device of the node's own processes.
pub const POD_INGRESS: &str = "pod_ingress";
/// See [`POD_INGRESS`].
pub const TUNNEL_INGRESS: &str = "tunnel_ingress";
/// See [`POD_INGRESS`].
pub const UPLINK_GUARD: &str = "uplink_guard";
/// See [`POD_INGRESS`].
pub const SESSION_INGRESS: &str = "session_ingress";
/// See [`POD_INGRESS`].
pub const HOST_EGRESS: &str = "host_egress";
