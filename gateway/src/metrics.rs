//! Pure: what the gateway is, as text for Prometheus. In: its status and counters. Out: OpenMetrics. Nothing is kept
//! between two readings. Labels name peers, reasons and codes, never services or clients: their number is bounded.

use std::collections::BTreeMap;
use std::fmt;

use causeway_dns::Answered;
use causeway_proto::model::{
    ClusterId, GatewayStatus, Liveness, PeerStatus, Revision, ServiceName, Timestamp, Transport,
    View,
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::tunnel::counts::Carried;

/// As it is told to whoever asks.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is told beside the status.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// This gateway leads.
    pub leads: bool,
    /// Streams of controllers.
    pub controllers: usize,
    /// Answers to DNS questions by code.
    pub dns: &'a [(Answered, u64)],
    /// What the sessions carried.
    pub carried: &'a Carried,
}

/// All of it.
///
/// # Errors
/// When it cannot be written, which a text always can.
pub fn text(
    status: &GatewayStatus,
    view: &View,
    beside: &Beside<'_>,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("causeway_gateway");
    own(&mut registry, status, beside);
    counts(&mut registry, status);
    sessions(&mut registry, status);
    peers(&mut registry, status, view);
    troubles(&mut registry, status);
    dns(&mut registry, beside.dns);
    carried(&mut registry, beside.carried);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn secs(at: Timestamp) -> i64 {
    whole(at.0 / 1_000)
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

/// One gauge for each of these.
fn gauges<L: Labels>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, i64)>,
) {
    let family = Family::<L, Gauge>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).set(value);
    }
    registry.register(name, help, family);
}

trait Labels:
    EncodeLabelSet + Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static
{
}

impl<T> Labels for T where
    T: EncodeLabelSet + Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static
{
}

