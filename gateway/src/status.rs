//! Pure: from the View and what the process knows beside it to what an operator is told. One function per
//! question; nothing is kept. In: View, [`Facts`], the time. Out: the status types of the vocabulary.

mod expiry;
mod whois;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_dns::answer::Data;
use causeway_dns::{Code, DnsZone, Kind, Question, answer};
use causeway_proto::model::{
    ClusterId, DnsRecord, Exports, GatewayName, GatewayStatus, Import, NodeName, NodeStatus,
    PeerStatus, PeerView, PortStatus, Report, Resolution, Revision, ServiceCounters, ServiceCounts,
    ServiceName, ServiceStatus, SessionStatus, ShareStatus, Timestamp, View, ViewRevision,
};

pub(crate) use expiry::conditions;
pub use whois::whois;

/// What status needs beside the View.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// When the process started.
    pub started: Timestamp,
    /// The leader, while there is one.
    pub leader: Option<GatewayName>,
    /// The newest epoch known.
    pub epoch: u64,
    /// Of the own catalog.
    pub revision: Option<Revision>,
    /// Where own gateways take sessions, as the catalog says.
    pub gateways: Vec<String>,
    /// When the own leaf ends.
    pub certificate_expires: Option<Timestamp>,
    /// When the cluster's CA ends.
    pub ca_expires: Option<Timestamp>,
    /// By peer.
    pub peers: BTreeMap<ClusterId, PeerFacts>,
    /// Newest report of each node.
    pub reports: Arc<BTreeMap<NodeName, Report>>,
    /// Own exports: names of workloads.
    pub exports: Arc<Exports>,
}

/// What is known of a peer beside the View.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeerFacts {
    /// What we hold of it.
    pub held: Option<Revision>,
    /// What it has acknowledged of ours.
    pub acknowledged: Option<Revision>,
    /// When it was last heard, by either evidence.
    pub heard: Option<Timestamp>,
    /// Live ones.
    pub sessions: Vec<SessionStatus>,
    /// What went wrong last.
    pub last_error: Option<(Timestamp, String)>,
}

/// The whole of it.
#[must_use]
pub fn gateway(gateway: &GatewayName, view: &View, facts: &Facts, now: Timestamp) -> GatewayStatus {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    GatewayStatus {
        cluster: view.cluster.clone(),
        cluster_set: view.cluster_set.clone(),
        gateway: gateway.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: now,
        started: facts.started,
        leader: facts.leader.clone(),
        epoch: facts.epoch,
        revision: facts.revision,
        view: view.revision,
        frozen_since: view.frozen_since,
        certificate_expires: facts.certificate_expires,
        ca_expires: facts.ca_expires,
        peers: peers(view, facts, now),
        nodes: nodes(view, facts, now),
        services: ServiceCounts {
            exported: count(view.exports.len()),
            imported: count(view.imports.len()),
            stale: count(view.imports.values().filter(|i| i.stale).count()),
        },
        conflicts: view.conflicts.clone(),
        conditions: {
            let own = expiry::conditions(gateway, facts, now);
            view.conditions.iter().cloned().chain(own).collect()
        },
        problems: view.problems.clone(),
        drops: drops(facts),
        policy_enforced: false,
    }
}

/// Every peer.
#[must_use]
pub fn peers(view: &View, facts: &Facts, now: Timestamp) -> BTreeMap<ClusterId, PeerStatus> {
    let one = |(id, peer): (&ClusterId, &PeerView)| {
        let known = facts.peers.get(id).cloned().unwrap_or_default();
        let services = view.imports.values().filter(|i| i.shares.contains_key(id));
        let expiries = known.sessions.iter().filter_map(|s| s.certificate_expires);
        let status = PeerStatus {
            number: peer.number,
            our_number_there: peer.our_number_there,
            liveness: peer.liveness,
            age_ms: known.heard.or(peer.heard).map(|heard| now.since(heard)),
            held: known.held,
            acknowledged: known.acknowledged,
            encryption: peer.encryption,
            mappings: peer.mappings.clone(),
            gateways: peer.gateways.clone(),
            services: u32::try_from(services.count()).unwrap_or(u32::MAX),
            certificate_expires: expiries.min(),
            sessions: known.sessions,
            last_error: known.last_error,
        };
        (id.clone(), status)
    };
    view.peers.iter().map(one).collect()
}

fn nodes(view: &View, facts: &Facts, now: Timestamp) -> BTreeMap<NodeName, NodeStatus> {
    let gateway_of = |node: &NodeName| {
        let found = view.gateways.iter().find(|(_, on)| *on == node);
        found.map(|(name, _)| name.clone())
    };
    let known = view.nodes.keys().chain(facts.reports.keys());
    known
        .map(|node| {
            let gateway = gateway_of(node);
            let status = match facts.reports.get(node) {
                None => NodeStatus {
                    gateway,
                    ..NodeStatus::default()
                },
                Some(report) => NodeStatus {
                    gateway,
                    age_ms: Some(now.since(report.time)),
                    current: report.programmed.is_some_and(|p| current(view, p)),
                    flows: report.flows.0,
                    half_open: report.flows.1,
                    pods: u32::try_from(report.pods.len()).unwrap_or(u32::MAX),
                    hooks: report.hooks.clone(),
                    problems: report.problems.clone(),
                },
            };
            (node.clone(), status)
        })
        .collect()
}

