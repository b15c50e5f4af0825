//! Pure: a gateway's own state for an operator. Services and addresses are in `wire/lookup.rs`.

use super::export::{addresses, text_of};
use super::field::{
    Code, InvalidWire, Read, address, at_most, code, codes, contradiction, list, map, maybe, mtu,
    name, need, one, other_number, small, text,
};
use super::pb::status as pb;
use super::report::{bounded, checks, checks_of};
use crate::limits;
use crate::model::{
    ClusterId, Diagnosis, GatewayStatus, NodeName, NodeStatus, PathStatus, PeerStatus,
    ServiceCounts, SessionStatus, Timestamp,
};

codes! {
    Transport = pb::Transport { Quic = Quic, Tcp = Tcp }
}

impl From<&GatewayStatus> for pb::GatewayStatus {
    fn from(s: &GatewayStatus) -> Self {
        Self {
            cluster: s.cluster.to_string(),
            cluster_set: s.cluster_set.to_string(),
            gateway: s.gateway.to_string(),
            version: s.version.clone(),
            time_ms: s.time.0,
            started_ms: s.started.0,
            leader: text_of(s.leader.as_ref()),
            epoch: s.epoch,
            revision: s.revision.map(Into::into),
            view: Some(s.view.into()),
            frozen_since_ms: s.frozen_since.map(|t| t.0),
            certificate_expires_ms: s.certificate_expires.map(|t| t.0),
            ca_expires_ms: s.ca_expires.map(|t| t.0),
            peers: s.peers.iter().map(Into::into).collect(),
            nodes: s.nodes.iter().map(Into::into).collect(),
            services: Some((&s.services).into()),
            conflicts: s.conflicts.iter().map(Into::into).collect(),
            conditions: s.conditions.iter().map(Into::into).collect(),
            problems: s.problems.iter().map(Into::into).collect(),
            drops: s.drops.iter().map(Into::into).collect(),
            policy_enforced: s.policy_enforced,
        }
    }
}

impl TryFrom<pb::GatewayStatus> for GatewayStatus {
    type Error = InvalidWire;
    fn try_from(s: pb::GatewayStatus) -> Read<Self> {
        let many = limits::PROBLEMS;
        let services = need("services", s.services, |c| Ok(ServiceCounts::from(c)))?;
        Ok(Self {
            cluster: one("cluster", s.cluster, name)?,
            cluster_set: one("cluster_set", s.cluster_set, name)?,
            gateway: one("gateway", s.gateway, name)?,
            version: one("version", s.version, text)?,
            time: Timestamp(s.time_ms),
            started: Timestamp(s.started_ms),
            leader: maybe("leader", s.leader, name)?,
            epoch: s.epoch,
            revision: s.revision.map(Into::into),
            view: need("view", s.view, |r| Ok(r.into()))?,
            frozen_since: s.frozen_since_ms.map(Timestamp),
            certificate_expires: s.certificate_expires_ms.map(Timestamp),
            ca_expires: s.ca_expires_ms.map(Timestamp),
            peers: map("peers", limits::PEERS, s.peers, TryFrom::try_from)?,
            nodes: map(
                "nodes",
                limits::NODES_PER_CLUSTER,
                s.nodes,
                TryFrom::try_from,
            )?,
            services,
            conflicts: map("conflicts", limits::IMPORTS, s.conflicts, TryFrom::try_from)?,
            conditions: list("conditions", many, s.conditions, TryFrom::try_from)?,
            problems: list("problems", many, s.problems, TryFrom::try_from)?,
            drops: map("drops", limits::DROP_COUNTS, s.drops, TryFrom::try_from)?,
            policy_enforced: s.policy_enforced,
        })
    }
}

impl From<&ServiceCounts> for pb::ServiceCounts {
    fn from(c: &ServiceCounts) -> Self {
        Self {
            exported: c.exported,
            imported: c.imported,
            stale: c.stale,
        }
    }
}

impl From<pb::ServiceCounts> for ServiceCounts {
    fn from(c: pb::ServiceCounts) -> Self {
        Self {
            exported: c.exported,
            imported: c.imported,
            stale: c.stale,
        }
    }
}

impl From<&SessionStatus> for pb::SessionStatus {
    fn from(s: &SessionStatus) -> Self {
        Self {
            gateway: s.gateway.to_string(),
            transport: s.transport.code(),
            address: s.address.clone(),
            dialled: s.dialled,
            since_ms: s.since.0,
            version: s.version.into(),
            clock_skew_ms: s.clock_skew_ms,
            certificate_expires_ms: s.certificate_expires.map(|t| t.0),
            path: s.path.map(Into::into),
        }
    }
}

impl From<PathStatus> for pb::PathStatus {
    fn from(p: PathStatus) -> Self {
        Self {
            rtt_us: p.rtt_us,
            sent: p.sent,
            lost: p.lost,
            mtu: p.mtu.into(),
            link_mtu: p.link_mtu.into(),
            connections: p.connections.into(),
        }
    }
}

impl TryFrom<pb::PathStatus> for PathStatus {
    type Error = InvalidWire;
    fn try_from(p: pb::PathStatus) -> Read<Self> {
        Ok(Self {
            rtt_us: p.rtt_us,
            sent: p.sent,
            lost: p.lost,
            mtu: one("mtu", p.mtu, mtu)?,
            link_mtu: one("link_mtu", p.link_mtu, mtu)?,
            connections: one("connections", p.connections, |n| {
                small(n, "connections, 0 to 65535")
            })?,
        })
    }
}

