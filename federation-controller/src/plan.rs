//! Pure: from what is there and what should be there to the writes in between, in an order in which any beginning of
//! them leaves something that the next plan completes. What is as it should be gets no write.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{ConditionStatus, Timestamp};
use serde_json::{Map, Value, json};

use crate::fields;
use crate::seen::{Seen, Sight};
use crate::want::{Group, Kind, Sought, Target, Wanted, Wants};

/// Where an import's status lists who exports.
const CLUSTERS: &str = "/status/clusters";

/// One request to the API server, and what is told about it once it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Which object.
    pub target: Target,
    /// What is done to it.
    pub action: Action,
    /// What people are told of it.
    pub tidings: Vec<Tiding>,
}

/// What is done to an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Deletes this very object, if it is as it was seen.
    Delete {
        /// Its uid.
        uid: String,
        /// Its `resourceVersion`.
        version: String,
    },
    /// Server-side apply of the object; makes it, or takes it over by force.
    Apply(Value),
    /// Takes away what no apply of ours can, since others own it.
    Remove {
        /// Its `resourceVersion`.
        version: String,
        /// JSON pointers.
        paths: Vec<&'static str>,
    },
    /// Server-side apply of its status.
    ApplyStatus(Value),
    /// Puts a list of its status back as it should be: an apply leaves what others have put into it.
    PutStatus {
        /// Its `resourceVersion`.
        version: String,
        /// JSON pointer.
        path: &'static str,
        /// The list.
        value: Value,
    },
}

/// Something that people want to know of an object: becomes a Kubernetes Event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tiding {
    /// Worth a look.
    pub warning: bool,
    /// What was done or found: `Ready`, `Adopt`.
    pub action: String,
    /// One word, CamelCase.
    pub reason: String,
    /// A sentence.
    pub note: String,
}

impl Action {
    /// What is taken away goes first; then objects before those that they own, and each before its status.
    fn phase(&self, kind: Kind) -> u8 {
        match (self, kind) {
            (Self::Delete { .. }, Kind::EndpointSlice) => 0,
            (Self::Delete { .. }, _) => 1,
            (Self::Apply(_), Kind::EndpointSlice) => 3,
            (Self::Apply(_), _) => 2,
            (Self::Remove { .. }, _) => 4,
            (Self::ApplyStatus(_) | Self::PutStatus { .. }, _) => 5,
        }
    }
}

impl Write {
    /// Writes of one phase do not wait for each other, those of a later one for all of an earlier.
    #[must_use]
    pub fn phase(&self) -> u8 {
        self.action.phase(self.target.kind)
    }
}

/// The writes that bring these groups from `sight` to `wants`. What hangs on an object that is not there yet follows
/// in the next plan, when it is.
#[must_use]
pub fn plan(sight: &Sight, groups: &BTreeSet<Group>, wants: &Wants, now: Timestamp) -> Vec<Write> {
    let mut writes = Vec::new();
    for (target, seen) in groups.iter().flat_map(|group| sight.members(group)) {
        let is_wanted = wants.objects.contains_key(target) || wants.left.contains(target);
        // Of some kinds others make the objects, and we write only the status.
        let is_made_here = !matches!(
            target.kind,
            Kind::ServiceExport | Kind::ClusterConfiguration
        );
        if !is_wanted && is_made_here && seen.is_ours() && !seen.terminating {
            writes.push(Write {
                target: target.clone(),
                action: Action::Delete {
                    uid: seen.uid.clone(),
                    version: seen.version.clone(),
                },
                tidings: Vec::new(),
            });
        }
    }
    for (target, wanted) in &wants.objects {
        if !wants.left.contains(target) {
            write(sight, target, wanted, now, &mut writes);
        }
    }
    writes.sort_by_key(Write::phase);
    writes
}

