//! Pure: certificates that end soon, said while there is time to do something about it.

use causeway_certs::grant::{AUTHORITY_MS, LEAF_MS};
use causeway_proto::model::{Condition, ConditionStatus, GatewayName, Timestamp};

use super::Facts;

/// Less than a quarter of its life is left of a leaf only where it was not renewed in time: that is due at two thirds, and a
/// twelfth later at most.
const LEAF_EARLY_MS: u64 = LEAF_MS / 4;
/// A year: another CA was to take over a year before that, and pairing anew takes planning.
const AUTHORITY_EARLY_MS: u64 = AUTHORITY_MS / 10;
const HOUR_MS: u64 = 3_600 * 1_000;

/// `CertificateValid` and `AuthorityValid` of this gateway.
pub fn conditions(gateway: &GatewayName, facts: &Facts, now: Timestamp) -> Vec<Condition> {
    let leaf = facts.certificate_expires.map(|ends| {
        let todo =
            "it was not renewed in time: see this gateway's log, and whether it reaches the leader";
        let early = (LEAF_EARLY_MS, "RenewalOverdue", todo);
        condition(gateway, "CertificateValid", ends, early, now)
    });
    let authority = facts.ca_expires.map(|ends| {
        let todo =
            "no other CA has taken over: see the log of the leader, or of the controller, and run `causeway ca rotate`; once it has ended no peer takes its gateways, and they have to be paired anew";
        let early = (AUTHORITY_EARLY_MS, "EndsSoon", todo);
        condition(gateway, "AuthorityValid", ends, early, now)
    });
    leaf.into_iter().chain(authority).collect()
}

fn condition(
    gateway: &GatewayName,
    kind: &str,
    ends: Timestamp,
    (early, why, todo): (u64, &str, &str),
    now: Timestamp,
) -> Condition {
    let left = ends.since(now);
    let (status, reason, message) = match left {
        0 => (ConditionStatus::False, "Expired", format!("ended; {todo}")),
        left if left < early => {
            let message = format!("ends in {} h; {todo}", left / HOUR_MS);
            (ConditionStatus::False, why, message)
        }
        _ => (ConditionStatus::True, "Valid", String::new()),
    };
    Condition {
        object: format!("Gateway {gateway}"),
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_early() {
        let now = Timestamp(1_000 * AUTHORITY_MS);
        let said = |leaf_ms: u64, authority_ms: u64| -> Vec<String> {
            let facts = Facts {
                certificate_expires: Some(Timestamp(now.0 + leaf_ms)),
                ca_expires: Some(Timestamp(now.0 + authority_ms)),
                ..Facts::default()
            };
            let all = conditions(&"e1".parse().unwrap(), &facts, now);
            let told = all.iter().map(|c| {
                let (holds, why) = (c.status == ConditionStatus::True, &c.reason);
                format!("{} {}={holds} {why}: {}", c.object, c.kind, c.message)
            });
            told.collect()
        };
        let fresh = said(LEAF_MS, AUTHORITY_MS);
        assert_eq!(
            fresh,
            [
                "Gateway e1 CertificateValid=true Valid: ",
                "Gateway e1 AuthorityValid=true Valid: "
            ]
        );
        let late = said(5 * HOUR_MS, 300 * 24 * HOUR_MS);
        assert!(
            late[0].contains("false RenewalOverdue: ends in 5 h"),
            "{late:?}"
        );
        assert!(
            late[1].contains("false EndsSoon: ends in 7200 h"),
            "{late:?}"
        );
        assert!(said(0, 0)[0].contains("false Expired"));
        assert!(conditions(&"e1".parse().unwrap(), &Facts::default(), now).is_empty());
    }
}
