//! The two clusters' Views, made by hand. West is number 5 in east, east is number 9 in west.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    Address, Affinity, BackendPort, Encryption, EndpointKey, EndpointState, Generation,
    IdentityNumber, Import, ImportPort, ImportShare, Liveness, Mapping, Member, Node, NodeName,
    OwnExport, OwnHeadless, PeerNumber, PeerView, Prefix, Protocol, ServiceName, SyncState,
    Timestamp, View, ViewRevision,
};

fn address(s: &str) -> Address {
    s.parse().unwrap()
}

fn prefix(s: &str) -> Prefix {
    s.parse().unwrap()
}

fn number(n: u16) -> PeerNumber {
    PeerNumber::try_from(n).unwrap()
}

/// A service of a pod of the host's network.
fn on_node() -> ServiceName {
    "shop/on-node".parse().unwrap()
}

fn cart() -> ServiceName {
    "shop/cart".parse().unwrap()
}

/// Pods of a cluster under our prefix, and the addresses of its nodes.
fn mappings(ours: &str, nodes: &str) -> Vec<Mapping> {
    let mapping = |theirs, ours| Mapping {
        theirs: prefix(theirs),
        ours: prefix(ours),
    };
    vec![
        mapping("10.244.0.0/16", ours),
        mapping("241.0.224.0/19", nodes),
    ]
}

fn node(uplink: &str, pods: &str) -> Node {
    Node {
        addresses: vec![address(uplink)],
        pod_prefixes: vec![prefix(pods)],
        zone: None,
    }
}

fn empty(cluster: &str) -> View {
    View {
        revision: ViewRevision {
            instance: 1,
            number: 1,
        },
        self_map: mappings("242.0.0.0/16", "250.0.0.0/19"),
        vip_pool: vec![prefix("241.0.0.0/16")],
        mapping_pool: vec![
            prefix("242.0.0.0/7"),
            prefix("244.0.0.0/6"),
            prefix("248.0.0.0/6"),
        ],
        seed: [7; 16],
        tunnel_port: 7472,
        sync: SyncState {
            local: true,
            missing: BTreeSet::new(),
        },
        ..View::empty(cluster.parse().unwrap(), "test".parse().unwrap())
    }
}

fn import(vip: &str, target: u16, shares: &[(&str, u16, &str)]) -> Import {
    let port = |protocol, port| ImportPort {
        name: None,
        protocol,
        port,
        app_protocol: None,
        targets: BTreeMap::from([(number(target), 1)]),
    };
    let shares = shares.iter().map(|(id, n, vip)| {
        let share = ImportShare {
            number: number(*n),
            vip: address(vip),
            created: Timestamp(1),
            ready: 2,
            liveness: Liveness::Live,
            ports: BTreeSet::new(),
        };
        (id.parse().unwrap(), share)
    });
    Import {
        vip: Some(address(vip)),
        ports: vec![port(Protocol::Tcp, 80), port(Protocol::Udp, 7007)],
        shares: shares.collect(),
        ..Import::default()
    }
}

fn peer(n: u16, there: u16, ours: (&str, &str), gateways: &[&str], own: &[&str]) -> PeerView {
    let own: BTreeSet<NodeName> = own.iter().map(|n| n.parse().unwrap()).collect();
    PeerView {
        number: number(n),
        our_number_there: Some(number(there)),
        mappings: mappings(ours.0, ours.1),
        gateways: gateways.iter().map(|a| address(a)).collect(),
        nodes: gateways.iter().map(|a| address(a)).collect(),
        silent_gateways: Vec::new(),
        carried_by: BTreeSet::new(),
        mtu: None,
        acknowledged_nodes: own,
        encryption: Encryption::Plain,
        liveness: Liveness::Live,
        heard: None,
    }
}

pub fn east() -> View {
    let mut view = empty("east");
    let e1: NodeName = "e1".parse().unwrap();
    view.nodes
        .insert(e1.clone(), node("172.31.77.11", "10.244.1.0/24"));
    view.node_addresses
        .insert(e1.clone(), address("241.0.224.1"));
    view.gateways.insert("e1".parse().unwrap(), e1.clone());
    view.workloads
        .insert(address("10.244.1.6"), (IdentityNumber(3), Some(e1)));
    let west = peer(
        5,
        9,
        ("242.5.0.0/16", "250.5.0.0/19"),
        &["172.31.77.21", "172.31.77.22"],
        &["e1"],
    );
    view.peers.insert("west".parse().unwrap(), west);
    let shares = [("west", 5, "241.0.0.77")];
    view.imports
        .insert(cart(), import("241.0.0.10", 5, &shares));
    let shares = [("west", 5, "241.0.0.90")];
    view.imports
        .insert(on_node(), import("241.0.0.11", 5, &shares));
    view
}

