//! Pure: the ClusterPeers that this cluster should have, one for each cluster that it trusts, and what each should say,
//! from the View, from the status of this cluster's gateways, and from what became of joins.
//!
//! Counts and revisions change all the time; they are written at most once a minute, all else at once.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    ClusterId, Condition, ConditionStatus, Encryption, GatewayStatus, Liveness, PeerStatus,
    Timestamp, Transport,
};
use serde_json::{Map, Value, json};

use crate::crd::ClusterPeerSpec;
use crate::plan::time;
use crate::seen::Seen;
use crate::want::{Kind, MANAGED_BY, MARK, Sought, Target, Wanted};

/// How long counts and revisions may be old.
const CALM_MS: u64 = 60_000;
/// How far two readings of when a silent peer was last heard may lie apart.
const SAME_MS: u64 = 3_000;
/// What changes all the time.
const RESTLESS: [&str; 4] = [
    "heldRevision",
    "acknowledgedRevision",
    "services",
    "lastError",
];

/// What became of a join by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joining {
    /// It is under way.
    Trying,
    /// It did not work: reason of the condition, and why.
    Refused(&'static str, String),
}

/// What the gateways say, put together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Statuses {
    by_peer: BTreeMap<ClusterId, Told>,
}

/// Of one peer.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    status: PeerStatus,
    heard: Option<Timestamp>,
    sessions: Vec<Value>,
}

impl Statuses {
    /// From as many gateways as answered, the leader first.
    #[must_use]
    pub fn of(gateways: &[GatewayStatus]) -> Self {
        let mut all = Self::default();
        for gateway in gateways {
            for (id, status) in &gateway.peers {
                let heard = status
                    .age_ms
                    .map(|age| Timestamp(gateway.time.0.saturating_sub(age)));
                let told = all.by_peer.entry(id.clone()).or_insert_with(|| Told {
                    status: status.clone(),
                    heard,
                    sessions: Vec::new(),
                });
                told.heard = told.heard.max(heard);
                told.status.held = told.status.held.max(status.held);
                told.status.acknowledged = told.status.acknowledged.max(status.acknowledged);
                let ends = [told.status.certificate_expires, status.certificate_expires];
                told.status.certificate_expires = ends.into_iter().flatten().min();
                told.status.last_error = told
                    .status
                    .last_error
                    .clone()
                    .max(status.last_error.clone());
                told.sessions.extend(status.sessions.iter().map(|s| {
                    json!({
                        "gateway": gateway.gateway.as_str(),
                        "peerGateway": s.gateway.as_str(),
                        "transport": match s.transport {
                            Transport::Quic => "QUIC",
                            Transport::Tcp => "TCP",
                        },
                        "address": s.address,
                        "since": time(s.since),
                    })
                }));
            }
        }
        for told in all.by_peer.values_mut() {
            told.sessions.sort_by_key(Value::to_string);
        }
        all
    }

    /// Who is trusted, by their word.
    pub fn peers(&self) -> impl Iterator<Item = &ClusterId> {
        self.by_peer.keys()
    }
}

/// What is known of one peer.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Which.
    pub id: &'a ClusterId,
    /// This cluster.
    pub own: &'a ClusterId,
    /// Who is trusted.
    pub trusted: &'a BTreeSet<ClusterId>,
    /// What the gateways say.
    pub statuses: &'a Statuses,
    /// What the View says of it.
    pub conditions: &'a [&'a Condition],
    /// The object, if there is one.
    pub seen: Option<&'a Seen>,
    /// What became of a join.
    pub joining: Option<&'a Joining>,
}

/// What the user wants of it.
#[must_use]
pub fn spec(seen: &Seen) -> ClusterPeerSpec {
    let spec = seen.value.get("spec").cloned().unwrap_or_default();
    serde_json::from_value(spec).unwrap_or_default()
}

/// What the object should say; `None`: there should be none of ours.
#[must_use]
pub fn wanted(known: &Known<'_>, now: Timestamp) -> Option<(Target, Wanted)> {
    let is_trusted = known.trusted.contains(known.id);
    let spec = known.seen.map(spec).unwrap_or_default();
    let is_ours = known.seen.is_none_or(Seen::is_ours);
    let says_nothing = spec == ClusterPeerSpec::default();
    if !is_trusted && is_ours && says_nothing {
        return None;
    }
    let labels = BTreeMap::from([MARK, MANAGED_BY]);
    let mut conditions = vec![joined(known, &spec, is_trusted)];
    if is_trusted {
        conditions.extend(known.conditions.iter().map(|c| {
            let (status, reason) = (c.status, c.reason.as_str());
            Sought::new(&c.kind, status, reason, c.message.as_str())
        }));
    }
    let told = known.statuses.by_peer.get(known.id).filter(|_| is_trusted);
    let status = status(known, is_trusted, told, phase(&conditions), now);
    let wanted = Wanted {
        // Made by a user: theirs.
        body: is_ours.then(|| json!({"metadata": {"labels": labels}})),
        status: Some(Value::Object(status)),
        conditions,
        ..Wanted::default()
    };
    Some((
        Target::of_cluster(Kind::ClusterPeer, known.id.as_str()),
        wanted,
    ))
}

