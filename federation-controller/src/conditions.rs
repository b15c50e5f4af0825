//! Pure: the conditions that each ServiceExport should have: what the objects here say at once, and what the merge with
//! other clusters' exports has found as soon as a gateway tells it.

use std::collections::BTreeMap;

use causeway_proto::model::{Condition, ConditionStatus};

use crate::want::Sought;

/// Conditions by the object that they are of.
pub type ByObject<'a> = BTreeMap<&'a str, Vec<&'a Condition>>;

/// Sorted out by object.
#[must_use]
pub fn by_object(conditions: &[Condition]) -> ByObject<'_> {
    let mut by = ByObject::new();
    for condition in conditions {
        by.entry(&condition.object).or_default().push(condition);
    }
    by
}

/// Of one ServiceExport. `derived` is what its own objects say, `merged` what the View says of it; `trouble` is why
/// there may be no View, or an old one.
#[must_use]
pub fn of_export(
    derived: &[&Condition],
    merged: &[&Condition],
    trouble: Option<&str>,
) -> Vec<Sought> {
    let is_handed_over = |c: &&&Condition| c.kind == "Ready" && c.status == ConditionStatus::True;
    let Some(handed_over) = derived.iter().find(is_handed_over) else {
        // It is not exported, or to no use: what a View says is of before.
        return derived.iter().map(|c| sought(c)).collect();
    };
    let of = |kind: &str| merged.iter().find(|c| c.kind == kind);
    let mut wanted: Vec<Sought> = derived
        .iter()
        .filter(|c| c.kind != "Ready")
        .map(|c| sought(c))
        .collect();
    wanted.push(match of("Ready") {
        Some(ready) => sought(ready),
        None => Sought::new(
            &handed_over.kind,
            ConditionStatus::False,
            "Pending",
            match trouble {
                Some(trouble) => format!("No gateway has taken it yet: {trouble}."),
                None => "It is handed to the cluster's leader gateway, which has not taken it yet."
                    .to_owned(),
            },
        ),
    });
    wanted.extend(of("Conflict").map(|c| sought(c)));
    wanted.sort();
    wanted
}

fn sought(condition: &Condition) -> Sought {
    let message = condition.message.as_str();
    let (status, reason) = (condition.status, condition.reason.as_str());
    Sought::new(&condition.kind, status, reason, message)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use expect_test::{Expect, expect};

    use super::*;

    fn condition(kind: &str, status: ConditionStatus, reason: &str) -> Condition {
        Condition {
            object: "ServiceExport shop/cart".into(),
            kind: kind.into(),
            status,
            reason: reason.into(),
            message: format!("message of {reason}"),
        }
    }

    fn check(derived: &[Condition], merged: &[Condition], trouble: Option<&str>, expected: Expect) {
        let object = "ServiceExport shop/cart";
        let (derived, merged) = (by_object(derived), by_object(merged));
        let derived = derived.get(object).cloned().unwrap_or_default();
        let merged = merged.get(object).cloned().unwrap_or_default();
        let mut text = String::new();
        for c in of_export(&derived, &merged, trouble) {
            let message = c.message;
            writeln!(text, "{}={:?} {}: {message}", c.kind, c.status, c.reason).unwrap();
        }
        expected.assert_eq(&text);
    }

    use ConditionStatus::{False, True};

    fn accepted() -> [Condition; 2] {
        [
            condition("Valid", True, "Valid"),
            condition("Ready", True, "Exported"),
        ]
    }

    #[test]
    fn exported_with_a_conflict() {
        let merged = [
            condition("Valid", True, "Old"),
            condition("Ready", True, "Exported"),
            condition("Conflict", True, "PortConflict,TypeConflict"),
        ];
        check(
            &accepted(),
            &merged,
            None,
            expect![[r#"
                Conflict=True PortConflict,TypeConflict: message of PortConflict,TypeConflict
                Ready=True Exported: message of Exported
                Valid=True Valid: message of Valid
            "#]],
        );
    }

    #[test]
    fn no_gateway_has_taken_it() {
        check(
            &accepted(),
            &[],
            None,
            expect![[r#"
                Ready=False Pending: It is handed to the cluster's leader gateway, which has not taken it yet.
                Valid=True Valid: message of Valid
            "#]],
        );
        check(
            &accepted(),
            &[],
            Some("192.0.2.1:7444: connection refused"),
            expect![[r#"
                Ready=False Pending: No gateway has taken it yet: 192.0.2.1:7444: connection refused.
                Valid=True Valid: message of Valid
            "#]],
        );
    }

    /// Its Service is gone, and the gateways still tell of the time before.
    #[test]
    fn no_longer_valid() {
        let derived = [
            condition("Valid", False, "NoService"),
            condition("Ready", False, "Pending"),
        ];
        let merged = [
            condition("Ready", True, "Exported"),
            condition("Conflict", True, "PortConflict"),
        ];
        check(
            &derived,
            &merged,
            None,
            expect![[r#"
                Valid=False NoService: message of NoService
                Ready=False Pending: message of Pending
            "#]],
        );
    }

    #[test]
    fn some_endpoints_cannot_be_reached() {
        let mut derived = accepted().to_vec();
        derived.push(condition("EndpointsReachable", False, "NoNode"));
        let merged = [condition("Ready", True, "Exported")];
        check(
            &derived,
            &merged,
            None,
            expect![[r#"
                EndpointsReachable=False NoNode: message of NoNode
                Ready=True Exported: message of Exported
                Valid=True Valid: message of Valid
            "#]],
        );
    }
}
