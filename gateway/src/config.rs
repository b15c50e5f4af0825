//! Pure: the gateway's configuration file. Text in, a checked [`Config`] or an error that names the file out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};

use causeway_certs::dial::{GatewayAt, Means};
use causeway_certs::expand::expand;
use causeway_proto::model::{
    Address, ClusterId, ClusterSet, ClusterSettings, GatewayName, NodeName, PeerSettings, Prefix,
    TUNNEL_PORT,
};
use serde::Deserialize;

/// The Unix socket of the local service unless configured.
pub const SOCKET: &str = "/run/causeway/gateway.sock";
/// UDP port of sessions between clusters.
pub const SESSION_PORT: u16 = 7443;
/// TCP port of the local service under mutual TLS.
pub const LOCAL_PORT: u16 = 7444;

/// What one gateway is told, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This cluster's id, for good.
    pub cluster: ClusterId,
    /// The clusterset that it is a member of, for good.
    pub clusterset: ClusterSet,
    /// This gateway's name, unique in its cluster.
    pub name: GatewayName,
    /// The node that it runs on.
    pub node: NodeName,
    /// Who cuts revisions, allots and signs.
    pub leadership: Leadership,
    /// What a gateway that is not the leader gets a certificate with, when it has none yet.
    pub enrolment: Option<Means>,
    /// Where it listens.
    pub listen: Listen,
    /// How others reach it.
    pub advertise: Advertise,
    /// Keys, allocations and catalogs; made when absent, mode 0700.
    pub state_dir: PathBuf,
    /// The same on every gateway of the cluster; where a controller appoints the leader, its word takes their place.
    pub shared: ClusterSettings,
    /// Keys endpoint names and flow hashes in place of a drawn secret. For tests that must repeat.
    pub seed: Option<Seed>,
    /// Threads that packets go by; `None`: by the cores that there are.
    pub packet_threads: Option<NonZeroU8>,
    /// A file as resolv.conf(5), with the servers that pods ask.
    pub resolver: PathBuf,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// This gateway, for good.
    Own,
    /// Another one, for good, and where its local service is.
    Other(GatewayName, GatewayAt),
    /// Whom the cluster's controller appoints.
    Controller,
}

/// The file. Unknown keys are refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    cluster: ClusterId,
    clusterset: ClusterSet,
    name: GatewayName,
    node: NodeName,
    /// `controller`: whom the controller appoints. Else `leader` says it.
    leadership: Option<ByController>,
    /// The gateway that cuts revisions, allots and signs; this one when absent.
    leader: Option<GatewayName>,
    /// `HOST:PORT` of the leader's local service; followers must have it.
    leader_address: Option<GatewayAt>,
    /// One-time file of `causeway enroll`, for a follower that has no certificate yet.
    enroll_file: Option<PathBuf>,
    /// The same, or where a service account token is.
    enrolment: Option<Means>,
    #[serde(default)]
    listen: Listen,
    advertise: Advertise,
    state_dir: PathBuf,
    /// What packets to peers that `peers` does not list need.
    encryption: Option<Encrypt>,
    /// Which clusters become peers because a peer vouches for them; all when absent.
    introductions: Option<Introductions>,
    /// What differs for single peers.
    peers: Option<BTreeMap<ClusterId, PeerConfig>>,
    /// Address pools, the same on every gateway of the cluster.
    pools: Option<Pools>,
    /// Prefixes of the cluster's pods beside those that its Nodes name.
    pod_prefixes: Option<Vec<Prefix>>,
    /// UDP port of tunnel packets.
    tunnel_port: Option<u16>,
    /// 32 hexadecimal digits.
    seed: Option<Seed>,
    /// Threads that packets go by, and connections with each gateway of a peer; one for each two cores when absent.
    packet_threads: Option<NonZeroU8>,
    /// A file as resolv.conf(5), with the servers that pods ask; `causeway doctor` asks them.
    #[serde(default = "resolver")]
    resolver: PathBuf,
}

fn resolver() -> PathBuf {
    "/etc/resolv.conf".into()
}

