//! Pure: problems, conflicts, conditions, and what agents report.

use super::Encoded;
use super::field::{Code, InvalidWire, Read, address, at_most, code, list, map, name, one, text};
use super::pb::model as pb;
use crate::limits;
use crate::model::{
    Address, Check, ClusterId, Condition, Conflict, Problem, Report, ServiceCounters, ServiceName,
    Timestamp,
};

/// What is for people is cut rather than refused: a long complaint must not keep the rest away.
pub(super) fn bounded(text: &str) -> String {
    let end = text.floor_char_boundary(limits::TEXT_BYTES);
    text.get(..end).unwrap_or_default().to_owned()
}

fn short(text: &str) -> String {
    let end = text.floor_char_boundary(limits::CHECK_BYTES);
    text.get(..end).unwrap_or_default().to_owned()
}

impl From<&Check> for pb::Check {
    fn from(c: &Check) -> Self {
        Self {
            place: short(&c.place),
            kind: c.kind.code(),
            subject: short(&c.subject),
            outcome: c.outcome.code(),
            message: short(&c.message),
            advice: short(&c.advice),
        }
    }
}

impl TryFrom<pb::Check> for Check {
    type Error = InvalidWire;
    fn try_from(c: pb::Check) -> Read<Self> {
        Ok(Self {
            place: one("place", c.place, text)?,
            kind: one("kind", c.kind, code)?,
            subject: one("subject", c.subject, text)?,
            outcome: one("outcome", c.outcome, code)?,
            message: one("message", c.message, text)?,
            advice: one("advice", c.advice, text)?,
        })
    }
}

/// The first of them, should they be more than fit.
pub(super) fn checks(checks: &[Check]) -> Vec<pb::Check> {
    checks.iter().take(limits::CHECKS).map(Into::into).collect()
}

pub(super) fn checks_of(checks: Vec<pb::Check>) -> Read<Vec<Check>> {
    list("checks", limits::CHECKS, checks, TryFrom::try_from)
}

impl From<&Problem> for pb::Problem {
    fn from(p: &Problem) -> Self {
        Self {
            kind: p.kind.code(),
            subject: bounded(&p.subject),
            message: bounded(&p.message),
        }
    }
}

impl TryFrom<pb::Problem> for Problem {
    type Error = InvalidWire;
    fn try_from(p: pb::Problem) -> Read<Self> {
        Ok(Self {
            kind: one("kind", p.kind, code)?,
            subject: one("subject", p.subject, text)?,
            message: one("message", p.message, text)?,
        })
    }
}

impl From<&Conflict> for pb::Conflict {
    fn from(c: &Conflict) -> Self {
        Self {
            field: c.field.code(),
            winner: c.winner.to_string(),
            value: c.value.clone(),
            disagree: c.disagree,
            of: c.of,
        }
    }
}

impl TryFrom<pb::Conflict> for Conflict {
    type Error = InvalidWire;
    fn try_from(c: pb::Conflict) -> Read<Self> {
        Ok(Self {
            field: one("field", c.field, code)?,
            winner: one("winner", c.winner, name)?,
            value: c.value,
            disagree: c.disagree,
            of: c.of,
        })
    }
}

