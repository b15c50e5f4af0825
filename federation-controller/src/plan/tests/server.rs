//! An API server in a few lines: server-side apply with owners of fields, preconditions, no controllers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::fields::set_by;
use crate::plan::{Action, Write};
use crate::seen::{Seen, Sight};
use crate::want::{MANAGER, Target};

const KEYS: [(&str, &str); 3] = [
    ("conditions", "type"),
    ("clusters", "cluster"),
    ("ownerReferences", "uid"),
];

#[derive(Debug, Clone, Default)]
struct Object {
    value: Value,
    uid: u64,
    version: u64,
    generation: u64,
    /// (manager, in status) to leaves.
    owners: BTreeMap<(String, bool), BTreeSet<String>>,
}

/// The objects, and how many requests changed one and how many did not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server {
    objects: BTreeMap<Target, Object>,
    clock: u64,
    pub(crate) changed: usize,
    pub(crate) idle: usize,
}

impl Server {
    /// A write of ours, as it is answered; `Err`: a precondition does not hold or it is not there.
    pub(crate) fn execute(&mut self, write: &Write) -> Result<(), String> {
        let before = self.objects.get(&write.target).map(|o| o.value.clone());
        match &write.action {
            Action::Apply(body) => self.apply(&write.target, MANAGER, body, false),
            Action::ApplyStatus(body) => {
                if before.is_none() {
                    return Err("not found".into());
                }
                self.apply(&write.target, MANAGER, body, true);
            }
            Action::PutStatus {
                version,
                path,
                value,
            } => {
                let object = self.objects.get_mut(&write.target).ok_or("not found")?;
                if object.version.to_string() != *version {
                    return Err("conflict".into());
                }
                *object.value.pointer_mut(path).ok_or("no such path")? = value.clone();
                for owned in object.owners.values_mut() {
                    owned.retain(|o| !o.starts_with(&format!("{path}/")));
                }
            }
            Action::Delete { uid, version } => {
                let object = self.objects.get(&write.target).ok_or("not found")?;
                if object.uid.to_string() != *uid || object.version.to_string() != *version {
                    return Err("conflict".into());
                }
                self.delete(&write.target);
            }
            Action::Remove { version, paths } => {
                let object = self.objects.get_mut(&write.target).ok_or("not found")?;
                if object.version.to_string() != *version {
                    return Err("conflict".into());
                }
                for path in paths {
                    remove(&mut object.value, path);
                    for owned in object.owners.values_mut() {
                        owned.retain(|o| o != path && !o.starts_with(&format!("{path}/")));
                    }
                }
            }
        }
        let after = self.objects.get(&write.target).map(|o| o.value.clone());
        if before == after {
            self.idle += 1;
        } else {
            self.changed += 1;
            self.clock += 1;
            if let Some(object) = self.objects.get_mut(&write.target) {
                object.version = self.clock;
            }
        }
        Ok(())
    }

    /// Server-side apply, forced, by anybody.
    pub(crate) fn apply(&mut self, target: &Target, manager: &str, body: &Value, in_status: bool) {
        self.clock += 1;
        let clock = self.clock;
        let object = self
            .objects
            .entry(target.clone())
            .or_insert_with(|| Object {
                value: json!({}),
                uid: clock,
                version: clock,
                ..Object::default()
            });
        let set = set_by(body);
        let key = (manager.to_owned(), in_status);
        let before = object
            .owners
            .insert(key.clone(), set.clone())
            .unwrap_or_default();
        for stale in before.difference(&set) {
            let others = object.owners.iter().filter(|(k, _)| **k != key);
            if !others.flat_map(|(_, o)| o).any(|o| o == stale) {
                remove(&mut object.value, stale);
            }
        }
        let old = object.value.clone();
        merge("", &mut object.value, body);
        // What is changed by one is no longer any other's.
        let changed = crate::fields::differing(body, &old);
        for (_, owned) in object.owners.iter_mut().filter(|(k, _)| **k != key) {
            owned.retain(|o| !changed.contains(o));
        }
        if object.value.get("spec") != old.get("spec") {
            object.generation += 1;
        }
        if object.value != old {
            object.version = clock;
        }
    }

