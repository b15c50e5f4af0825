//! Pure: which veths are pod-side ports, whose they are, and the port of the node's own processes.

use std::collections::BTreeMap;

use causeway_abi::{Pod, Port, V6, port_flags};
use causeway_proto::model::{Address, IdentityNumber, NodeName, ProblemKind, View};

use super::{Compiler, PortFacts, wide};
use crate::image::Table;

/// Whether a pod of this cluster is behind a veth: one of its addresses is a pod's by its prefix, or by name.
#[must_use]
pub fn is_pod_side(view: &View, node: &NodeName, port: &PortFacts) -> bool {
    let own = view.nodes.get(node).into_iter();
    let own = own.flat_map(|node| &node.pod_prefixes);
    let cluster = view.self_map.iter().map(|mapping| &mapping.theirs);
    let prefixes: Vec<_> = own.chain(cluster).collect();
    port.addresses.iter().any(|address| {
        view.workloads.contains_key(address) || prefixes.iter().any(|p| p.contains(*address))
    })
}

impl Compiler<'_> {
    /// Ports whose address the View confirms, one of either family. A second claim to an address is refused: the port that
    /// has it keeps it.
    pub(super) fn ports(&mut self) {
        let mut owners: BTreeMap<Address, u32> = BTreeMap::new();
        let had = |ifindex: &u32, address: Address| {
            let port = self.held.image.ports.get(ifindex);
            port.is_some_and(|port| [port.address, port.address6].contains(&wide(address)))
        };
        let mut problems = Vec::new();
        for (ifindex, port) in &self.facts.ports {
            let of = |v4| {
                let mut addresses = port.addresses.iter().copied();
                addresses.find(|a| a.is_v4() == v4 && self.confirmed(*a))
            };
            let addresses: Vec<Address> = [of(true), of(false)].into_iter().flatten().collect();
            if addresses.is_empty() {
                problems.push((
                    format!("port {}", port.name),
                    "no address of its pod is that of a known workload on this node".to_owned(),
                ));
            }
            for address in addresses {
                let holder = owners.entry(address).or_insert(*ifindex);
                if holder != ifindex {
                    if had(ifindex, address) {
                        *holder = *ifindex;
                    }
                    problems.push((
                        format!("port {}", port.name),
                        format!("another port claims {address} too; the older one has it"),
                    ));
                }
            }
        }
        for (subject, message) in problems {
            self.problem(ProblemKind::BadObject, subject, message);
        }
        let mut ports: BTreeMap<u32, Vec<Address>> = BTreeMap::new();
        for (address, ifindex) in owners {
            self.mapped(address, ifindex);
            ports.entry(ifindex).or_default().push(address);
        }
        for (ifindex, addresses) in ports {
            self.port(&addresses, ifindex);
        }
    }

    /// What peers cannot map reaches none of them, nor this cluster's own services by their clusterset names.
    fn mapped(&mut self, address: Address, ifindex: u32) {
        let own = &self.view.self_map;
        let mut own = own
            .iter()
            .filter(|m| m.theirs.base().is_v4() == address.is_v4());
        let any = own.clone().next().is_some();
        if !any || own.any(|m| m.theirs.contains(address)) {
            return;
        }
        let port = self.facts.ports.get(&ifindex);
        let name = port.map_or("", |port| port.name.as_str());
        self.problem(
            ProblemKind::OutsidePrefix,
            format!("port {name}"),
            format!(
                "its pod has the address {address}, which lies in none of the cluster's pod prefixes, so no other \
                 cluster can answer it; add a prefix that holds it"
            ),
        );
    }

    fn confirmed(&self, address: Address) -> bool {
        let workload = self.view.workloads.get(&address);
        workload.is_some_and(|(_, node)| node.as_ref().is_none_or(|node| *node == self.facts.node))
    }

    fn port(&mut self, addresses: &[Address], ifindex: u32) {
        let Some(port) = self.facts.ports.get(&ifindex) else {
            return;
        };
        let mut workloads = addresses.iter().filter_map(|a| self.view.workloads.get(a));
        let of = |v4| {
            let address = addresses.iter().find(|address| address.is_v4() == v4);
            address.map_or(V6::default(), |address| wide(*address))
        };
        let entry = Port {
            address: of(true),
            address6: of(false),
            identity: workloads.next().map_or(0, |(id, _)| id.0),
            pod_mac: port.pod_mac,
            host_mac: port.host_mac,
            flags: 0,
        };
        let pod = Pod {
            ifindex,
            pod_mac: port.pod_mac,
            host_mac: port.host_mac,
        };
        let (image, over) = (&mut self.image, &mut self.overflow);
        if !over.put(Table::Ports, &mut image.ports, (ifindex, entry), &port.name) {
            return;
        }
        for address in addresses {
            let entry = (wide(*address), pod);
            if over.put(Table::Pods, &mut image.pods, entry, &port.name) {
                self.pods.insert(*address, ifindex);
            }
        }
    }

    /// The node's own processes: as clients by their address from the pool, as endpoints by the node's.
    pub(super) fn host(&mut self) {
        let Some(host) = &self.facts.host else { return };
        let key = wide(host.address);
        let entry = Port {
            address: key,
            address6: V6::default(),
            identity: IdentityNumber::HOST.0,
            pod_mac: host.mac,
            host_mac: host.port_mac,
            flags: port_flags::HOST,
        };
        let pod = Pod {
            ifindex: host.ifindex,
            pod_mac: host.mac,
            host_mac: host.port_mac,
        };
        let what = "the node's own processes";
        let (image, over) = (&mut self.image, &mut self.overflow);
        if over.put(Table::Ports, &mut image.ports, (host.ifindex, entry), &what) {
            over.put(Table::Pods, &mut image.pods, (key, pod), &what);
        }
    }

    /// The port behind which an own endpoint is, with the hardware addresses of pod and host.
    pub(super) fn port_of(&self, endpoint: Address) -> Option<(u32, [u8; 6], [u8; 6])> {
        if let Some(ifindex) = self.pods.get(&endpoint) {
            let port = self.facts.ports.get(ifindex)?;
            return Some((*ifindex, port.pod_mac, port.host_mac));
        }
        let node = self.view.nodes.get(&self.facts.node)?;
        let host = self.facts.host.as_ref()?;
        let own = node.addresses.contains(&endpoint);
        let fits = self.image.ports.contains_key(&host.ifindex);
        (own && fits).then_some((host.ifindex, host.mac, host.port_mac))
    }
}
