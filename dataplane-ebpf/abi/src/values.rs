//! Pure: values of the maps.

use crate::address::{V4, V6};
use crate::ring::RingRef;

plain! {
    /// The one element of `config`. A zero `layout` means "not configured yet": clusterset traffic is dropped.
    Config[144] {
        /// [`crate::LAYOUT_VERSION`].
        layout: u32,
        /// [`config_flags`].
        flags: u32,
        /// Number of the compiled image, for status.
        generation: u64,
        /// Key of the flow hash: `View.hash_seed`.
        hash_seed: [u8; 16],
        /// This node's outer address.
        node: V6,
        /// The VIP pool of IPv6: `address & mask == base`, as with the others. No pool: a base that no address has.
        vip6_base: V6,
        vip6_mask: V6,
        /// The mapping pool of IPv6.
        mapping6_base: V6,
        mapping6_mask: V6,
        /// The VIP pool of IPv4.
        vip_base: V4,
        vip_mask: V4,
        /// The mapping pool of IPv4, both ends included.
        mapping_low: V4,
        mapping_high: V4,
        /// Interface index of the tunnel device.
        tunnel_ifindex: u32,
        /// Pieces switched off on purpose ([`faults`]), for the demo's counter-proofs; 0 otherwise.
        faults: u32,
        /// The tunnel's UDP port, network order.
        tunnel_port: [u8; 2],
        /// Largest MSS let through on SYN and SYN-ACK; 0 = leave as it is.
        mss: u16,
        /// Interface index of the device to this node's gateway, by which encrypted packets go; 0 = none.
        session_ifindex: u32,
    }

    /// `ports`: what sits behind a pod-side interface (key: its ifindex as u32).
    Port[48] {
        /// The pod's IPv4 address, the only one it may use; of the node's own port the one that it dials with. Zero: none.
        address: V6,
        /// The same of IPv6.
        address6: V6,
        /// The workload's identity number in our numbering, 0 = unknown.
        identity: u16,
        pod_mac: [u8; 6],
        /// What the pod sees as sender.
        host_mac: [u8; 6],
        /// [`port_flags`].
        flags: u16,
    }

    /// `pods`: a pod on this node (key: its address).
    Pod[16] {
        /// Host end of its veth.
        ifindex: u32,
        pod_mac: [u8; 6],
        host_mac: [u8; 6],
    }

    /// `places` (LPM by pod prefix) and `backend_nodes` (key: a name): which own node.
    NodePlace[16] {
        /// Outer address.
        node: V6,
    }

    /// `frontends`.
    Frontend[28] {
        /// Index into `services`.
        service: u32,
        /// Namespace of the ordinals in `members` and `backends`.
        port_id: u32,
        /// Ring over clusters; none = rejected at the client's node.
        stage_one: RingRef,
        /// Ring over own endpoints; none = no own endpoint ready. A slot with a previous owner only takes no new flow.
        stage_two: RingRef,
        /// Owners by older generations of another size, or of the same where the newest is empty. Where `stage_two` names
        /// no previous owner, or nobody but one, asked by the hash modulo its own slots: the first of its slot's two that
        /// is somebody and not the one known.
        stage_two_older: RingRef,
        /// [`frontend_flags`].
        flags: u32,
        /// ClientIP affinity's timeout; 0 = no affinity.
        affinity_secs: u32,
    }

    /// `members`: a cluster that stage one may choose.
    Member[20] {
        /// Its VIP for the service, in its numbering (own cluster: our VIP).
        vip: V6,
        /// Peer number, 0 = own cluster.
        peer: u16,
        reserved: u16,
    }

    /// `backends` (stage two) and `exported` (headless): an own endpoint, wherever it runs.
    Backend[24] {
        /// Its node's outer address.
        node: V6,
        /// Its 48-bit name.
        name: [u8; 6],
        /// [`backend_flags`].
        flags: u16,
    }

    /// `local_backends`: an endpoint on this node, draining ones included.
    LocalBackend[44] {
        /// The pod's own address; for a pod of the host's network the node's.
        address: V6,
        /// Host end of its veth.
        ifindex: u32,
        /// Changes when the address passes to another pod: entries of another generation count for nothing.
        generation: u32,
        /// Index into `services`.
        service: u32,
        /// Target port, network order; 0 for ICMP.
        port: [u8; 2],
        pod_mac: [u8; 6],
        host_mac: [u8; 6],
        reserved: [u8; 2],
    }

    /// `map_in`: their prefix appears here under `base`.
    MapIn[20] {
        /// First address of our prefix.
        base: V6,
        /// Bits of the prefix, in its family (IPv4: 0 to 32).
        bits: u32,
    }

    /// `map_out` (LPM by our prefix): whose addresses these are.
    MapOut[24] {
        /// First address of their prefix.
        base: V6,
        /// Bits of the prefix, in its family (IPv4: 0 to 32).
        bits: u32,
        /// Peer number, 0 = own cluster (self-map).
        peer: u16,
        reserved: u16,
    }

    /// `reverse`: our VIP for the service that a peer's VIP stands for.
    Reverse[16] {
        vip: V6,
    }

    /// `sources4`: who sits at an outer address.
    Source[4] {
        /// [`source_kind`].
        kind: u16,
        /// Peer number; 0 for own nodes.
        peer: u16,
    }

    /// `routes` (key: peer number as u32): how to reach a peer.
    Route[268] {
        /// The number under which the peer knows us.
        their_number: u16,
        /// [`route_flags`].
        flags: u16,
        /// How many of `peer_gateways` are set.
        peer_gateway_count: u16,
        /// How many of `own_gateways` are set.
        own_gateway_count: u16,
        /// Outer addresses of the peer's gateways that are alive.
        peer_gateways: [V6; 8],
        /// Outer addresses of our gateways that are alive.
        own_gateways: [V6; 8],
        /// Bytes of the largest inner packet that goes in one piece; 0: what the tunnel takes.
        mtu: u16,
        reserved: u16,
    }

    /// `flows` and `half`: written by the programs only.
    Flow[56] {
        /// The cluster at the other end.
        peer: u16,
        /// Identity number of the other end, in its owner's numbering (backend's entry).
        identity: u16,
        /// Backend's entry: the dialled port, network order.
        port: [u8; 2],
        /// [`flow_flags`].
        flags: u16,
        /// Backend's entry: the VIP (or own address if headless). Client's entry: the destination in its owner's
        /// numbering.
        address: V6,
        /// The flow hash.
        hash: u32,
        /// `LocalBackend::generation` (backend's entry).
        generation: u32,
        /// Rule that let it pass; 0 = nothing enforced yet.
        rule: u32,
        /// Index into `services`.
        service: u32,
        /// CLOCK_MONOTONIC (coarse), nanoseconds.
        started: u64,
        /// When last used, to the second or so; CLOCK_MONOTONIC (coarse), nanoseconds.
        seen: u64,
    }

    /// `services` (per CPU, key: service index).
    ServiceCounters[56] {
        /// From this node's clients.
        sent_packets: u64,
        sent_bytes: u64,
        /// New client entries.
        sent_flows: u64,
        /// Delivered to this node's endpoints.
        served_packets: u64,
        served_bytes: u64,
        /// New backend entries.
        served_flows: u64,
        /// Packets that would have opened a flow, refused because nobody was ready.
        rejected: u64,
    }
}

