//! Pure: what a diagnosis found.

use causeway_proto::model::{Check, CheckKind, Diagnosis, Outcome};
use serde::Serialize;

use super::Show;

/// What `causeway doctor` prints.
#[derive(Debug, Serialize)]
pub struct DoctorForm {
    clusters: Vec<ClusterForm>,
    passed: usize,
    warned: usize,
    failed: usize,
    skipped: usize,
}

#[derive(Debug, Serialize)]
struct ClusterForm {
    cluster: String,
    checks: Vec<CheckForm>,
}

#[derive(Debug, Serialize)]
struct CheckForm {
    place: String,
    kind: &'static str,
    subject: String,
    outcome: &'static str,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
}

fn kind(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Udp => "UDP",
        CheckKind::Tcp => "TCP",
        CheckKind::Session => "session",
        CheckKind::Mtu => "MTU",
        CheckKind::Clock => "clock",
        CheckKind::Certificate => "certificate",
        CheckKind::Route => "route",
        CheckKind::ReversePath => "rp_filter",
        CheckKind::Dns => "DNS",
        CheckKind::Agent => "agent",
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "ok",
        Outcome::Warned => "warning",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    }
}

impl CheckForm {
    fn of(check: &Check) -> Self {
        Self {
            place: check.place.clone(),
            kind: kind(check.kind),
            subject: check.subject.clone(),
            outcome: outcome(check.outcome),
            message: check.message.clone(),
            advice: check.advice.clone(),
        }
    }

    fn text(&self) -> String {
        let Self {
            kind,
            subject,
            outcome,
            message,
            advice,
            ..
        } = self;
        let line = format!("    {outcome:<8}{kind:<12}{subject}: {message}\n");
        match advice.as_str() {
            "" => line,
            advice => format!("{line}            do: {advice}\n"),
        }
    }
}

impl DoctorForm {
    /// Of all clusters that were looked at.
    pub fn of(found: &[Diagnosis]) -> Self {
        let all = found.iter().flat_map(|diagnosis| &diagnosis.checks);
        let count = |outcome| all.clone().filter(|check| check.outcome == outcome).count();
        let clusters = found.iter().map(|diagnosis| ClusterForm {
            cluster: diagnosis.cluster.to_string(),
            checks: diagnosis.checks.iter().map(CheckForm::of).collect(),
        });
        Self {
            clusters: clusters.collect(),
            passed: count(Outcome::Passed),
            warned: count(Outcome::Warned),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
        }
    }

    /// How many checks failed.
    pub fn failed(&self) -> usize {
        self.failed
    }
}

impl Show for DoctorForm {
    fn text(&self) -> String {
        let mut out = String::new();
        for cluster in &self.clusters {
            out.push_str(&format!("{}\n", cluster.cluster));
            let mut place = "";
            for check in &cluster.checks {
                if check.place != place {
                    out.push_str(&format!("  {}\n", check.place));
                    place = &check.place;
                }
                out.push_str(&check.text());
            }
        }
        let Self {
            passed,
            warned,
            failed,
            skipped,
            ..
        } = self;
        out.push_str(&format!(
            "{passed} ok, {warned} warnings, {failed} failed, {skipped} skipped\n"
        ));
        out
    }
}