type Named = [(&'static str, String); 1];

fn own(registry: &mut Registry, status: &GatewayStatus, beside: &Beside<'_>) {
    let labels = [
        ("cluster", status.cluster.to_string()),
        ("clusterset", status.cluster_set.to_string()),
        ("gateway", status.gateway.to_string()),
        ("version", status.version.clone()),
    ];
    registry.register("build", "Which gateway this is", Info::new(labels.to_vec()));
    let started = secs(status.started);
    gauge(
        registry,
        "start_timestamp_seconds",
        "When the process started",
        started,
    );
    gauge(
        registry,
        "leads",
        "Whether this gateway leads its cluster",
        beside.leads.into(),
    );
    gauge(
        registry,
        "frozen",
        "Whether no leader is heard, so that what is held stays as it is",
        status.frozen_since.is_some().into(),
    );
    gauge(
        registry,
        "controllers",
        "Controllers that are connected",
        whole(beside.controllers),
    );
    gauge(
        registry,
        "epoch",
        "Newest epoch known of this cluster",
        whole(status.epoch),
    );
    let revision = status.revision.map_or(0, |r| r.number);
    gauge(
        registry,
        "revision",
        "Number of the own catalog's revision within its epoch",
        whole(revision),
    );
    gauge(
        registry,
        "view",
        "Number of the newest View",
        whole(status.view.number),
    );
}

fn counts(registry: &mut Registry, status: &GatewayStatus) {
    let expiries = [
        ("gateway", status.certificate_expires),
        ("ca", status.ca_expires),
    ];
    let expiries = expiries.into_iter().filter_map(|(of, at)| Some((of, at?)));
    gauges(
        registry,
        "certificate_expiry_timestamp_seconds",
        "When a certificate ends",
        expiries.map(|(of, at)| ([("certificate", of)], secs(at))),
    );
    let services = [
        ("exported", status.services.exported),
        ("imported", status.services.imported),
        ("stale", status.services.stale),
    ];
    gauges(
        registry,
        "services",
        "Services by what they are here",
        services
            .into_iter()
            .map(|(state, count)| ([("state", state)], count.into())),
    );
    let current = status.nodes.values().filter(|n| n.current).count();
    let nodes = [("known", status.nodes.len()), ("current", current)];
    gauges(
        registry,
        "nodes",
        "Own nodes, and those whose agent has put the newest View into force",
        nodes
            .into_iter()
            .map(|(state, count)| ([("state", state)], whole(count))),
    );
}

fn by_peer(
    status: &GatewayStatus,
    value: impl Fn(&ClusterId, &PeerStatus) -> Option<i64>,
) -> impl Iterator<Item = (Named, i64)> {
    let all = status.peers.iter();
    all.filter_map(move |(id, peer)| Some(([("peer", id.to_string())], value(id, peer)?)))
}

/// By what carries them: TCP where UDP is blocked.
fn sessions(registry: &mut Registry, status: &GatewayStatus) {
    let ways = [("quic", Transport::Quic), ("tcp", Transport::Tcp)];
    let each = status.peers.iter().flat_map(|(id, peer)| {
        ways.map(|(name, way)| {
            let count = peer.sessions.iter().filter(|s| s.transport == way).count();
            let labels = [("peer", id.to_string()), ("transport", name.to_owned())];
            (labels, whole(count))
        })
    });
    gauges(
        registry,
        "peer_sessions",
        "Sessions with a peer's gateways",
        each,
    );
}

fn peers(registry: &mut Registry, status: &GatewayStatus, view: &View) {
    let mut endpoints: BTreeMap<&ClusterId, i64> = BTreeMap::new();
    for share in view.imports.values().flat_map(|import| &import.shares) {
        let (id, share) = share;
        let held = endpoints.entry(id).or_default();
        *held = held.saturating_add(whole(share.ready));
    }
    let number = |revision: Option<Revision>| revision.map(|r| whole(r.number));
    let mut add = |name, help, value: &dyn Fn(&ClusterId, &PeerStatus) -> Option<i64>| {
        gauges(registry, name, help, by_peer(status, value));
    };
    add("peer_live", "Whether a peer is heard", &|_, peer| {
        Some((peer.liveness == Liveness::Live).into())
    });
    add(
        "peer_silence_seconds",
        "Since when a peer has not been heard: the age of what is held of it",
        &|_, peer| peer.age_ms.map(|ms| whole(ms / 1_000)),
    );
    add(
        "peer_revision",
        "Number of the revision that is held of a peer's catalog",
        &|_, peer| number(peer.held),
    );
    add(
        "peer_acknowledged_revision",
        "Number of the revision of the own catalog that a peer has acknowledged",
        &|_, peer| number(peer.acknowledged),
    );
    add(
        "peer_services",
        "Services that a peer offers",
        &|_, peer| Some(peer.services.into()),
    );
    add(
        "peer_endpoints",
        "Ready endpoints behind a peer's services",
        &|id, _| Some(endpoints.get(id).copied().unwrap_or(0)),
    );
    add(
        "peer_certificate_expiry_timestamp_seconds",
        "When the first certificate behind a peer's sessions ends",
        &|_, peer| peer.certificate_expires.map(secs),
    );
}

fn troubles(registry: &mut Registry, status: &GatewayStatus) {
    let mut problems: BTreeMap<String, i64> = BTreeMap::new();
    for problem in &status.problems {
        *problems.entry(format!("{:?}", problem.kind)).or_default() += 1;
    }
    gauges(
        registry,
        "problems",
        "What did not fit or was refused, as `causeway status` tells it",
        problems
            .into_iter()
            .map(|(kind, count)| ([("kind", kind)], count)),
    );
    let clashing: Vec<&ServiceName> = status.conflicts.keys().collect();
    gauge(
        registry,
        "conflicting_services",
        "Services whose exports disagree",
        whole(clashing.len()),
    );
    let drops = Family::<Named, Counter>::default();
    for ((_, reason), count) in &status.drops {
        drops
            .get_or_create(&[("reason", reason.clone())])
            .inc_by(*count);
    }
    registry.register(
        "dropped_packets",
        "Packets that this cluster's nodes dropped",
        drops,
    );
}

/// What went by sessions, and what is lost there.
fn carried(registry: &mut Registry, carried: &Carried) {
    let datagrams = Family::<[(&'static str, &'static str); 1], Counter>::default();
    for (direction, count) in [("sent", carried.sent), ("received", carried.received)] {
        let labels = [("direction", direction)];
        datagrams.get_or_create(&labels).inc_by(count);
    }
    registry.register(
        "session_datagrams",
        "Datagrams with packets to and from peers",
        datagrams,
    );
    let lost = Family::<[(&'static str, &'static str); 1], Counter>::default();
    for (reason, count) in &carried.lost {
        lost.get_or_create(&[("reason", *reason)]).inc_by(*count);
    }
    registry.register(
        "session_lost",
        "Packets that this gateway lost between the programs and its sessions",
        lost,
    );
}

fn dns(registry: &mut Registry, answered: &[(Answered, u64)]) {
    let family = Family::<[(&'static str, &'static str); 2], Counter>::default();
    for (answered, count) in answered {
        let labels = [("code", answered.code), ("transport", answered.transport)];
        family.get_or_create(&labels).inc_by(*count);
    }
    registry.register(
        "dns_answers",
        "Answers to questions for the zone, by code",
        family,
    );
}

#[cfg(test)]
mod tests;
