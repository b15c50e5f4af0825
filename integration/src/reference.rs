//! Pure: the slow, obvious federation. It looks at all clusters at once, knows no protocol, and says of each
//! cluster what its gateways should show once all is quiet. Written for reading, without a line of the product's.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    Address, Affinity, Allocations, ClusterId, EndpointState, Export, Liveness, Locality,
    PeerNumber, Protocol, ServiceName, Timestamp, View,
};

use crate::sim::truth::Truth;

/// For each port of a service the endpoints that take new flows.
pub type ReadyByPort = BTreeMap<(Protocol, u16), BTreeSet<(Address, u16)>>;

/// What a View says, in words that do not depend on numbers that a leader drew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// By service.
    pub imports: BTreeMap<ServiceName, SeenImport>,
    /// Own exports: their VIP, and for each port the ready endpoints.
    pub exports: BTreeMap<ServiceName, (Address, ReadyByPort)>,
    /// By service, what its exports disagree on: field, winner, how many disagree.
    pub conflicts: BTreeMap<ServiceName, BTreeSet<(String, ClusterId, u32)>>,
    /// Peers from whom something may still be missing.
    pub missing: BTreeSet<ClusterId>,
}

impl Seen {
    /// One line for each thing that is said: what differs is easy to find.
    #[must_use]
    pub fn lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        let names = |list: &BTreeSet<ClusterId>| {
            let all: Vec<&str> = list.iter().map(ClusterId::as_str).collect();
            all.join(",")
        };
        for (name, i) in &self.imports {
            let (affinity, locality) = (i.affinity, i.locality);
            lines.insert(format!(
                "import {name}: headless {} vip {} stale {} {affinity:?} {locality:?}",
                i.headless, i.vip, i.stale
            ));
            for ((protocol, port), (label, targets)) in &i.ports {
                let to = names(targets);
                lines.insert(format!(
                    "import {name}: {label:?} {port}/{protocol} to {to}"
                ));
            }
            for (id, (vip, created, ready)) in &i.shares {
                let at = created.0;
                lines.insert(format!(
                    "import {name}: {id} has {vip} since {at}, ready {ready}"
                ));
            }
            for (id, hostname, address) in &i.endpoints {
                lines.insert(format!("import {name}: {hostname}.{id} is {address}"));
            }
        }
        for (name, (vip, ports)) in &self.exports {
            for ((protocol, port), ready) in ports {
                let ready: Vec<String> = ready.iter().map(|(a, p)| format!("{a}:{p}")).collect();
                let ready = ready.join(" ");
                lines.insert(format!("export {name} {vip}: {port}/{protocol} {ready}"));
            }
        }
        for (name, list) in &self.conflicts {
            for (reason, winner, disagree) in list {
                lines.insert(format!("conflict {name} {reason} {winner} {disagree}"));
            }
        }
        lines.insert(format!("missing {}", names(&self.missing)));
        lines
    }
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenImport {
    /// As said.
    pub headless: bool,
    /// Whether it has an address.
    pub vip: bool,
    /// Name, and which clusters take new flows, by port.
    pub ports: BTreeMap<(Protocol, u16), (Option<String>, BTreeSet<ClusterId>)>,
    /// Who offers it: its VIP there, when its export was made, whether anybody is ready.
    pub shares: BTreeMap<ClusterId, (Address, Timestamp, bool)>,
    /// Headless: cluster, hostname, and the address in the owner's numbering.
    pub endpoints: BTreeSet<(ClusterId, String, Address)>,
    /// As said.
    pub affinity: Affinity,
    /// As said.
    pub locality: Locality,
    /// As said.
    pub stale: bool,
}

