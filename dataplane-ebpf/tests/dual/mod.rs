//! The same two clusters with IPv6 beside IPv4: each pod has a second address, each service one of its own over them. The
//! underlay is IPv4.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use causeway_proto::model::{
    Address, BackendPort, Import, Mapping, OwnExport, Prefix, ServiceName, View,
};

use super::lab::{self, Lab};
use super::{EAST_VIP, WEST_VIP, ask, there_and_back, views};

/// Before an IPv4 address.
const BEFORE: [u16; 6] = [0xfdca, 0, 0, 0, 0, 0];

/// What stands for an address.
fn six(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = BEFORE;
    let [w, x, y, z] = address.octets().map(u16::from);
    Ipv6Addr::new(a, b, c, d, e, f, w << 8 | x, y << 8 | z)
}

fn address(four: Address) -> Address {
    Address::from(std::net::IpAddr::from(six(four.v4().unwrap())))
}

fn prefix(four: Prefix) -> Prefix {
    Prefix::new(address(four.base()), four.bits()).unwrap()
}

fn name(of: &ServiceName) -> ServiceName {
    format!("{of}-six").parse().unwrap()
}

/// Pods alone: nodes are reached by IPv4.
fn mappings(four: &mut Vec<Mapping>) {
    let pods = four.iter().take(1).map(|mapping| Mapping {
        theirs: prefix(mapping.theirs),
        ours: prefix(mapping.ours),
    });
    let pods: Vec<_> = pods.collect();
    four.extend(pods);
}

fn import(four: &Import) -> Import {
    let mut import = four.clone();
    import.vip = four.vip.map(address);
    for share in import.shares.values_mut() {
        share.vip = address(share.vip);
    }
    import
}

fn export(four: &OwnExport) -> OwnExport {
    let mut export = four.clone();
    export.vip = address(four.vip);
    let ports = export.ports.values_mut();
    for member in ports.flat_map(|port: &mut BackendPort| &mut port.generations) {
        for member in &mut member.members {
            member.key.address = address(member.key.address);
        }
    }
    for endpoint in &mut export.headless_endpoints {
        endpoint.address = address(endpoint.address);
    }
    export
}

/// A View with the second family.
fn dual(mut view: View) -> View {
    for node in view.nodes.values_mut() {
        let pods: Vec<_> = node.pod_prefixes.iter().map(|p| prefix(*p)).collect();
        node.pod_prefixes.extend(pods);
    }
    mappings(&mut view.self_map);
    for peer in view.peers.values_mut() {
        mappings(&mut peer.mappings);
    }
    let vips: Vec<_> = view.vip_pool.iter().map(|p| prefix(*p)).collect();
    view.vip_pool.extend(vips);
    let mapped = "240.0.0.0/4".parse().unwrap();
    view.mapping_pool.push(prefix(mapped));
    let workloads = view.workloads.clone().into_iter();
    view.workloads
        .extend(workloads.map(|(pod, of)| (address(pod), of)));
    // A pod of the host's network has its node's address.
    let on_pods = |name: &ServiceName| !name.to_string().ends_with("on-node");
    let imports: BTreeMap<_, _> = view
        .imports
        .iter()
        .filter(|(of, _)| on_pods(of))
        .map(|(of, four)| (name(of), import(four)))
        .collect();
    view.imports.extend(imports);
    let exports: BTreeMap<_, _> = view
        .exports
        .iter()
        .filter(|(of, _)| on_pods(of))
        .map(|(of, four)| (name(of), export(four)))
        .collect();
    view.exports.extend(exports);
    view
}

impl Lab {
    /// The second address of a pod that is there.
    fn pod6(&self, node: &str, pod: &str, address: Ipv4Addr, gateway: Ipv4Addr) {
        let (address, gateway) = (six(address), six(gateway));
        if self.is_routed(node) {
            self.ip(node, &format!("addr add {gateway}/128 dev v-{pod} nodad"));
            self.ip(node, &format!("route add {address}/128 dev v-{pod}"));
            self.ip(pod, &format!("addr add {address}/128 dev eth0 nodad"));
            self.ip(pod, &format!("route add {gateway}/128 dev eth0"));
        } else {
            self.ip(node, &format!("addr add {gateway}/120 dev cni0 nodad"));
            self.ip(pod, &format!("addr add {address}/120 dev eth0 nodad"));
        }
        self.ip(pod, &format!("route add default via {gateway}"));
    }
}

#[test]
fn packets_walk_over_both_families() {
    let Some(object) = lab::object() else { return };
    let mut lab = Lab::of_two_clusters("dual");
    for (node, pod, address, gateway) in lab::PODS {
        lab.pod6(
            node,
            pod,
            address.parse().unwrap(),
            gateway.parse().unwrap(),
        );
    }
    lab.serve("b1");
    lab.serve("b2");
    let east = dual(views::east());
    for (node, view) in [
        ("e1", east.clone()),
        ("w1", dual(views::west("w1"))),
        ("w2", dual(views::west("w2"))),
    ] {
        lab.agent(node, &object, &view);
    }
    lab.programmed(&["e1", "w1", "w2"]);
    let answered = |from: &str, to: Ipv6Addr, seen_as: Ipv4Addr| {
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..40 {
            let answer = ask(&lab, from, to, 80);
            let (name, seen) = answer.unwrap_or_else(|e| panic!("{e}\n{}", lab.explain()));
            assert_eq!(seen, six(seen_as).to_string(), "as whom {from} is seen");
            names.insert(name);
        }
        assert_eq!(names.len(), 2, "{names:?}");
    };
    answered("client", six(EAST_VIP), Ipv4Addr::new(242, 9, 1, 6));
    answered("c2", six(WEST_VIP), Ipv4Addr::new(242, 0, 2, 8));
    // A headless endpoint by its own address, as it appears here.
    let endpoint = six(Ipv4Addr::new(242, 5, 2, 7));
    let (name, _) = ask(&lab, "client", endpoint, 8080).unwrap();
    assert_eq!(name, "b2");
    datagrams(&lab);
    there_and_back(&lab, six(EAST_VIP));
    // The first family is as it was.
    assert!(ask(&lab, "client", EAST_VIP, 80).is_ok());
    lab.show("e1", &views::nobody(east));
    lab.programmed(&["e1"]);
    let refused = ask(&lab, "client", six(EAST_VIP), 80).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

fn datagrams(lab: &Lab) {
    let answers = lab.inside("client", || {
        let mut answers = 0;
        for n in 0..20_u8 {
            let socket = UdpSocket::bind("[::]:0").unwrap();
            let wait = Some(Duration::from_secs(1));
            socket.set_read_timeout(wait).unwrap();
            socket.connect((six(EAST_VIP), 7007)).unwrap();
            socket.send(&[n]).unwrap();
            let mut buffer = [0; 16];
            answers += u32::from(socket.recv(&mut buffer).is_ok_and(|l| buffer[..l] == [n]));
        }
        answers
    });
    assert_eq!(answers, 20, "{}", lab.explain());
}