/// With packets to peers encrypted, by the first node's gateway.
pub fn encrypted(mut view: View) -> View {
    for peer in view.peers.values_mut() {
        peer.encryption = Encryption::Encrypted;
    }
    view.gateways.retain(|_, node| node.as_str() != "w2");
    view
}

/// East, when nobody offers the service any more.
pub fn nobody(mut view: View) -> View {
    view.revision.number += 1;
    for import in view.imports.values_mut() {
        for port in &mut import.ports {
            port.targets.clear();
        }
    }
    view
}

/// Address and node of west's pods.
pub const B1: (&str, &str) = ("10.244.1.6", "w1");
pub const B2: (&str, &str) = ("10.244.2.7", "w2");
pub const C2: (&str, &str) = ("10.244.2.8", "w2");

fn member((pod, on): (&str, &str), protocol: Protocol, port: u16) -> Member {
    Member {
        key: EndpointKey {
            address: address(pod),
            protocol,
            port,
        },
        node: on.parse().unwrap(),
        weight: 1,
    }
}

fn generation(
    number: u32,
    slots: u32,
    pods: &[(&str, &str)],
    protocol: Protocol,
    port: u16,
) -> Generation {
    Generation {
        number,
        slots,
        members: pods
            .iter()
            .map(|pod| member(*pod, protocol, port))
            .collect(),
    }
}

/// West after c2 came, by which its ring grew; and then after b2 began to drain.
pub fn changed(mut view: View, drained: bool) -> View {
    view.revision.number += 1;
    let export = view.exports.get_mut(&cart()).unwrap();
    for ((protocol, _), backends) in &mut export.ports {
        let port = if *protocol == Protocol::Tcp {
            8080
        } else {
            7007
        };
        let new = if drained {
            backends.draining = vec![member(B2, *protocol, port)];
            generation(3, 1021, &[B1, C2], *protocol, port)
        } else {
            generation(2, 1021, &[B1, B2, C2], *protocol, port)
        };
        backends.generations.insert(0, new);
    }
    view
}

/// A backend on the node w1 itself.
fn host_network(view: &mut View) {
    let shares = [("west", 0, "241.0.0.90")];
    view.imports
        .insert(on_node(), import("241.0.0.90", 0, &shares));
    let w1 = [("172.31.77.21", "w1")];
    let backends = BackendPort {
        generations: vec![generation(1, 251, &w1, Protocol::Tcp, 8080)],
        draining: Vec::new(),
    };
    let export = OwnExport {
        vip: address("241.0.0.90"),
        headless: false,
        ports: BTreeMap::from([((Protocol::Tcp, 80), backends)]),
        headless_endpoints: Vec::new(),
        affinity: Affinity::None,
    };
    view.exports.insert(on_node(), export);
}

pub fn west(scope: &str) -> View {
    let mut view = empty("west");
    for (name, uplink, pods) in [
        ("w1", "172.31.77.21", "10.244.1.0/24"),
        ("w2", "172.31.77.22", "10.244.2.0/24"),
    ] {
        let node_name: NodeName = name.parse().unwrap();
        view.nodes.insert(node_name.clone(), node(uplink, pods));
        let own = format!("241.0.224.2{}", &name[1..]);
        view.node_addresses.insert(node_name.clone(), address(&own));
        view.gateways.insert(name.parse().unwrap(), node_name);
    }
    for (pod, on) in [B1, B2, C2] {
        if on == scope {
            let place = Some(on.parse().unwrap());
            view.workloads
                .insert(address(pod), (IdentityNumber(1), place));
        }
    }
    let east = peer(
        9,
        5,
        ("242.9.0.0/16", "250.9.0.0/19"),
        &["172.31.77.11"],
        &["w1", "w2"],
    );
    view.peers.insert("east".parse().unwrap(), east);
    let shares = [("west", 0, "241.0.0.77")];
    view.imports
        .insert(cart(), import("241.0.0.77", 0, &shares));
    let backends = |protocol, port| BackendPort {
        generations: vec![generation(1, 251, &[B1, B2], protocol, port)],
        draining: Vec::new(),
    };
    let export = OwnExport {
        vip: address("241.0.0.77"),
        headless: false,
        ports: BTreeMap::from([
            ((Protocol::Tcp, 80), backends(Protocol::Tcp, 8080)),
            ((Protocol::Udp, 7007), backends(Protocol::Udp, 7007)),
        ]),
        headless_endpoints: Vec::new(),
        affinity: Affinity::None,
    };
    view.exports.insert(cart(), export);
    host_network(&mut view);
    let headless = OwnExport {
        vip: address("241.0.0.78"),
        headless: true,
        ports: BTreeMap::new(),
        headless_endpoints: vec![OwnHeadless {
            address: address("10.244.2.7"),
            node: "w2".parse().unwrap(),
            ports: vec![(Protocol::Tcp, 8080)],
            state: EndpointState::Ready,
        }],
        affinity: Affinity::None,
    };
    view.exports.insert("shop/db".parse().unwrap(), headless);
    view
}
