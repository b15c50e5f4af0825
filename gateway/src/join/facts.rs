//! Pure: what two clusters would find out about each other after joining, before it.

use causeway_proto::model::{Finding, JoinFacts, Severity, Timestamp};

/// Clocks this far apart: leases and ages still work, but times shown are misleading.
const SKEW_WARNING_MS: u64 = 5_000;
/// Clocks this far apart: fresh certificates would not be taken.
const SKEW_REFUSAL_MS: u64 = causeway_certs::grant::BACKDATE_MS;
/// Services that are named one by one.
const NAMED: usize = 10;

/// `theirs` minus `ours`.
pub(super) fn skew_ms(ours: Timestamp, theirs: Timestamp) -> i64 {
    let by = i128::from(theirs.0) - i128::from(ours.0);
    i64::try_from(by).unwrap_or(if by < 0 { i64::MIN } else { i64::MAX })
}

/// What would clash between `own` and `peer`; the same whoever asks, but for who is called what.
#[must_use]
pub fn findings(own: &JoinFacts, peer: &JoinFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |severity, subject: &str, message: String| {
        found.push(Finding {
            severity,
            subject: subject.to_owned(),
            message,
        });
    };
    if peer.cluster_set != own.cluster_set {
        let (a, b) = (&peer.cluster_set, &own.cluster_set);
        let message = format!(
            "{} is of clusterset {a}, {} of clusterset {b}",
            peer.cluster, own.cluster
        );
        add(Severity::Refusal, "clusterset", message);
    }
    if peer.cluster == own.cluster {
        let message = format!(
            "both clusters are called {}; ids are unique in a clusterset and stay for good, so set one of them up under another",
            own.cluster
        );
        add(Severity::Refusal, "cluster id", message);
    }
    if peer.versions.1 < own.versions.0 || own.versions.1 < peer.versions.0 {
        let message = format!(
            "{} speaks versions {} to {}, {} speaks {} to {}; upgrade the older one",
            peer.cluster,
            peer.versions.0,
            peer.versions.1,
            own.cluster,
            own.versions.0,
            own.versions.1
        );
        add(Severity::Refusal, "version", message);
    }
    let skew = skew_ms(own.time, peer.time).unsigned_abs();
    if skew >= SKEW_WARNING_MS {
        let severity = if skew >= SKEW_REFUSAL_MS {
            Severity::Refusal
        } else {
            Severity::Warning
        };
        let message = format!(
            "the clocks of {} and {} are {} s apart; synchronise them",
            peer.cluster,
            own.cluster,
            skew / 1000
        );
        add(severity, "clock", message);
    }
    if let Some((severity, message)) = encryption(own, peer) {
        add(severity, "encryption", message);
    }
    if let Some(message) = overlap(own, peer) {
        add(Severity::Note, "prefixes", message);
    }
    found.extend(services(own, peer));
    found
}

/// Nothing, where both require it: that is what everybody expects.
fn encryption(own: &JoinFacts, peer: &JoinFacts) -> Option<(Severity, String)> {
    let (a, b) = (&own.cluster, &peer.cluster);
    let one = |off, other| {
        let message = format!(
            "packets would be encrypted: {off} says `encryption: off` and {other} does not"
        );
        Some((Severity::Note, message))
    };
    match (own.plain_allowed, peer.plain_allowed) {
        (true, true) => {
            let message = format!(
                "packets between {b} and {a} would be plain and not authenticated: both say `encryption: off`"
            );
            Some((Severity::Warning, message))
        }
        (true, false) => one(a, b),
        (false, true) => one(b, a),
        (false, false) => None,
    }
}

fn overlap(own: &JoinFacts, peer: &JoinFacts) -> Option<String> {
    let ours = |theirs| own.prefixes.iter().any(|p| p.overlaps(theirs));
    let theirs = peer.prefixes.iter().find(|p| ours(**p))?;
    Some(format!(
        "both use {theirs}; each sees the other's addresses under a mapping of its own, nothing needs to change"
    ))
}

fn services(own: &JoinFacts, peer: &JoinFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut more = 0_usize;
    for (name, theirs) in &peer.services {
        let Some(ours) = own.services.get(name) else {
            continue;
        };
        let clash = if ours.headless != theirs.headless {
            "one of them headless"
        } else if clashing_port(ours, theirs) {
            "with ports that clash"
        } else {
            continue;
        };
        if found.len() >= NAMED {
            more += 1;
            continue;
        }
        found.push(Finding {
            severity: Severity::Warning,
            subject: format!("service {name}"),
            message: format!("both export it, {clash}; the oldest export's definition would hold"),
        });
    }
    if more > 0 {
        found.push(Finding {
            severity: Severity::Warning,
            subject: "services".to_owned(),
            message: format!("{more} more services clash"),
        });
    }
    found
}

/// By the rule of the merge: ports are one union, so what clashes is one name or one number meaning two things.
fn clashing_port(
    ours: &causeway_proto::model::OfferedService,
    theirs: &causeway_proto::model::OfferedService,
) -> bool {
    ours.ports.iter().any(|a| {
        theirs.ports.iter().any(|b| {
            let same_name = a.name == b.name;
            let same_number = (a.protocol, a.port) == (b.protocol, b.port);
            same_name != same_number || (same_name && a != b)
        })
    })
}
