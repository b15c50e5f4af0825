//! Pure: what one simulated cluster's controller and configuration say, and how that changes by chance.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    Address, Affinity, ClusterId, ClusterSettings, Endpoint, EndpointPort, EndpointState, Export,
    ExportPort, Exports, GatewayName, InternalTrafficPolicy, IpFamily, Locality, LossPolicy,
    Namespace, Node, NodeName, Prefix, Protocol, Publication, ServiceName, Timestamp, Workload,
};

use super::{Host, Rng, address};
use causeway_gateway::engine::Settings;

/// Names that services, namespaces and ports are drawn from: few, so that clusters clash.
const NAMESPACES: [&str; 3] = ["shop", "pay", "ops"];
const SERVICES: [&str; 3] = ["cart", "catalog", "db"];

/// One cluster as it is.
#[derive(Debug, Clone)]
pub struct Truth {
    /// Its place among the clusters: makes its addresses on the underlay.
    pub number: usize,
    /// What it offers.
    pub exports: Exports,
    /// Whom it trusts.
    pub members: BTreeSet<ClusterId>,
    /// Whether it allows plain packets.
    pub plain: bool,
    /// Pool of its VIPs.
    pub vips: Vec<Prefix>,
    ticks: u64,
}

fn parsed<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The node of a gateway: `g1` runs on `n1`.
#[must_use]
pub fn node_of(gateway: &GatewayName) -> Option<NodeName> {
    parsed(&gateway.as_str().replace('g', "n"))
}

impl Truth {
    /// Two nodes, all namespaces, nothing offered.
    #[must_use]
    pub fn new(number: usize) -> Self {
        let nodes = (0..2).filter_map(|n| {
            let node = Node {
                addresses: vec![parsed(&format!("192.168.{number}.{n}"))?],
                pod_prefixes: vec![parsed(&format!("10.244.{n}.0/24"))?],
                zone: None,
            };
            Some((parsed(&format!("n{n}"))?, node))
        });
        let namespaces = NAMESPACES.iter().filter_map(|n| parsed(n));
        Self {
            number,
            exports: Exports {
                namespaces: namespaces.map(|n| (n, BTreeMap::new())).collect(),
                nodes: nodes.collect(),
                ..Exports::default()
            },
            members: BTreeSet::new(),
            plain: true,
            vips: parsed("241.0.0.0/16").into_iter().collect(),
            ticks: 0,
        }
    }

    /// As the controller says it.
    #[must_use]
    pub fn publication(&self) -> Publication {
        Publication {
            exports: self.exports.clone(),
            ..Publication::default()
        }
    }

    /// A gateway's settings; `appointed`: its leader is whom the controller says.
    #[must_use]
    pub fn settings(&self, host: &Host, random: [u8; 32], appointed: bool) -> Option<Settings> {
        let instance = random.iter().take(8);
        Some(Settings {
            cluster: host.cluster.clone(),
            cluster_set: parsed("prod.example")?,
            gateway: host.name.clone(),
            node: node_of(&host.name)?,
            address: address(self.number, &host.name)?,
            leader: if appointed { None } else { parsed("g0") },
            instance: instance.fold(0, |sum, b| (sum << 8) | u64::from(*b)),
            random,
            shared: self.shared(),
            seed: None,
        })
    }

    /// What holds on every gateway alike.
    #[must_use]
    pub fn shared(&self) -> ClusterSettings {
        ClusterSettings {
            plain: self.plain,
            vips: self.vips.clone(),
            mappings: parsed("242.0.0.0/7").into_iter().collect(),
            pod_prefixes: parsed("10.244.0.0/16").into_iter().collect(),
            // Who trusts whom is drawn here.
            introduced: Some(BTreeSet::new()),
            ..ClusterSettings::default()
        }
    }

    /// One change, drawn.
    pub fn change(&mut self, rng: &mut Rng) {
        self.ticks = self.ticks.saturating_add(1);
        let namespace: Option<Namespace> = rng.pick(&NAMESPACES).and_then(|n| parsed(n));
        let name = rng.pick(&SERVICES).copied().unwrap_or("cart");
        let Some(service) = namespace
            .clone()
            .and_then(|n| ServiceName::new(n, name).ok())
        else {
            return;
        };
        match rng.below(10) {
            0 => {
                self.exports.services.remove(&service);
            }
            1 => {
                // A namespace goes with its services, or comes.
                if let Some(namespace) = namespace {
                    if self.exports.namespaces.remove(&namespace).is_some() {
                        self.exports
                            .services
                            .retain(|s, _| s.namespace != namespace);
                    } else {
                        self.exports.namespaces.insert(namespace, BTreeMap::new());
                    }
                }
            }
            2..5 => {
                if self.exports.namespaces.contains_key(&service.namespace) {
                    let export = self.export(rng, name == "db");
                    self.exports.services.insert(service, export);
                }
            }
            _ => {
                if let Some(export) = self.exports.services.get_mut(&service) {
                    endpoints(export, rng);
                }
            }
        }
        self.exports.workloads = workloads(&self.exports);
    }

