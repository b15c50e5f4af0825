//! Shell: the configuration files of our programs in a lab.

use std::path::{Path, PathBuf};

use super::{DNS_PORT, METRICS, Mesh};
use crate::lab::object;
use crate::lab::topology::Node;

/// Makes rings and flow hashes the same in every run.
const SEED: &str = "00112233445566778899aabbccddeeff";

impl Mesh {
    /// Of a gateway; `enrolment`: the one-time file of one that does not lead at the start.
    pub(super) fn configure_gateway(
        &self,
        node: &Node,
        leader: &Node,
        enrolment: Option<&Path>,
    ) -> anyhow::Result<()> {
        let directory = self.lab.directory(node.name)?;
        // As pods on this node have it.
        let resolver = directory.join("resolv.conf");
        std::fs::write(&resolver, format!("nameserver {}\n", node.bridge()))?;
        let mut text = format!(
            "cluster: {cluster}
clusterset: demo
name: {name}
node: {name}
leader: {leader}
advertise:
  session: {uplink}:7443
  local: {uplink}:7444
  tunnel: {uplink}
listen:
  socket: {socket}
  device: {device}
  metrics: {METRICS}
  dns: [\"0.0.0.0:{DNS_PORT}\", \"{bridge}:53\"]
resolver: {resolver}
state_dir: {state}
encryption: {encryption}
seed: \"{SEED}\"
",
            encryption = if self.plain.contains(&node.cluster) {
                "off"
            } else {
                "required"
            },
            cluster = node.cluster,
            name = node.name,
            leader = leader.name,
            uplink = node.uplink,
            socket = self.socket(node.name).display(),
            device = directory.join("device.sock").display(),
            state = directory.join("gateway-state").display(),
            bridge = node.bridge(),
            resolver = resolver.display(),
        );
        if let Some(count) = self.packet_threads {
            text += &format!("packet_threads: {count}\n");
        }
        if let Some(file) = enrolment {
            text += &format!(
                "leader_address: {}:7444\nenroll_file: {}\n",
                leader.uplink,
                file.display()
            );
        }
        Ok(std::fs::write(directory.join("gateway.yaml"), text)?)
    }

    /// Of an agent, with its one-time file.
    pub(super) fn configure_agent(&mut self, node: &Node, enrolment: &Path) -> anyhow::Result<()> {
        let directory = self.lab.directory(node.name)?;
        let pins = self.lab.pins(node.name)?;
        let mut text = format!(
            "node: {}
uplink: eth0
outer_address: {}
pin_dir: {}
object: {}
state_dir: {}
gateway_socket: {}
enrolment: {}
gateways:
",
            node.name,
            node.uplink,
            pins.display(),
            object()?.display(),
            directory.join("agent-state").display(),
            directory.join("device.sock").display(),
            enrolment.display(),
        );
        if node.gateway {
            text += &format!("  - 'unix:{}'\n", self.socket(node.name).display());
        }
        // The leader first: it alone grants the certificate that calls over TCP need.
        let gateways = self.topology.of(node.cluster).filter(|node| node.gateway);
        for other in gateways {
            text += &format!("  - '{}:7444'\n", other.uplink);
        }
        Ok(std::fs::write(directory.join("agent.yaml"), text)?)
    }

    /// Of a controller at its node's gateway; the file.
    pub(super) fn configure_controller(
        &self,
        cluster: &str,
        node: &str,
    ) -> anyhow::Result<PathBuf> {
        let config = self.path(node).join("controller.yaml");
        let state = self.path(node).join("controller-state");
        let socket = self.socket(node);
        let text = format!(
            "cluster: {cluster}\ngateways:\n  - 'unix:{}'\nstate_dir: {}\n",
            socket.display(),
            state.display()
        );
        std::fs::write(&config, text)?;
        Ok(config)
    }
}