fn write(sight: &Sight, target: &Target, wanted: &Wanted, now: Timestamp, into: &mut Vec<Write>) {
    let seen = sight.get(target);
    if seen.is_some_and(|seen| seen.terminating) {
        // Nothing holds on it; when it is gone it is made anew.
        return;
    }
    let done = |action, tidings| Write {
        target: target.clone(),
        action,
        tidings,
    };
    let mut applied = false;
    if let Some(body) = &wanted.body {
        let Some(body) = owned_body(sight, body, wanted.owner.as_ref()) else {
            return;
        };
        let (needed, tidings) = judge(&body, seen);
        applied = needed;
        if needed {
            into.push(done(Action::Apply(body), tidings));
        }
    }
    let Some(seen) = seen else {
        return;
    };
    let paths: Vec<&'static str> = wanted
        .absent
        .iter()
        .copied()
        .filter(|path| seen.value.pointer(path).is_some() && !is_owned(seen, path))
        .collect();
    if applied {
        // It gets another version and generation; what hangs on them follows in the next plan.
        return;
    }
    if !paths.is_empty() {
        let version = seen.version.clone();
        into.push(done(Action::Remove { version, paths }, Vec::new()));
        return;
    }
    if let Some(value) = strangers(wanted, seen) {
        let (version, path) = (seen.version.clone(), CLUSTERS);
        let action = Action::PutStatus {
            version,
            path,
            value,
        };
        into.push(done(action, Vec::new()));
        return;
    }
    if let Some((status, tidings)) = status(wanted, seen, now) {
        into.push(done(Action::ApplyStatus(status), tidings));
    }
}

/// The list of clusters as it should be, if somebody else has put one into it.
fn strangers(wanted: &Wanted, seen: &Seen) -> Option<Value> {
    let listed = wanted.status.as_ref()?.get("clusters")?;
    let there = seen.value.pointer(CLUSTERS)?.as_array()?;
    let id = |item: &Value| {
        item.get("cluster")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let ours = |item: &Value| {
        let wanted = listed.as_array().into_iter().flatten();
        let path = format!("{CLUSTERS}/cluster={}/", id(item).unwrap_or_default());
        let mut owned = seen.owned.1.iter();
        wanted.map(id).any(|wanted| wanted == id(item)) || owned.any(|o| o.starts_with(&path))
    };
    (!there.iter().all(ours)).then(|| listed.clone())
}

/// Whether an apply without it would take it away.
fn is_owned(seen: &Seen, path: &str) -> bool {
    let below = format!("{path}/");
    let mut owned = seen.owned.0.iter();
    owned.any(|field| field == path || field.starts_with(&below))
}

/// With its owner in it; `None` while that is not there.
fn owned_body(sight: &Sight, body: &Value, owner: Option<&Target>) -> Option<Value> {
    let mut body = body.clone();
    if let Some(owner) = owner {
        let there = sight.get(owner).filter(|seen| !seen.terminating)?;
        let reference = json!([{
            "apiVersion": there.api_version,
            "kind": owner.kind.as_str(),
            "name": owner.name,
            "uid": there.uid,
            "controller": false,
        }]);
        let fields = body.as_object_mut()?;
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        metadata
            .as_object_mut()?
            .insert("ownerReferences".to_owned(), reference);
    }
    Some(body)
}

/// Whether the object must be applied, and what is to be told of that.
fn judge(body: &Value, seen: Option<&Seen>) -> (bool, Vec<Tiding>) {
    let Some(seen) = seen else {
        return (true, Vec::new());
    };
    let differing = fields::differing(body, &seen.value);
    let wanted = fields::set_by(body);
    let stale = seen.owned.0.iter().any(|field| !wanted.contains(field));
    if differing.is_empty() && !stale {
        return (false, Vec::new());
    }
    let who = |fields: &BTreeSet<String>| {
        let writers = seen.others.iter();
        let writers = writers.filter(|(_, theirs)| !theirs.is_disjoint(fields));
        let names: Vec<&str> = writers.map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    };
    let tiding = |action: &str, reason: &str, note: String| Tiding {
        warning: true,
        action: action.to_owned(),
        reason: reason.to_owned(),
        note,
    };
    if !seen.is_ours() {
        let by = who(&wanted);
        let note = format!(
            "It was there already, written by {}; from now on causeway-controller writes it.",
            if by.is_empty() { "somebody else" } else { &by }
        );
        return (true, vec![tiding("Adopt", "Adopted", note)]);
    }
    let taken: BTreeSet<String> = differing.difference(&seen.owned.0).cloned().collect();
    let by = who(&taken);
    if by.is_empty() {
        return (true, Vec::new());
    }
    let named: Vec<&str> = taken.iter().map(String::as_str).collect();
    let note = format!(
        "{} was changed by {by} and is put back: only causeway-controller writes it; change the ServiceExport or the Service instead.",
        named.join(", ")
    );
    (true, vec![tiding("PutBack", "PutBack", note)])
}

/// The status to apply, if it differs from what is there; and what changed.
fn status(wanted: &Wanted, seen: &Seen, now: Timestamp) -> Option<(Value, Vec<Tiding>)> {
    if wanted.status.is_none() && wanted.conditions.is_empty() {
        return None;
    }
    let mut fields = match &wanted.status {
        Some(Value::Object(fields)) => fields.clone(),
        _ => Map::new(),
    };
    let there = there(seen);
    let mut tidings = Vec::new();
    if !wanted.conditions.is_empty() {
        let each = wanted.conditions.iter();
        let conditions = each.map(|sought| {
            let before = there.get(sought.kind.as_str()).copied();
            tidings.extend(tiding(sought, before));
            condition(sought, before, seen.generation, now)
        });
        fields.insert("conditions".to_owned(), conditions.collect());
    }
    let status = json!({ "status": fields });
    let set = fields::set_by(&status);
    let stale = seen.owned.1.iter().any(|field| !set.contains(field));
    let differs = !fields::differing(&status, &seen.value).is_empty();
    (differs || stale).then_some((status, tidings))
}

/// The conditions that are there, by type.
fn there(seen: &Seen) -> BTreeMap<&str, &Value> {
    let list = seen.value.pointer("/status/conditions");
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|c| Some((c.get("type")?.as_str()?, c)))
        .collect()
}

