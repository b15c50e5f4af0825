//! Pure: keys of the maps. The key of `config`, `services`, `drops`, `actions` and the rings is a u32 index.

/// An IPv4 address in network order: key of `pods`, data of the LPM keys of `places` and `map_out`.
pub type V4 = [u8; 4];

plain! {
    /// Key of `frontends4` and of `exported4`: what is dialled.
    FrontendKey4[8] {
        /// The VIP (frontends) or the endpoint's own address (exported).
        address: [u8; 4],
        /// Network order; 0 for ICMP.
        port: [u8; 2],
        /// As in the IP header.
        protocol: u8,
        reserved: u8,
    }

    /// Key of `members` (stage one) and `backends` (stage two).
    OrdinalKey[8] {
        /// `Frontend::port_id`.
        port_id: u32,
        /// As in a ring's slot.
        ordinal: u16,
        reserved: u16,
    }

    /// Key of `local_backends4`.
    LocalBackendKey4[12] {
        /// The endpoint's 48-bit name (of address, protocol, port).
        name: [u8; 6],
        /// The port that clients dial: of the VIP, or the endpoint's own if headless.
        port: [u8; 2],
        /// The VIP, or the endpoint's own address if headless.
        address: [u8; 4],
    }

    /// LPM data of `map_in4`: an address in a peer's numbering. See [`map_in_prefix`].
    MapInKey4[8] {
        /// Peer number, big-endian, 0 = own cluster (self-map).
        peer: [u8; 4],
        /// In the peer's numbering.
        address: [u8; 4],
    }

    /// Key of `reverse4`.
    ReverseKey4[8] {
        /// Peer number, big-endian.
        peer: [u8; 4],
        /// The peer's VIP.
        vip: [u8; 4],
    }

    /// Key of `sources4`: an outer address.
    SourceKey4[4] {
        /// Network order.
        address: [u8; 4],
    }

    /// Key of `flows4` and `half4`, seen from the local pod.
    FlowKey4[16] {
        /// The local pod's own address.
        local: [u8; 4],
        /// The far address as the local pod sees it: a VIP or a mapped address.
        remote: [u8; 4],
        /// Network order. ICMP echo: the id on the client's side, 0 on the other.
        local_port: [u8; 2],
        /// Network order.
        remote_port: [u8; 2],
        /// As in the IP header.
        protocol: u8,
        /// A [`FlowKind`].
        kind: u8,
        reserved: [u8; 2],
    }
}

/// The prefix length of an LPM key over [`MapInKey4`], for an IPv4 prefix of `bits`.
#[must_use]
pub const fn map_in_prefix(bits: u32) -> u32 {
    32 + bits
}

/// Which end of the connection the local pod is.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowKind {
    /// The local pod dialled.
    Client = 1,
    /// The local pod was dialled.
    Backend = 2,
}