fn joined(known: &Known<'_>, spec: &ClusterPeerSpec, is_trusted: bool) -> Sought {
    let condition =
        |status, reason, message: String| Sought::new("Joined", status, reason, message);
    use ConditionStatus::{False, True};
    if known.id == known.own {
        let message =
            "This is this cluster's own id; name the ClusterPeer after the other cluster.";
        return condition(False, "Itself", message.to_owned());
    }
    match (is_trusted, spec.revoked, &spec.join_token_secret_ref) {
        (true, true, _) => {
            let message = "spec.revoked is true; the leader gateway has not cut it off yet.";
            condition(True, "Revoking", message.to_owned())
        }
        (true, false, _) => {
            let message = "The clusters trust each other's certificates.";
            condition(True, "Trusted", message.to_owned())
        }
        (false, true, _) => {
            let message = "It is cut off, as spec.revoked says.";
            condition(False, "Revoked", message.to_owned())
        }
        (false, false, Some(secret)) => match known.joining {
            Some(Joining::Refused(reason, why)) => condition(False, reason, why.clone()),
            _ => {
                let message = format!("Joining it by the token in Secret {}.", secret.name);
                condition(False, "Joining", message)
            }
        },
        (false, false, None) => {
            let message = "There is no trust: run `causeway token create` in that cluster, put the token into a Secret and name it in spec.joinTokenSecretRef, or run `causeway join`.";
            condition(False, "NotTrusted", message.to_owned())
        }
    }
}

fn phase(conditions: &[Sought]) -> &'static str {
    let of = |kind: &str| conditions.iter().find(|c| c.kind == kind);
    match (
        of("Joined").map(|c| (c.status, c.reason.as_str())),
        of("Connected"),
    ) {
        (Some((ConditionStatus::False, "Joining")), _) => "Joining",
        (Some((ConditionStatus::False, "Revoked")), _) => "Revoked",
        (Some((ConditionStatus::False, _)), _) => "Refused",
        (_, Some(connected)) => match (connected.status, connected.reason.as_str()) {
            (ConditionStatus::True, _) => "Connected",
            (_, "Suspect") => "Suspect",
            (_, "NeverSynced") => "Connecting",
            _ => "Silent",
        },
        (_, None) => "Connecting",
    }
}

fn status(
    known: &Known<'_>,
    is_trusted: bool,
    told: Option<&Told>,
    phase: &str,
    now: Timestamp,
) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |key: &str, value: Value| {
        fields.insert(key.to_owned(), value);
    };
    set("phase", json!(phase));
    let before = known.seen.and_then(|seen| seen.value.get("status"));
    let Some(told) = told else {
        // No gateway answers now: what they said before stays.
        let before = before.and_then(Value::as_object).into_iter().flatten();
        let kept = before.filter(|(key, _)| is_trusted && key.as_str() != "conditions");
        for (key, value) in kept {
            fields.entry(key.clone()).or_insert_with(|| value.clone());
        }
        return fields;
    };
    let status = &told.status;
    let encryption = match status.encryption {
        Encryption::Plain => "Plain",
        Encryption::Encrypted => "Encrypted",
        Encryption::Unavailable => "Unavailable",
    };
    set("encryption", json!(encryption));
    set("sessions", json!(told.sessions));
    let mapping = |m: &causeway_proto::model::Mapping| json!({"theirs": m.theirs.to_string(), "here": m.ours.to_string()});
    set("mappings", status.mappings.iter().map(mapping).collect());
    let gateways = status.gateways.iter().map(ToString::to_string);
    set("gateways", json!(gateways.collect::<Vec<_>>()));
    if let Some(at) = status.certificate_expires {
        set("certificateExpiryTime", json!(time(at)));
    }
    if let (Some(heard), false) = (told.heard, status.liveness == Liveness::Live) {
        set("lastHeardTime", json!(last_heard(before, heard)));
    }
    restless(&mut fields, told, before, now);
    fields
}

/// What is there, if it is the same but for the time that readings take.
fn last_heard(before: Option<&Value>, heard: Timestamp) -> String {
    let there = before.and_then(|before| before.get("lastHeardTime"));
    let there = there.and_then(Value::as_str);
    let same =
        there.filter(|text| parsed(text).is_some_and(|there| there.0.abs_diff(heard.0) <= SAME_MS));
    same.map_or_else(|| time(heard), str::to_owned)
}

fn parsed(text: &str) -> Option<Timestamp> {
    let time: k8s_openapi::jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().map(Timestamp)
}

/// Counts and revisions, as they are or as they were read last.
fn restless(fields: &mut Map<String, Value>, told: &Told, before: Option<&Value>, now: Timestamp) {
    let status = &told.status;
    let mut fresh = Map::new();
    let mut set = |key: &str, value: Value| {
        fresh.insert(key.to_owned(), value);
    };
    set("services", json!(status.services));
    if let Some(held) = status.held {
        set("heldRevision", json!(held.to_string()));
    }
    if let Some(acknowledged) = status.acknowledged {
        set("acknowledgedRevision", json!(acknowledged.to_string()));
    }
    if let Some((at, message)) = &status.last_error {
        set("lastError", json!({"time": time(*at), "message": message}));
    }
    let read = before.and_then(|before| before.get("observedTime"));
    let read = read.and_then(Value::as_str);
    let stored = |key: &str| before.and_then(|before| before.get(key)).cloned();
    let same = RESTLESS
        .iter()
        .all(|key| stored(key) == fresh.get(*key).cloned());
    let is_fresh = |text: &str| parsed(text).is_some_and(|read| now.since(read) < CALM_MS);
    match read {
        Some(read) if same || is_fresh(read) => {
            let kept = RESTLESS.iter().filter_map(|key| Some((*key, stored(key)?)));
            fields.extend(kept.map(|(key, value)| (key.to_owned(), value)));
            fields.insert("observedTime".to_owned(), json!(read));
        }
        _ => {
            fields.extend(fresh);
            fields.insert("observedTime".to_owned(), json!(time(now)));
        }
    }
}

#[cfg(test)]
mod tests;