fn text<'a>(condition: &'a Value, key: &str) -> &'a str {
    condition.get(key).and_then(Value::as_str).unwrap_or("")
}

fn word(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

/// The time of the last transition stays while the status does.
fn condition(
    sought: &Sought,
    before: Option<&Value>,
    generation: Option<i64>,
    now: Timestamp,
) -> Value {
    let status = word(sought.status);
    let same = before.filter(|before| text(before, "status") == status);
    let since = same.map(|before| text(before, "lastTransitionTime"));
    let since = since.filter(|time| !time.is_empty());
    let mut fields = json!({
        "type": sought.kind,
        "status": status,
        "reason": sought.reason,
        "message": sought.message,
        "lastTransitionTime": since.map_or_else(|| time(now), str::to_owned),
    });
    if let (Some(generation), Some(fields)) = (generation, fields.as_object_mut()) {
        fields.insert("observedGeneration".to_owned(), json!(generation));
    }
    fields
}

/// In Kubernetes' form, to the second.
#[must_use]
pub fn time(at: Timestamp) -> String {
    let secs = i64::try_from(at.0 / 1000).unwrap_or(0);
    let time = k8s_openapi::jiff::Timestamp::from_second(secs);
    time.map(|time| time.to_string()).unwrap_or_default()
}

/// What is told when a condition becomes another.
fn tiding(sought: &Sought, before: Option<&Value>) -> Option<Tiding> {
    let status = word(sought.status);
    let same = before.is_some_and(|before| {
        text(before, "status") == status && text(before, "reason") == sought.reason
    });
    let bad = if sought.kind == "Conflict" {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    // Of what is new it is told what is wrong, and when it is ready; not the way there.
    let goes_without_saying = sought.status != bad && matches!(&*sought.kind, "Valid" | "Conflict");
    let no_news = before.is_none() && (goes_without_saying || sought.reason == "Pending");
    // What has never been ready is only not so yet.
    let fell = before.is_some_and(|before| text(before, "status") == "True");
    let warning = sought.status == bad && (fell || sought.reason != "Pending");
    (!same && !no_news).then(|| Tiding {
        warning,
        action: sought.kind.clone(),
        reason: sought
            .reason
            .split(',')
            .next()
            .unwrap_or_default()
            .to_owned(),
        note: sought.message.clone(),
    })
}

#[cfg(test)]
pub(crate) mod tests;