/// Reads a View.
#[must_use]
pub fn seen(view: &View) -> Seen {
    let mut names: BTreeMap<PeerNumber, ClusterId> = BTreeMap::new();
    names.insert(PeerNumber::OWN, view.cluster.clone());
    names.extend(view.peers.iter().map(|(id, p)| (p.number, id.clone())));
    let mut out = Seen {
        missing: view.sync.missing.clone(),
        ..Seen::default()
    };
    for (name, import) in &view.imports {
        let ports = import.ports.iter().map(|p| {
            let targets = p.targets.keys().filter_map(|n| names.get(n).cloned());
            let label = p.name.as_ref().map(ToString::to_string);
            ((p.protocol, p.port), (label, targets.collect()))
        });
        let shares = import.shares.iter();
        let endpoints = import.endpoints.iter().filter_map(|e| {
            let mut owner = Some(e.address);
            if let Some(peer) = view.peers.get(&e.cluster) {
                owner = peer.mappings.iter().find_map(|m| m.to_theirs(e.address));
            }
            Some((e.cluster.clone(), e.hostname.clone(), owner?))
        });
        let seen = SeenImport {
            headless: import.headless,
            vip: import.vip.is_some(),
            ports: ports.collect(),
            shares: shares
                .map(|(id, s)| (id.clone(), (s.vip, s.created, s.ready > 0)))
                .collect(),
            endpoints: endpoints.collect(),
            affinity: import.affinity,
            locality: import.locality,
            stale: import.stale,
        };
        out.imports.insert(name.clone(), seen);
    }
    for (name, export) in &view.exports {
        let ports = export.ports.iter().map(|(key, port)| {
            let newest = port.generations.first();
            let members = newest.iter().flat_map(|g| &g.members);
            (*key, members.map(|m| (m.key.address, m.key.port)).collect())
        });
        out.exports
            .insert(name.clone(), (export.vip, ports.collect()));
    }
    for (name, list) in &view.conflicts {
        let each = list
            .iter()
            .map(|c| (c.field.reason().to_owned(), c.winner.clone(), c.disagree));
        out.conflicts.insert(name.clone(), each.collect());
    }
    out
}

/// What `of` should see, when everybody is there and everything has arrived.
#[must_use]
pub fn federation(
    of: &ClusterId,
    truth: &BTreeMap<ClusterId, Truth>,
    allocations: &BTreeMap<ClusterId, Allocations>,
) -> Seen {
    let mut out = Seen::default();
    let Some(here) = truth.get(of) else {
        return out;
    };
    // Both must trust each other: who is not trusted by the other hears nothing from it.
    let meet = |other: &ClusterId| {
        let mutual = truth.get(other).is_some_and(|t| t.members.contains(of));
        here.members.contains(other) && mutual
    };
    out.missing = here.members.iter().filter(|m| !meet(m)).cloned().collect();
    let clusters: Vec<&ClusterId> = truth.keys().filter(|c| *c == of || meet(c)).collect();
    let mut names: BTreeSet<&ServiceName> = BTreeSet::new();
    for cluster in &clusters {
        names.extend(
            truth
                .get(*cluster)
                .iter()
                .flat_map(|t| t.exports.services.keys()),
        );
    }
    for name in names {
        if !here.exports.namespaces.contains_key(&name.namespace) {
            continue;
        }
        let mut offers: Vec<Offer<'_>> = Vec::new();
        for cluster in &clusters {
            let export = truth
                .get(*cluster)
                .and_then(|t| t.exports.services.get(name));
            let vip = allocations.get(*cluster).and_then(|a| a.vips.get(name));
            if let (Some(export), Some(vip)) = (export, vip) {
                let vip = vip.value;
                offers.push(Offer {
                    cluster,
                    export,
                    vip,
                });
            }
        }
        offers.sort_by_key(|o| (o.export.created, o.cluster));
        if offers.is_empty() {
            continue;
        }
        let plain =
            |c: &ClusterId| c == of || (here.plain && truth.get(c).is_some_and(|t| t.plain));
        let vip = allocations
            .get(of)
            .is_some_and(|a| a.vips.contains_key(name));
        out.imports
            .insert(name.clone(), import(of, &offers, plain, vip));
        let clashes = conflicts(&offers);
        if !clashes.is_empty() {
            out.conflicts.insert(name.clone(), clashes);
        }
    }
    for (name, export) in &here.exports.services {
        let Some(vip) = allocations.get(of).and_then(|a| a.vips.get(name)) else {
            continue;
        };
        let mut ports = BTreeMap::new();
        for port in &export.ports {
            let key = (port.protocol, port.port);
            ports.insert(key, ready(export, key));
        }
        out.exports.insert(name.clone(), (vip.value, ports));
    }
    out
}

struct Offer<'a> {
    cluster: &'a ClusterId,
    export: &'a Export,
    vip: Address,
}

/// Endpoints that take new flows to a port.
fn ready(export: &Export, (protocol, port): (Protocol, u16)) -> BTreeSet<(Address, u16)> {
    let mut found = BTreeSet::new();
    for endpoint in &export.endpoints {
        for served in &endpoint.ports {
            let ready = endpoint.state == EndpointState::Ready && endpoint.node.is_some();
            if ready && (served.protocol, served.port) == (protocol, port) {
                found.insert((endpoint.address, served.target));
            }
        }
    }
    found
}

