//! Pure: answers to an operator's questions: services, names, addresses.

use std::collections::BTreeMap;

use super::export::text_of;
use super::field::{
    Code, InvalidWire, Read, address, code, codes, identity_number, list, map, maybe, name, one,
    port, text,
};
use super::pb::status as pb;
use crate::limits;
use crate::model::{
    ClusterId, DnsRecord, NodeName, PeerStatus, PortStatus, Resolution, ServiceCounters,
    ServiceName, ServiceStatus, ShareStatus, Timestamp, Whois,
};

codes! {
    AddressKind = pb::AddressKind {
        Vip = Vip, Mapped = Mapped, SelfMapped = SelfMapped, Workload = Workload, Node = Node,
        Gateway = Gateway, PeerNode = PeerNode,
    }
}

impl From<(&ServiceName, &ServiceStatus)> for pb::ServiceStatus {
    fn from((service, s): (&ServiceName, &ServiceStatus)) -> Self {
        Self {
            service: service.to_string(),
            headless: s.headless,
            vip: s.vip.map(|a| a.bytes().to_vec()),
            ports: s.ports.iter().map(Into::into).collect(),
            shares: s.shares.iter().map(Into::into).collect(),
            endpoints: s.endpoints.iter().map(Into::into).collect(),
            exported: s.exported,
            stale: s.stale,
            conflicts: s.conflicts.iter().map(Into::into).collect(),
            packets: s.counters.packets,
            bytes: s.counters.bytes,
            flows: s.counters.flows,
            rejected: s.counters.rejected,
        }
    }
}

impl TryFrom<pb::ServiceStatus> for (ServiceName, ServiceStatus) {
    type Error = InvalidWire;
    fn try_from(s: pb::ServiceStatus) -> Read<Self> {
        let conflicts = limits::CONFLICTS_PER_SERVICE;
        let endpoints = limits::IMPORT_ENDPOINTS;
        let status = ServiceStatus {
            headless: s.headless,
            vip: maybe("vip", s.vip, address)?,
            ports: list("ports", limits::IMPORT_PORTS, s.ports, TryFrom::try_from)?,
            shares: map("shares", limits::PEERS + 1, s.shares, TryFrom::try_from)?,
            endpoints: list("endpoints", endpoints, s.endpoints, TryFrom::try_from)?,
            exported: s.exported,
            stale: s.stale,
            conflicts: list("conflicts", conflicts, s.conflicts, TryFrom::try_from)?,
            counters: ServiceCounters {
                packets: s.packets,
                bytes: s.bytes,
                flows: s.flows,
                rejected: s.rejected,
            },
        };
        Ok((one("service", s.service, name)?, status))
    }
}

impl From<&PortStatus> for pb::PortStatus {
    fn from(p: &PortStatus) -> Self {
        let weight = |(cluster, weight): (&ClusterId, &u32)| pb::ClusterWeight {
            cluster: cluster.to_string(),
            weight: *weight,
        };
        Self {
            name: text_of(p.name.as_ref()),
            protocol: p.protocol.code(),
            port: p.port.into(),
            targets: p.targets.iter().map(weight).collect(),
        }
    }
}

impl TryFrom<pb::PortStatus> for PortStatus {
    type Error = InvalidWire;
    fn try_from(p: pb::PortStatus) -> Read<Self> {
        let target = |t: pb::ClusterWeight| Ok((one("cluster", t.cluster, name)?, t.weight));
        Ok(Self {
            name: maybe("name", p.name, name)?,
            protocol: one("protocol", p.protocol, code)?,
            port: one("port", p.port, port)?,
            targets: map("targets", limits::PEERS + 1, p.targets, target)?,
        })
    }
}

impl From<(&ClusterId, &ShareStatus)> for pb::ShareStatus {
    fn from((cluster, s): (&ClusterId, &ShareStatus)) -> Self {
        Self {
            cluster: cluster.to_string(),
            vip: s.vip.bytes().to_vec(),
            created_ms: s.created.0,
            ready: s.ready,
            liveness: s.liveness.code(),
        }
    }
}

impl TryFrom<pb::ShareStatus> for (ClusterId, ShareStatus) {
    type Error = InvalidWire;
    fn try_from(s: pb::ShareStatus) -> Read<Self> {
        let share = ShareStatus {
            vip: one("vip", s.vip, address)?,
            created: Timestamp(s.created_ms),
            ready: s.ready,
            liveness: one("liveness", s.liveness, code)?,
        };
        Ok((one("cluster", s.cluster, name)?, share))
    }
}