/// `all`, `none`, or a list of clusters.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Introductions {
    Word(IntroductionsOf),
    Only(BTreeSet<ClusterId>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IntroductionsOf {
    All,
    None,
}

impl Introductions {
    /// `None`: no bound.
    fn only(self) -> Option<BTreeSet<ClusterId>> {
        match self {
            Self::Word(IntroductionsOf::All) => None,
            Self::Word(IntroductionsOf::None) => Some(BTreeSet::new()),
            Self::Only(clusters) => Some(clusters),
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ByController {
    Controller,
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
    /// Unix socket where the agent of this node hands over the device by which packets come that are to be encrypted. None:
    /// beside `socket`, ending in `.device`.
    pub device: Option<PathBuf>,
    /// UDP and TCP: DNS. None answers no questions.
    pub dns: Vec<SocketAddr>,
    /// TCP: metrics for Prometheus, over plain HTTP. None shows none.
    pub metrics: Option<SocketAddr>,
}

impl Listen {
    /// Where the device to the programs is handed over.
    #[must_use]
    pub fn device(&self) -> PathBuf {
        let beside = || self.socket.with_extension("device");
        self.device.clone().unwrap_or_else(beside)
    }
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
enum Encrypt {
    /// Never plain.
    #[default]
    Required,
    /// Plain where the peer says so too: packets are not authenticated.
    Off,
}

/// One peer's settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PeerConfig {
    /// In place of the general setting.
    encryption: Option<Encrypt>,
    /// Prefixes of the peer that are used here as they are, without a mapping.
    native: Vec<Prefix>,
}

/// Address pools. None of them may appear on an underlay.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pools {
    /// Addresses of services.
    vips: Vec<Prefix>,
    /// Where peers' prefixes appear here.
    mappings: Vec<Prefix>,
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

impl Default for Listen {
    fn default() -> Self {
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        Self {
            session: any(SESSION_PORT),
            local: any(LOCAL_PORT),
            socket: PathBuf::from(SOCKET),
            device: None,
            dns: vec![any(7453)],
            metrics: None,
        }
    }
}

impl Default for Pools {
    fn default() -> Self {
        let ClusterSettings { vips, mappings, .. } = ClusterSettings::default();
        Self { vips, mappings }
    }
}

impl TryFrom<String> for Seed {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let seed = bytes_of(&text).map(Self);
        seed.ok_or_else(|| "a seed is 32 hexadecimal digits".to_owned())
    }
}

/// So many bytes in hexadecimal digits.
pub(crate) fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| u8::from_str_radix(pair?, 16).ok())
        .collect();
    bytes?.try_into().ok()
}

/// The key at fault, and what to change.
type Wrong = (&'static str, String);

impl Config {
    /// Reads and checks the text of `path`; `variable` gives what the file takes from its environment.
    ///
    /// # Errors
    /// When it is no configuration, naming file, place and key.
    pub fn parse(
        path: &Path,
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let path = path.display().to_string();
        let form = |message| ConfigError::Form {
            path: path.clone(),
            message,
        };
        let text = expand(text, variable).map_err(|e| form(e.to_string()))?;
        let document: Document = serde_saphyr::from_str(&text).map_err(|e| form(e.to_string()))?;
        Self::read(document).map_err(|(key, message)| ConfigError::Value { path, key, message })
    }

    fn read(document: Document) -> Result<Self, Wrong> {
        let leadership = leadership(&document)?;
        let config = Self {
            leadership,
            shared: ClusterSettings {
                plain: document.encryption == Some(Encrypt::Off),
                peers: peers(document.peers.unwrap_or_default()),
                pod_prefixes: document.pod_prefixes.unwrap_or_default(),
                introduced: document.introductions.and_then(Introductions::only),
                ..pools(document.pools, document.tunnel_port)
            },
            cluster: document.cluster,
            clusterset: document.clusterset,
            name: document.name,
            node: document.node,
            enrolment: document.enrolment.or(document.enroll_file.map(Means::File)),
            listen: document.listen,
            advertise: document.advertise,
            state_dir: document.state_dir,
            seed: document.seed,
            resolver: document.resolver,
            packet_threads: document.packet_threads,
        };
        config
            .shared
            .check(&config.cluster)
            .map_err(|wrong| (wrong.key, wrong.message))?;
        config.check_appointed()?;
        Ok(config)
    }

    fn check_appointed(&self) -> Result<(), Wrong> {
        if self.leadership != Leadership::Controller {
            return Ok(());
        }
        if !matches!(self.enrolment, Some(Means::Token(_))) {
            let message =
                "a gateway whose leader is appointed needs {controller, token_file, ca_file}";
            return Err(("enrolment", message.to_owned()));
        }
        if self.advertise.local.is_none() {
            let message = "is needed: any gateway may be appointed, and the others must reach it";
            return Err(("advertise.local", message.to_owned()));
        }
        Ok(())
    }

    /// The leader, where it is fixed.
    #[must_use]
    pub fn fixed_leader(&self) -> Option<&GatewayName> {
        match &self.leadership {
            Leadership::Own => Some(&self.name),
            Leadership::Other(leader, _) => Some(leader),
            Leadership::Controller => None,
        }
    }
}

fn leadership(document: &Document) -> Result<Leadership, Wrong> {
    let Some(ByController::Controller) = document.leadership else {
        let leader = document
            .leader
            .as_ref()
            .filter(|leader| **leader != document.name);
        return match (leader, &document.leader_address) {
            (None, _) => Ok(Leadership::Own),
            (Some(leader), Some(at @ GatewayAt::Tcp(_))) => {
                Ok(Leadership::Other(leader.clone(), at.clone()))
            }
            (Some(leader), _) => {
                let message =
                    format!("the leader is {leader}, so HOST:PORT of its local service is needed");
                Err(("leader_address", message))
            }
        };
    };
    let told = [
        ("leader", document.leader.is_some()),
        ("leader_address", document.leader_address.is_some()),
        ("encryption", document.encryption.is_some()),
        ("peers", document.peers.is_some()),
        ("pools", document.pools.is_some()),
        ("pod_prefixes", document.pod_prefixes.is_some()),
        ("tunnel_port", document.tunnel_port.is_some()),
    ];
    match told.into_iter().find(|(_, told)| *told) {
        Some((key, _)) => {
            let message = "is the controller's to say, in the ClusterConfiguration, where `leadership` is `controller`";
            Err((key, message.to_owned()))
        }
        None => Ok(Leadership::Controller),
    }
}

fn peers(peers: BTreeMap<ClusterId, PeerConfig>) -> BTreeMap<ClusterId, PeerSettings> {
    let one = |peer: PeerConfig| PeerSettings {
        plain: peer.encryption.map(|encrypt| encrypt == Encrypt::Off),
        native: peer.native,
    };
    peers
        .into_iter()
        .map(|(id, peer)| (id, one(peer)))
        .collect()
}

fn pools(pools: Option<Pools>, tunnel_port: Option<u16>) -> ClusterSettings {
    let Pools { vips, mappings } = pools.unwrap_or_default();
    ClusterSettings {
        vips,
        mappings,
        tunnel_port: tunnel_port.unwrap_or(TUNNEL_PORT),
        ..ClusterSettings::default()
    }
}

#[cfg(test)]
mod tests;
