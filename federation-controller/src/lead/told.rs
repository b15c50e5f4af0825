//! Pure: what the status of ClusterConfiguration `default` says about leader and gateways.

use causeway_proto::model::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff;
use serde_json::{Value, json};

use super::board::Board;
use super::order::Order;
use crate::crd::{ClusterConfiguration, ClusterConfigurationStatus, GatewayState};

/// Nobody leads for this long before it is told: a controller that begins has heard nobody yet.
pub const PATIENCE_MS: u64 = 15_000;

/// What there is to tell.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The gateways.
    pub board: &'a Board,
    /// Who leads, if anybody.
    pub order: Option<&'a Order>,
    /// What is wrong with the settings.
    pub wrong: Option<&'a str>,
    /// Why there is no CA.
    pub no_authority: Option<&'a str>,
}

/// The part of the status that is told here, as it should be; `None`: it is so already.
#[must_use]
pub fn status(
    configuration: &ClusterConfiguration,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Option<Value> {
    let held = configuration.status.clone().unwrap_or_default();
    let order = facts.order;
    let hello = order.and_then(|order| facts.board.hello(&order.leader));
    let leads = order
        .zip(hello)
        .is_some_and(|(order, hello)| order.is_led_by(hello));
    let epoch = hello.map_or(0, |hello| hello.epoch);
    let places = facts.board.places();
    let gateways = places.map(|(name, place)| GatewayState {
        name: name.to_string(),
        address: Some(place.address.clone()),
        ready: order
            .zip(facts.board.hello(name))
            .is_some_and(|(order, hello)| order.is_obeyed(hello)),
    });
    let leader = order.map(|order| order.leader.to_string());
    let next = ClusterConfigurationStatus {
        conditions: vec![applied(facts, leads), led(facts, leads)],
        leader: leader.or(held.leader.clone()),
        // What is told never falls.
        epoch: i64::try_from(epoch).ok().max(held.epoch),
        gateways: gateways.collect(),
        problems: Vec::new(),
    };
    let conditions = next.conditions.into_iter();
    let conditions = conditions.map(|condition| dated(condition, configuration, &held, now));
    let conditions: Vec<_> = conditions.collect();
    let same = conditions.iter().all(|c| held.conditions.contains(c))
        && next.leader == held.leader
        && next.epoch == held.epoch
        && next.gateways == held.gateways;
    let told = json!({
        "conditions": conditions,
        "leader": next.leader,
        "epoch": next.epoch,
        "gateways": next.gateways,
    });
    (!same).then(|| without_nulls(told))
}

fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, field| !field.is_null());
    }
    value
}

fn condition(kind: &str, status: bool, reason: &str, message: String) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
        observed_generation: None,
    }
}

fn applied(facts: &Facts<'_>, leads: bool) -> Condition {
    let told =
        |status, reason, message: &str| condition("Applied", status, reason, message.to_owned());
    match facts.wrong {
        Some(wrong) => told(
            false,
            "Invalid",
            &format!("{wrong}; the settings before stay in force"),
        ),
        None if leads => told(true, "Applied", "the gateways go by these settings"),
        None => told(
            false,
            "NoLeader",
            "no gateway leads, so nothing is changed; see the condition Led",
        ),
    }
}

fn led(facts: &Facts<'_>, leads: bool) -> Condition {
    let told = |status, reason, message| condition("Led", status, reason, message);
    let board = facts.board;
    if let Some(order) = facts.order {
        let leader = &order.leader;
        if leads {
            return told(true, "Led", format!("{leader} leads"));
        }
        return match board.hello(leader) {
            Some(_) => told(
                false,
                "NotTaken",
                format!("{leader} is appointed and has not taken it up; see the log of its pod"),
            ),
            None => told(
                false,
                "Silent",
                format!(
                    "{leader} leads, and the controller does not reach it; is its pod running?"
                ),
            ),
        };
    }
    if let Some(why) = facts.no_authority {
        return told(false, "NoAuthority", why.to_owned());
    }
    if board.places().next().is_none() {
        let why = "there is no gateway: label at least one node causeway.dev/gateway=true";
        return told(false, "NoGateway", why.to_owned());
    }
    let why = "no gateway can be reached by the controller; see the logs of their pods";
    told(false, "Unreachable", why.to_owned())
}

/// With the times of the one before where it is the same.
fn dated(
    mut condition: Condition,
    configuration: &ClusterConfiguration,
    held: &ClusterConfigurationStatus,
    now: Timestamp,
) -> Condition {
    condition.observed_generation = configuration.metadata.generation;
    let before = held.conditions.iter().find(|c| c.type_ == condition.type_);
    let since = before.filter(|before| before.status == condition.status);
    // Whole seconds: the API server keeps no more.
    let secs = i64::try_from(now.0 / 1000).unwrap_or(0);
    let now = jiff::Timestamp::from_second(secs).unwrap_or_default();
    condition.last_transition_time =
        since.map_or(Time(now), |before| before.last_transition_time.clone());
    condition
}

#[cfg(test)]
mod tests;
