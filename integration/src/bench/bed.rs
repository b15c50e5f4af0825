//! Shell: what is in the maps while the programs are measured.

use std::net::Ipv4Addr;

use anyhow::Result;
use causeway_abi::{
    Backend, Config, Flow, FlowKey, FlowKind, Frontend, FrontendKey, LAYOUT_VERSION, LocalBackend,
    LocalBackendKey, MapIn, MapInKey, MapOut, OrdinalKey, Pod, Port, Reverse, ReverseKey, Ring,
    RingRef, Route, Slot, Source, SourceKey4, V6, config_flags, flow_flags, frontend_flags,
    map_in_prefix, names, protocol, source_kind,
};

use super::{
    B, Bed, C, EXPORTED, GATEWAY, IMPORTED, LOOPBACK, MAPPED, NAME, NODE, NODE_2, PEER, THEIR_VIP,
};

const fn wide(address: Ipv4Addr) -> V6 {
    V6::mapped(address.octets())
}

/// One node, one peer, one service each way, and entries for all flows.
impl Bed {
    pub(super) fn fill(&mut self) -> Result<()> {
        let config = Config {
            layout: LAYOUT_VERSION,
            flags: config_flags::GATEWAY,
            generation: 1,
            hash_seed: [7; 16],
            node: wide(NODE),
            vip6_base: V6::new([255; 16]),
            mapping6_base: V6::new([255; 16]),
            vip_base: [241, 0, 0, 0],
            vip_mask: [255, 255, 0, 0],
            mapping_low: [242, 0, 0, 0],
            mapping_high: [251, 255, 255, 255],
            tunnel_ifindex: LOOPBACK,
            tunnel_port: 7472_u16.to_be_bytes(),
            mss: 1400,
            ..Config::default()
        };
        self.set(names::CONFIG, 0, config)?;
        let (pod_mac, host_mac) = ([2, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]);
        self.put(
            names::PODS.four,
            C.octets(),
            Pod {
                ifindex: LOOPBACK,
                pod_mac,
                host_mac,
            },
        )?;
        for (address, kind, peer) in [
            (GATEWAY, source_kind::PEER_GATEWAY, PEER),
            (NODE_2, source_kind::OWN_NODE, 0),
        ] {
            self.put(
                names::SOURCES,
                SourceKey4 {
                    address: address.octets(),
                },
                Source { kind, peer },
            )?;
        }
        self.peer()?;
        self.service(pod_mac, host_mac)?;
        self.flows()
    }

    /// Mappings, VIP and route of the peer.
    fn peer(&mut self) -> Result<()> {
        let (ours, theirs) = (Ipv4Addr::new(242, 1, 0, 0), Ipv4Addr::new(10, 244, 0, 0));
        let key = MapInKey {
            peer: u32::from(PEER).to_be_bytes(),
            address: theirs.octets(),
        };
        self.put_prefix(
            names::MAP_IN.four,
            map_in_prefix(16),
            key,
            MapIn {
                base: wide(ours),
                bits: 16,
            },
        )?;
        let out = MapOut {
            base: wide(theirs),
            bits: 16,
            peer: PEER,
            reserved: 0,
        };
        self.put_prefix(names::MAP_OUT.four, 16, ours.octets(), out)?;
        let reverse = ReverseKey {
            peer: u32::from(PEER).to_be_bytes(),
            vip: THEIR_VIP.octets(),
        };
        self.put(
            names::REVERSE.four,
            reverse,
            Reverse {
                vip: wide(IMPORTED),
            },
        )?;
        let mut route = Route {
            their_number: 9,
            peer_gateway_count: 1,
            ..Route::default()
        };
        if let Some(first) = route.peer_gateways.first_mut() {
            *first = wide(GATEWAY);
        }
        self.put(names::ROUTES, u32::from(PEER), route)
    }

    /// A service of a hundred endpoints on another node, and one here.
    fn service(&mut self, pod_mac: [u8; 6], host_mac: [u8; 6]) -> Result<()> {
        let mut slots = [0; 16_381];
        for (slot, ordinal) in slots.iter_mut().zip((0..100).cycle()) {
            *slot = Slot {
                current: ordinal,
                previous: u16::MAX,
            }
            .encode();
        }
        self.set("ring_16381", 0, Ring(slots))?;
        let key = FrontendKey {
            address: EXPORTED.octets(),
            port: [0, 80],
            protocol: protocol::TCP,
            reserved: 0,
        };
        let frontend = Frontend {
            service: 1,
            port_id: 1,
            stage_one: RingRef::NONE,
            stage_two: RingRef::new(3, 0),
            stage_two_older: RingRef::NONE,
            flags: frontend_flags::EXPORTED,
            affinity_secs: 0,
        };
        self.put(names::FRONTENDS.four, key, frontend)?;
        for ordinal in 0..100_u16 {
            let [high, low] = ordinal.to_be_bytes();
            let backend = Backend {
                node: wide(NODE_2),
                name: [2, 0, 0, 9, high, low],
                flags: 0,
            };
            self.put(
                names::BACKENDS,
                OrdinalKey {
                    port_id: 1,
                    ordinal,
                    reserved: 0,
                },
                backend,
            )?;
        }
        let local = LocalBackend {
            address: wide(B),
            ifindex: LOOPBACK,
            generation: 1,
            service: 1,
            port: 8080_u16.to_be_bytes(),
            pod_mac,
            host_mac,
            reserved: [0; 2],
        };
        let key = LocalBackendKey {
            name: NAME,
            port: [0, 80],
            address: EXPORTED.octets(),
        };
        self.put(names::LOCAL_BACKENDS.four, key, local)
    }

    /// Established connections: C as client of the imported service, B as backend of the exported one.
    fn flows(&mut self) -> Result<()> {
        let seen = u64::MAX / 2;
        let common = Flow {
            peer: PEER,
            flags: flow_flags::REPLIED,
            hash: 1,
            service: 1,
            seen,
            ..Flow::default()
        };
        for port in 0..=u16::MAX {
            let client = FlowKey {
                local: C.octets(),
                remote: IMPORTED.octets(),
                local_port: port.to_be_bytes(),
                remote_port: [0, 80],
                protocol: protocol::TCP,
                kind: FlowKind::Client as u8,
                reserved: [0; 2],
            };
            self.put(
                names::FLOWS.four,
                client,
                Flow {
                    address: wide(THEIR_VIP),
                    ..common
                },
            )?;
            let backend = FlowKey {
                local: B.octets(),
                remote: MAPPED.octets(),
                local_port: 8080_u16.to_be_bytes(),
                remote_port: port.to_be_bytes(),
                kind: FlowKind::Backend as u8,
                ..client
            };
            let flow = Flow {
                address: wide(EXPORTED),
                port: [0, 80],
                generation: 1,
                ..common
            };
            self.put(names::FLOWS.four, backend, flow)?;
        }
        Ok(())
    }

    /// Who sits behind the loopback device: cases differ in it.
    pub(super) fn port(&mut self, address: Ipv4Addr) -> Result<()> {
        let (pod_mac, host_mac) = ([2, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]);
        let port = Port {
            address: wide(address),
            address6: V6::default(),
            identity: 300,
            pod_mac,
            host_mac,
            flags: 0,
        };
        self.put(names::PORTS, LOOPBACK, port)
    }
}
