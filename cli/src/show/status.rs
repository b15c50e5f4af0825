//! Pure: one gateway's view of its cluster, on one screen.

use std::collections::BTreeMap;

use causeway_proto::model::{
    Condition, ConditionStatus, GatewayStatus, NodeName, NodeStatus, Problem, Timestamp,
};
use serde::Serialize;

use super::Show;
use super::drops::{DropForm, drops_text};
use super::peers::{PeerForm, peers_text};
use crate::text::{ago, columns, ends, or_dash, span, table, when};

/// What `causeway status` prints.
#[derive(Debug, Serialize)]
pub struct StatusForm {
    cluster: String,
    clusterset: String,
    gateway: String,
    version: String,
    time: String,
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
    is_leader: bool,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    view: ViewForm,
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_expires: Option<String>,
    policy_enforced: bool,
    services: CountsForm,
    peers: Vec<PeerForm>,
    nodes: Vec<NodeForm>,
    conflicts: BTreeMap<String, Vec<ConflictForm>>,
    problems: Vec<ProblemForm>,
    conditions: Vec<ConditionForm>,
    drops: Vec<DropForm>,
    #[serde(skip)]
    head: String,
}

#[derive(Debug, Serialize)]
struct ViewForm {
    instance: u64,
    number: u64,
}

#[derive(Debug, Serialize)]
struct CountsForm {
    exported: u32,
    imported: u32,
    stale: u32,
}

#[derive(Debug, Serialize)]
struct NodeForm {
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    current: bool,
    pods: u32,
    flows: u64,
    half_open: u64,
    hooks: BTreeMap<String, String>,
    problems: Vec<ProblemForm>,
}

/// A clash of exports.
#[derive(Debug, Serialize)]
pub struct ConflictForm {
    reason: &'static str,
    winner: String,
    value: String,
    disagree: u32,
    of: u32,
    message: String,
}

#[derive(Debug, Serialize)]
struct ProblemForm {
    kind: String,
    subject: String,
    message: String,
}

#[derive(Debug, Serialize)]
struct ConditionForm {
    object: String,
    kind: String,
    status: &'static str,
    reason: String,
    message: String,
    #[serde(skip)]
    bad: bool,
}

impl ConflictForm {
    /// Of one conflict.
    pub fn of(c: &causeway_proto::model::Conflict) -> Self {
        Self {
            reason: c.field.reason(),
            winner: c.winner.to_string(),
            value: c.value.clone(),
            disagree: c.disagree,
            of: c.of,
            message: c.to_string(),
        }
    }

    /// For a person.
    pub fn text(&self) -> &str {
        &self.message
    }
}

impl ProblemForm {
    fn of(p: &Problem) -> Self {
        Self {
            kind: format!("{:?}", p.kind),
            subject: p.subject.clone(),
            message: p.message.clone(),
        }
    }
}

impl ConditionForm {
    fn of(c: &Condition) -> Self {
        // A conflict is bad where it holds, every other condition where it does not.
        let good = if c.kind == "Conflict" {
            ConditionStatus::False
        } else {
            ConditionStatus::True
        };
        Self {
            object: c.object.clone(),
            kind: c.kind.clone(),
            status: match c.status {
                ConditionStatus::True => "true",
                ConditionStatus::False => "false",
                ConditionStatus::Unknown => "unknown",
            },
            reason: c.reason.clone(),
            message: c.message.clone(),
            bad: c.status != good,
        }
    }
}

impl NodeForm {
    fn of((node, n): (&NodeName, &NodeStatus)) -> Self {
        Self {
            node: node.to_string(),
            gateway: n.gateway.as_ref().map(ToString::to_string),
            age_ms: n.age_ms,
            current: n.current,
            pods: n.pods,
            flows: n.flows,
            half_open: n.half_open,
            hooks: n.hooks.clone(),
            problems: n.problems.iter().map(ProblemForm::of).collect(),
        }
    }

    fn row(&self) -> Vec<String> {
        let view = match (self.age_ms, self.current) {
            (None, _) => "no agent has reported",
            (_, true) => "programmed",
            (_, false) => "behind",
        };
        vec![
            self.node.clone(),
            or_dash(self.gateway.as_ref()),
            ago(self.age_ms),
            view.to_owned(),
            self.pods.to_string(),
            self.flows.to_string(),
            self.half_open.to_string(),
        ]
    }
}

