//! Pure: the gateway's configuration file. Text in, a checked [`Config`] or an error that names the file out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use causeway_certs::dial::GatewayAt;
use causeway_proto::model::{Address, ClusterId, ClusterSet, GatewayName, NodeName, Prefix};
use serde::Deserialize;

/// UDP port of sessions between clusters.
pub const SESSION_PORT: u16 = 7443;
/// TCP port of the local service under mutual TLS.
pub const LOCAL_PORT: u16 = 7444;
/// UDP port of tunnel packets, the same in the whole clusterset.
pub const TUNNEL_PORT: u16 = 7472;

/// What one gateway is told. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This cluster's id, for good.
    pub cluster: ClusterId,
    /// The clusterset that it is a member of, for good.
    pub clusterset: ClusterSet,
    /// This gateway's name, unique in its cluster.
    pub name: GatewayName,
    /// The node that it runs on.
    pub node: NodeName,
    /// The gateway that cuts revisions, allots and signs; this one when absent.
    #[serde(default)]
    pub leader: Option<GatewayName>,
    /// `HOST:PORT` of the leader's local service; followers must have it.
    #[serde(default)]
    pub leader_address: Option<GatewayAt>,
    /// One-time file of `causeway enroll`, for a follower that has no certificate yet.
    #[serde(default)]
    pub enroll_file: Option<PathBuf>,
    /// Where it listens.
    #[serde(default)]
    pub listen: Listen,
    /// How others reach it.
    pub advertise: Advertise,
    /// Keys, allocations and catalogs; made when absent, mode 0700.
    pub state_dir: PathBuf,
    /// What packets to peers that `peers` does not list need.
    #[serde(default)]
    pub encryption: Encrypt,
    /// What differs for single peers.
    #[serde(default)]
    pub peers: BTreeMap<ClusterId, PeerConfig>,
    /// Address pools, the same on every gateway of the cluster.
    #[serde(default)]
    pub pools: Pools,
    /// Prefixes of the cluster's pods beside those that its Nodes name.
    #[serde(default)]
    pub pod_prefixes: Vec<Prefix>,
    /// UDP port of tunnel packets.
    #[serde(default = "tunnel_port")]
    pub tunnel_port: u16,
    /// 32 hexadecimal digits: keys endpoint names and flow hashes in place of a drawn secret. For tests that must repeat.
    #[serde(default)]
    pub seed: Option<Seed>,
}

/// Addresses that this gateway listens on. Port 0 takes a free one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// UDP: sessions with peers and join, over QUIC.
    pub session: SocketAddr,
    /// TCP: local service under mutual TLS, for other nodes.
    pub local: SocketAddr,
    /// Unix socket of the local service, status and admin API; only its owner may open it.
    pub socket: PathBuf,
    /// UDP and TCP: DNS. None answers no questions.
    pub dns: Vec<SocketAddr>,
}

/// What others are told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advertise {
    /// `HOST:PORT` where peers dial this gateway.
    pub session: String,
    /// Outer address of its tunnel packets.
    pub tunnel: Address,
    /// `HOST:PORT` where agents and followers of other nodes reach the local service.
    #[serde(default)]
    pub local: Option<String>,
}

impl Advertise {
    /// Port 0 stands for the port that is listened on.
    pub fn bound(&mut self, session: SocketAddr, local: SocketAddr) {
        let fill = |address: &mut String, bound: SocketAddr| {
            if let Some(host) = address.strip_suffix(":0") {
                *address = format!("{host}:{}", bound.port());
            }
        };
        fill(&mut self.session, session);
        if let Some(address) = &mut self.local {
            fill(address, local);
        }
    }
}

/// Whether packets between clusters must be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encrypt {
    /// Never plain.
    #[default]
    Required,
    /// Plain where the peer says so too: packets are not authenticated.
    Off,
}

/// One peer's settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerConfig {
    /// In place of the general setting.
    pub encryption: Option<Encrypt>,
    /// Prefixes of the peer that are used here as they are, without a mapping.
    pub native: Vec<Prefix>,
}

/// Address pools. None of them may appear on an underlay.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pools {
    /// Addresses of services.
    pub vips: Vec<Prefix>,
    /// Where peers' prefixes appear here.
    pub mappings: Vec<Prefix>,
}

/// A fixed secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Seed(pub [u8; 16]);

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML of this form.
    #[error("{path}: {message}")]
    Form {
        /// The file.
        path: String,
        /// Place, key and the keys that are known.
        message: String,
    },
    /// Two settings contradict each other.
    #[error("{path}: {key}: {message}")]
    Value {
        /// The file.
        path: String,
        /// The key at fault.
        key: &'static str,
        /// What to change.
        message: String,
    },
}

fn tunnel_port() -> u16 {
    TUNNEL_PORT
}

fn prefixes(list: &[&str]) -> Vec<Prefix> {
    list.iter().filter_map(|p| p.parse().ok()).collect()
}

impl Default for Listen {
    fn default() -> Self {
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        Self {
            session: any(SESSION_PORT),
            local: any(LOCAL_PORT),
            socket: PathBuf::from("/run/causeway/gateway.sock"),
            dns: vec![any(7453)],
        }
    }
}

impl Default for Pools {
    fn default() -> Self {
        Self {
            vips: prefixes(&["241.0.0.0/16"]),
            mappings: prefixes(&["242.0.0.0/7", "244.0.0.0/6", "248.0.0.0/6"]),
        }
    }
}

