//! Pure: one import out of all offers of one name.

use std::collections::BTreeMap;

use causeway_proto::limits::IMPORT_PORTS;
use causeway_proto::model::{
    ClusterId, Conflict, Exports, HeadlessEndpoint, Import, ImportEndpoint, ImportPort,
    ImportShare, Liveness, LossPolicy, Mapping, PartKey, PeerNumber, PeerView, Problem,
    ProblemKind, Protocol, ServiceName, ServiceOffer,
};

use super::choice::{self, Rank};
use super::{Known, bounds, conflict};

/// One cluster's offer of a service, with what decides about its use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer<'a> {
    pub cluster: &'a ClusterId,
    pub number: PeerNumber,
    pub liveness: Liveness,
    /// Packets may pass.
    pub reachable: bool,
    /// For its headless endpoints; `None` for the own cluster.
    pub mappings: Option<&'a [Mapping]>,
    pub offer: &'a ServiceOffer,
}

impl Offer<'_> {
    /// In which order it is used; `None`: not at all.
    pub fn rank(&self) -> Option<Rank> {
        if !self.reachable {
            return None;
        }
        match (self.liveness, self.offer.on_loss) {
            (Liveness::Live, _) | (_, LossPolicy::Keep) => Some(Rank::Usual),
            (Liveness::Suspect, _) => Some(Rank::Suspect),
            (Liveness::Withdrawn, LossPolicy::FailoverOnly) => Some(Rank::Failover),
            (Liveness::Withdrawn, LossPolicy::Withdraw) => None,
        }
    }

    /// Whether it really takes dials to this port.
    pub fn exposes(&self, protocol: Protocol, port: u16) -> bool {
        let mut ports = self.offer.ports.iter();
        ports.any(|p| (p.protocol, p.port) == (protocol, port))
    }
}

/// All offers by name, of namespaces that exist here; each list sorted by precedence: oldest, then by id.
pub(super) fn offers<'a>(
    known: &Known<'a>,
    exports: &Exports,
    peers: &'a BTreeMap<ClusterId, PeerView>,
) -> BTreeMap<ServiceName, Vec<Offer<'a>>> {
    let mut all: BTreeMap<ServiceName, Vec<Offer<'a>>> = BTreeMap::new();
    for name in exports.services.keys() {
        let key = PartKey::Namespace(name.namespace.clone());
        let part = known.catalog.own.content(&key);
        if let Some(causeway_proto::model::Part::Namespace(part)) = part
            && let Some(offer) = part.services.get(name)
            && known.allocations.vips.contains_key(name)
        {
            let own = Offer {
                cluster: &known.facts.cluster,
                number: PeerNumber::OWN,
                liveness: Liveness::Live,
                reachable: true,
                mappings: None,
                offer,
            };
            all.entry(name.clone()).or_default().push(own);
        }
    }
    for (id, peer) in known.catalog.peers() {
        let Some(view) = peers.get(id) else {
            continue;
        };
        let here = peer
            .namespaces()
            .filter(|n| exports.namespaces.contains_key(&n.namespace));
        for (name, offer) in here.flat_map(|n| &n.services) {
            let offer = Offer {
                cluster: id,
                number: view.number,
                liveness: view.liveness,
                reachable: view.encryption.passes() && view.our_number_there.is_some(),
                mappings: Some(&view.mappings),
                offer,
            };
            all.entry(name.clone()).or_default().push(offer);
        }
    }
    for list in all.values_mut() {
        list.sort_by_key(|o| (o.offer.created, o.cluster));
    }
    all.retain(|name, _| exports.namespaces.contains_key(&name.namespace));
    all
}

