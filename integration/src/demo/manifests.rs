//! Shell: the directories of manifests that controllers watch: a copy of `examples/`, and endpoint
//! slices that change as the endpoint slice controller would change them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::lab::topology::{Node, Pod, TWO, Topology};

/// Where the examples are in the checkout that this was built from.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// A cluster's examples into a directory of the lab, and what the lab has that they do not know.
pub fn write(topology: Topology, cluster: &str, to: &Path) -> anyhow::Result<()> {
    if TWO.leader(cluster).is_some() {
        copy(cluster, to)?;
    } else {
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n";
        std::fs::write(to.join("namespace.yaml"), namespace)?;
    }
    for node in topology.of(cluster) {
        if !TWO.nodes.contains(node) {
            add_node(to, node)?;
        }
        let pods = topology.pods.iter().filter(|pod| pod.node == node.name);
        for pod in pods.filter(|pod| !TWO.pods.contains(pod)) {
            let app = pod.name.rsplit_once('-').map_or(pod.name, |(app, _)| app);
            add_pod(to, pod, app)?;
        }
    }
    Ok(())
}

/// Adds a node's own object.
fn add_node(directory: &Path, node: &Node) -> anyhow::Result<()> {
    let (name, pods, uplink) = (node.name, node.pod_prefix(), node.uplink);
    let text = format!(
        "apiVersion: v1
kind: Node
metadata:
  name: {name}
spec:
  podCIDRs: [{pods}]
status:
  addresses:
    - type: InternalIP
      address: {uplink}
"
    );
    Ok(std::fs::write(
        directory.join(format!("node-{name}.yaml")),
        text,
    )?)
}

/// Adds a service without endpoints, and exports it, in one step.
pub fn export(directory: &Path, service: &str) -> anyhow::Result<()> {
    let text = format!(
        "apiVersion: v1
kind: Service
metadata:
  name: {service}
  namespace: shop
spec:
  selector:
    app: {service}
  ports:
    - {{name: http, protocol: TCP, port: 80, targetPort: 8080}}
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata:
  name: {service}
  namespace: shop
"
    );
    let beside = directory.join(format!(".{service}.new"));
    std::fs::write(&beside, text)?;
    Ok(std::fs::rename(beside, exported(directory, service))?)
}

/// Takes it away again.
pub fn withdraw(directory: &Path, service: &str) -> anyhow::Result<()> {
    Ok(std::fs::remove_file(exported(directory, service))?)
}

fn exported(directory: &Path, service: &str) -> PathBuf {
    directory.join(format!("{service}.yaml"))
}

fn copy(cluster: &str, to: &Path) -> anyhow::Result<()> {
    let from = PathBuf::from(EXAMPLES).join(cluster);
    for entry in std::fs::read_dir(&from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A service whose endpoints change, and the (name, protocol, port) behind each of its ports.
pub struct Sliced {
    /// The service
    pub service: &'static str,
    /// The ports of its endpoints
    pub ports: &'static [(&'static str, &'static str, u16)],
}

/// `cart` as the examples have it.
pub const CART: Sliced = Sliced {
    service: "cart",
    ports: &[("http", "TCP", 8080), ("echo", "UDP", 7007)],
};
/// `catalog` as the examples have it.
pub const CATALOG: Sliced = Sliced {
    service: "catalog",
    ports: &[("http", "TCP", 8080)],
};

/// Replaces a service's slice, in one step as editors and controllers do: a file beside it, then a rename.
pub fn set_endpoints(directory: &Path, sliced: &Sliced, pods: &[Pod]) -> anyhow::Result<()> {
    let path = directory.join(format!("{}-endpoints.yaml", sliced.service));
    let beside = directory.join(format!(".{}-endpoints.new", sliced.service));
    std::fs::write(&beside, slice(sliced, pods)?)?;
    std::fs::rename(&beside, &path).with_context(|| format!("replacing {}", path.display()))
}

/// Adds a pod's own object.
pub fn add_pod(directory: &Path, pod: &Pod, app: &str) -> anyhow::Result<()> {
    let Pod {
        name,
        node,
        address,
    } = pod;
    let text = format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: shop
  labels:
    app: {app}
spec:
  nodeName: {node}
  serviceAccountName: {app}
  containers: []
status:
  phase: Running
  podIP: {address}
  podIPs:
    - ip: {address}
"
    );
    Ok(std::fs::write(
        directory.join(format!("pod-{name}.yaml")),
        text,
    )?)
}

fn slice(sliced: &Sliced, pods: &[Pod]) -> anyhow::Result<String> {
    let service = sliced.service;
    let mut text = format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {service}
  namespace: shop
  labels:
    kubernetes.io/service-name: {service}
addressType: IPv4
ports:
"
    );
    for (name, protocol, port) in sliced.ports {
        writeln!(
            text,
            "  - {{name: {name}, protocol: {protocol}, port: {port}}}"
        )?;
    }
    writeln!(
        text,
        "endpoints:{}",
        if pods.is_empty() { " []" } else { "" }
    )?;
    for Pod {
        name,
        node,
        address,
    } in pods
    {
        writeln!(text, "  - addresses: [{address}]")?;
        writeln!(text, "    nodeName: {node}")?;
        writeln!(text, "    conditions: {{ready: true}}")?;
        writeln!(
            text,
            "    targetRef: {{kind: Pod, name: {name}, namespace: shop}}"
        )?;
    }
    Ok(text)
}