impl TryFrom<String> for Seed {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digits: Option<Vec<u8>> = (0..text.len())
            .step_by(2)
            .map(|at| {
                text.get(at..at + 2)
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            })
            .collect();
        digits
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| "a seed is 32 hexadecimal digits".to_owned())
    }
}

impl Config {
    /// Whether this gateway is the one that allots and signs.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader
            .as_ref()
            .is_none_or(|leader| *leader == self.name)
    }

    /// The leader's name.
    #[must_use]
    pub fn leader_name(&self) -> &GatewayName {
        self.leader.as_ref().unwrap_or(&self.name)
    }

    /// What packets to `peer` need.
    #[must_use]
    pub fn encryption_with(&self, peer: &ClusterId) -> Encrypt {
        self.peers
            .get(peer)
            .and_then(|p| p.encryption)
            .unwrap_or(self.encryption)
    }

    /// Reads and checks the text of `path`.
    ///
    /// # Errors
    /// When it is no configuration, naming file, place and key.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let path = path.display().to_string();
        let config: Self = serde_saphyr::from_str(text).map_err(|e| ConfigError::Form {
            path: path.clone(),
            message: e.to_string(),
        })?;
        config
            .check()
            .map_err(|(key, message)| ConfigError::Value { path, key, message })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let over_tcp = matches!(self.leader_address, Some(GatewayAt::Tcp(_)));
        if !self.is_leader() && !over_tcp {
            let message = format!(
                "the leader is {}, so HOST:PORT of its local service is needed",
                self.leader_name()
            );
            return Err(("leader_address", message));
        }
        if self.pools.vips.is_empty() {
            return Err(("pools.vips", "needs at least one prefix".to_owned()));
        }
        if self.pools.vips.iter().filter(|p| p.base().is_v4()).count() > 1 {
            let message = "agents know one IPv4 prefix; give one that is large enough";
            return Err(("pools.vips", message.to_owned()));
        }
        let pools = self.pools.vips.iter().map(|p| ("pools.vips", *p));
        let pools: Vec<_> = pools
            .chain(self.pools.mappings.iter().map(|p| ("pools.mappings", *p)))
            .collect();
        for (at, (key, prefix)) in pools.iter().enumerate() {
            if let Some((_, other)) = pools.iter().skip(at + 1).find(|(_, o)| o.overlaps(*prefix)) {
                return Err((*key, format!("{prefix} overlaps {other}")));
            }
            if let Some(pods) = self.pod_prefixes.iter().find(|o| o.overlaps(*prefix)) {
                return Err(("pod_prefixes", format!("{pods} overlaps {prefix} of {key}")));
            }
        }
        if self.peers.contains_key(&self.cluster) {
            return Err(("peers", format!("{} is this cluster itself", self.cluster)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EAST: &str = "
cluster: east
clusterset: demo
name: e1
node: e1
advertise: {session: '192.0.2.1:7443', tunnel: 192.0.2.1}
state_dir: /tmp/state
";

    #[test]
    fn the_example_can_be_used() {
        let example = include_str!("../../examples/config/gateway.yaml");
        let config = Config::parse(Path::new("gateway.yaml"), example).unwrap();
        assert!(config.is_leader());
    }

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("east.yaml"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults() {
        let c = parse(EAST).unwrap();
        assert!(c.is_leader());
        assert_eq!(
            c.encryption_with(&"west".parse().unwrap()),
            Encrypt::Required
        );
        assert_eq!(c.tunnel_port, TUNNEL_PORT);
        assert_eq!(c.listen.session.port(), SESSION_PORT);
        assert_eq!(c.pools.mappings.len(), 3);
    }

    #[test]
    fn peers_and_seed() {
        let c = parse(&format!(
            "{EAST}peers: {{west: {{encryption: off, native: [10.9.0.0/16]}}}}\nseed: 000102030405060708090a0b0c0d0e0f\n"
        ))
        .unwrap();
        let west = "west".parse().unwrap();
        assert_eq!(c.encryption_with(&west), Encrypt::Off);
        assert_eq!(c.peers[&west].native.len(), 1);
        assert_eq!(c.seed.unwrap().0[15], 15);
    }

    #[test]
    fn unknown_keys_are_named_with_the_known_ones() {
        let e = parse(&format!("{EAST}clutser: west\n")).unwrap_err();
        assert!(
            e.contains("east.yaml") && e.contains("clutser") && e.contains("state_dir"),
            "{e}"
        );
        let e = parse(&format!("{EAST}listen: {{sesion: '0.0.0.0:1'}}\n")).unwrap_err();
        assert!(e.contains("sesion") && e.contains("session"), "{e}");
    }

    #[test]
    fn contradictions_name_the_key() {
        let e = parse(&format!("{EAST}leader: e2\n")).unwrap_err();
        assert!(e.contains("leader_address"), "{e}");
        let e = parse(&format!(
            "{EAST}pools: {{vips: [241.0.0.0/16], mappings: [241.0.0.0/8]}}\n"
        ));
        assert!(e.unwrap_err().contains("overlaps"));
        let e = parse(&format!(
            "{EAST}pools: {{vips: [241.0.0.0/16, 241.1.0.0/16]}}\n"
        ));
        assert!(e.unwrap_err().contains("pools.vips: agents know one"));
        let e = parse(&format!("{EAST}encryption: maybe\n")).unwrap_err();
        assert!(e.contains("required") && e.contains("off"), "{e}");
    }
}
