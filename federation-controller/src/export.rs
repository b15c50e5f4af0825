//! Pure: Objects to Exports, with a condition for each ServiceExport and a problem for each thing that
//! cannot be right. The order of objects does not matter. Clashes with other clusters are not seen here:
//! merge finds them.

mod annotations;
mod endpoints;
mod inventory;
mod prefixes;
mod service;

use std::fmt::Display;

use causeway_proto::limits;
use causeway_proto::model::{
    Condition, ConditionStatus, Export, Exports, Namespace, Problem, ProblemKind, ServiceName,
};

use crate::objects::Objects;

pub use inventory::IDENTITY_LABELS;

/// What the cluster offers, whether each ServiceExport is valid, and what is wrong with the objects.
#[must_use]
pub fn derive(objects: &Objects) -> (Exports, Vec<Condition>, Vec<Problem>) {
    let mut problems = Problems::default();
    let mut exports = Exports {
        nodes: inventory::nodes(objects, &mut problems),
        namespaces: inventory::namespaces(objects, &mut problems),
        workloads: inventory::workloads(objects, &mut problems),
        services: std::collections::BTreeMap::new(),
    };
    prefixes::fill_in(objects, &mut exports);
    prefixes::judge(objects, &exports, &mut problems);
    let slices = endpoints::by_service(objects, &mut problems);
    let mut conditions = Vec::new();
    for (key, export) in &objects.exports {
        let subject = format!("ServiceExport {}/{}", key.0, key.1);
        match service::export(objects, &slices, &exports, key, export, &mut problems) {
            Ok(accepted) => {
                conditions.extend(accepted.conditions(&subject));
                exports.services.insert(accepted.name, accepted.export);
            }
            Err(refused) => conditions.extend(refused_conditions(&subject, &refused)),
        }
    }
    (exports, conditions, problems.sorted())
}

/// Condition of a ServiceExport some of whose endpoints are left out; only there while it is so.
pub const ENDPOINTS_REACHABLE: &str = "EndpointsReachable";

/// Why a ServiceExport is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It never will be as it is: reason and message of the condition `Valid`.
    Invalid(&'static str, String),
    /// Something about it is not known yet.
    Pending(String),
}

/// A ServiceExport that is taken, and what people should know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) name: ServiceName,
    pub(crate) export: Export,
    /// What is wrong with its annotations.
    pub(crate) remark: Option<String>,
    /// Endpoints that nothing can be delivered to.
    pub(crate) unreachable: endpoints::Unreachable,
}

impl Accepted {
    fn conditions(&self, object: &str) -> Vec<Condition> {
        let message = "The Service can be exported.";
        let message = self.remark.clone().unwrap_or_else(|| message.to_owned());
        let mut conditions = vec![condition(
            object,
            "Valid",
            ConditionStatus::True,
            "Valid",
            message,
        )];
        let message = "The Service is handed to the cluster's leader gateway.";
        let ready = |status, reason| condition(object, "Ready", status, reason, message);
        let told = self.unreachable.told();
        conditions.push(match &told {
            Some((_, message)) if self.unreachable.are_all(&self.export) => {
                condition(object, "Ready", ConditionStatus::False, "Failed", message)
            }
            _ => ready(ConditionStatus::True, "Exported"),
        });
        conditions.extend(told.map(|(reason, message)| {
            let status = ConditionStatus::False;
            condition(object, ENDPOINTS_REACHABLE, status, reason, message)
        }));
        conditions
    }
}

/// Problems as they are found: told once each, in one order.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn add(
        &mut self,
        kind: ProblemKind,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.0.push(Problem {
            kind,
            subject: subject.into(),
            message: message.into(),
        });
    }

    pub(crate) fn bad(&mut self, subject: impl Into<String>, message: impl Into<String>) {
        self.add(ProblemKind::BadObject, subject, message);
    }

    /// The value, or a problem that says what it should have been.
    pub(crate) fn parse<T, E: Display>(&mut self, subject: &str, got: Result<T, E>) -> Option<T> {
        got.map_err(|error| self.bad(subject, format!("{error}; left out")))
            .ok()
    }

    /// At most `limits::LABELS` labels; which ones are cut is said.
    pub(crate) fn labels(
        &mut self,
        subject: &str,
        labels: std::collections::BTreeMap<String, String>,
    ) -> std::collections::BTreeMap<String, String> {
        if labels.len() > limits::LABELS {
            let message = format!(
                "has {} labels or annotations to carry, {} are the most; the last by name are left out",
                labels.len(),
                limits::LABELS
            );
            self.add(ProblemKind::LimitReached, subject, message);
        }
        labels.into_iter().take(limits::LABELS).collect()
    }

    fn sorted(mut self) -> Vec<Problem> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}

pub(crate) fn service_name(key: &(String, String)) -> Result<ServiceName, String> {
    let namespace: Namespace = key.0.parse().map_err(|e| format!("{e}"))?;
    ServiceName::new(namespace, &key.1).map_err(|e| format!("{e}"))
}

fn condition(
    object: &str,
    kind: &str,
    status: ConditionStatus,
    reason: &str,
    message: impl Into<String>,
) -> Condition {
    Condition {
        object: object.to_owned(),
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.into(),
    }
}

fn refused_conditions(object: &str, refused: &Refused) -> [Condition; 2] {
    let (valid, ready) = (
        |status, reason, message: &str| condition(object, "Valid", status, reason, message),
        |status, message: &str| condition(object, "Ready", status, "Pending", message),
    );
    match refused {
        Refused::Invalid(reason, message) => [
            valid(ConditionStatus::False, reason, message),
            ready(ConditionStatus::False, "The ServiceExport is not valid."),
        ],
        Refused::Pending(message) => [
            valid(
                ConditionStatus::True,
                "Valid",
                "The Service can be exported.",
            ),
            ready(ConditionStatus::Unknown, message),
        ],
    }
}

#[cfg(test)]
pub(crate) mod tests;