/// The import, and what its exports disagree on. `offers` is sorted by precedence and not empty.
pub(super) fn merge(
    known: &Known<'_>,
    name: &ServiceName,
    offers: &[Offer<'_>],
    problems: &mut Vec<Problem>,
) -> (Import, Vec<Conflict>) {
    let own = offers.iter().find(|o| o.number == PeerNumber::OWN);
    let oldest = offers.first().map(|o| o.offer);
    let by_oldest = |text: fn(&ServiceOffer) -> bool| oldest.is_some_and(text);
    let headless = by_oldest(|o| o.headless);
    let vip = known.allocations.vips.get(name).map(|v| v.value);
    let (mut ports, over) = union(offers);
    let locality = own.map(|o| o.offer).or(oldest);
    let shares = offers.iter().map(|o| {
        let share = ImportShare {
            number: o.number,
            vip: o.offer.vip,
            created: o.offer.created,
            ready: o.offer.ready_total(),
            liveness: o.liveness,
            ports: ports
                .iter()
                .map(|p| (p.protocol, p.port))
                .filter(|(protocol, port)| o.exposes(*protocol, *port))
                .collect(),
        };
        (o.cluster.clone(), share)
    });
    let shares = shares.collect();
    let locality = locality.map(|o| o.locality).unwrap_or_default();
    problems.extend(bounds::left_out(&format!("service {name}"), "ports", over));
    if !headless {
        for port in &mut ports {
            port.targets = choice::targets(known, name, port, offers, locality);
        }
    }
    let import = Import {
        headless,
        vip: vip.filter(|_| !headless),
        ports,
        shares,
        endpoints: if headless {
            endpoints(name, offers, problems)
        } else {
            Vec::new()
        },
        affinity: oldest.map(|o| o.affinity).unwrap_or_default(),
        internal_traffic_policy: oldest
            .map(|o| o.internal_traffic_policy)
            .unwrap_or_default(),
        traffic_distribution: oldest.and_then(|o| o.traffic_distribution.clone()),
        ip_families: oldest.map(|o| o.ip_families.clone()).unwrap_or_default(),
        labels: oldest.map(|o| o.labels.clone()).unwrap_or_default(),
        annotations: oldest.map(|o| o.annotations.clone()).unwrap_or_default(),
        locality,
        stale: offers.iter().all(|o| o.liveness == Liveness::Withdrawn),
    };
    (import, conflict::conflicts(offers))
}

/// Union of the ports, first by name, then by (protocol, port); the older export's form of a port is taken. And
/// how many of the younger exports were too many.
pub(super) fn union(offers: &[Offer<'_>]) -> (Vec<ImportPort>, usize) {
    let mut ports: Vec<ImportPort> = Vec::new();
    for port in offers.iter().flat_map(|o| &o.offer.ports) {
        let mut before = ports.iter();
        let clashes = |p: &ImportPort| {
            p.name == port.name || (p.protocol, p.port) == (port.protocol, port.port)
        };
        if !before.any(clashes) {
            ports.push(ImportPort {
                name: port.name.clone(),
                protocol: port.protocol,
                port: port.port,
                app_protocol: port.app_protocol.clone(),
                targets: BTreeMap::new(),
            });
        }
    }
    let over = ports.len().saturating_sub(IMPORT_PORTS);
    ports.truncate(IMPORT_PORTS);
    ports.sort_by_key(|p| (p.protocol, p.port));
    (ports, over)
}

/// Ready headless endpoints in our view of their addresses, of the clusters that are there.
fn endpoints(
    name: &ServiceName,
    offers: &[Offer<'_>],
    problems: &mut Vec<Problem>,
) -> Vec<ImportEndpoint> {
    let with = |o: &&Offer<'_>| !o.offer.endpoints.is_empty() && o.rank().is_some();
    let usable: Vec<&Offer<'_>> = offers.iter().filter(with).collect();
    let last_resort = |o: &&&Offer<'_>| o.rank() == Some(Rank::Failover);
    let others = usable.iter().any(|o| !last_resort(&o));
    let chosen = usable.iter().filter(|o| !others || !last_resort(o));
    let mut all = Vec::new();
    for offer in chosen {
        let mut outside = 0u32;
        for endpoint in &offer.offer.endpoints {
            match seen_as(offer, endpoint) {
                Some(endpoint) => all.push(endpoint),
                None => outside = outside.saturating_add(1),
            }
        }
        if outside > 0 {
            problems.push(Problem {
                kind: ProblemKind::OutsidePrefix,
                subject: format!("peer {}", offer.cluster),
                message: format!(
                    "{outside} endpoints of {name} lie outside its mapped prefixes and are left out; it should list all its pod prefixes"
                ),
            });
        }
    }
    all.sort();
    all
}

fn seen_as(offer: &Offer<'_>, endpoint: &HeadlessEndpoint) -> Option<ImportEndpoint> {
    let theirs = endpoint.address;
    let address = match offer.mappings {
        None => theirs,
        Some(mappings) => mappings.iter().find_map(|m| m.to_ours(theirs))?,
    };
    Some(ImportEndpoint {
        cluster: offer.cluster.clone(),
        hostname: endpoint.hostname.clone().unwrap_or_else(|| theirs.dashed()),
        address,
        ports: endpoint.ports.clone(),
    })
}