fn any_ready(export: &Export) -> bool {
    let takes = |e: &causeway_proto::model::Endpoint| {
        e.state == EndpointState::Ready && e.node.is_some() && !e.ports.is_empty()
    };
    export.endpoints.iter().any(takes)
}

fn import(
    of: &ClusterId,
    offers: &[Offer<'_>],
    plain: impl Fn(&ClusterId) -> bool,
    vip: bool,
) -> SeenImport {
    let oldest = offers.first().map(|o| o.export);
    let own = offers.iter().find(|o| o.cluster == of).map(|o| o.export);
    let headless = oldest.is_some_and(|e| e.headless);
    let locality = own.or(oldest).map(|e| e.locality).unwrap_or_default();
    let mut out = SeenImport {
        headless,
        vip: vip && !headless,
        ports: BTreeMap::new(),
        shares: BTreeMap::new(),
        endpoints: BTreeSet::new(),
        affinity: oldest.map(|e| e.affinity).unwrap_or_default(),
        locality,
        stale: false,
    };
    let mut labels: BTreeSet<Option<String>> = BTreeSet::new();
    for offer in offers {
        let share = (offer.vip, offer.export.created, any_ready(offer.export));
        out.shares.insert(offer.cluster.clone(), share);
        for port in &offer.export.ports {
            let label = port.name.as_ref().map(ToString::to_string);
            let key = (port.protocol, port.port);
            if !out.ports.contains_key(&key) && labels.insert(label.clone()) {
                out.ports.insert(key, (label, BTreeSet::new()));
            }
        }
        if headless && offer.export.headless && plain(offer.cluster) {
            for e in &offer.export.endpoints {
                if e.state == EndpointState::Ready && e.node.is_some() && !e.ports.is_empty() {
                    let hostname = e.hostname.clone().unwrap_or_else(|| e.address.dashed());
                    out.endpoints
                        .insert((offer.cluster.clone(), hostname, e.address));
                }
            }
        }
    }
    if headless {
        return out;
    }
    for (key, (_, targets)) in &mut out.ports {
        for offer in offers {
            let exposes = offer
                .export
                .ports
                .iter()
                .any(|p| (p.protocol, p.port) == *key);
            let takes = if offer.cluster == of {
                !ready(offer.export, *key).is_empty()
            } else {
                any_ready(offer.export)
            };
            if exposes && takes && offer.export.weight > 0 && plain(offer.cluster) {
                targets.insert(offer.cluster.clone());
            }
        }
        if locality == Locality::LocalFirst && targets.contains(of) {
            targets.retain(|c| c == of);
        }
    }
    out
}

fn conflicts(offers: &[Offer<'_>]) -> BTreeSet<(String, ClusterId, u32)> {
    let mut found = BTreeSet::new();
    let Some((oldest, others)) = offers.split_first() else {
        return found;
    };
    let mut compare = |reason: &str, differs: &dyn Fn(&Export, &Export) -> bool| {
        let count = others
            .iter()
            .filter(|o| differs(oldest.export, o.export))
            .count();
        if count > 0 {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            found.insert((reason.to_owned(), oldest.cluster.clone(), count));
        }
    };
    let ports = |e: &Export| e.ports.iter().cloned().collect::<BTreeSet<_>>();
    let sticky = |e: &Export| e.affinity != Affinity::None;
    compare("PortConflict", &|a, b| ports(a) != ports(b));
    compare("TypeConflict", &|a, b| a.headless != b.headless);
    compare("SessionAffinityConflict", &|a, b| sticky(a) != sticky(b));
    compare("SessionAffinityConfigConflict", &|a, b| {
        sticky(a) && sticky(b) && a.affinity != b.affinity
    });
    compare("AnnotationsConflict", &|a, b| {
        a.annotations != b.annotations
    });
    compare("LabelsConflict", &|a, b| a.labels != b.labels);
    compare("InternalTrafficPolicyConflict", &|a, b| {
        a.internal_traffic_policy != b.internal_traffic_policy
    });
    compare("TrafficDistributionConflict", &|a, b| {
        a.traffic_distribution != b.traffic_distribution
    });
    compare("IPFamilyConflict", &|a, b| a.ip_families != b.ip_families);
    found
}

/// Whether every peer of a View is alive.
#[must_use]
pub fn all_alive(view: &View) -> bool {
    view.peers.values().all(|p| p.liveness == Liveness::Live)
}
