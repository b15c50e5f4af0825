//! Pure: who leads by the controller's word, and what a leader must not lose.

use super::field::{
    InvalidWire, Read, der, digest, list, map, maybe, name, need, one, port, set, text,
};
use super::pb::{local as pb, model};
use super::{Encoded, Fault};
use crate::limits;
use crate::model::{
    Appointment, AuthorityMaterial, ClusterId, ClusterSettings, Keep, LeadHello, LeadRefused,
    LeadReply, LeadRequest, LeaderState, PeerSettings,
};

impl From<&AuthorityMaterial> for model::AuthorityMaterial {
    fn from(m: &AuthorityMaterial) -> Self {
        Self {
            certificate: m.certificate.clone(),
            key: m.key.clone(),
            catalog_certificate: m.catalog_certificate.clone(),
            catalog_key: m.catalog_key.clone(),
            succession: m.succession.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<model::AuthorityMaterial> for AuthorityMaterial {
    type Error = InvalidWire;
    fn try_from(m: model::AuthorityMaterial) -> Read<Self> {
        Ok(Self {
            certificate: one("certificate", m.certificate, der)?,
            key: one("key", m.key, der)?,
            catalog_certificate: one("catalog_certificate", m.catalog_certificate, der)?,
            catalog_key: one("catalog_key", m.catalog_key, der)?,
            succession: maybe("succession", m.succession, TryFrom::try_from)?,
        })
    }
}

impl From<&LeaderState> for model::LeaderState {
    fn from(s: &LeaderState) -> Self {
        Self {
            authority: s.authority.as_ref().map(Into::into),
            allocations: s.allocations.as_ref().map(Into::into),
            trust: s.trust.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<model::LeaderState> for LeaderState {
    type Error = InvalidWire;
    fn try_from(s: model::LeaderState) -> Read<Self> {
        Ok(Self {
            authority: maybe("authority", s.authority, TryFrom::try_from)?,
            allocations: maybe("allocations", s.allocations, TryFrom::try_from)?,
            trust: maybe("trust", s.trust, TryFrom::try_from)?,
        })
    }
}

impl From<(&ClusterId, &PeerSettings)> for pb::PeerSettings {
    fn from((cluster, p): (&ClusterId, &PeerSettings)) -> Self {
        Self {
            cluster: cluster.to_string(),
            plain: p.plain,
            native: p.native.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::PeerSettings> for (ClusterId, PeerSettings) {
    type Error = InvalidWire;
    fn try_from(p: pb::PeerSettings) -> Read<Self> {
        let max = limits::PREFIXES_PER_CLUSTER;
        let settings = PeerSettings {
            plain: p.plain,
            native: list("native", max, p.native, TryFrom::try_from)?,
        };
        Ok((one("cluster", p.cluster, name)?, settings))
    }
}

impl From<&ClusterSettings> for pb::ClusterSettings {
    fn from(s: &ClusterSettings) -> Self {
        Self {
            plain: s.plain,
            peers: s.peers.iter().map(Into::into).collect(),
            pod_prefixes: s.pod_prefixes.iter().map(Into::into).collect(),
            vips: s.vips.iter().map(Into::into).collect(),
            mappings: s.mappings.iter().map(Into::into).collect(),
            tunnel_port: s.tunnel_port.into(),
            introduced: s.introduced.as_ref().map(|only| pb::IntroducedClusters {
                clusters: only.iter().map(ToString::to_string).collect(),
            }),
        }
    }
}

impl TryFrom<pb::ClusterSettings> for ClusterSettings {
    type Error = InvalidWire;
    fn try_from(s: pb::ClusterSettings) -> Read<Self> {
        let max = limits::PREFIXES_PER_CLUSTER;
        let prefixes = |field, items| list(field, max, items, TryFrom::try_from);
        Ok(Self {
            plain: s.plain,
            peers: map("peers", limits::PEERS, s.peers, TryFrom::try_from)?,
            pod_prefixes: prefixes("pod_prefixes", s.pod_prefixes)?,
            vips: prefixes("vips", s.vips)?,
            mappings: prefixes("mappings", s.mappings)?,
            tunnel_port: one("tunnel_port", s.tunnel_port, port)?,
            introduced: maybe("introduced", s.introduced, |only| {
                set("clusters", limits::PEERS, only.clusters, name)
            })?,
        })
    }
}

impl From<&Appointment> for pb::Appointment {
    fn from(a: &Appointment) -> Self {
        Self {
            term: a.term,
            leader: a.leader.to_string(),
            leader_address: a.leader_address.clone(),
            epoch: a.epoch,
            settings: Some((&a.settings).into()),
            state: a.state.as_ref().map(Into::into),
        }
    }
}

/// A term that was given: they count from 1.
fn term(term: u64) -> Read<u64> {
    if term == 0 {
        let (got, rule) = (0, "above 0");
        return Err(Fault::Range { got, rule }.into());
    }
    Ok(term)
}

impl TryFrom<pb::Appointment> for Appointment {
    type Error = InvalidWire;
    fn try_from(a: pb::Appointment) -> Read<Self> {
        Ok(Self {
            term: one("term", a.term, term)?,
            leader: one("leader", a.leader, name)?,
            leader_address: one("leader_address", a.leader_address, text)?,
            epoch: a.epoch,
            settings: need("settings", a.settings, TryFrom::try_from)?,
            state: maybe("state", a.state, TryFrom::try_from)?,
        })
    }
}

impl From<&LeadRequest> for pb::LeadRequest {
    fn from(r: &LeadRequest) -> Self {
        use pb::lead_request::Request as R;
        let request = match r {
            LeadRequest::Appointment(appointment) => R::Appointment(appointment.into()),
            LeadRequest::Kept(sequence) => R::Kept(pb::KeptAck {
                sequence: *sequence,
            }),
        };
        Self {
            request: Some(request),
        }
    }
}

impl TryFrom<pb::LeadRequest> for LeadRequest {
    type Error = InvalidWire;
    fn try_from(r: pb::LeadRequest) -> Read<Self> {
        use pb::lead_request::Request as R;
        Ok(match r.request.ok_or(Fault::Missing)? {
            R::Appointment(a) => Self::Appointment(one("appointment", a, TryFrom::try_from)?),
            R::Kept(kept) => Self::Kept(kept.sequence),
        })
    }
}

impl From<&LeadHello> for pb::LeadHello {
    fn from(h: &LeadHello) -> Self {
        Self {
            gateway: h.gateway.to_string(),
            node: h.node.to_string(),
            local_address: h.local_address.clone(),
            epoch: h.epoch,
            held_epoch: h.held.0,
            held_version: h.held.1,
            term: h.term,
            leader: h.leader.as_ref().map(ToString::to_string),
            leads: h.leads,
            draining: h.draining,
            unheard_ms: h.unheard_ms,
            authority: h.authority.map(|digest| digest.0.to_vec()),
            rotate_authority: h.rotate_authority,
        }
    }
}

impl TryFrom<pb::LeadHello> for LeadHello {
    type Error = InvalidWire;
    fn try_from(h: pb::LeadHello) -> Read<Self> {
        Ok(Self {
            gateway: one("gateway", h.gateway, name)?,
            node: one("node", h.node, name)?,
            local_address: one("local_address", h.local_address, text)?,
            epoch: h.epoch,
            held: (h.held_epoch, h.held_version),
            term: h.term,
            leader: maybe("leader", h.leader, name)?,
            leads: h.leads,
            draining: h.draining,
            unheard_ms: h.unheard_ms,
            authority: maybe("authority", h.authority, digest)?,
            rotate_authority: h.rotate_authority,
        })
    }
}

impl From<&Keep> for pb::Keep {
    fn from(k: &Keep) -> Self {
        Self {
            sequence: k.sequence,
            epoch: k.epoch,
            allocations: k.allocations.as_ref().map(Into::into),
            trust: k.trust.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::Keep> for Keep {
    type Error = InvalidWire;
    fn try_from(k: pb::Keep) -> Read<Self> {
        Ok(Self {
            sequence: k.sequence,
            epoch: k.epoch,
            allocations: maybe("allocations", k.allocations, TryFrom::try_from)?,
            trust: maybe("trust", k.trust, TryFrom::try_from)?,
        })
    }
}

impl From<&LeadRefused> for pb::Refused {
    fn from(r: &LeadRefused) -> Self {
        Self {
            term: r.term,
            leader: r.leader.as_ref().map(ToString::to_string),
            why: r.why.clone(),
        }
    }
}

impl TryFrom<pb::Refused> for LeadRefused {
    type Error = InvalidWire;
    fn try_from(r: pb::Refused) -> Read<Self> {
        Ok(Self {
            term: r.term,
            leader: maybe("leader", r.leader, name)?,
            why: one("why", r.why, text)?,
        })
    }
}

impl From<&LeadReply> for pb::LeadReply {
    fn from(r: &LeadReply) -> Self {
        use pb::lead_reply::Reply as R;
        let reply = match r {
            LeadReply::Hello(hello) => R::Hello(hello.into()),
            LeadReply::Keep(keep) => R::Keep(keep.into()),
            LeadReply::Refused(refused) => R::Refused(refused.into()),
        };
        Self { reply: Some(reply) }
    }
}

impl TryFrom<pb::LeadReply> for LeadReply {
    type Error = InvalidWire;
    fn try_from(r: pb::LeadReply) -> Read<Self> {
        use pb::lead_reply::Reply as R;
        Ok(match r.reply.ok_or(Fault::Missing)? {
            R::Hello(hello) => Self::Hello(one("hello", hello, TryFrom::try_from)?),
            R::Keep(keep) => Self::Keep(one("keep", keep, TryFrom::try_from)?),
            R::Refused(refused) => Self::Refused(one("refused", refused, TryFrom::try_from)?),
        })
    }
}

impl Encoded for LeaderState {
    type Message = model::LeaderState;
}

impl Encoded for ClusterSettings {
    type Message = pb::ClusterSettings;
}

impl Encoded for Appointment {
    type Message = pb::Appointment;
}
