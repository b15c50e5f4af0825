//! Pure: what was found before a join, and what came of it.

use causeway_proto::model::{Finding, Preflight, Severity};
use serde::Serialize;

use super::Show;
use super::peers::MappingForm;
use crate::text::{columns, joined, skew};

/// What `causeway join` prints.
#[derive(Debug, Serialize)]
pub struct JoinForm {
    joined: bool,
    dry_run: bool,
    peer: PeerFactsForm,
    clock_skew_ms: i64,
    mappings: Vec<MappingForm>,
    findings: Vec<FindingForm>,
    #[serde(skip)]
    refused: bool,
}

#[derive(Debug, Serialize)]
struct PeerFactsForm {
    cluster: String,
    clusterset: String,
    version_min: u16,
    version_max: u16,
    prefixes: Vec<String>,
    vips: Vec<String>,
    plain_allowed: bool,
    services: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FindingForm {
    severity: &'static str,
    subject: String,
    message: String,
}

impl FindingForm {
    fn of(f: &Finding) -> Self {
        Self {
            severity: match f.severity {
                Severity::Note => "note",
                Severity::Warning => "warning",
                Severity::Refusal => "refusal",
            },
            subject: f.subject.clone(),
            message: f.message.clone(),
        }
    }
}

impl JoinForm {
    /// Of a gateway's answer.
    pub fn of(joined: bool, dry_run: bool, p: &Preflight) -> Self {
        Self {
            joined,
            dry_run,
            peer: PeerFactsForm {
                cluster: p.peer.cluster.to_string(),
                clusterset: p.peer.cluster_set.to_string(),
                version_min: p.peer.versions.0,
                version_max: p.peer.versions.1,
                prefixes: p.peer.prefixes.iter().map(ToString::to_string).collect(),
                vips: p.peer.vips.iter().map(ToString::to_string).collect(),
                plain_allowed: p.peer.plain_allowed,
                services: p.peer.services.keys().map(ToString::to_string).collect(),
            },
            clock_skew_ms: p.clock_skew_ms,
            mappings: p.mappings.iter().map(MappingForm::of).collect(),
            findings: p.findings.iter().map(FindingForm::of).collect(),
            refused: p.refused(),
        }
    }

    /// Whether the command failed: refused, or not done though it was asked for.
    pub fn failed(&self) -> bool {
        self.refused || (!self.joined && !self.dry_run)
    }

    fn outcome(&self) -> String {
        let peer = &self.peer.cluster;
        match (self.joined, self.refused, self.dry_run) {
            (true, _, _) => format!("joined {peer}\n"),
            (_, true, _) => {
                format!("not joined with {peer}: refused, see above; the token is whole\n")
            }
            (_, _, true) => "dry run: nothing was changed, the token is whole\n".to_owned(),
            _ => format!("not joined with {peer}\n"),
        }
    }
}

impl Show for JoinForm {
    fn text(&self) -> String {
        let peer = &self.peer;
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let head = [
            row(
                "peer",
                format!("{} in clusterset {}", peer.cluster, peer.clusterset),
            ),
            row(
                "protocol",
                format!("versions {} to {}", peer.version_min, peer.version_max),
            ),
            row(
                "its clock",
                format!("{} against ours", skew(self.clock_skew_ms)),
            ),
            row(
                "appears here",
                joined(self.mappings.iter().map(MappingForm::text), ", "),
            ),
            row("offers", joined(&peer.services, ", ")),
        ];
        let findings = self
            .findings
            .iter()
            .map(|f| vec![f.severity.to_owned(), f.subject.clone(), f.message.clone()]);
        let findings = columns(&findings.collect::<Vec<_>>());
        format!("{}{findings}{}", columns(&head), self.outcome())
    }
}
