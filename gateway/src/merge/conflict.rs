//! Pure: what the exports of one service disagree on. The oldest export wins; ports are merged instead.

use std::collections::BTreeSet;

use causeway_proto::model::{Affinity, Conflict, ConflictField, ServiceOffer};

use super::import::Offer;

/// One field: its name and how an offer fills it, as text.
type Field = (ConflictField, fn(&ServiceOffer) -> String);

const FIELDS: [Field; 9] = [
    (ConflictField::Port, ports),
    (ConflictField::Type, |o| kind(o).to_owned()),
    (ConflictField::SessionAffinity, |o| affinity(o).to_owned()),
    (ConflictField::SessionAffinityConfig, timeout),
    (ConflictField::Annotations, |o| map(&o.annotations)),
    (ConflictField::Labels, |o| map(&o.labels)),
    (ConflictField::InternalTrafficPolicy, |o| {
        format!("{:?}", o.internal_traffic_policy)
    }),
    (ConflictField::TrafficDistribution, |o| {
        o.traffic_distribution.clone().unwrap_or_default()
    }),
    (ConflictField::IpFamily, families),
];

/// All clashes among `offers`, which are sorted by precedence.
pub(super) fn conflicts(offers: &[Offer<'_>]) -> Vec<Conflict> {
    let Some((winner, others)) = offers.split_first() else {
        return Vec::new();
    };
    let clash = |(field, text): &Field| {
        let value = text(winner.offer);
        let comparable = |o: &&Offer<'_>| {
            // A timeout can differ only where both have one.
            *field != ConflictField::SessionAffinityConfig
                || (winner.offer.affinity != Affinity::None && o.offer.affinity != Affinity::None)
        };
        let other = others.iter().filter(comparable);
        let disagree = other.filter(|o| text(o.offer) != value).count();
        (disagree > 0).then(|| Conflict {
            field: *field,
            winner: winner.cluster.clone(),
            value,
            disagree: u32::try_from(disagree).unwrap_or(u32::MAX),
            of: u32::try_from(offers.len()).unwrap_or(u32::MAX),
        })
    };
    FIELDS.iter().filter_map(clash).collect()
}

fn ports(offer: &ServiceOffer) -> String {
    let all: BTreeSet<String> = offer
        .ports
        .iter()
        .map(|p| match &p.app_protocol {
            Some(app) => format!("{p} {app}"),
            None => p.to_string(),
        })
        .collect();
    all.into_iter().collect::<Vec<_>>().join(", ")
}

fn kind(offer: &ServiceOffer) -> &'static str {
    if offer.headless {
        "Headless"
    } else {
        "ClusterSetIP"
    }
}

fn affinity(offer: &ServiceOffer) -> &'static str {
    match offer.affinity {
        Affinity::None => "None",
        Affinity::ClientIp { .. } => "ClientIP",
    }
}

fn timeout(offer: &ServiceOffer) -> String {
    match offer.affinity {
        Affinity::None => String::new(),
        Affinity::ClientIp { timeout_secs } => format!("{timeout_secs} s"),
    }
}

fn map(labels: &std::collections::BTreeMap<String, String>) -> String {
    let all: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    all.join(",")
}

fn families(offer: &ServiceOffer) -> String {
    let all: Vec<String> = offer.ip_families.iter().map(|f| format!("{f:?}")).collect();
    all.join(",")
}