    fn export(&self, rng: &mut Rng, headless: bool) -> Export {
        let port = |name: &str, port: u16| ExportPort {
            name: parsed(name),
            protocol: Protocol::Tcp,
            port,
            app_protocol: None,
        };
        let ports = match rng.below(6) {
            0 => vec![port("http", 80), port("admin", 8080)],
            1 => vec![port("http", 8080)],
            2 => vec![port("web", 80)],
            _ => vec![port("http", 80)],
        };
        let mut export = Export {
            created: Timestamp(1_000 + rng.below(5)),
            // Rarely the clusters do not even agree on that.
            headless: headless != (rng.below(8) == 0),
            ports,
            affinity: match rng.below(4) {
                0 => Affinity::ClientIp {
                    timeout_secs: 10 + u32::try_from(rng.below(2)).unwrap_or(0),
                },
                _ => Affinity::None,
            },
            internal_traffic_policy: InternalTrafficPolicy::Cluster,
            traffic_distribution: (rng.below(6) == 0).then(|| "PreferSameZone".to_owned()),
            ip_families: vec![IpFamily::IPv4],
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            locality: match rng.below(2) {
                0 => Locality::Spread,
                _ => Locality::LocalFirst,
            },
            on_loss: match rng.below(4) {
                0 => LossPolicy::Keep,
                1 => LossPolicy::FailoverOnly,
                _ => LossPolicy::Withdraw,
            },
            weight: u16::try_from(rng.below(3)).unwrap_or(1),
            endpoints: Vec::new(),
        };
        for _ in 0..rng.below(4) {
            endpoints(&mut export, rng);
        }
        export
    }
}

/// One endpoint comes, goes or changes its readiness.
fn endpoints(export: &mut Export, rng: &mut Rng) {
    let (node, host) = (rng.below(2), rng.below(6).saturating_add(2));
    let Some(address) = parsed::<Address>(&format!("10.244.{node}.{host}")) else {
        return;
    };
    let at = export.endpoints.iter().position(|e| e.address == address);
    match (at, rng.below(3)) {
        (Some(at), 0) => {
            export.endpoints.remove(at);
        }
        (Some(at), other) => {
            if let Some(endpoint) = export.endpoints.get_mut(at) {
                endpoint.state = match other {
                    1 => EndpointState::Ready,
                    _ if host.checked_rem(2) == Some(0) => EndpointState::Draining,
                    _ => EndpointState::NotReady,
                };
            }
        }
        (None, _) => {
            let ports = export.ports.iter().map(|p| EndpointPort {
                protocol: p.protocol,
                port: p.port,
                target: p.port.saturating_add(1000),
            });
            export.endpoints.push(Endpoint {
                address,
                hostname: (host == 2).then(|| format!("pod-{node}")),
                node: parsed(&format!("n{node}")),
                zone: None,
                state: EndpointState::Ready,
                ports: ports.collect(),
            });
        }
    }
}

fn workloads(exports: &Exports) -> BTreeMap<Address, Workload> {
    let each = exports.services.iter().flat_map(|(service, export)| {
        export.endpoints.iter().map(|e| {
            let workload = Workload {
                namespace: service.namespace.clone(),
                name: e.address.dashed(),
                service_account: service.name().to_owned(),
                labels: BTreeMap::new(),
                node: e.node.clone(),
            };
            (e.address, workload)
        })
    });
    each.collect()
}

/// An export of these ports by endpoints on (node, host).
#[must_use]
pub fn offer(ports: &[u16], hosts: &[(u8, u8)], on_loss: LossPolicy) -> Export {
    let ports: Vec<ExportPort> = ports
        .iter()
        .map(|port| ExportPort {
            name: parsed(&format!("p{port}")),
            protocol: Protocol::Tcp,
            port: *port,
            app_protocol: None,
        })
        .collect();
    let served = ports.iter().map(|p| EndpointPort {
        protocol: p.protocol,
        port: p.port,
        target: p.port,
    });
    let served: Vec<EndpointPort> = served.collect();
    let endpoints = hosts.iter().filter_map(|(node, host)| {
        Some(Endpoint {
            address: parsed(&format!("10.244.{node}.{host}"))?,
            hostname: None,
            node: parsed(&format!("n{node}")),
            zone: None,
            state: EndpointState::Ready,
            ports: served.clone(),
        })
    });
    Export {
        created: Timestamp(1_000),
        headless: false,
        endpoints: endpoints.collect(),
        ports,
        affinity: Affinity::None,
        internal_traffic_policy: InternalTrafficPolicy::Cluster,
        traffic_distribution: None,
        ip_families: vec![IpFamily::IPv4],
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        locality: Locality::LocalFirst,
        on_loss,
        weight: 1,
    }
}
