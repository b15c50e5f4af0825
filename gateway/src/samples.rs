//! Pure: small clusters for tests.

use std::collections::BTreeMap;

use causeway_proto::model::{
    Affinity, ClusterId, Endpoint, EndpointPort, EndpointState, Export, ExportPort, Exports,
    InternalTrafficPolicy, IpFamily, Locality, LossPolicy, Node, Protocol, ServiceName, Timestamp,
    TrustBundle, Workload,
};

use crate::catalog::{Keys, sha256};
use crate::now::Now;

pub fn id(name: &str) -> ClusterId {
    name.parse().unwrap()
}

pub fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

pub fn at(mono_ms: u64) -> Now {
    Now {
        wall: Timestamp(1_800_000_000_000 + mono_ms),
        mono_ms,
    }
}

/// `http:80/TCP`
pub fn port(text: &str) -> ExportPort {
    let (name, rest) = text.split_once(':').unwrap();
    let (port, protocol) = rest.split_once('/').unwrap();
    ExportPort {
        name: (!name.is_empty()).then(|| name.parse().unwrap()),
        protocol: protocol.parse::<Protocol>().unwrap(),
        port: port.parse().unwrap(),
        app_protocol: None,
    }
}

/// An endpoint `10.244.0.HOST` on node `n0` that serves all of `ports` at the same numbers.
pub fn endpoint(host: u8, ports: &[ExportPort], state: EndpointState) -> Endpoint {
    let ports = ports.iter().map(|p| EndpointPort {
        protocol: p.protocol,
        port: p.port,
        target: p.port,
    });
    Endpoint {
        address: format!("10.244.0.{host}").parse().unwrap(),
        hostname: None,
        node: Some("n0".parse().unwrap()),
        zone: None,
        state,
        ports: ports.collect(),
    }
}

/// With ready endpoints at these hosts.
pub fn export(ports: &[&str], hosts: &[u8]) -> Export {
    let ports: Vec<ExportPort> = ports.iter().map(|p| port(p)).collect();
    let ready = |host: &u8| endpoint(*host, &ports, EndpointState::Ready);
    Export {
        created: Timestamp(1_000),
        headless: false,
        endpoints: hosts.iter().map(ready).collect(),
        ports,
        affinity: Affinity::None,
        internal_traffic_policy: InternalTrafficPolicy::Cluster,
        traffic_distribution: None,
        ip_families: vec![IpFamily::IPv4],
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        locality: Locality::Spread,
        on_loss: LossPolicy::Withdraw,
        weight: 1,
    }
}

/// Their namespaces and `shop` exist; one node; each endpoint is a pod with a service account of its service's name.
pub fn exports(services: &[(&str, Export)]) -> Exports {
    let mut all = Exports::default();
    all.namespaces
        .insert("shop".parse().unwrap(), BTreeMap::new());
    let node = Node {
        addresses: vec!["192.168.0.1".parse().unwrap()],
        ..Node::default()
    };
    all.nodes.insert("n0".parse().unwrap(), node);
    for (name, export) in services {
        let name = service(name);
        all.namespaces
            .insert(name.namespace.clone(), BTreeMap::new());
        for e in &export.endpoints {
            let workload = Workload {
                namespace: name.namespace.clone(),
                name: e.address.dashed(),
                service_account: name.name().to_owned(),
                labels: BTreeMap::new(),
                node: e.node.clone(),
            };
            all.workloads.insert(e.address, workload);
        }
        all.services.insert(name, export.clone());
    }
    all
}

/// Signs and checks with the cluster's name as its key.
pub struct NameKeys(pub ClusterId);

fn seal(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    sha256(&[key, bytes]).0.to_vec()
}

impl Keys for NameKeys {
    fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        Some(seal(self.0.as_str().as_bytes(), bytes))
    }

    fn verify(&self, bundle: Option<&TrustBundle>, bytes: &[u8], signature: &[u8]) -> bool {
        let key = bundle.map_or(self.0.as_str().as_bytes(), |b| &b.catalog_key);
        seal(key, bytes) == signature
    }

    fn admits(&self, _: &TrustBundle, _: Timestamp) -> Result<(), String> {
        Ok(())
    }
}

pub fn bundle(cluster: &ClusterId) -> TrustBundle {
    TrustBundle {
        cluster: cluster.clone(),
        authorities: vec![cluster.as_str().as_bytes().to_vec()],
        catalog_key: cluster.as_str().as_bytes().to_vec(),
        gateways: Vec::new(),
        succession: None,
    }
}

/// A follower's: it neither signs nor takes anything.
pub struct NoKey;

impl Keys for NoKey {
    fn sign(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn verify(&self, _: Option<&TrustBundle>, _: &[u8], _: &[u8]) -> bool {
        false
    }
    fn admits(&self, _: &TrustBundle, _: Timestamp) -> Result<(), String> {
        Ok(())
    }
}
