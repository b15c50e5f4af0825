//! Pure: keys of the maps. The key of `config`, `services`, `drops`, `actions` and the rings is a u32 index.

use crate::address::{V4, V6};

plain! {
    /// Key of `members` (stage one) and `backends` (stage two).
    OrdinalKey[8] {
        /// `Frontend::port_id`.
        port_id: u32,
        /// As in a ring's slot.
        ordinal: u16,
        reserved: u16,
    }

    /// Key of `sources4`: an outer address.
    SourceKey4[4] {
        /// Network order.
        address: V4,
    }
}

keys! {
    /// Key of `frontends` and of `exported`: what is dialled.
    FrontendKey[8, 20] {
        /// The VIP (frontends) or the endpoint's own address (exported).
        address: A,
        /// Network order; 0 for ICMP.
        port: [u8; 2],
        /// As in the IP header.
        protocol: u8,
        reserved: u8,
    }

    /// Key of `local_backends`.
    LocalBackendKey[12, 24] {
        /// The endpoint's 48-bit name (of address, protocol, port).
        name: [u8; 6],
        /// The port that clients dial: of the VIP, or the endpoint's own if headless.
        port: [u8; 2],
        /// The VIP, or the endpoint's own address if headless.
        address: A,
    }

    /// LPM data of `map_in`: an address in a peer's numbering. See [`map_in_prefix`].
    MapInKey[8, 20] {
        /// Peer number, big-endian, 0 = own cluster (self-map).
        peer: [u8; 4],
        /// In the peer's numbering.
        address: A,
    }

    /// Key of `reverse`.
    ReverseKey[8, 20] {
        /// Peer number, big-endian.
        peer: [u8; 4],
        /// The peer's VIP.
        vip: A,
    }

    /// Key of `flows` and `half`, seen from the local pod.
    FlowKey[16, 40] {
        /// The local pod's own address.
        local: A,
        /// The far address as the local pod sees it: a VIP or a mapped address.
        remote: A,
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

/// The same key with another address.
macro_rules! with {
    ($($name:ident($($address:ident),*) [$($field:ident),*];)*) => {
        $(
            impl<A> $name<A> {
                /// The same with another address, perhaps of the other family.
                #[must_use]
                pub fn with<B>(&self, $($address: B),*) -> $name<B> {
                    $name { $($address,)* $($field: self.$field,)* }
                }
            }
        )*
    };
}

with! {
    FrontendKey(address) [port, protocol, reserved];
    LocalBackendKey(address) [name, port];
    MapInKey(address) [peer];
    ReverseKey(vip) [peer];
    FlowKey(local, remote) [local_port, remote_port, protocol, kind, reserved];
}

/// The prefix length of an LPM key over [`MapInKey`], for a prefix of `bits` of its family.
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
