//! Pure: the View as names. In: a View. Out: a `DnsZone`, which `answer` looks things up in.
//!
//! Names are lower case and relative to the zone. Absent on purpose: PTR (the schema asks for none) and
//! anything of `cluster.local`.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    Address, ClusterId, Import, Namespace, Problem, ProblemKind, Protocol, ServiceName, View,
};

/// The zone, with its dot at the end.
pub const ORIGIN: &str = "clusterset.local.";
/// RFC 1035: characters of a whole name, the dot at the end left out.
const NAME_LENGTH: usize = 253;
/// RFC 1035: characters between two dots.
const LABEL_LENGTH: usize = 63;

/// Index of every name that this cluster answers for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsZone {
    /// Of the View that it was made from; the SOA's serial.
    pub serial: u32,
    services: BTreeMap<Namespace, BTreeMap<ServiceName, Entry>>,
    /// Namespaces that exist here, once that is known: nothing is imported into others.
    namespaces: Option<BTreeSet<Namespace>>,
    /// Clusters that have never told what they export, this one included.
    missing: BTreeSet<ClusterId>,
    /// Names that do not fit, told once per View.
    pub problems: Vec<Problem>,
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name that SRV records point at.
    pub(crate) name: String,
    pub(crate) kind: EntryKind,
    pub(crate) ports: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// `None`: the pool of VIPs is full.
    ClusterSetIp(Option<Address>),
    /// Ready endpoints, sorted by cluster and hostname.
    Headless(Vec<Host>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// Its label without the underscore; `None` when it has no name, or one too long for a label.
    pub(crate) name: Option<String>,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// One endpoint name: a pod with both families has two addresses under one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) cluster: ClusterId,
    pub(crate) hostname: String,
    /// The whole name; `None` when it would be too long.
    pub(crate) name: Option<String>,
    pub(crate) addresses: BTreeSet<Address>,
    /// (protocol, service port) to the port that clients of a headless service dial.
    pub(crate) targets: BTreeMap<(Protocol, u16), u16>,
}

impl DnsZone {
    /// The index of all names in `view`.
    #[must_use]
    pub fn of(view: &View) -> Self {
        let mut missing = view.sync.missing.clone();
        if !view.sync.local {
            missing.insert(view.cluster.clone());
        }
        let mut zone = Self {
            // Serials are compared modulo 2^32 (RFC 1982).
            serial: (view.revision.number & u64::from(u32::MAX)) as u32,
            namespaces: view.sync.local.then(|| view.namespaces.clone()),
            missing,
            ..Self::default()
        };
        for (service, import) in &view.imports {
            let entry = entry(service, import, &mut zone.problems);
            let of_namespace = zone.services.entry(service.namespace.clone()).or_default();
            of_namespace.insert(service.clone(), entry);
        }
        zone
    }

    pub(crate) fn has_namespace(&self, namespace: &Namespace) -> bool {
        self.services.contains_key(namespace)
    }

    pub(crate) fn entry(&self, service: &ServiceName) -> Option<&Entry> {
        self.services.get(&service.namespace)?.get(service)
    }

    /// Whether somebody who has not told yet what they export could still bring a name into being.
    pub(crate) fn may_grow(&self, namespace: &Namespace) -> bool {
        !self.missing.is_empty() && self.has_room(namespace)
    }

    /// The same for a name that only this cluster could bring.
    pub(crate) fn may_grow_by(&self, namespace: &Namespace, cluster: &ClusterId) -> bool {
        self.missing.contains(cluster) && self.has_room(namespace)
    }

    fn has_room(&self, namespace: &Namespace) -> bool {
        let here = self.namespaces.as_ref();
        here.is_none_or(|here| here.contains(namespace))
    }
}

fn entry(service: &ServiceName, import: &Import, problems: &mut Vec<Problem>) -> Entry {
    let name = format!("{}.{}.svc.{ORIGIN}", service.name(), service.namespace);
    let mut too_long = |subject: String| {
        problems.push(Problem {
            kind: ProblemKind::LimitReached,
            subject: format!("name {subject}"),
            message:
                "does not fit DNS (63 characters a label, 253 in all, a hostname is one label) \
                      and is left out; shorten the hostname, the port's name or the cluster id"
                    .to_owned(),
        });
    };
    let mut ports = Vec::new();
    for port in &import.ports {
        let label = port.name.as_ref().map(|name| name.as_str().to_owned());
        let owner = label
            .as_ref()
            .map(|label| format!("_{label}._{}.{name}", port.protocol.label()));
        let fits = owner.as_ref().is_none_or(|owner| fits(owner));
        if !fits {
            too_long(owner.unwrap_or_default());
        }
        ports.push(Port {
            name: label.filter(|_| fits),
            protocol: port.protocol,
            port: port.port,
        });
    }
    let kind = if import.headless {
        let hosts = hosts(&name, import);
        for host in hosts.iter().filter(|host| host.name.is_none()) {
            too_long(host_name(&name, &host.hostname, &host.cluster));
        }
        EntryKind::Headless(hosts)
    } else {
        EntryKind::ClusterSetIp(import.vip)
    };
    Entry { name, kind, ports }
}

fn host_name(service: &str, hostname: &str, cluster: &ClusterId) -> String {
    format!("{hostname}.{cluster}.{service}")
}

fn hosts(service: &str, import: &Import) -> Vec<Host> {
    let mut hosts: BTreeMap<(ClusterId, String), Host> = BTreeMap::new();
    for endpoint in &import.endpoints {
        let hostname = endpoint.hostname.to_ascii_lowercase();
        let host = hosts
            .entry((endpoint.cluster.clone(), hostname.clone()))
            .or_insert_with(|| {
                let name = host_name(service, &hostname, &endpoint.cluster);
                Host {
                    cluster: endpoint.cluster.clone(),
                    // A dot would make one hostname two labels, and part of a cluster id.
                    name: (fits(&name) && !hostname.contains('.')).then_some(name),
                    hostname,
                    addresses: BTreeSet::new(),
                    targets: BTreeMap::new(),
                }
            });
        host.addresses.insert(endpoint.address);
        let targets = endpoint.ports.iter();
        host.targets
            .extend(targets.map(|(protocol, port, target)| ((*protocol, *port), *target)));
    }
    hosts.into_values().collect()
}

fn fits(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let label_fits = |label: &str| !label.is_empty() && label.len() <= LABEL_LENGTH;
    name.len() <= NAME_LENGTH && name.split('.').all(label_fits)
}