impl From<(&ServiceName, &Vec<Conflict>)> for pb::ServiceConflicts {
    fn from((service, conflicts): (&ServiceName, &Vec<Conflict>)) -> Self {
        Self {
            service: service.to_string(),
            conflicts: conflicts.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ServiceConflicts> for (ServiceName, Vec<Conflict>) {
    type Error = InvalidWire;
    fn try_from(c: pb::ServiceConflicts) -> Read<Self> {
        let max = limits::CONFLICTS_PER_SERVICE;
        Ok((
            one("service", c.service, name)?,
            list("conflicts", max, c.conflicts, TryFrom::try_from)?,
        ))
    }
}

impl From<&Condition> for pb::Condition {
    fn from(c: &Condition) -> Self {
        Self {
            object: bounded(&c.object),
            kind: bounded(&c.kind),
            status: c.status.code(),
            reason: bounded(&c.reason),
            message: bounded(&c.message),
        }
    }
}

impl TryFrom<pb::Condition> for Condition {
    type Error = InvalidWire;
    fn try_from(c: pb::Condition) -> Read<Self> {
        Ok(Self {
            object: one("object", c.object, text)?,
            kind: one("kind", c.kind, text)?,
            status: one("status", c.status, code)?,
            reason: one("reason", c.reason, text)?,
            message: one("message", c.message, text)?,
        })
    }
}

impl From<(&ServiceName, &ServiceCounters)> for pb::ServiceCounters {
    fn from((service, c): (&ServiceName, &ServiceCounters)) -> Self {
        Self {
            service: service.to_string(),
            packets: c.packets,
            bytes: c.bytes,
            flows: c.flows,
            rejected: c.rejected,
        }
    }
}

impl TryFrom<pb::ServiceCounters> for (ServiceName, ServiceCounters) {
    type Error = InvalidWire;
    fn try_from(c: pb::ServiceCounters) -> Read<Self> {
        let counters = ServiceCounters {
            packets: c.packets,
            bytes: c.bytes,
            flows: c.flows,
            rejected: c.rejected,
        };
        Ok((one("service", c.service, name)?, counters))
    }
}

impl From<(&ClusterId, &Timestamp)> for pb::Heard {
    fn from((cluster, time): (&ClusterId, &Timestamp)) -> Self {
        Self {
            cluster: cluster.to_string(),
            time_ms: time.0,
        }
    }
}

impl TryFrom<pb::Heard> for (ClusterId, Timestamp) {
    type Error = InvalidWire;
    fn try_from(h: pb::Heard) -> Read<Self> {
        Ok((one("cluster", h.cluster, name)?, Timestamp(h.time_ms)))
    }
}

impl From<(&Address, &String)> for pb::Pod {
    fn from((address, port): (&Address, &String)) -> Self {
        Self {
            address: address.bytes().to_vec(),
            port: port.clone(),
        }
    }
}

impl TryFrom<pb::Pod> for (Address, String) {
    type Error = InvalidWire;
    fn try_from(p: pb::Pod) -> Read<Self> {
        Ok((
            one("address", p.address, address)?,
            one("port", p.port, text)?,
        ))
    }
}

impl From<&Report> for pb::Report {
    fn from(r: &Report) -> Self {
        Self {
            node: r.node.to_string(),
            time_ms: r.time.0,
            programmed: r.programmed.map(Into::into),
            drops: r.drops.clone(),
            services: r.services.iter().map(Into::into).collect(),
            heard: r.heard.iter().map(Into::into).collect(),
            pods: r.pods.iter().map(Into::into).collect(),
            flows: r.flows.0,
            half_open: r.flows.1,
            hooks: r.hooks.clone(),
            problems: r.problems.iter().map(Into::into).collect(),
            checks: checks(&r.checks),
        }
    }
}

impl TryFrom<pb::Report> for Report {
    type Error = InvalidWire;
    fn try_from(r: pb::Report) -> Read<Self> {
        let each = TryFrom::try_from;
        at_most("drops", r.drops.len(), limits::DROP_REASONS)?;
        at_most("hooks", r.hooks.len(), limits::HOOKS_PER_NODE)?;
        Ok(Self {
            node: one("node", r.node, name)?,
            time: Timestamp(r.time_ms),
            programmed: r.programmed.map(Into::into),
            drops: r.drops,
            services: map("services", limits::IMPORTS, r.services, TryFrom::try_from)?,
            heard: map("heard", limits::PEERS, r.heard, TryFrom::try_from)?,
            pods: map("pods", limits::HOOKS_PER_NODE, r.pods, TryFrom::try_from)?,
            flows: (r.flows, r.half_open),
            hooks: r.hooks,
            problems: list("problems", limits::PROBLEMS, r.problems, each)?,
            checks: checks_of(r.checks)?,
        })
    }
}

impl Encoded for Report {
    type Message = pb::Report;
}
