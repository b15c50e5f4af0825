//! Views of a small world: two nodes, six pods, two peers, a handful of services.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    Address, Affinity, BackendPort, Encryption, EndpointKey, EndpointState, Generation,
    IdentityNumber, Import, ImportPort, ImportShare, Liveness, Mapping, Member, Node, NodeName,
    OwnExport, OwnHeadless, PeerNumber, PeerView, Prefix, Protocol, ServiceName, Timestamp, View,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use crate::compile::{Gateway, HostFacts, NodeFacts, PortFacts};

const PEERS: [u16; 2] = [5, 6];

fn address(s: &str) -> Address {
    s.parse().unwrap()
}

fn prefix(s: &str) -> Prefix {
    s.parse().unwrap()
}

fn number(n: u16) -> PeerNumber {
    PeerNumber::try_from(n).unwrap()
}

/// Pods 0 to 2 are on n1, the others on n2; the last is one of the host's network of n1.
fn pod(n: u8) -> (Address, NodeName) {
    if n == 6 {
        return (address("192.0.1.1"), "n1".parse().unwrap());
    }
    let node = 1 + n / 3;
    let address = std::net::Ipv4Addr::new(10, 244, node, 10 + n);
    (address.into(), format!("n{node}").parse().unwrap())
}

fn member(n: u8, weight: u16) -> Member {
    let (address, node) = pod(n);
    Member {
        key: EndpointKey {
            address,
            protocol: Protocol::Tcp,
            port: 8080,
        },
        node,
        weight,
    }
}

fn members(most: usize) -> impl Strategy<Value = Vec<Member>> {
    btree_map(0u8..7, 1u16..4, 0..most)
        .prop_map(|m| m.into_iter().map(|(n, w)| member(n, w)).collect())
}

fn backends() -> impl Strategy<Value = BackendPort> {
    let generations = vec((members(6), any::<bool>()), 1..4);
    (generations, members(3)).prop_map(|(lists, draining)| {
        let mut grown = true;
        let generations = (0u32..).zip(lists).map(|(n, (members, large))| {
            grown &= large;
            Generation {
                number: 9 - n,
                slots: if grown { 1021 } else { 251 },
                members,
            }
        });
        BackendPort {
            generations: generations.collect(),
            draining,
        }
    })
}

fn mapping(ours: &str) -> Mapping {
    Mapping {
        theirs: prefix("10.244.0.0/16"),
        ours: prefix(ours),
    }
}

fn import(vip: Address, targets: BTreeSet<u16>, affinity: bool) -> Import {
    let share = |n: u16| ImportShare {
        number: number(n),
        vip: if n == 0 {
            vip
        } else {
            vip.offset(u128::from(n) << 8).unwrap()
        },
        created: Timestamp(1),
        ready: 1,
        liveness: Liveness::Live,
        ports: BTreeSet::new(),
    };
    let affinity = if affinity {
        Affinity::ClientIp { timeout_secs: 60 }
    } else {
        Affinity::None
    };
    Import {
        vip: Some(vip),
        ports: vec![ImportPort {
            name: None,
            protocol: Protocol::Tcp,
            port: 80,
            app_protocol: None,
            targets: targets.iter().map(|n| (number(*n), 1)).collect(),
        }],
        shares: targets
            .iter()
            .map(|n| (format!("c{n}").parse().unwrap(), share(*n)))
            .collect(),
        affinity,
        ..Import::default()
    }
}

fn export(vip: Address, backends: BackendPort) -> OwnExport {
    OwnExport {
        vip,
        headless: false,
        ports: BTreeMap::from([((Protocol::Tcp, 80), backends)]),
        headless_endpoints: Vec::new(),
        affinity: Affinity::None,
    }
}

fn headless(pods: BTreeSet<u8>) -> OwnExport {
    let endpoint = |n: u8| {
        let (address, node) = pod(n);
        OwnHeadless {
            address,
            node,
            ports: vec![(Protocol::Tcp, 5432)],
            state: EndpointState::Ready,
        }
    };
    OwnExport {
        vip: address("241.0.7.7"),
        headless: true,
        ports: BTreeMap::new(),
        headless_endpoints: pods.into_iter().map(endpoint).collect(),
        affinity: Affinity::None,
    }
}

pub fn peer(n: u16, encryption: Encryption) -> PeerView {
    PeerView {
        number: number(n),
        our_number_there: Some(number(9)),
        mappings: vec![mapping(&format!("242.{n}.0.0/16"))],
        gateways: vec![address(&format!("192.0.2.{n}"))],
        nodes: vec![address(&format!("192.0.3.{n}"))],
        silent_gateways: Vec::new(),
        carried_by: BTreeSet::new(),
        mtu: None,
        acknowledged_nodes: BTreeSet::new(),
        encryption,
        liveness: Liveness::Live,
        heard: None,
    }
}

