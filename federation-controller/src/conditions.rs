//! Pure: the conditions that each ServiceExport should have: what the objects here say at once, and what the merge with
//! other clusters' exports has found as soon as a gateway tells it.

use std::collections::BTreeMap;

use causeway_proto::model::{Condition, ConditionStatus, Conflict};

use serde_json::Value;

use crate::seen::Seen;
use crate::want::Sought;

/// Conflicts that a message tells.
const TOLD: usize = 16;

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

/// What the merge with other clusters' exports has made of one export.
#[derive(Debug, Clone, Copy, Default)]
pub struct Merged<'a> {
    /// Whether it is in the catalog that peers get.
    pub is_exported: bool,
    /// What clusters disagree on.
    pub conflicts: &'a [Conflict],
    /// Why it is not exported, if a gateway says so.
    pub pending: Option<&'a str>,
}

/// Of one ServiceExport. `derived` is what its own objects say; `trouble` is why there may be no View, or an old one.
#[must_use]
pub fn of_export(derived: &[&Condition], merged: Merged<'_>, trouble: Option<&str>) -> Vec<Sought> {
    use ConditionStatus::{False, True};
    let is_handed_over = |c: &&&Condition| c.kind == "Ready" && c.status == True;
    if !derived.iter().any(|c| is_handed_over(&c)) {
        // It is not exported, or to no use: what a View says is of before.
        return derived.iter().map(|c| sought(c)).collect();
    }
    let others = derived.iter().filter(|c| c.kind != "Ready");
    let mut wanted: Vec<Sought> = others.map(|c| sought(c)).collect();
    if !merged.is_exported {
        let why = match (trouble, merged.pending) {
            (Some(trouble), _) => format!("No gateway has taken it yet: {trouble}."),
            (None, Some(why)) => format!("The gateways have it, but not in the catalog: {why}."),
            (None, None) => "The cluster's leader gateway has not taken it yet.".to_owned(),
        };
        wanted.push(Sought::new("Ready", False, "Pending", why));
        return wanted;
    }
    let message = "It is in the catalog that the other clusters get.";
    wanted.push(Sought::new("Ready", True, "Exported", message));
    let mut reasons: Vec<&str> = merged.conflicts.iter().map(|c| c.field.reason()).collect();
    reasons.dedup();
    let messages = merged.conflicts.iter().map(ToString::to_string);
    let mut messages: Vec<String> = messages.take(TOLD).collect();
    let more = merged.conflicts.len().saturating_sub(TOLD);
    if more > 0 {
        messages.push(format!("And {more} more."));
    }
    wanted.push(if reasons.is_empty() {
        let message = "All clusters that export it agree.";
        Sought::new("Conflict", False, "NoConflicts", message)
    } else {
        Sought::new("Conflict", True, &reasons.join(","), messages.join(" "))
    });
    wanted
}

/// Whether the object says that it is exported.
#[must_use]
pub fn is_ready(export: &Seen) -> bool {
    let conditions = export.value.pointer("/status/conditions");
    let mut conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    let is = |c: &Value, key: &str, value: &str| c.get(key).is_some_and(|v| v == value);
    conditions.any(|c| is(c, "type", "Ready") && is(c, "status", "True"))
}

fn sought(condition: &Condition) -> Sought {
    let message = condition.message.as_str();
    let (status, reason) = (condition.status, condition.reason.as_str());
    Sought::new(&condition.kind, status, reason, message)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use causeway_proto::model::ConflictField;
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

    fn check(derived: &[Condition], merged: Merged<'_>, trouble: Option<&str>, expected: Expect) {
        let by = by_object(derived);
        let derived = by
            .get("ServiceExport shop/cart")
            .cloned()
            .unwrap_or_default();
        let mut text = String::new();
        for c in of_export(&derived, merged, trouble) {
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

    const EXPORTED: Merged<'_> = Merged {
        is_exported: true,
        conflicts: &[],
        pending: None,
    };

    fn conflicts() -> Vec<Conflict> {
        let one = |field, value: &str| Conflict {
            field,
            winner: "west".parse().unwrap(),
            value: value.into(),
            disagree: 1,
            of: 2,
        };
        vec![
            one(ConflictField::Port, "http:80/TCP"),
            one(ConflictField::Port, "dns:53/UDP"),
            one(ConflictField::Type, "Headless"),
        ]
    }

    #[test]
    fn exported() {
        check(
            &accepted(),
            EXPORTED,
            None,
            expect![[r#"
            Valid=True Valid: message of Valid
            Ready=True Exported: It is in the catalog that the other clusters get.
            Conflict=False NoConflicts: All clusters that export it agree.
        "#]],
        );
    }

    #[test]
    fn exported_with_conflicts() {
        let conflicts = conflicts();
        let merged = Merged {
            conflicts: &conflicts,
            ..EXPORTED
        };
        check(
            &accepted(),
            merged,
            None,
            expect![[r#"
            Valid=True Valid: message of Valid
            Ready=True Exported: It is in the catalog that the other clusters get.
            Conflict=True PortConflict,TypeConflict: Conflicting Port. Using "http:80/TCP" from oldest service export in "west". 1/2 clusters disagree. Conflicting Port. Using "dns:53/UDP" from oldest service export in "west". 1/2 clusters disagree. Conflicting Type. Using "Headless" from oldest service export in "west". 1/2 clusters disagree.
        "#]],
        );
    }

    #[test]
    fn no_gateway_has_taken_it() {
        check(
            &accepted(),
            Merged::default(),
            None,
            expect![[r#"
            Valid=True Valid: message of Valid
            Ready=False Pending: The cluster's leader gateway has not taken it yet.
        "#]],
        );
        let trouble = Some("192.0.2.1:7444: connection refused");
        check(
            &accepted(),
            Merged::default(),
            trouble,
            expect![[r#"
            Valid=True Valid: message of Valid
            Ready=False Pending: No gateway has taken it yet: 192.0.2.1:7444: connection refused.
        "#]],
        );
        let pending = Some("no address for it yet, or the pool is full");
        check(
            &accepted(),
            Merged {
                pending,
                ..Merged::default()
            },
            None,
            expect![[r#"
                Valid=True Valid: message of Valid
                Ready=False Pending: The gateways have it, but not in the catalog: no address for it yet, or the pool is full.
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
        let conflicts = conflicts();
        let merged = Merged {
            conflicts: &conflicts,
            ..EXPORTED
        };
        check(
            &derived,
            merged,
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
        check(
            &derived,
            EXPORTED,
            None,
            expect![[r#"
            Valid=True Valid: message of Valid
            EndpointsReachable=False NoNode: message of NoNode
            Ready=True Exported: It is in the catalog that the other clusters get.
            Conflict=False NoConflicts: All clusters that export it agree.
        "#]],
        );
    }

    #[test]
    fn no_endpoint_can_be_reached() {
        let derived = [
            condition("Valid", True, "Valid"),
            condition("Ready", False, "Failed"),
            condition("EndpointsReachable", False, "NoNode"),
        ];
        check(
            &derived,
            EXPORTED,
            None,
            expect![[r#"
            Valid=True Valid: message of Valid
            Ready=False Failed: message of Failed
            EndpointsReachable=False NoNode: message of NoNode
        "#]],
        );
    }
}
