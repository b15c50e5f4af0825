//! Pure: the View.

use super::Encoded;
use super::export::{Traits, addresses, text_of, texts, traits_of};
use super::field::{
    Code, InvalidWire, Read, address, array, code, contradiction, identity_number, list, map,
    maybe, mtu, name, need, one, other_number, peer_number, port, positive, set, text,
};
use super::pb::model as pb;
use crate::limits;
use crate::model::{
    Address, ClusterId, GatewayName, IdentityNumber, Import, ImportEndpoint, ImportPort,
    ImportShare, NodeName, PeerNumber, PeerView, ServiceName, SyncState, Timestamp, View,
};

impl From<&View> for pb::View {
    fn from(v: &View) -> Self {
        Self {
            revision: Some(v.revision.into()),
            cluster: v.cluster.to_string(),
            cluster_set: v.cluster_set.to_string(),
            imports: v.imports.iter().map(Into::into).collect(),
            exports: v.exports.iter().map(Into::into).collect(),
            conflicts: v.conflicts.iter().map(Into::into).collect(),
            peers: v.peers.iter().map(Into::into).collect(),
            nodes: v.nodes.iter().map(Into::into).collect(),
            node_addresses: v.node_addresses.iter().map(Into::into).collect(),
            gateways: v.gateways.iter().map(Into::into).collect(),
            namespaces: texts(&v.namespaces),
            workloads: v.workloads.iter().map(Into::into).collect(),
            identities: v.identities.iter().map(Into::into).collect(),
            self_map: v.self_map.iter().map(Into::into).collect(),
            vip_pool: v.vip_pool.iter().map(Into::into).collect(),
            mapping_pool: v.mapping_pool.iter().map(Into::into).collect(),
            seed: v.seed.to_vec(),
            tunnel_port: v.tunnel_port.into(),
            sync: Some((&v.sync).into()),
            frozen_since_ms: v.frozen_since.map(|t| t.0),
            problems: v.problems.iter().map(Into::into).collect(),
            conditions: v.conditions.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::View> for View {
    type Error = InvalidWire;
    fn try_from(v: pb::View) -> Read<Self> {
        let prefixes = limits::PREFIXES_PER_CLUSTER;
        let many = limits::PROBLEMS;
        let each = TryFrom::try_from;
        let prefix = TryFrom::try_from;
        Ok(Self {
            revision: need("revision", v.revision, |r| Ok(r.into()))?,
            cluster: one("cluster", v.cluster, name)?,
            cluster_set: one("cluster_set", v.cluster_set, name)?,
            imports: map("imports", limits::IMPORTS, v.imports, TryFrom::try_from)?,
            exports: map("exports", limits::SERVICES, v.exports, TryFrom::try_from)?,
            conflicts: map("conflicts", limits::IMPORTS, v.conflicts, TryFrom::try_from)?,
            peers: map("peers", limits::PEERS, v.peers, TryFrom::try_from)?,
            nodes: map(
                "nodes",
                limits::NODES_PER_CLUSTER,
                v.nodes,
                TryFrom::try_from,
            )?,
            node_addresses: map(
                "node_addresses",
                limits::NODES_PER_CLUSTER,
                v.node_addresses,
                TryFrom::try_from,
            )?,
            gateways: map("gateways", limits::GATEWAYS_PER_CLUSTER, v.gateways, each)?,
            namespaces: set("namespaces", limits::PARTS, v.namespaces, name)?,
            workloads: map(
                "workloads",
                limits::WORKLOADS,
                v.workloads,
                TryFrom::try_from,
            )?,
            identities: map(
                "identities",
                limits::IDENTITIES,
                v.identities,
                TryFrom::try_from,
            )?,
            self_map: list("self_map", prefixes, v.self_map, TryFrom::try_from)?,
            vip_pool: list("vip_pool", prefixes, v.vip_pool, prefix)?,
            mapping_pool: list("mapping_pool", prefixes, v.mapping_pool, prefix)?,
            seed: one("seed", v.seed, array)?,
            tunnel_port: one("tunnel_port", v.tunnel_port, port)?,
            sync: need("sync", v.sync, TryFrom::try_from)?,
            frozen_since: v.frozen_since_ms.map(Timestamp),
            problems: list("problems", many, v.problems, TryFrom::try_from)?,
            conditions: list("conditions", many, v.conditions, TryFrom::try_from)?,
        })
    }
}

impl From<(&NodeName, &Address)> for pb::NodeAddress {
    fn from((node, address): (&NodeName, &Address)) -> Self {
        Self {
            node: node.to_string(),
            address: address.bytes().to_vec(),
        }
    }
}

impl TryFrom<pb::NodeAddress> for (NodeName, Address) {
    type Error = InvalidWire;
    fn try_from(n: pb::NodeAddress) -> Read<Self> {
        Ok((
            one("node", n.node, name)?,
            one("address", n.address, address)?,
        ))
    }
}

impl From<(&GatewayName, &NodeName)> for pb::GatewayNode {
    fn from((gateway, node): (&GatewayName, &NodeName)) -> Self {
        Self {
            gateway: gateway.to_string(),
            node: node.to_string(),
        }
    }
}

impl TryFrom<pb::GatewayNode> for (GatewayName, NodeName) {
    type Error = InvalidWire;
    fn try_from(g: pb::GatewayNode) -> Read<Self> {
        Ok((one("gateway", g.gateway, name)?, one("node", g.node, name)?))
    }
}

type OnNode = (IdentityNumber, Option<NodeName>);

impl From<(&Address, &OnNode)> for pb::WorkloadIdentity {
    fn from((address, (identity, node)): (&Address, &OnNode)) -> Self {
        Self {
            address: address.bytes().to_vec(),
            identity: identity.0.into(),
            node: text_of(node.as_ref()),
        }
    }
}

impl TryFrom<pb::WorkloadIdentity> for (Address, OnNode) {
    type Error = InvalidWire;
    fn try_from(w: pb::WorkloadIdentity) -> Read<Self> {
        let identity = one("identity", w.identity, identity_number)?;
        let node = maybe("node", w.node, name)?;
        Ok((one("address", w.address, address)?, (identity, node)))
    }
}

impl From<&SyncState> for pb::SyncState {
    fn from(s: &SyncState) -> Self {
        Self {
            local: s.local,
            missing: texts(&s.missing),
        }
    }
}

impl TryFrom<pb::SyncState> for SyncState {
    type Error = InvalidWire;
    fn try_from(s: pb::SyncState) -> Read<Self> {
        Ok(Self {
            local: s.local,
            missing: set("missing", limits::PEERS, s.missing, name)?,
        })
    }
}

impl From<(&ServiceName, &Import)> for pb::Import {
    fn from((service, i): (&ServiceName, &Import)) -> Self {
        Self {
            service: service.to_string(),
            headless: i.headless,
            vip: i.vip.map(|a| a.bytes().to_vec()),
            ports: i.ports.iter().map(Into::into).collect(),
            shares: i.shares.iter().map(Into::into).collect(),
            endpoints: i.endpoints.iter().map(Into::into).collect(),
            traits: Some(traits_of!(i)),
            stale: i.stale,
        }
    }
}

impl TryFrom<pb::Import> for (ServiceName, Import) {
    type Error = InvalidWire;
    fn try_from(i: pb::Import) -> Read<Self> {
        let traits: Traits = need("traits", i.traits, TryFrom::try_from)?;
        let ports: Vec<ImportPort> =
            list("ports", limits::IMPORT_PORTS, i.ports, TryFrom::try_from)?;
        let mut seen = std::collections::BTreeSet::new();
        if !ports.iter().all(|p| seen.insert((p.protocol, p.port))) {
            return Err(contradiction("repeats a port").within("ports"));
        }
        let import = Import {
            headless: i.headless,
            vip: maybe("vip", i.vip, address)?,
            ports,
            // Our own share beside the peers'.
            shares: map("shares", limits::PEERS + 1, i.shares, TryFrom::try_from)?,
            endpoints: list(
                "endpoints",
                limits::IMPORT_ENDPOINTS,
                i.endpoints,
                TryFrom::try_from,
            )?,
            affinity: traits.affinity,
            internal_traffic_policy: traits.internal_traffic_policy,
            traffic_distribution: traits.traffic_distribution,
            ip_families: traits.ip_families,
            labels: traits.labels,
            annotations: traits.annotations,
            locality: traits.locality,
            stale: i.stale,
        };
        Ok((one("service", i.service, name)?, import))
    }
}

impl From<&ImportPort> for pb::ImportPort {
    fn from(p: &ImportPort) -> Self {
        Self {
            name: text_of(p.name.as_ref()),
            protocol: p.protocol.code(),
            port: p.port.into(),
            app_protocol: p.app_protocol.clone(),
            targets: p.targets.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ImportPort> for ImportPort {
    type Error = InvalidWire;
    fn try_from(p: pb::ImportPort) -> Read<Self> {
        Ok(Self {
            name: maybe("name", p.name, name)?,
            protocol: one("protocol", p.protocol, code)?,
            port: one("port", p.port, port)?,
            app_protocol: maybe("app_protocol", p.app_protocol, text)?,
            targets: map("targets", limits::PEERS + 1, p.targets, TryFrom::try_from)?,
        })
    }
}

impl From<(&PeerNumber, &u32)> for pb::Target {
    fn from((number, weight): (&PeerNumber, &u32)) -> Self {
        Self {
            number: number.number().into(),
            weight: *weight,
        }
    }
}

impl TryFrom<pb::Target> for (PeerNumber, u32) {
    type Error = InvalidWire;
    fn try_from(t: pb::Target) -> Read<Self> {
        Ok((
            one("number", t.number, peer_number)?,
            one("weight", t.weight, positive)?,
        ))
    }
}

impl From<(&ClusterId, &ImportShare)> for pb::ImportShare {
    fn from((cluster, s): (&ClusterId, &ImportShare)) -> Self {
        Self {
            cluster: cluster.to_string(),
            number: s.number.number().into(),
            vip: s.vip.bytes().to_vec(),
            created_ms: s.created.0,
            ready: s.ready,
            liveness: s.liveness.code(),
            ports: s.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ImportShare> for (ClusterId, ImportShare) {
    type Error = InvalidWire;
    fn try_from(s: pb::ImportShare) -> Read<Self> {
        let share = ImportShare {
            number: one("number", s.number, peer_number)?,
            vip: one("vip", s.vip, address)?,
            created: Timestamp(s.created_ms),
            ready: s.ready,
            liveness: one("liveness", s.liveness, code)?,
            ports: set(
                "ports",
                limits::PORTS_PER_SERVICE,
                s.ports,
                TryFrom::try_from,
            )?,
        };
        Ok((one("cluster", s.cluster, name)?, share))
    }
}

impl From<&ImportEndpoint> for pb::ImportEndpoint {
    fn from(e: &ImportEndpoint) -> Self {
        Self {
            cluster: e.cluster.to_string(),
            hostname: e.hostname.clone(),
            address: e.address.bytes().to_vec(),
            ports: e.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ImportEndpoint> for ImportEndpoint {
    type Error = InvalidWire;
    fn try_from(e: pb::ImportEndpoint) -> Read<Self> {
        let max = limits::PORTS_PER_SERVICE;
        Ok(Self {
            cluster: one("cluster", e.cluster, name)?,
            hostname: one("hostname", e.hostname, text)?,
            address: one("address", e.address, address)?,
            ports: list("ports", max, e.ports, TryFrom::try_from)?,
        })
    }
}

impl From<(&ClusterId, &PeerView)> for pb::PeerView {
    fn from((cluster, p): (&ClusterId, &PeerView)) -> Self {
        Self {
            cluster: cluster.to_string(),
            number: p.number.number().into(),
            our_number_there: p.our_number_there.map(|n| n.number().into()),
            mappings: p.mappings.iter().map(Into::into).collect(),
            gateways: addresses(&p.gateways),
            silent_gateways: addresses(&p.silent_gateways),
            carried_by: texts(&p.carried_by),
            mtu: p.mtu.map(Into::into),
            nodes: addresses(&p.nodes),
            acknowledged_nodes: texts(&p.acknowledged_nodes),
            encryption: p.encryption.code(),
            liveness: p.liveness.code(),
            heard_ms: p.heard.map(|t| t.0),
        }
    }
}

impl TryFrom<pb::PeerView> for (ClusterId, PeerView) {
    type Error = InvalidWire;
    fn try_from(p: pb::PeerView) -> Read<Self> {
        let nodes = limits::NODES_PER_CLUSTER;
        let prefixes = limits::PREFIXES_PER_CLUSTER;
        let peer = PeerView {
            number: one("number", p.number, other_number)?,
            our_number_there: maybe("our_number_there", p.our_number_there, other_number)?,
            mappings: list("mappings", prefixes, p.mappings, TryFrom::try_from)?,
            gateways: list(
                "gateways",
                limits::GATEWAYS_PER_CLUSTER,
                p.gateways,
                address,
            )?,
            silent_gateways: list(
                "silent_gateways",
                limits::GATEWAYS_PER_CLUSTER,
                p.silent_gateways,
                address,
            )?,
            carried_by: set(
                "carried_by",
                limits::GATEWAYS_PER_CLUSTER,
                p.carried_by,
                name,
            )?,
            mtu: maybe("mtu", p.mtu, mtu)?,
            nodes: list("nodes", limits::NODE_ADDRESSES, p.nodes, address)?,
            acknowledged_nodes: set("acknowledged_nodes", nodes, p.acknowledged_nodes, name)?,
            encryption: one("encryption", p.encryption, code)?,
            liveness: one("liveness", p.liveness, code)?,
            heard: p.heard_ms.map(Timestamp),
        };
        Ok((one("cluster", p.cluster, name)?, peer))
    }
}

impl Encoded for View {
    type Message = pb::View;
}