fn head(s: &GatewayStatus) -> String {
    let is_leader = s.leader.as_ref() == Some(&s.gateway);
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row(
        "cluster",
        format!("{} in clusterset {}", s.cluster, s.cluster_set),
    );
    row(
        "gateway",
        format!(
            "{}, {}, version {}, up {}",
            s.gateway,
            if is_leader { "the leader" } else { "follows" },
            s.version,
            span(s.time.since(s.started))
        ),
    );
    row("leader", leader(s));
    row(
        "catalog",
        format!(
            "revision {}, view {}",
            or_dash(s.revision.as_ref()),
            s.view.number
        ),
    );
    row(
        "certificates",
        format!(
            "ours {}, CA {}",
            end(s.certificate_expires, s.time),
            end(s.ca_expires, s.time)
        ),
    );
    row(
        "policy",
        if s.policy_enforced {
            "enforced"
        } else {
            "not enforced by this version"
        }
        .to_owned(),
    );
    let c = s.services;
    row(
        "services",
        format!(
            "{} exported, {} imported, {} stale",
            c.exported, c.imported, c.stale
        ),
    );
    columns(&rows)
}

fn leader(s: &GatewayStatus) -> String {
    let known = match &s.leader {
        Some(leader) => format!("{leader}, epoch {}", s.epoch),
        None => format!("none, last epoch {}", s.epoch),
    };
    match s.frozen_since {
        Some(since) => format!(
            "{known}; frozen since {} ({}): what is held stays in force",
            when(since),
            ago(Some(s.time.since(since)))
        ),
        None => known,
    }
}

fn end(end: Option<Timestamp>, now: Timestamp) -> String {
    end.map_or_else(
        || "not known".to_owned(),
        |end| {
            if end > now {
                format!("ends {}", ends(end, now))
            } else {
                ends(end, now)
            }
        },
    )
}

impl StatusForm {
    /// Of a gateway's answer.
    pub fn of(s: &GatewayStatus) -> Self {
        let conflicts = s.conflicts.iter().map(|(service, list)| {
            let list = list.iter().map(ConflictForm::of).collect();
            (service.to_string(), list)
        });
        Self {
            cluster: s.cluster.to_string(),
            clusterset: s.cluster_set.to_string(),
            gateway: s.gateway.to_string(),
            version: s.version.clone(),
            time: when(s.time),
            started: when(s.started),
            leader: s.leader.as_ref().map(ToString::to_string),
            is_leader: s.leader.as_ref() == Some(&s.gateway),
            epoch: s.epoch,
            revision: s.revision.map(|r| r.to_string()),
            view: ViewForm {
                instance: s.view.instance,
                number: s.view.number,
            },
            frozen_since: s.frozen_since.map(when),
            certificate_expires: s.certificate_expires.map(when),
            ca_expires: s.ca_expires.map(when),
            policy_enforced: s.policy_enforced,
            services: CountsForm {
                exported: s.services.exported,
                imported: s.services.imported,
                stale: s.services.stale,
            },
            peers: s.peers.iter().map(|(id, p)| PeerForm::of(id, p)).collect(),
            nodes: s.nodes.iter().map(NodeForm::of).collect(),
            conflicts: conflicts.collect(),
            problems: s.problems.iter().map(ProblemForm::of).collect(),
            conditions: s.conditions.iter().map(ConditionForm::of).collect(),
            drops: s.drops.iter().map(DropForm::of).collect(),
            head: head(s),
        }
    }

    fn trouble(&self) -> String {
        let mut rows = Vec::new();
        for (service, conflicts) in &self.conflicts {
            for conflict in conflicts {
                rows.push(vec![
                    "conflict".to_owned(),
                    service.clone(),
                    conflict.message.clone(),
                ]);
            }
        }
        for p in &self.problems {
            rows.push(vec![p.kind.clone(), p.subject.clone(), p.message.clone()]);
        }
        for node in &self.nodes {
            for p in &node.problems {
                let subject = format!("node {}: {}", node.node, p.subject);
                rows.push(vec![p.kind.clone(), subject, p.message.clone()]);
            }
        }
        for c in self.conditions.iter().filter(|c| c.bad) {
            let kind = format!("{}={}", c.kind, c.status);
            rows.push(vec![
                kind,
                c.object.clone(),
                format!("{}: {}", c.reason, c.message),
            ]);
        }
        table(&["TROUBLE", "WHERE", "WHAT"], rows)
    }
}

impl Show for StatusForm {
    fn text(&self) -> String {
        let peers = if self.peers.is_empty() {
            "no peers\n".to_owned()
        } else {
            peers_text(&self.peers)
        };
        let nodes = table(
            &[
                "NODE",
                "GATEWAY",
                "REPORTED",
                "VIEW",
                "PODS",
                "FLOWS",
                "HALF-OPEN",
            ],
            self.nodes.iter().map(NodeForm::row).collect(),
        );
        let trouble = match self.trouble() {
            rows if rows.is_empty() => "no conflicts, no problems\n".to_owned(),
            rows => rows,
        };
        let parts = [
            self.head.clone(),
            peers,
            nodes,
            trouble,
            drops_text(&self.drops),
        ];
        let parts: Vec<_> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        parts.join("\n")
    }
}