impl TryFrom<pb::SessionStatus> for SessionStatus {
    type Error = InvalidWire;
    fn try_from(s: pb::SessionStatus) -> Read<Self> {
        let version = one("version", s.version, |n| {
            small(n, "a version of 1 to 65535")
        })?;
        Ok(Self {
            gateway: one("gateway", s.gateway, name)?,
            transport: one("transport", s.transport, code)?,
            address: one("address", s.address, text)?,
            dialled: s.dialled,
            since: Timestamp(s.since_ms),
            version,
            clock_skew_ms: s.clock_skew_ms,
            certificate_expires: s.certificate_expires_ms.map(Timestamp),
            path: maybe("path", s.path, TryFrom::try_from)?,
        })
    }
}

impl From<(&ClusterId, &PeerStatus)> for pb::PeerStatus {
    fn from((cluster, p): (&ClusterId, &PeerStatus)) -> Self {
        let error = |(time, message): &(Timestamp, String)| pb::ErrorStatus {
            time_ms: time.0,
            message: bounded(message),
        };
        Self {
            cluster: cluster.to_string(),
            number: p.number.number().into(),
            our_number_there: p.our_number_there.map(|n| n.number().into()),
            liveness: p.liveness.code(),
            age_ms: p.age_ms,
            held: p.held.map(Into::into),
            acknowledged: p.acknowledged.map(Into::into),
            sessions: p.sessions.iter().map(Into::into).collect(),
            encryption: p.encryption.code(),
            mappings: p.mappings.iter().map(Into::into).collect(),
            gateways: addresses(&p.gateways),
            services: p.services,
            certificate_expires_ms: p.certificate_expires.map(|t| t.0),
            last_error: p.last_error.as_ref().map(error),
        }
    }
}

impl TryFrom<pb::PeerStatus> for (ClusterId, PeerStatus) {
    type Error = InvalidWire;
    fn try_from(p: pb::PeerStatus) -> Read<Self> {
        let prefixes = limits::PREFIXES_PER_CLUSTER;
        let error = |e: pb::ErrorStatus| Ok((Timestamp(e.time_ms), text(e.message)?));
        let peer = PeerStatus {
            number: one("number", p.number, other_number)?,
            our_number_there: maybe("our_number_there", p.our_number_there, other_number)?,
            liveness: one("liveness", p.liveness, code)?,
            age_ms: p.age_ms,
            held: p.held.map(Into::into),
            acknowledged: p.acknowledged.map(Into::into),
            sessions: list(
                "sessions",
                limits::SESSIONS_PER_PEER,
                p.sessions,
                TryFrom::try_from,
            )?,
            encryption: one("encryption", p.encryption, code)?,
            mappings: list("mappings", prefixes, p.mappings, TryFrom::try_from)?,
            gateways: list(
                "gateways",
                limits::GATEWAYS_PER_CLUSTER,
                p.gateways,
                address,
            )?,
            services: p.services,
            certificate_expires: p.certificate_expires_ms.map(Timestamp),
            last_error: maybe("last_error", p.last_error, error)?,
        };
        Ok((one("cluster", p.cluster, name)?, peer))
    }
}

impl From<(&NodeName, &NodeStatus)> for pb::NodeStatus {
    fn from((node, n): (&NodeName, &NodeStatus)) -> Self {
        Self {
            node: node.to_string(),
            gateway: text_of(n.gateway.as_ref()),
            age_ms: n.age_ms,
            current: n.current,
            flows: n.flows,
            half_open: n.half_open,
            pods: n.pods,
            hooks: n.hooks.clone(),
            problems: n.problems.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::NodeStatus> for (NodeName, NodeStatus) {
    type Error = InvalidWire;
    fn try_from(n: pb::NodeStatus) -> Read<Self> {
        at_most("hooks", n.hooks.len(), limits::HOOKS_PER_NODE)?;
        let node = NodeStatus {
            gateway: maybe("gateway", n.gateway, name)?,
            age_ms: n.age_ms,
            current: n.current,
            flows: n.flows,
            half_open: n.half_open,
            pods: n.pods,
            hooks: n.hooks,
            problems: list("problems", limits::PROBLEMS, n.problems, TryFrom::try_from)?,
        };
        Ok((one("node", n.node, name)?, node))
    }
}

type DropKey = (NodeName, String);

impl From<(&DropKey, &u64)> for pb::DropCount {
    fn from(((node, reason), packets): (&DropKey, &u64)) -> Self {
        Self {
            node: node.to_string(),
            reason: reason.clone(),
            packets: *packets,
        }
    }
}

impl TryFrom<pb::DropCount> for (DropKey, u64) {
    type Error = InvalidWire;
    fn try_from(d: pb::DropCount) -> Read<Self> {
        let reason = one("reason", d.reason, text)?;
        if reason.is_empty() {
            return Err(contradiction("is empty").within("reason"));
        }
        Ok(((one("node", d.node, name)?, reason), d.packets))
    }
}

impl From<&Diagnosis> for pb::ClusterDiagnosis {
    fn from(d: &Diagnosis) -> Self {
        Self {
            cluster: d.cluster.to_string(),
            checks: checks(&d.checks),
        }
    }
}

impl TryFrom<pb::ClusterDiagnosis> for Diagnosis {
    type Error = InvalidWire;
    fn try_from(d: pb::ClusterDiagnosis) -> Read<Self> {
        Ok(Self {
            cluster: one("cluster", d.cluster, name)?,
            checks: one("checks", d.checks, checks_of)?,
        })
    }
}

impl From<&Vec<Diagnosis>> for pb::DiagnoseReply {
    fn from(all: &Vec<Diagnosis>) -> Self {
        Self {
            clusters: all.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::DiagnoseReply> for Vec<Diagnosis> {
    type Error = InvalidWire;
    fn try_from(reply: pb::DiagnoseReply) -> Read<Self> {
        let each = TryFrom::try_from;
        list("clusters", limits::PEERS + 1, reply.clusters, each)
    }
}