fn empty() -> View {
    let node = |n: u8| Node {
        addresses: vec![address(&format!("192.0.1.{n}"))],
        pod_prefixes: vec![prefix(&format!("10.244.{n}.0/24"))],
        zone: None,
    };
    let name = |n: u8| -> NodeName { format!("n{n}").parse().unwrap() };
    View {
        nodes: (1..3).map(|n| (name(n), node(n))).collect(),
        node_addresses: (1..3)
            .map(|n| (name(n), address(&format!("241.0.224.{n}"))))
            .collect(),
        gateways: BTreeMap::from([("g1".parse().unwrap(), name(1))]),
        workloads: (0..3)
            .map(pod)
            .map(|(a, node)| (a, (IdentityNumber(1), Some(node))))
            .collect(),
        self_map: vec![mapping("242.0.0.0/16")],
        vip_pool: vec![prefix("241.0.0.0/16")],
        mapping_pool: vec![prefix("242.0.0.0/7")],
        seed: [7; 16],
        tunnel_port: 7472,
        ..View::empty("east".parse().unwrap(), "test".parse().unwrap())
    }
}

fn service(n: u32) -> (ServiceName, Address) {
    let vip = address("241.0.0.1").offset(u128::from(n)).unwrap();
    (format!("shop/s{n}").parse().unwrap(), vip)
}

/// Any View of the small world.
pub fn view() -> impl Strategy<Value = View> {
    let targets = btree_set(prop::sample::select(vec![0, 5, 6]), 0..3);
    let offered = (targets, prop::option::of(backends()), any::<bool>());
    let services = btree_map(0u32..5, offered, 0..5);
    use Encryption::{Encrypted, Plain, Unavailable};
    let agreed = vec(prop::sample::select(vec![Plain, Encrypted, Unavailable]), 2);
    (services, btree_set(0u8..6, 0..3), agreed, 0u64..3).prop_map(
        |(services, pods, agreed, revision)| {
            let mut view = empty();
            view.revision.number = revision;
            for (n, agreed) in PEERS.into_iter().zip(agreed) {
                view.peers
                    .insert(format!("c{n}").parse().unwrap(), peer(n, agreed));
            }
            for (n, (targets, backends, affinity)) in services {
                let (name, vip) = service(n);
                view.imports
                    .insert(name.clone(), import(vip, targets, affinity));
                if let Some(backends) = backends {
                    view.exports.insert(name, export(vip, backends));
                }
            }
            view.exports
                .insert("shop/db".parse().unwrap(), headless(pods));
            view
        },
    )
}

/// So many own services with one endpoint each, all of different weight, so of different rings.
pub fn service_view(count: u32, slots: u32) -> View {
    let mut view = empty();
    for n in 0..count {
        let (name, vip) = service(n);
        let generation = Generation {
            number: 1,
            slots,
            members: vec![member(0, 1), member(1, 1 + u16::try_from(n).unwrap())],
        };
        let backends = BackendPort {
            generations: vec![generation],
            draining: Vec::new(),
        };
        view.imports
            .insert(name.clone(), import(vip, BTreeSet::from([0]), true));
        view.exports.insert(name, export(vip, backends));
    }
    view
}

/// Node n1 with ports of the pods 0 to 2.
pub fn plain_facts() -> NodeFacts {
    let port = |n: u8| {
        let facts = PortFacts {
            name: format!("v1{n}"),
            addresses: vec![pod(n).0],
            pod_mac: [2, 0, 0, 0, 1, n],
            host_mac: [2, 0, 0, 0, 2, n],
        };
        (u32::from(n) + 10, facts)
    };
    NodeFacts {
        node: "n1".parse().unwrap(),
        outer: address("192.0.1.1"),
        tunnel: 4,
        session: 5,
        gateway: Gateway::Carries(BTreeSet::from([5])),
        mtu: 1500,
        faults: 0,
        clamp: true,
        spread: false,
        ports: (0..3).map(port).collect(),
        host: None,
    }
}

/// The port of n1's own processes.
pub fn host_facts() -> HostFacts {
    HostFacts {
        ifindex: 9,
        address: address("241.0.224.1"),
        mac: [2, 0, 0, 0, 3, 1],
        port_mac: [2, 0, 0, 0, 3, 2],
    }
}

/// Node n1, some ports of which are there.
pub fn facts() -> impl Strategy<Value = NodeFacts> {
    (btree_set(10u32..13, 0..4), any::<bool>()).prop_map(|(there, host)| {
        let mut facts = plain_facts();
        facts.host = host.then(host_facts);
        facts.ports.retain(|index, _| there.contains(index));
        facts
    })
}
