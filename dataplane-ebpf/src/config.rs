//! Pure: the agent's configuration file, parsed once; unknown keys are refused.
//!
//! Reading the file is `main.rs`' affair. Deliberately absent: anything that the View carries
//! (ports of the tunnel, pools in force, seeds), so that two agents of one cluster cannot disagree.

use std::path::PathBuf;

use causeway_certs::dial::{GatewayAt, Means};
use causeway_certs::expand::{BadVariable, expand};
use causeway_proto::model::{Address, NodeName, Prefix};
use serde::Deserialize;

/// The agent's YAML file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This node, as the manifests or Kubernetes call it.
    pub node: NodeName,
    /// The device that carries tunnel packets to other nodes and clusters; unset: the one that has
    /// `outer_address`, or that of the default route.
    #[serde(default)]
    pub uplink: Option<String>,
    /// This node's address on it: the outer source of tunnel packets; unset: the device's own.
    #[serde(default)]
    pub outer_address: Option<Address>,
    /// Which devices are pod-side ports; unset: each veth behind which an address of a pod is.
    #[serde(default)]
    pub ports: Option<PortRule>,
    /// Directory on a bpf file system for this node's maps and links; one per agent.
    pub pin_dir: PathBuf,
    /// Local services of gateways, the preferred one first; the others are used when it is gone.
    #[serde(default)]
    pub gateways: Vec<GatewayAt>,
    /// Where a gateway of this node takes the device by which encrypted packets come to it, its `listen.device`.
    #[serde(default = "default_gateway_socket")]
    pub gateway_socket: PathBuf,
    /// Where the agent keeps its certificate. Needed only with a gateway reached over TCP.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
    /// One-time file from `causeway enroll agent/NODE`, used when `state_dir` holds no certificate.
    #[serde(default)]
    pub enrolment: Option<Means>,
    /// Where `causeway-agent health` asks; unset: nobody can.
    #[serde(default)]
    pub health_socket: Option<PathBuf>,
    /// The eBPF object; the variable `CAUSEWAY_EBPF_OBJECT` goes before it.
    #[serde(default)]
    pub object: Option<PathBuf>,
    /// Largest packet of the underlay in bytes, IP header included; unset: that of the uplink.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// Prefixes that get an `unreachable` route before anything else; must hold both pools of the View.
    #[serde(default = "default_pools")]
    pub pools: Vec<Prefix>,
}

/// Which devices are pod-side ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRule {
    /// Every veth enslaved to this bridge is one.
    #[serde(default)]
    pub bridge: Option<String>,
    /// So is every veth whose name matches one of these; `*` stands for any run of characters.
    #[serde(default)]
    pub names: Vec<String>,
}

/// Beside the socket that a gateway has by default.
fn default_gateway_socket() -> PathBuf {
    PathBuf::from("/run/causeway/gateway.device")
}

/// 241.0.0.0/16 for VIPs and node addresses, 242.0.0.0 to 251.255.255.255 for mappings.
fn default_pools() -> Vec<Prefix> {
    ["241.0.0.0/16", "242.0.0.0/7", "244.0.0.0/6", "248.0.0.0/6"]
        .iter()
        .filter_map(|p| p.parse().ok())
        .collect()
}

impl PortRule {
    fn is_empty(&self) -> bool {
        self.bridge.is_none() && self.names.is_empty()
    }

    /// Whether a veth of this name, enslaved to the bridge of that name, is a pod-side port.
    #[must_use]
    pub fn takes(&self, name: &str, master: Option<&str>) -> bool {
        (self.bridge.is_some() && self.bridge.as_deref() == master)
            || self.names.iter().any(|pattern| matches(pattern, name))
    }
}

/// Whether `name` fits `pattern`, in which `*` stands for any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len()).any(|at| tail.get(at..).is_some_and(|t| matches(rest, t)))
        }),
    }
}

impl Config {
    /// What the file says that cannot work.
    #[must_use]
    pub fn contradiction(&self) -> Option<&'static str> {
        let remote = self.gateways.iter().any(|g| matches!(g, GatewayAt::Tcp(_)));
        if remote && self.state_dir.is_none() {
            return Some("a gateway over TCP needs `state_dir` for the certificate");
        }
        if self.outer_address.is_some_and(|a| !a.is_v4()) {
            return Some("`outer_address` must be IPv4 as yet");
        }
        if self.ports.as_ref().is_some_and(PortRule::is_empty) {
            return Some(
                "`ports` names neither a bridge nor a device; leave it out to have them found",
            );
        }
        None
    }
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// A variable.
    #[error(transparent)]
    Variable(#[from] BadVariable),
    /// Line, column and reason, in the parser's words.
    #[error(transparent)]
    Yaml(#[from] serde_saphyr::Error),
}

/// Parses the file's text; variables of the environment are put in.
///
/// # Errors
/// At a variable or key that cannot be right.
pub fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Config, BadConfig> {
    Ok(serde_saphyr::from_str(&expand(text, variable)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, BadConfig> {
        let node = |name: &str| (name == "NODE_NAME").then(|| "n7".to_owned());
        super::parse(text, node)
    }

    #[test]
    fn one_file_serves_every_node() {
        let config = parse(&SHORT.replace("e1", "'${NODE_NAME}'")).unwrap();
        assert_eq!(config.node.as_str(), "n7");
        assert!(parse(&SHORT.replace("e1", "'${NODE_IP}'")).is_err());
    }

    const SHORT: &str = "
node: e1
pin_dir: /sys/fs/bpf/causeway/e1
gateways: ['unix:/run/causeway/local.sock', '192.0.2.2:7444']
";

    #[test]
    fn the_example_can_be_used() {
        let config = parse(include_str!("../../examples/config/agent.yaml")).unwrap();
        assert_eq!(config.contradiction(), None);
        assert_eq!(config.gateways.len(), 2);
    }

    #[test]
    fn the_shortest_file_has_the_defaults() {
        let config = parse(SHORT).unwrap();
        assert_eq!((config.ports, config.uplink), (None, None));
        assert_eq!(config.pools.len(), 4);
        let gateways: Vec<_> = config.gateways.iter().map(ToString::to_string).collect();
        assert_eq!(
            gateways,
            ["unix:/run/causeway/local.sock", "192.0.2.2:7444"]
        );
    }

    #[test]
    fn a_remote_gateway_needs_a_place_for_the_certificate() {
        assert!(parse(SHORT).unwrap().contradiction().is_some());
        let whole = format!("{SHORT}state_dir: /var/lib/causeway\n");
        assert_eq!(parse(&whole).unwrap().contradiction(), None);
    }

    #[test]
    fn a_rule_that_takes_nothing_is_refused() {
        let none = format!("{SHORT}state_dir: /x\nports: {{}}\n");
        assert!(parse(&none).unwrap().contradiction().is_some());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let error = parse(&format!("{SHORT}uplnk: eth1\n"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("uplnk"), "{error}");
    }

    #[test]
    fn ports_by_bridge_and_by_name() {
        let rule = PortRule {
            bridge: Some("cni0".into()),
            names: vec!["cali*".into(), "lxc*-x".into()],
        };
        assert!(rule.takes("veth1", Some("cni0")));
        assert!(!rule.takes("veth1", Some("docker0")));
        assert!(!rule.takes("veth1", None));
        assert!(rule.takes("cali123", None));
        assert!(rule.takes("lxc12-x", None));
        assert!(!rule.takes("lxc12-y", None));
    }
}
