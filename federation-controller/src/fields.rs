//! Pure: fields of an object as paths, by the rules of server-side apply: what `metadata.managedFields` says that a
//! writer owns, and what a value sets. Lists are one field each, but for those that are keyed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Lists whose items are told apart by a key, as the definitions of our kinds and Kubernetes' own say.
const KEYED: [(&str, &str); 4] = [
    ("conditions", "type"),
    ("clusters", "cluster"),
    ("ownerReferences", "uid"),
    ("gateways", "name"),
];
/// Of their items, those that are one field each.
const WHOLE_ITEMS: [&str; 1] = ["ownerReferences"];

/// The key of the items of a list, if they have one: a list of the same name elsewhere may have none.
fn key_of(list: &str, items: &[Value]) -> Option<&'static str> {
    let known = KEYED.iter().find(|(name, _)| *name == list);
    let key = known.map(|(_, key)| *key);
    key.filter(|key| items.iter().all(|item| item.get(key).is_some()))
}

fn step(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn item_step(path: &str, key: &str, value: &Value) -> String {
    step(
        path,
        &format!("{key}={}", value.as_str().unwrap_or_default()),
    )
}

/// The leaves that `value` sets.
#[must_use]
pub fn set_by(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect("", "", value, &mut found);
    found
}

fn collect(path: &str, name: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                collect(&step(path, field), field, value, found);
            }
        }
        Value::Array(items) if !items.is_empty() => match key_of(name, items) {
            Some(key) => {
                for item in items {
                    let path = item_step(path, key, item.get(key).unwrap_or(&Value::Null));
                    if WHOLE_ITEMS.contains(&name) {
                        found.insert(path);
                    } else {
                        collect(&path, "", item, found);
                    }
                }
            }
            None => {
                found.insert(path.to_owned());
            }
        },
        _ => {
            found.insert(path.to_owned());
        }
    }
}

/// The leaves of one entry of `metadata.managedFields`, in its form `FieldsV1`.
#[must_use]
pub fn owned(fields: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Value::Object(fields) = fields {
        descend("", fields, &mut found);
    }
    found
}

fn descend(path: &str, fields: &Map<String, Value>, found: &mut BTreeSet<String>) {
    let mut leaf = true;
    for (name, inner) in fields {
        let below = if let Some(field) = name.strip_prefix("f:") {
            step(path, field)
        } else if let Some(item) = name.strip_prefix("k:") {
            let keys: Map<String, Value> = serde_json::from_str(item).unwrap_or_default();
            let first = keys.iter().next();
            first.map_or_else(
                || step(path, item),
                |(key, value)| item_step(path, key, value),
            )
        } else {
            // `.` is the path itself, `v:` and `i:` are items of lists that we count as one.
            continue;
        };
        leaf = false;
        if let Value::Object(inner) = inner {
            descend(&below, inner, found);
        }
    }
    if leaf {
        found.insert(path.to_owned());
    }
}

/// The leaves of `wanted` that `there` says otherwise or not at all.
#[must_use]
pub fn differing(wanted: &Value, there: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    compare("", "", wanted, Some(there), &mut found);
    found
}

fn compare(
    path: &str,
    name: &str,
    wanted: &Value,
    there: Option<&Value>,
    found: &mut BTreeSet<String>,
) {
    match wanted {
        Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                let there = there.and_then(|t| t.get(field));
                compare(&step(path, field), field, value, there, found);
            }
        }
        Value::Array(items) if key_of(name, items).is_some() && !items.is_empty() => {
            let key = key_of(name, items).unwrap_or_default();
            let known = there.and_then(Value::as_array);
            for item in items {
                let id = item.get(key).unwrap_or(&Value::Null);
                let mut known = known.into_iter().flatten();
                let there = known.find(|other| other.get(key) == Some(id));
                compare(&item_step(path, key, id), "", item, there, found);
            }
        }
        // Sets nothing in it, whatever others have there.
        Value::Object(_) if there.is_none_or(|there| there.is_object() || there.is_null()) => {}
        Value::Array(items) if key_of(name, items).is_some() => {}
        _ if is_nothing(wanted) && there.is_none_or(is_nothing) => {}
        _ if there == Some(wanted) => {}
        _ => {
            found.insert(path.to_owned());
        }
    }
}

/// What the API server does not keep apart from an absent field.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(found: &BTreeSet<String>, expected: Expect) {
        let lines: Vec<&str> = found.iter().map(String::as_str).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn what_a_value_sets() {
        let value = json!({
            "metadata": {"labels": {"a/b": "c"}, "annotations": {}, "ownerReferences": [{"uid": "1", "name": "x"}]},
            "spec": {"ports": [{"port": 80}, {"port": 81}], "ips": []},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "clusters": [{"cluster": "a.b"}]},
        });
        check(
            &set_by(&value),
            expect![[r#"
                /metadata/annotations
                /metadata/labels/a~1b
                /metadata/ownerReferences/uid=1
                /spec/ips
                /spec/ports
                /status/clusters/cluster=a.b/cluster
                /status/conditions/type=Ready/status
                /status/conditions/type=Ready/type"#]],
        );
    }

    #[test]
    fn what_a_writer_owns() {
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:a/b": {}}, "f:ownerReferences": {"k:{\"uid\":\"1\"}": {}}},
            "f:spec": {"f:ports": {}, "f:sessionAffinityConfig": {"f:clientIP": {"f:timeoutSeconds": {}}}},
            "f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}, "f:type": {}}}},
        });
        check(
            &owned(&fields),
            expect![[r#"
                /metadata/labels/a~1b
                /metadata/ownerReferences/uid=1
                /spec/ports
                /spec/sessionAffinityConfig/clientIP/timeoutSeconds
                /status/conditions/type=Ready/status
                /status/conditions/type=Ready/type"#]],
        );
    }

    #[test]
    fn what_differs() {
        let wanted = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {}},
            "spec": {"ports": [{"port": 80}], "ips": [], "type": "Headless"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Valid", "status": "True"}]},
        });
        let there = json!({
            "metadata": {"labels": {"a": "1", "b": "3", "foreign": "x"}},
            "spec": {"ports": [{"port": 80}, {"port": 81}], "type": "Headless"},
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "X"}]},
        });
        check(
            &differing(&wanted, &there),
            expect![[r#"
                /metadata/labels/b
                /spec/ports
                /status/conditions/type=Ready/status
                /status/conditions/type=Valid/status
                /status/conditions/type=Valid/type"#]],
        );
        check(&differing(&wanted, &wanted), expect![""]);
        let empty = json!({"metadata": {"labels": {}}, "status": {"conditions": []}});
        check(&differing(&empty, &there), expect![""]);
        // A list of plain words, of a name that is keyed elsewhere.
        let words = json!({"status": {"gateways": ["192.0.2.1"]}});
        check(&set_by(&words), expect!["/status/gateways"]);
        check(&differing(&words, &there), expect!["/status/gateways"]);
    }
}
