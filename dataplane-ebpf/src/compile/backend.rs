//! Pure: own endpoints: what ordinals of stage two stand for, which of them are on this node, and headless
//! ones that may be dialled by their own address.

use std::collections::{BTreeMap, BTreeSet};

use causeway_abi::{Backend, LocalBackend, NO_ORDINAL, NodePlace, OrdinalKey, V6, backend_flags};
use causeway_proto::model::{Address, Member, NodeName, OwnExport, ProblemKind, ServiceName};

use super::ids::Ids;
use super::name::{name, pod_generation};
use super::service::{carried, echo, key};
use super::{Compiler, wide};
use crate::image::{FrontendKey, LocalBackendKey, Table};
use crate::maglev::Ring;

/// An own endpoint as the programs are to know it.
#[derive(Clone, Copy)]
struct Endpoint<'a> {
    address: Address,
    protocol: u8,
    port: u16,
    node: &'a NodeName,
}

impl<'a> From<&'a Member> for Endpoint<'a> {
    fn from(member: &'a Member) -> Self {
        Self {
            address: member.key.address,
            protocol: member.key.protocol.number(),
            port: member.key.port,
            node: &member.node,
        }
    }
}

impl Compiler<'_> {
    /// Own endpoints behind a frontend, with ordinals that stay. Gives the ordinal of each member.
    pub(super) fn backends(
        &mut self,
        service: &ServiceName,
        frontend: FrontendKey,
        port_id: u32,
        index: u32,
        ring: &Ring,
    ) -> Vec<u16> {
        let range = |ordinal| OrdinalKey {
            port_id,
            ordinal,
            reserved: 0,
        };
        let held: BTreeMap<[u8; 6], u16> = self
            .held
            .image
            .backends
            .range(range(0)..=range(NO_ORDINAL))
            .map(|(key, backend)| (backend.name, key.ordinal))
            .collect();
        let taken: BTreeSet<u32> = held.values().map(|o| u32::from(*o)).collect();
        let mut fresh = Ids::new(taken, 0, u32::from(NO_ORDINAL));
        let mut numbers = Vec::with_capacity(ring.members.len());
        for member in &ring.members {
            let endpoint = Endpoint::from(member);
            let ordinal = self.backend(service, endpoint).and_then(|backend| {
                let ordinal = match held.get(&backend.name) {
                    Some(ordinal) => *ordinal,
                    None => u16::try_from(fresh.take()?).ok()?,
                };
                let backends = &mut self.image.backends;
                self.overflow
                    .put(
                        Table::Backends,
                        backends,
                        (range(ordinal), backend),
                        service,
                    )
                    .then_some(ordinal)
            });
            if ordinal.is_some() {
                let dialled = (frontend.address, frontend.port);
                self.local_backend(service, endpoint, dialled, index);
            }
            numbers.push(ordinal.unwrap_or(NO_ORDINAL));
        }
        numbers
    }

    /// An own endpoint, and its node by its name. `None` where its node is not known or nothing fits.
    fn backend(&mut self, service: &ServiceName, endpoint: Endpoint<'_>) -> Option<Backend> {
        let Some(outer) = self.outer(endpoint.node) else {
            self.problem(
                ProblemKind::BadObject,
                format!("service {service}"),
                format!(
                    "endpoint {} is on {}, which is no known node",
                    endpoint.address, endpoint.node
                ),
            );
            return None;
        };
        let name = name(
            &self.view.seed,
            endpoint.address,
            endpoint.protocol,
            endpoint.port,
        );
        let place = NodePlace { node: wide(outer) };
        let nodes = &mut self.image.backend_nodes;
        let local = *endpoint.node == self.facts.node;
        self.overflow
            .put(Table::BackendNodes, nodes, (name, place), service)
            .then(|| Backend {
                node: wide(outer),
                name,
                flags: if local { backend_flags::LOCAL } else { 0 },
            })
    }

    /// An endpoint on this node behind what clients dial, if its pod has a port here.
    fn local_backend(
        &mut self,
        service: &ServiceName,
        endpoint: Endpoint<'_>,
        dialled: (V6, [u8; 2]),
        index: u32,
    ) {
        if *endpoint.node != self.facts.node {
            return;
        }
        let Some((ifindex, pod_mac, host_mac)) = self.port_of(endpoint.address) else {
            return;
        };
        let key = LocalBackendKey {
            name: name(
                &self.view.seed,
                endpoint.address,
                endpoint.protocol,
                endpoint.port,
            ),
            port: dialled.1,
            address: dialled.0,
        };
        let backend = LocalBackend {
            address: wide(endpoint.address),
            ifindex,
            generation: pod_generation(ifindex, pod_mac),
            service: index,
            port: endpoint.port.to_be_bytes(),
            pod_mac,
            host_mac,
            reserved: [0; 2],
        };
        let backends = &mut self.image.local_backends;
        self.overflow
            .put(Table::LocalBackends, backends, (key, backend), service);
    }

    /// Endpoints that peers and own clients may dial by their own address; echo too.
    pub(super) fn headless(&mut self, service: &ServiceName, export: &OwnExport, index: u32) {
        for endpoint in &export.headless_endpoints {
            let address = endpoint.address;
            let ports = endpoint.ports.iter().filter(|(p, _)| carried(*p));
            let ports = ports.map(|(protocol, port)| (protocol.number(), *port));
            for (protocol, port) in ports.chain([(echo(address), 0)]) {
                let endpoint = Endpoint {
                    address: endpoint.address,
                    protocol,
                    port,
                    node: &endpoint.node,
                };
                let Some(backend) = self.backend(service, endpoint) else {
                    continue;
                };
                let dialled = key(address, protocol, port);
                let exported = &mut self.image.exported;
                let entry = (dialled, backend);
                if self.overflow.put(Table::Exported, exported, entry, service) {
                    self.local_backend(service, endpoint, (dialled.address, dialled.port), index);
                }
            }
        }
    }
}
