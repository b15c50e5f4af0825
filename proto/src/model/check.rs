//! Pure: what a diagnosis looked at, what it found, and what is to be done.

use serde::{Deserialize, Serialize};

use super::ClusterId;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Check {
    /// Who looked: `gateway w1`, `node w2`.
    pub place: String,
    /// What sort.
    pub kind: CheckKind,
    /// At what: `east/e1 at 192.0.2.7:7443`.
    pub subject: String,
    /// How it is.
    pub outcome: Outcome,
    /// What was seen.
    pub message: String,
    /// What to do; empty where nothing is to be done.
    pub advice: String,
}

/// Sorts of check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CheckKind {
    /// A gateway of the peer answers by UDP.
    Udp,
    /// It answers by TCP.
    Tcp,
    /// There is a session with it.
    Session,
    /// How large packets the path takes.
    Mtu,
    /// Both sides' clocks.
    Clock,
    /// Certificates and their ends.
    Certificate,
    /// Routes of a node to gateways.
    Route,
    /// Whether a node takes packets by the device that they come by (RFC 3704).
    ReversePath,
    /// Whether the resolver that pods use asks for the clusterset's names.
    Dns,
    /// What agents report.
    Agent,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// It works, and not as well as it could.
    Warned,
    /// It does not work.
    Failed,
    /// It could not be looked at.
    Skipped,
}

/// What was looked at in one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Where.
    pub cluster: ClusterId,
    /// In the order in which to read them.
    pub checks: Vec<Check>,
}

impl Check {
    /// One that passed.
    pub fn passed(kind: CheckKind, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: String::new(),
            kind,
            subject: subject.into(),
            outcome: Outcome::Passed,
            message: message.into(),
            advice: String::new(),
        }
    }

    /// The same with another end.
    #[must_use]
    pub fn but(self, outcome: Outcome, advice: impl Into<String>) -> Self {
        Self {
            outcome,
            advice: advice.into(),
            ..self
        }
    }

    /// The same, seen from there.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            ..self
        }
    }
}