    pub(crate) fn delete(&mut self, target: &Target) {
        self.objects.remove(target);
        // The garbage collector is left out: it only helps.
    }

    pub(crate) fn get(&self, target: &Target) -> Option<&Value> {
        self.objects.get(target).map(|o| &o.value)
    }

    pub(crate) fn targets(&self) -> Vec<Target> {
        self.objects.keys().cloned().collect()
    }

    /// What watches of it show.
    pub(crate) fn sight(&self) -> Sight {
        let mut sight = Sight::default();
        for (target, object) in &self.objects {
            let mut value = object.value.clone();
            let metadata = value
                .as_object_mut()
                .unwrap()
                .entry("metadata")
                .or_insert(json!({}));
            let metadata = metadata.as_object_mut().unwrap();
            let managed = object.owners.iter().map(|((manager, in_status), owned)| {
                let subresource = if *in_status { "status" } else { "" };
                json!({"manager": manager, "subresource": subresource, "fieldsV1": fields(owned)})
            });
            metadata.insert("managedFields".into(), managed.collect());
            metadata.insert("name".into(), json!(target.name));
            metadata.insert("namespace".into(), json!(target.namespace));
            metadata.insert("uid".into(), json!(object.uid.to_string()));
            metadata.insert("resourceVersion".into(), json!(object.version.to_string()));
            metadata.insert("generation".into(), json!(object.generation));
            value["apiVersion"] = json!("multicluster.x-k8s.io/v1beta1");
            let (target, seen) = Seen::of(target.kind, value).unwrap();
            sight.put(target, seen);
        }
        sight
    }
}

fn key_of(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .find(|(list, _)| *list == name)
        .map(|(_, key)| *key)
}

fn merge(name: &str, into: &mut Value, from: &Value) {
    match from {
        Value::Object(fields) => {
            if !into.is_object() {
                *into = json!({});
            }
            for (key, value) in fields {
                let below = into
                    .as_object_mut()
                    .unwrap()
                    .entry(key.clone())
                    .or_insert(Value::Null);
                merge(key, below, value);
            }
        }
        Value::Array(items) if key_of(name).is_some() => {
            let key = key_of(name).unwrap();
            if !into.is_array() {
                *into = json!([]);
            }
            let list = into.as_array_mut().unwrap();
            for item in items {
                match list.iter_mut().find(|i| i[key] == item[key]) {
                    Some(known) => merge("", known, item),
                    None => list.push(item.clone()),
                }
            }
        }
        _ => *into = from.clone(),
    }
}

fn steps(path: &str) -> Vec<String> {
    path.split('/')
        .skip(1)
        .map(|s| s.replace("~1", "/").replace("~0", "~"))
        .collect()
}

fn remove(value: &mut Value, path: &str) {
    fn below(value: &mut Value, steps: &[String]) {
        let [step, rest @ ..] = steps else { return };
        match value {
            Value::Object(fields) => {
                if rest.is_empty() {
                    fields.remove(step);
                } else if let Some(inner) = fields.get_mut(step) {
                    below(inner, rest);
                    let empty = inner.as_array().is_some_and(Vec::is_empty);
                    if empty || inner.as_object().is_some_and(Map::is_empty) {
                        fields.remove(step);
                    }
                }
            }
            Value::Array(items) => {
                let Some((key, id)) = step.split_once('=') else {
                    return;
                };
                let found = items.iter().position(|i| i[key] == json!(id));
                if let Some(index) = found {
                    if rest.is_empty() {
                        items.remove(index);
                    } else {
                        below(&mut items[index], rest);
                        if items[index].as_object().is_some_and(Map::is_empty) {
                            items.remove(index);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    below(value, &steps(path));
}

/// `FieldsV1`
fn fields(owned: &BTreeSet<String>) -> Value {
    let mut root = json!({});
    for path in owned {
        let mut at = &mut root;
        for step in steps(path) {
            let keyed = step
                .split_once('=')
                .filter(|(key, _)| KEYS.iter().any(|(_, k)| k == key));
            let name = match keyed {
                Some((key, id)) => format!("k:{}", json!({key: id})),
                None => format!("f:{step}"),
            };
            at = at.as_object_mut().unwrap().entry(name).or_insert(json!({}));
        }
    }
    root
}
