//! Pure: what processes of one cluster say to each other.

use super::Encoded;
use super::field::{
    Fault, InvalidWire, Read, at_most, contradiction, der, digest, list, map, maybe, mtu, name,
    need, one, set,
};
use super::leader::authorities;
use super::pb::{local as pb, model};
use crate::limits;
use crate::model::{
    Carriers, ClusterId, Enrolment, FollowHello, FollowRequest, FollowState, GatewayName,
    IssuedCertificate, OwnGateway, Problem, Publication, Report, Revision, Timestamp, View,
    WatchScope,
};

impl From<&Publication> for pb::Publication {
    fn from(p: &Publication) -> Self {
        Self {
            exports: Some((&p.exports).into()),
            conditions: p.conditions.iter().map(Into::into).collect(),
            problems: p.problems.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Publication> for Publication {
    type Error = InvalidWire;
    fn try_from(p: pb::Publication) -> Read<Self> {
        let many = limits::PROBLEMS;
        Ok(Self {
            exports: need("exports", p.exports, TryFrom::try_from)?,
            conditions: list("conditions", many, p.conditions, TryFrom::try_from)?,
            problems: list("problems", many, p.problems, TryFrom::try_from)?,
        })
    }
}

impl From<(u64, &Publication)> for pb::PublishRequest {
    fn from((sequence, p): (u64, &Publication)) -> Self {
        Self {
            sequence,
            exports: Some((&p.exports).into()),
            conditions: p.conditions.iter().map(Into::into).collect(),
            problems: p.problems.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::PublishRequest> for (u64, Publication) {
    type Error = InvalidWire;
    fn try_from(r: pb::PublishRequest) -> Read<Self> {
        let publication = pb::Publication {
            exports: r.exports,
            conditions: r.conditions,
            problems: r.problems,
        };
        Ok((r.sequence, publication.try_into()?))
    }
}

type Published = (u64, Option<Revision>, Vec<Problem>);

impl From<&Published> for pb::PublishReply {
    fn from((sequence, revision, problems): &Published) -> Self {
        Self {
            sequence: *sequence,
            revision: revision.map(Into::into),
            problems: problems.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::PublishReply> for Published {
    type Error = InvalidWire;
    fn try_from(r: pb::PublishReply) -> Read<Self> {
        let problems = list("problems", limits::PROBLEMS, r.problems, TryFrom::try_from)?;
        Ok((r.sequence, r.revision.map(Into::into), problems))
    }
}

impl From<&FollowRequest> for pb::FollowRequest {
    fn from(r: &FollowRequest) -> Self {
        use pb::follow_request::Request as R;
        let request = match r {
            FollowRequest::Hello(h) => R::Hello(h.into()),
            FollowRequest::Ack(sequence) => R::Ack(pb::FollowAck {
                sequence: *sequence,
            }),
            FollowRequest::Report(report) => R::Report(report.into()),
            FollowRequest::Carries(peers) => R::Carries(pb::Carries {
                peers: peers.iter().map(Into::into).collect(),
            }),
        };
        Self {
            request: Some(request),
        }
    }
}

impl TryFrom<pb::FollowRequest> for FollowRequest {
    type Error = InvalidWire;
    fn try_from(r: pb::FollowRequest) -> Read<Self> {
        use pb::follow_request::Request as R;
        Ok(match r.request.ok_or(Fault::Missing)? {
            R::Hello(hello) => Self::Hello(one("hello", hello, TryFrom::try_from)?),
            R::Ack(ack) => Self::Ack(ack.sequence),
            R::Report(report) => Self::Report(one("report", report, TryFrom::try_from)?),
            R::Carries(c) => {
                Self::Carries(map("peers", limits::PEERS, c.peers, TryFrom::try_from)?)
            }
        })
    }
}

impl From<(&ClusterId, &u16)> for pb::Carried {
    fn from((cluster, mtu): (&ClusterId, &u16)) -> Self {
        Self {
            cluster: cluster.to_string(),
            mtu: (*mtu).into(),
        }
    }
}

impl TryFrom<pb::Carried> for (ClusterId, u16) {
    type Error = InvalidWire;
    fn try_from(c: pb::Carried) -> Read<Self> {
        Ok((one("cluster", c.cluster, name)?, one("mtu", c.mtu, mtu)?))
    }
}

impl From<(&GatewayName, &OwnGateway)> for pb::OwnGateway {
    fn from((gateway, own): (&GatewayName, &OwnGateway)) -> Self {
        Self {
            gateway: gateway.to_string(),
            node: own.node.to_string(),
            carries: own.carries.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::OwnGateway> for (GatewayName, OwnGateway) {
    type Error = InvalidWire;
    fn try_from(g: pb::OwnGateway) -> Read<Self> {
        let own = OwnGateway {
            node: one("node", g.node, name)?,
            carries: map("carries", limits::PEERS, g.carries, TryFrom::try_from)?,
        };
        Ok((one("gateway", g.gateway, name)?, own))
    }
}

impl From<&FollowHello> for pb::FollowHello {
    fn from(h: &FollowHello) -> Self {
        Self {
            gateway: h.gateway.to_string(),
            epoch: h.epoch,
            instance: h.instance,
            node: h.node.to_string(),
            address: Some((&h.gateway, &h.address).into()),
            allocations: h.allocations.as_ref().map(Into::into),
            trust: h.trust.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::FollowHello> for FollowHello {
    type Error = InvalidWire;
    fn try_from(h: pb::FollowHello) -> Read<Self> {
        let (named, address): (GatewayName, _) = need("address", h.address, TryFrom::try_from)?;
        let gateway = one("gateway", h.gateway, name)?;
        if named != gateway {
            return Err(contradiction("is of another gateway").within("address"));
        }
        Ok(Self {
            gateway,
            epoch: h.epoch,
            instance: h.instance,
            node: one("node", h.node, name)?,
            address,
            allocations: maybe("allocations", h.allocations, TryFrom::try_from)?,
            trust: maybe("trust", h.trust, TryFrom::try_from)?,
        })
    }
}

impl From<&FollowState> for pb::FollowReply {
    fn from(s: &FollowState) -> Self {
        Self {
            sequence: s.sequence,
            leader: s.leader.to_string(),
            epoch: s.epoch,
            time_ms: s.time.0,
            publication: s.publication.as_ref().map(Into::into),
            allocations: s.allocations.as_ref().map(Into::into),
            trust: s.trust.as_ref().map(Into::into),
            catalog: s.catalog.as_ref().map(Into::into),
            reports: s.reports.iter().map(Into::into).collect(),
            gateways: s.gateways.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::FollowReply> for FollowState {
    type Error = InvalidWire;
    fn try_from(s: pb::FollowReply) -> Read<Self> {
        let nodes = limits::NODES_PER_CLUSTER;
        Ok(Self {
            sequence: s.sequence,
            leader: one("leader", s.leader, name)?,
            epoch: s.epoch,
            time: Timestamp(s.time_ms),
            publication: maybe("publication", s.publication, TryFrom::try_from)?,
            allocations: maybe("allocations", s.allocations, TryFrom::try_from)?,
            trust: maybe("trust", s.trust, TryFrom::try_from)?,
            catalog: maybe("catalog", s.catalog, TryFrom::try_from)?,
            reports: list("reports", nodes, s.reports, TryFrom::try_from)?,
            gateways: map(
                "gateways",
                limits::GATEWAYS_PER_CLUSTER,
                s.gateways,
                TryFrom::try_from,
            )?,
        })
    }
}

impl From<&WatchScope> for pb::WatchRequest {
    fn from(scope: &WatchScope) -> Self {
        use pb::watch_request as w;
        let scope = match scope {
            WatchScope::Node(node) => w::Scope::Node(node.to_string()),
            WatchScope::Controller => w::Scope::Controller(w::Controller {}),
            WatchScope::Whole => w::Scope::Whole(w::Whole {}),
        };
        Self { scope: Some(scope) }
    }
}

impl TryFrom<pb::WatchRequest> for WatchScope {
    type Error = InvalidWire;
    fn try_from(r: pb::WatchRequest) -> Read<Self> {
        use pb::watch_request::Scope as S;
        match need("scope", r.scope, Ok)? {
            S::Node(node) => one("node", node, name).map(Self::Node),
            S::Controller(_) => Ok(Self::Controller),
            S::Whole(_) => Ok(Self::Whole),
        }
    }
}

impl From<&View> for pb::WatchReply {
    fn from(view: &View) -> Self {
        Self {
            view: Some(view.into()),
            gateway: String::new(),
        }
    }
}

impl TryFrom<pb::WatchReply> for View {
    type Error = InvalidWire;
    fn try_from(r: pb::WatchReply) -> Read<Self> {
        need("view", r.view, TryFrom::try_from)
    }
}

impl From<&Carriers> for pb::WatchCarriersReply {
    fn from(Carriers(peers): &Carriers) -> Self {
        let peers = peers.iter().map(|(cluster, gateways)| pb::Carriers {
            cluster: cluster.to_string(),
            gateways: gateways.iter().map(ToString::to_string).collect(),
        });
        Self {
            peers: peers.collect(),
        }
    }
}

impl TryFrom<pb::WatchCarriersReply> for Carriers {
    type Error = InvalidWire;
    fn try_from(r: pb::WatchCarriersReply) -> Read<Self> {
        let most = limits::GATEWAYS_PER_CLUSTER;
        let read = |c: pb::Carriers| -> Read<_> {
            let gateways = set("gateways", most, c.gateways, name)?;
            Ok((one("cluster", c.cluster, name)?, gateways))
        };
        map("peers", limits::PEERS, r.peers, read).map(Self)
    }
}

impl From<&Report> for pb::ReportRequest {
    fn from(report: &Report) -> Self {
        Self {
            report: Some(report.into()),
        }
    }
}

impl TryFrom<pb::ReportRequest> for Report {
    type Error = InvalidWire;
    fn try_from(r: pb::ReportRequest) -> Read<Self> {
        need("report", r.report, |r: model::Report| r.try_into())
    }
}

impl From<&Enrolment> for pb::EnrollRequest {
    fn from(e: &Enrolment) -> Self {
        Self {
            id: e.id.0.to_vec(),
            secret: e.secret.clone(),
            csr: e.csr.clone(),
        }
    }
}

impl TryFrom<pb::EnrollRequest> for Enrolment {
    type Error = InvalidWire;
    fn try_from(e: pb::EnrollRequest) -> Read<Self> {
        at_most("secret", e.secret.len(), limits::SECRET_BYTES)?;
        Ok(Self {
            id: one("id", e.id, digest)?,
            secret: e.secret,
            csr: one("csr", e.csr, der)?,
        })
    }
}

impl From<&IssuedCertificate> for pb::Certificate {
    fn from(c: &IssuedCertificate) -> Self {
        Self {
            chain: c.chain.clone(),
            authorities: c.authorities.clone(),
        }
    }
}

impl TryFrom<pb::Certificate> for IssuedCertificate {
    type Error = InvalidWire;
    fn try_from(c: pb::Certificate) -> Read<Self> {
        if c.chain.is_empty() {
            return Err(InvalidWire::from(Fault::Missing).within("chain"));
        }
        Ok(Self {
            chain: list("chain", limits::CERTIFICATES, c.chain, der)?,
            authorities: authorities(c.authorities)?,
        })
    }
}

impl From<&IssuedCertificate> for pb::EnrollReply {
    fn from(c: &IssuedCertificate) -> Self {
        Self {
            certificate: Some(c.into()),
        }
    }
}

impl TryFrom<pb::EnrollReply> for IssuedCertificate {
    type Error = InvalidWire;
    fn try_from(r: pb::EnrollReply) -> Read<Self> {
        need("certificate", r.certificate, TryFrom::try_from)
    }
}

impl From<&IssuedCertificate> for pb::RenewReply {
    fn from(c: &IssuedCertificate) -> Self {
        Self {
            certificate: Some(c.into()),
        }
    }
}

impl TryFrom<pb::RenewReply> for IssuedCertificate {
    type Error = InvalidWire;
    fn try_from(r: pb::RenewReply) -> Read<Self> {
        need("certificate", r.certificate, TryFrom::try_from)
    }
}

impl Encoded for Publication {
    type Message = pb::Publication;
}

impl Encoded for FollowState {
    type Message = pb::FollowReply;
}