/// Whether a kernel holds the newest View. Another gateway's Views cannot be told apart here: of a node that watches
/// that one it says no more than that it has programmed one.
fn current(view: &View, programmed: ViewRevision) -> bool {
    programmed.instance != view.revision.instance || programmed == view.revision
}

/// Dropped packets by node and reason.
#[must_use]
pub fn drops(facts: &Facts) -> BTreeMap<(NodeName, String), u64> {
    let one = |(node, report): (&NodeName, &Report)| {
        let node = node.clone();
        let counts = report.drops.clone().into_iter();
        counts.map(move |(reason, packets)| ((node.clone(), reason), packets))
    };
    facts.reports.iter().flat_map(one).collect()
}

/// All services, or the one asked for.
#[must_use]
pub fn services(
    view: &View,
    facts: &Facts,
    only: Option<&ServiceName>,
) -> BTreeMap<ServiceName, ServiceStatus> {
    let wanted = |name: &ServiceName| only.is_none_or(|only| only == name);
    let imports = view.imports.iter().filter(|(name, _)| wanted(name));
    imports
        .map(|(name, import)| (name.clone(), service(view, facts, name, import)))
        .collect()
}

fn service(view: &View, facts: &Facts, name: &ServiceName, import: &Import) -> ServiceStatus {
    let shares = import.shares.iter().map(|(cluster, share)| {
        let status = ShareStatus {
            vip: share.vip,
            created: share.created,
            ready: share.ready,
            liveness: share.liveness,
        };
        (cluster.clone(), status)
    });
    ServiceStatus {
        headless: import.headless,
        vip: import.vip,
        ports: ports(import),
        shares: shares.collect(),
        endpoints: import.endpoints.clone(),
        exported: view.exports.contains_key(name),
        stale: import.stale,
        conflicts: view.conflicts.get(name).cloned().unwrap_or_default(),
        counters: counters(facts, name),
    }
}

fn ports(import: &Import) -> Vec<PortStatus> {
    let cluster_of = |number| {
        let found = import.shares.iter().find(|(_, s)| s.number == number);
        found.map(|(cluster, _)| cluster.clone())
    };
    let one = |port: &causeway_proto::model::ImportPort| PortStatus {
        name: port.name.clone(),
        protocol: port.protocol,
        port: port.port,
        targets: port
            .targets
            .iter()
            .filter_map(|(number, weight)| Some((cluster_of(*number)?, *weight)))
            .collect(),
    };
    import.ports.iter().map(one).collect()
}

fn counters(facts: &Facts, name: &ServiceName) -> ServiceCounters {
    let of_nodes = facts.reports.values().filter_map(|r| r.services.get(name));
    of_nodes.fold(ServiceCounters::default(), |sum, c| ServiceCounters {
        packets: sum.packets.saturating_add(c.packets),
        bytes: sum.bytes.saturating_add(c.bytes),
        flows: sum.flows.saturating_add(c.flows),
        rejected: sum.rejected.saturating_add(c.rejected),
    })
}

/// A DNS name as it stands, or `NAMESPACE/NAME` of a service.
#[must_use]
pub fn full_name(asked: &str) -> String {
    match asked.parse::<ServiceName>() {
        Ok(service) => format!(
            "{}.{}.svc.clusterset.local",
            service.name(),
            service.namespace
        ),
        Err(_) => asked.trim_end_matches('.').to_owned(),
    }
}

/// As this gateway's DNS answers; `None` for a kind that it does not know.
#[must_use]
pub fn resolve(view: &View, asked: &str, kind: &str) -> Option<Resolution> {
    let (label, kind) = match kind.to_ascii_uppercase().as_str() {
        "" | "A" => ("A", Kind::A),
        "AAAA" => ("AAAA", Kind::Aaaa),
        "SRV" => ("SRV", Kind::Srv),
        "TXT" => ("TXT", Kind::Txt),
        _ => return None,
    };
    let name = full_name(asked);
    let question = Question::new(name.split('.').map(str::as_bytes), kind, 0, 0);
    let found = answer(&DnsZone::of(view), &question);
    let record = |name: &str, kind: &str, data: String| DnsRecord {
        name: name.to_owned(),
        ttl_secs: found.ttl,
        kind: kind.to_owned(),
        data,
    };
    let family = |address: &causeway_proto::model::Address| {
        if address.is_v4() { "A" } else { "AAAA" }
    };
    let answers = found.records.iter().map(|data| match data {
        Data::Address(a) => record(&name, family(a), a.to_string()),
        Data::Srv { port, target } => record(&name, "SRV", format!("0 1 {port} {target}")),
        Data::Txt(text) => record(&name, "TXT", format!("{text:?}")),
        Data::Soa => record(&name, "SOA", String::new()),
    });
    let beside = found.additional.iter();
    let beside = beside.map(|(name, a)| record(name, family(a), a.to_string()));
    let code = match found.code {
        Code::NoError => "NOERROR",
        Code::NxDomain => "NXDOMAIN",
        Code::ServFail => "SERVFAIL",
        Code::Refused => "REFUSED",
    };
    Some(Resolution {
        records: answers.chain(beside).collect(),
        kind: label.to_owned(),
        code: code.to_owned(),
        name,
    })
}