impl From<&Resolution> for pb::Resolution {
    fn from(r: &Resolution) -> Self {
        let record = |r: &DnsRecord| pb::DnsRecord {
            name: r.name.clone(),
            ttl_secs: r.ttl_secs,
            kind: r.kind.clone(),
            data: r.data.clone(),
        };
        Self {
            name: r.name.clone(),
            kind: r.kind.clone(),
            code: r.code.clone(),
            records: r.records.iter().map(record).collect(),
        }
    }
}

impl TryFrom<pb::Resolution> for Resolution {
    type Error = InvalidWire;
    fn try_from(r: pb::Resolution) -> Read<Self> {
        let record = |r: pb::DnsRecord| {
            Ok(DnsRecord {
                name: one("name", r.name, text)?,
                ttl_secs: r.ttl_secs,
                kind: one("kind", r.kind, text)?,
                data: one("data", r.data, text)?,
            })
        };
        Ok(Self {
            name: one("name", r.name, text)?,
            kind: one("kind", r.kind, text)?,
            code: one("code", r.code, text)?,
            records: list("records", limits::IMPORT_ENDPOINTS, r.records, record)?,
        })
    }
}

impl From<&Whois> for pb::Whois {
    fn from(w: &Whois) -> Self {
        Self {
            kind: w.kind.code(),
            cluster: w.cluster.to_string(),
            address: w.address.bytes().to_vec(),
            service: text_of(w.service.as_ref()),
            namespace: text_of(w.namespace.as_ref()),
            name: w.name.clone(),
            node: text_of(w.node.as_ref()),
            identity: w.identity.map(|i| i.0.into()),
            service_account: w.service_account.clone(),
        }
    }
}

impl TryFrom<pb::Whois> for Whois {
    type Error = InvalidWire;
    fn try_from(w: pb::Whois) -> Read<Self> {
        Ok(Self {
            kind: one("kind", w.kind, code)?,
            cluster: one("cluster", w.cluster, name)?,
            address: one("address", w.address, address)?,
            service: maybe("service", w.service, name)?,
            namespace: maybe("namespace", w.namespace, name)?,
            name: maybe("name", w.name, text)?,
            node: maybe("node", w.node, name)?,
            identity: maybe("identity", w.identity, identity_number)?,
            service_account: maybe("service_account", w.service_account, text)?,
        })
    }
}

impl From<&BTreeMap<ClusterId, PeerStatus>> for pb::ListPeersReply {
    fn from(peers: &BTreeMap<ClusterId, PeerStatus>) -> Self {
        Self {
            peers: peers.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ListPeersReply> for BTreeMap<ClusterId, PeerStatus> {
    type Error = InvalidWire;
    fn try_from(r: pb::ListPeersReply) -> Read<Self> {
        map("peers", limits::PEERS, r.peers, TryFrom::try_from)
    }
}

impl From<&BTreeMap<ServiceName, ServiceStatus>> for pb::ListServicesReply {
    fn from(services: &BTreeMap<ServiceName, ServiceStatus>) -> Self {
        Self {
            services: services.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ListServicesReply> for BTreeMap<ServiceName, ServiceStatus> {
    type Error = InvalidWire;
    fn try_from(r: pb::ListServicesReply) -> Read<Self> {
        map("services", limits::IMPORTS, r.services, TryFrom::try_from)
    }
}

impl From<&BTreeMap<(NodeName, String), u64>> for pb::GetDropsReply {
    fn from(drops: &BTreeMap<(NodeName, String), u64>) -> Self {
        Self {
            drops: drops.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::GetDropsReply> for BTreeMap<(NodeName, String), u64> {
    type Error = InvalidWire;
    fn try_from(r: pb::GetDropsReply) -> Read<Self> {
        map("drops", limits::DROP_COUNTS, r.drops, TryFrom::try_from)
    }
}

impl TryFrom<pb::WhoisReply> for Vec<Whois> {
    type Error = InvalidWire;
    fn try_from(r: pb::WhoisReply) -> Read<Self> {
        list("meanings", limits::PEERS, r.meanings, TryFrom::try_from)
    }
}
