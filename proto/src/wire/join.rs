//! Pure: redeeming a join token, and what the operator's calls carry.

use super::Encoded;
use super::export::service_ports;
use super::federation::versions;
use super::field::{
    Code, InvalidWire, Read, array, code, codes, digest, list, map, maybe, name, need, one, text,
};
use super::pb::{admin, join as pb};
use super::report::bounded;
use crate::limits;
use crate::model::{
    ClusterId, EnrolRole, Finding, JoinFacts, OfferedService, Preflight, Redeem, Redeemed,
    ServiceName, Timestamp,
};

codes! {
    Severity = pb::Severity { Note = Note, Warning = Warning, Refusal = Refusal }
    EnrolRole = admin::Role {
        Agent = Agent, Gateway = Gateway, Controller = Controller, Operator = Operator,
    }
}

impl From<&JoinFacts> for pb::Facts {
    fn from(f: &JoinFacts) -> Self {
        Self {
            cluster: f.cluster.to_string(),
            cluster_set: f.cluster_set.to_string(),
            version_min: f.versions.0.into(),
            version_max: f.versions.1.into(),
            time_ms: f.time.0,
            prefixes: f.prefixes.iter().map(Into::into).collect(),
            vips: f.vips.iter().map(Into::into).collect(),
            plain_allowed: f.plain_allowed,
            services: f.services.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Facts> for JoinFacts {
    type Error = InvalidWire;
    fn try_from(f: pb::Facts) -> Read<Self> {
        let prefixes = limits::PREFIXES_PER_CLUSTER;
        Ok(Self {
            cluster: one("cluster", f.cluster, name)?,
            cluster_set: one("cluster_set", f.cluster_set, name)?,
            versions: versions(f.version_min, f.version_max)?,
            time: Timestamp(f.time_ms),
            prefixes: list("prefixes", prefixes, f.prefixes, TryFrom::try_from)?,
            vips: list("vips", prefixes, f.vips, TryFrom::try_from)?,
            plain_allowed: f.plain_allowed,
            services: map("services", limits::SERVICES, f.services, TryFrom::try_from)?,
        })
    }
}

impl From<(&ServiceName, &OfferedService)> for pb::OfferedService {
    fn from((service, o): (&ServiceName, &OfferedService)) -> Self {
        Self {
            service: service.to_string(),
            headless: o.headless,
            ports: o.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::OfferedService> for (ServiceName, OfferedService) {
    type Error = InvalidWire;
    fn try_from(o: pb::OfferedService) -> Read<Self> {
        let offered = OfferedService {
            headless: o.headless,
            ports: service_ports(o.ports)?,
        };
        Ok((one("service", o.service, name)?, offered))
    }
}

impl From<&Redeem> for pb::RedeemRequest {
    fn from(r: &Redeem) -> Self {
        Self {
            token: r.token.0.to_vec(),
            proof: r.proof.to_vec(),
            dry_run: r.dry_run,
            facts: Some((&r.facts).into()),
            bundle: r.bundle.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::RedeemRequest> for Redeem {
    type Error = InvalidWire;
    fn try_from(r: pb::RedeemRequest) -> Read<Self> {
        Ok(Self {
            token: one("token", r.token, digest)?,
            proof: one("proof", r.proof, array)?,
            dry_run: r.dry_run,
            facts: need("facts", r.facts, TryFrom::try_from)?,
            bundle: maybe("bundle", r.bundle, TryFrom::try_from)?,
        })
    }
}

impl From<&Redeemed> for pb::RedeemReply {
    fn from(r: &Redeemed) -> Self {
        Self {
            proof: r.proof.to_vec(),
            facts: Some((&r.facts).into()),
            findings: r.findings.iter().map(Into::into).collect(),
            bundle: r.bundle.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::RedeemReply> for Redeemed {
    type Error = InvalidWire;
    fn try_from(r: pb::RedeemReply) -> Read<Self> {
        let many = limits::PROBLEMS;
        Ok(Self {
            proof: one("proof", r.proof, array)?,
            facts: need("facts", r.facts, TryFrom::try_from)?,
            findings: list("findings", many, r.findings, TryFrom::try_from)?,
            bundle: maybe("bundle", r.bundle, TryFrom::try_from)?,
        })
    }
}

impl From<&Finding> for pb::Finding {
    fn from(f: &Finding) -> Self {
        Self {
            severity: f.severity.code(),
            subject: bounded(&f.subject),
            message: bounded(&f.message),
        }
    }
}

impl TryFrom<pb::Finding> for Finding {
    type Error = InvalidWire;
    fn try_from(f: pb::Finding) -> Read<Self> {
        Ok(Self {
            severity: one("severity", f.severity, code)?,
            subject: one("subject", f.subject, text)?,
            message: one("message", f.message, text)?,
        })
    }
}

impl From<&Preflight> for pb::Preflight {
    fn from(p: &Preflight) -> Self {
        Self {
            peer: Some((&p.peer).into()),
            findings: p.findings.iter().map(Into::into).collect(),
            clock_skew_ms: p.clock_skew_ms,
            mappings: p.mappings.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Preflight> for Preflight {
    type Error = InvalidWire;
    fn try_from(p: pb::Preflight) -> Read<Self> {
        let prefixes = limits::PREFIXES_PER_CLUSTER;
        Ok(Self {
            peer: need("peer", p.peer, TryFrom::try_from)?,
            findings: list("findings", limits::PROBLEMS, p.findings, TryFrom::try_from)?,
            clock_skew_ms: p.clock_skew_ms,
            mappings: list("mappings", prefixes, p.mappings, TryFrom::try_from)?,
        })
    }
}

/// Seconds that were asked for, and the only cluster that may redeem the token.
impl TryFrom<admin::CreateTokenRequest> for (Option<u64>, Option<ClusterId>) {
    type Error = InvalidWire;
    fn try_from(r: admin::CreateTokenRequest) -> Read<Self> {
        let ttl = (r.ttl_secs != 0).then_some(r.ttl_secs);
        Ok((ttl, maybe("for_cluster", r.for_cluster, name)?))
    }
}

impl From<EnrolRole> for admin::Role {
    fn from(role: EnrolRole) -> Self {
        Self::try_from(role.code()).unwrap_or_default()
    }
}

/// Whose enrolment, and the seconds that were asked for.
impl TryFrom<admin::EnrollRequest> for (EnrolRole, String, Option<u64>) {
    type Error = InvalidWire;
    fn try_from(r: admin::EnrollRequest) -> Read<Self> {
        let ttl = (r.ttl_secs != 0).then_some(r.ttl_secs);
        Ok((one("role", r.role, code)?, one("name", r.name, text)?, ttl))
    }
}

/// Whether it was done, and what was found.
impl TryFrom<admin::JoinReply> for (bool, Preflight) {
    type Error = InvalidWire;
    fn try_from(r: admin::JoinReply) -> Read<Self> {
        let preflight = need("preflight", r.preflight, TryFrom::try_from)?;
        Ok((r.joined, preflight))
    }
}

impl Encoded for Redeem {
    type Message = pb::RedeemRequest;
}

impl Encoded for JoinFacts {
    type Message = pb::Facts;
}
