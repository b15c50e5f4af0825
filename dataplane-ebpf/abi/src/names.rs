//! Pure: the maps' names in the object. Types and meanings stand in the programs' `maps.rs`.

/// ARRAY\[1\] of `Config`.
pub const CONFIG: &str = "config";
/// HASH: ifindex u32 to `Port`.
pub const PORTS: &str = "ports";
/// HASH: `OrdinalKey` to `Member`.
pub const MEMBERS: &str = "members";
/// HASH: `OrdinalKey` to `Backend`.
pub const BACKENDS: &str = "backends";
/// HASH: name `[u8; 6]` to `NodePlace`.
pub const BACKEND_NODES: &str = "backend_nodes";
/// HASH: `SourceKey4` to `Source`.
pub const SOURCES: &str = "sources4";
/// HASH: peer number u32 to `Route`.
pub const ROUTES: &str = "routes";
/// ARRAY of `Ring<N>` per size class, in the order of `limits::RING_SLOTS`.
pub const RINGS: [&str; 5] = [
    "ring_251",
    "ring_1021",
    "ring_4093",
    "ring_16381",
    "ring_65537",
];

/// A map whose keys hold an address, or a program: its name for IPv4 and for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByFamily {
    /// Without the family.
    pub name: &'static str,
    /// IPv4.
    pub four: &'static str,
    /// IPv6.
    pub six: &'static str,
}

macro_rules! by_family {
    ($($(#[$meta:meta])* $constant:ident = $name:literal;)*) => {
        $(
            $(#[$meta])*
            pub const $constant: ByFamily = ByFamily {
                name: $name,
                four: concat!($name, "4"),
                six: concat!($name, "6"),
            };
        )*
    };
}

by_family! {
    /// HASH: an address to `Pod`.
    PODS = "pods";
    /// LPM: an address to `NodePlace`.
    PLACES = "places";
    /// HASH: `FrontendKey` to `Frontend`.
    FRONTENDS = "frontends";
    /// HASH: `LocalBackendKey` to `LocalBackend`.
    LOCAL_BACKENDS = "local_backends";
    /// HASH: `FrontendKey` to `Backend`.
    EXPORTED = "exported";
    /// LPM: `MapInKey` to `MapIn`.
    MAP_IN = "map_in";
    /// LPM: an address to `MapOut`.
    MAP_OUT = "map_out";
    /// HASH: `ReverseKey` to `Reverse`.
    REVERSE = "reverse";
    /// LRU HASH: `FlowKey` to `Flow`.
    FLOWS = "flows";
    /// LRU HASH: `FlowKey` to `Flow`.
    HALF = "half";
}

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

by_family! {
    /// Programs on ingress of pod-side ports.
    POD_INGRESS = "pod_ingress";
    /// Programs on ingress of the tunnel device.
    TUNNEL_INGRESS = "tunnel_ingress";
    /// Programs on ingress of the device to this node's gateway.
    SESSION_INGRESS = "session_ingress";
    /// Programs on egress of the device of the node's own processes.
    HOST_EGRESS = "host_egress";
}

/// The program on ingress of the uplink, for either family of inner packets.
pub const UPLINK_GUARD: &str = "uplink_guard";