/// Bits of [`Config::flags`].
pub mod config_flags {
    /// This node runs a gateway: may send straight to peers, and forwards for other nodes.
    pub const GATEWAY: u32 = 1;
    /// Some `map_out` prefix lies outside of the mapping pool (`native`).
    pub const NATIVE: u32 = 2;
}

/// Bits of [`Config::faults`]: each removes one piece.
pub mod faults {
    /// A backend's reply keeps its own source address.
    pub const REPLY_REWRITE: u32 = 1;
    /// A peer's client appears under its own address instead of the mapped one.
    pub const MAPPING: u32 = 1 << 1;
    /// Tunnel packets are taken from anyone.
    pub const SOURCE_CHECK: u32 = 1 << 2;
    /// Nothing is rejected: packets for nobody are just dropped.
    pub const REJECT: u32 = 1 << 3;
    /// No passing-on between end nodes.
    pub const PASS_ON: u32 = 1 << 4;
    /// Pods may use any source address.
    pub const POD_CHECK: u32 = 1 << 5;
    /// Replies never go straight to the peer: by an own gateway always.
    pub const DIRECT_REPLY: u32 = 1 << 6;
    /// The client's choice of a cluster is not pinned by its entry.
    pub const PIN: u32 = 1 << 7;
    /// Pods may send to the tunnel port.
    pub const TUNNEL_PORT: u32 = 1 << 8;
}

/// Bits of [`Port::flags`].
pub mod port_flags {
    /// The node itself is behind it: it may answer by any address by which it was reached.
    pub const HOST: u16 = 1;
}

/// Bits of [`Frontend::flags`].
pub mod frontend_flags {
    /// The own cluster exports this: peers may dial it, and echo to it is answered here.
    pub const EXPORTED: u32 = 1;
}

/// Bits of [`Backend::flags`].
pub mod backend_flags {
    /// On this node.
    pub const LOCAL: u16 = 1;
}

/// Bits of [`Route::flags`].
pub mod route_flags {
    /// The peer acknowledged a revision that lists this node: replies go straight to its gateways.
    pub const DIRECT_REPLY: u16 = 1;
    /// Packets to and from it go encrypted, by the sessions of our gateways; never by the tunnel.
    pub const SESSION: u16 = 1 << 1;
    /// This node's gateway takes packets to it.
    pub const HERE: u16 = 1 << 2;
}

/// Values of [`Source::kind`].
pub mod source_kind {
    /// A gateway of a peer: requests, replies, probes.
    pub const PEER_GATEWAY: u16 = 1;
    /// Another node of a peer: replies only.
    pub const PEER_NODE: u16 = 2;
    /// A node of the own cluster.
    pub const OWN_NODE: u16 = 3;
}

/// Bits of [`Flow::flags`].
pub mod flow_flags {
    /// An answer was seen; the next packet of the opener promotes a half-open entry.
    pub const REPLIED: u16 = 1;
    /// TCP FIN or RST was seen.
    pub const CLOSING: u16 = 2;
    /// Stands in `half`.
    pub const HALF: u16 = 4;
}
