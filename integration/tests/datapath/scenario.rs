//! What is in the maps of the packet tests: one node of the own cluster.
//!
//! The node is 192.0.2.1, pods in 10.244.0.0/24; node 2 (192.0.2.2) has 10.244.1.0/24. Peer 5 has the same pod
//! prefix, seen here as 242.1.0.0/16; it calls us 9; its gateway is 192.0.2.50, its other node 192.0.2.51. The
//! self-map is 242.0.0.0/16. See [`World::fill`] for services.

use std::net::Ipv4Addr;

use causeway_abi::{
    Backend, Config, Frontend, FrontendKey, LAYOUT_VERSION, LocalBackend, LocalBackendKey, MapIn,
    MapInKey, MapOut, Member, NodePlace, OrdinalKey, Pod, Port, Reverse, ReverseKey, Ring, RingRef,
    Route, Slot, Source, SourceKey4, V4, V6, backend_flags, frontend_flags, map_in_prefix, names,
    protocol, source_kind,
};

use causeway_integration::packet::six;

use crate::world::World;

/// What the tunnel takes of TCP, in bytes.
pub const MSS: u16 = 1400;

pub const fn ip(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// A client pod of this node, which is also an endpoint (hairpin).
pub const C: Ipv4Addr = ip(10, 244, 0, 6);
/// An endpoint of this node.
pub const B1: Ipv4Addr = ip(10, 244, 0, 7);
/// An endpoint of node 2.
pub const B2: Ipv4Addr = ip(10, 244, 1, 8);
/// Imported from peer 5 (its VIP: [`THEIR_VIP`]).
pub const IMPORTED: Ipv4Addr = ip(241, 0, 0, 1);
pub const THEIR_VIP: Ipv4Addr = ip(241, 0, 0, 9);
/// Exported: B1, before that B2.
pub const EXPORTED: Ipv4Addr = ip(241, 0, 0, 2);
/// Exported: B2, before that B1.
pub const REMOTE: Ipv4Addr = ip(241, 0, 0, 3);
/// Exported as [`EXPORTED`] is, to the same endpoint.
pub const TWIN: Ipv4Addr = ip(241, 0, 0, 4);
/// Exported: C itself.
pub const HAIRPIN: Ipv4Addr = ip(241, 0, 0, 5);
/// Known, nobody ready anywhere.
pub const EMPTY: Ipv4Addr = ip(241, 0, 0, 6);
/// Imported from peer 6, to which there is no way.
pub const LOST: Ipv4Addr = ip(241, 0, 0, 7);
/// Its rings name members that no table has.
pub const DANGLING: Ipv4Addr = ip(241, 0, 0, 8);

pub const GATEWAY: Ipv4Addr = ip(192, 0, 2, 50);
pub const PEER_NODE: Ipv4Addr = ip(192, 0, 2, 51);
pub const NODE: Ipv4Addr = ip(192, 0, 2, 1);
pub const NODE_2: Ipv4Addr = ip(192, 0, 2, 2);
pub const OWN_GATEWAY: Ipv4Addr = ip(192, 0, 2, 3);
/// The peer's client with C's address, as seen here.
pub const MAPPED: Ipv4Addr = ip(242, 1, 0, 6);
/// C as seen by its own cluster's endpoints.
pub const SELF_MAPPED: Ipv4Addr = ip(242, 0, 0, 6);

pub const PEER: u16 = 5;
pub const THEIR_NUMBER: u16 = 9;
/// Test runs happen on the loopback device.
pub const LOOPBACK: u32 = 1;
pub const B1_PORT: u32 = 101;
pub const TUNNEL: u32 = 77;
/// The device to this node's gateway.
pub const SESSION: u32 = 78;
pub const IDENTITY: u16 = 4242;
pub const SEED: [u8; 16] = *b"a seed for tests";
pub const POD_MAC: [u8; 6] = [2, 1, 1, 1, 1, 1];
pub const HOST_MAC: [u8; 6] = [2, 2, 2, 2, 2, 2];
pub const NAME_1: [u8; 6] = [2, 0xb1, 0, 0, 0, 1];
pub const NAME_2: [u8; 6] = [2, 0xb2, 0, 0, 0, 2];
pub const NAME_C: [u8; 6] = [2, 0xcc, 0, 0, 0, 3];

pub const fn key(address: Ipv4Addr, port: u16, protocol: u8) -> FrontendKey<V4> {
    FrontendKey {
        address: address.octets(),
        port: port.to_be_bytes(),
        protocol,
        reserved: 0,
    }
}

/// So many leading ones.
fn mask(bits: u32) -> V6 {
    V6::new((!(u128::MAX >> bits)).to_be_bytes())
}

/// An outer address as values have it.
pub const fn wide(address: Ipv4Addr) -> V6 {
    V6::mapped(address.octets())
}

impl World {
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = Config {
            layout: LAYOUT_VERSION,
            generation: 1,
            hash_seed: SEED,
            node: wide(NODE),
            vip6_base: V6::new(six::wide(ip(241, 0, 0, 0))),
            vip6_mask: mask(96 + 16),
            mapping6_base: V6::new(six::wide(ip(240, 0, 0, 0))),
            mapping6_mask: mask(96 + 4),
            vip_base: [241, 0, 0, 0],
            vip_mask: [255, 255, 0, 0],
            mapping_low: [242, 0, 0, 0],
            mapping_high: [251, 255, 255, 255],
            tunnel_ifindex: TUNNEL,
            tunnel_port: 7472_u16.to_be_bytes(),
            mss: MSS,
            ..Config::default()
        };
        change(&mut config);
        self.set(names::CONFIG, 0, config);
    }

    /// A ring of class 0 with this slot throughout.
    pub fn ring(&mut self, index: u16, current: u16, previous: u16) -> RingRef {
        self.set(
            names::RINGS[0],
            u32::from(index),
            Ring([Slot { current, previous }.encode(); 251]),
        );
        RingRef::new(0, index)
    }

    /// A service for TCP 80, UDP 53 and echo.
    fn service(
        &mut self,
        vip: Ipv4Addr,
        port_id: u32,
        stage_one: RingRef,
        stage_two: RingRef,
        exported: bool,
    ) {
        let flags = if exported {
            frontend_flags::EXPORTED
        } else {
            0
        };
        let frontend = Frontend {
            service: port_id,
            port_id,
            stage_one,
            stage_two,
            stage_two_older: RingRef::NONE,
            flags,
            affinity_secs: 0,
        };
        for (port, protocol) in [
            (80, protocol::TCP),
            (53, protocol::UDP),
            (0, protocol::ICMP),
        ] {
            self.put_of(names::FRONTENDS, key(vip, port, protocol), frontend);
        }
    }

    /// Changes the TCP frontend of a VIP.
    pub fn frontend(&mut self, vip: Ipv4Addr, change: impl FnOnce(&mut Frontend)) {
        let key = key(vip, 80, protocol::TCP);
        let mut frontend = self.read_of(names::FRONTENDS, key).unwrap();
        change(&mut frontend);
        self.put_of(names::FRONTENDS, key, frontend);
    }

    fn member(&mut self, port_id: u32, peer: u16, vip: Ipv4Addr) {
        let key = OrdinalKey {
            port_id,
            ordinal: 0,
            reserved: 0,
        };
        self.put(
            names::MEMBERS,
            key,
            Member {
                vip: self.inner(vip),
                peer,
                reserved: 0,
            },
        );
    }

    /// B1 as ordinal 0, B2 as ordinal 1.
    fn backends(&mut self, port_id: u32) {
        let one = Backend {
            node: wide(NODE),
            name: NAME_1,
            flags: backend_flags::LOCAL,
        };
        let two = Backend {
            node: wide(NODE_2),
            name: NAME_2,
            flags: 0,
        };
        self.put(
            names::BACKENDS,
            OrdinalKey {
                port_id,
                ordinal: 0,
                reserved: 0,
            },
            one,
        );
        self.put(
            names::BACKENDS,
            OrdinalKey {
                port_id,
                ordinal: 1,
                reserved: 0,
            },
            two,
        );
    }

    /// An endpoint of this node under a VIP, target port 8080.
    pub fn local(
        &mut self,
        name: [u8; 6],
        vip: Ipv4Addr,
        dialled: (u16, u16),
        pod: (Ipv4Addr, u32),
        generation: u32,
    ) {
        let (port, target) = dialled;
        let value = LocalBackend {
            address: self.inner(pod.0),
            ifindex: pod.1,
            generation,
            service: 2,
            port: target.to_be_bytes(),
            pod_mac: POD_MAC,
            host_mac: HOST_MAC,
            reserved: [0; 2],
        };
        let key = LocalBackendKey {
            name,
            port: port.to_be_bytes(),
            address: vip.octets(),
        };
        self.put_of(names::LOCAL_BACKENDS, key, value);
    }

    /// Everything above, put into the maps.
    pub fn fill(&mut self) {
        self.configure(|_| ());
        let port = Port {
            address: wide(C),
            address6: V6::new(six::wide(C)),
            identity: IDENTITY,
            pod_mac: POD_MAC,
            host_mac: HOST_MAC,
            flags: 0,
        };
        self.put(names::PORTS, LOOPBACK, port);
        self.put_of(
            names::PODS,
            C.octets(),
            Pod {
                ifindex: LOOPBACK,
                pod_mac: POD_MAC,
                host_mac: HOST_MAC,
            },
        );
        self.put_of(
            names::PODS,
            B1.octets(),
            Pod {
                ifindex: B1_PORT,
                pod_mac: POD_MAC,
                host_mac: HOST_MAC,
            },
        );
        self.put_prefix_of(
            names::PLACES,
            24,
            [10_u8, 244, 1, 0],
            NodePlace { node: wide(NODE_2) },
        );
        for (address, kind, peer) in [
            (GATEWAY, source_kind::PEER_GATEWAY, PEER),
            (PEER_NODE, source_kind::PEER_NODE, PEER),
            (NODE_2, source_kind::OWN_NODE, 0),
        ] {
            self.put(
                names::SOURCES,
                SourceKey4 {
                    address: address.octets(),
                },
                Source { kind, peer },
            );
        }
        self.mappings();
        self.route(0);
        self.services();
    }

    fn mappings(&mut self) {
        for (peer, base) in [(0_u32, ip(242, 0, 0, 0)), (5, ip(242, 1, 0, 0))] {
            let key = MapInKey {
                peer: peer.to_be_bytes(),
                address: [10, 244, 0, 0],
            };
            self.put_prefix_of(
                names::MAP_IN,
                map_in_prefix(16),
                key,
                MapIn {
                    base: self.inner(base),
                    bits: self.bits(16),
                },
            );
            let out = MapOut {
                base: self.inner(ip(10, 244, 0, 0)),
                bits: self.bits(16),
                peer: peer as u16,
                reserved: 0,
            };
            self.put_prefix_of(names::MAP_OUT, 16, base.octets(), out);
        }
        let reverse = ReverseKey {
            peer: u32::from(PEER).to_be_bytes(),
            vip: THEIR_VIP.octets(),
        };
        self.put_of(
            names::REVERSE,
            reverse,
            Reverse {
                vip: self.inner(IMPORTED),
            },
        );
    }

    /// The route to peer 5.
    pub fn route(&mut self, flags: u16) {
        self.route_of(flags, 0);
    }

    /// The same, where so many bytes go in one piece.
    pub fn route_of(&mut self, flags: u16, mtu: u16) {
        let mut route = Route {
            mtu,
            their_number: THEIR_NUMBER,
            flags,
            peer_gateway_count: 1,
            own_gateway_count: 1,
            ..Route::default()
        };
        route.peer_gateways[0] = wide(GATEWAY);
        route.own_gateways[0] = wide(OWN_GATEWAY);
        self.put(names::ROUTES, u32::from(PEER), route);
    }

    /// This address of peer 5 is used as it is.
    pub fn native(&mut self, address: Ipv4Addr) {
        let out = MapOut {
            base: self.inner(address),
            bits: self.bits(32),
            peer: PEER,
            reserved: 0,
        };
        self.put_prefix_of(names::MAP_OUT, 32, address.octets(), out);
    }

    fn services(&mut self) {
        let none = RingRef::NONE;
        let only = self.ring(0, 0, 0xffff);
        let one_two = self.ring(1, 0, 1);
        let two_one = self.ring(2, 1, 0);
        let empty = self.ring(3, 0xffff, 0xffff);
        let beyond = self.ring(4, 40, 0xffff);
        self.service(IMPORTED, 1, only, none, false);
        self.member(1, PEER, THEIR_VIP);
        self.service(EXPORTED, 2, only, one_two, true);
        self.service(REMOTE, 3, only, two_one, true);
        self.service(TWIN, 4, only, one_two, true);
        for (port_id, vip) in [(2, EXPORTED), (3, REMOTE), (4, TWIN)] {
            self.member(port_id, 0, vip);
            self.backends(port_id);
            self.local(NAME_1, vip, (80, 8080), (B1, B1_PORT), 1);
            self.local(NAME_1, vip, (53, 5353), (B1, B1_PORT), 1);
        }
        self.put(names::BACKEND_NODES, NAME_1, NodePlace { node: wide(NODE) });
        self.put(
            names::BACKEND_NODES,
            NAME_2,
            NodePlace { node: wide(NODE_2) },
        );
        self.service(HAIRPIN, 5, only, only, true);
        self.member(5, 0, HAIRPIN);
        let own = Backend {
            node: wide(NODE),
            name: NAME_C,
            flags: backend_flags::LOCAL,
        };
        self.put(
            names::BACKENDS,
            OrdinalKey {
                port_id: 5,
                ordinal: 0,
                reserved: 0,
            },
            own,
        );
        self.local(NAME_C, HAIRPIN, (80, 8080), (C, LOOPBACK), 1);
        self.service(EMPTY, 6, empty, empty, true);
        self.service(LOST, 7, only, none, false);
        self.member(7, 6, ip(241, 0, 0, 70));
        self.service(DANGLING, 8, beyond, beyond, true);
        let headless = Backend {
            node: wide(NODE),
            name: NAME_1,
            flags: backend_flags::LOCAL,
        };
        self.put_of(names::EXPORTED, key(B1, 5432, protocol::TCP), headless);
        self.local(NAME_1, B1, (5432, 5432), (B1, B1_PORT), 1);
        let headless = Backend {
            node: wide(NODE_2),
            name: NAME_2,
            flags: 0,
        };
        self.put_of(names::EXPORTED, key(B2, 5432, protocol::TCP), headless);
    }
}
