//! Pure: who leads a cluster by its controller's word, with which settings, and what the leader must not lose.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{
    Allocations, ClusterId, Digest, GatewayName, NodeName, Prefix, Succession, TrustState,
};

/// UDP port of tunnel packets where nothing else is set, the same in the whole clusterset.
pub const TUNNEL_PORT: u16 = 7472;

/// A cluster's CA and the key that signs its catalogs. Its `Debug` shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityMaterial {
    /// Of the CA, DER.
    pub certificate: Vec<u8>,
    /// Of the CA, PKCS #8 in DER.
    pub key: Vec<u8>,
    /// Of the catalog key, DER, issued by the CA.
    pub catalog_certificate: Vec<u8>,
    /// PKCS #8 in DER.
    pub catalog_key: Vec<u8>,
    /// How the CA came after another one; `None`: it is the first of this cluster.
    pub succession: Option<Succession>,
}

impl fmt::Debug for AuthorityMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorityMaterial")
    }
}

/// All that a leader must not lose. What is `None` the sender does not know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaderState {
    /// Only the leader and the controller's store have it.
    pub authority: Option<AuthorityMaterial>,
    /// Without rings, which are made anew from the exports.
    pub allocations: Option<Allocations>,
    /// Who is trusted and who is cut off.
    pub trust: Option<TrustState>,
}

/// What holds for the whole cluster, the same on every gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Packets to peers that `peers` does not list may go plain where the peer says so too.
    pub plain: bool,
    /// What differs for single peers.
    pub peers: BTreeMap<ClusterId, PeerSettings>,
    /// Prefixes of the cluster's pods beside those that its Nodes name.
    pub pod_prefixes: Vec<Prefix>,
    /// Pool of addresses of services and nodes.
    pub vips: Vec<Prefix>,
    /// Pool of prefixes under which peers' addresses appear here.
    pub mappings: Vec<Prefix>,
    /// UDP port of tunnel packets.
    pub tunnel_port: u16,
    /// The clusters that may become peers because a peer vouches for them; `None`: any.
    pub introduced: Option<BTreeSet<ClusterId>>,
}

/// One peer's settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerSettings {
    /// In place of the general setting.
    pub plain: Option<bool>,
    /// Prefixes of the peer that are used here as they are, without a mapping.
    pub native: Vec<Prefix>,
}

/// Settings that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct InvalidSettings {
    /// The setting at fault: `pools.vips`.
    pub key: &'static str,
    /// What to change.
    pub message: String,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        let prefixes = |list: &[&str]| list.iter().filter_map(|p| p.parse().ok()).collect();
        Self {
            plain: false,
            peers: BTreeMap::new(),
            pod_prefixes: Vec::new(),
            vips: prefixes(&["241.0.0.0/16"]),
            mappings: prefixes(&["242.0.0.0/7", "244.0.0.0/6", "248.0.0.0/6"]),
            tunnel_port: TUNNEL_PORT,
            introduced: None,
        }
    }
}

impl ClusterSettings {
    /// Whether packets to `peer` may go plain where it says so too.
    #[must_use]
    pub fn plain_with(&self, peer: &ClusterId) -> bool {
        let own = self.peers.get(peer).and_then(|p| p.plain);
        own.unwrap_or(self.plain)
    }

    /// Whether they can be used in the cluster `own`.
    ///
    /// # Errors
    /// When two of them contradict each other, naming the one to change.
    pub fn check(&self, own: &ClusterId) -> Result<(), InvalidSettings> {
        let wrong = |key, message| Err(InvalidSettings { key, message });
        if self.vips.is_empty() {
            return wrong("pools.vips", "needs at least one prefix".to_owned());
        }
        if self.vips.iter().filter(|p| p.base().is_v4()).count() > 1 {
            let message = "agents know one IPv4 prefix; give one that is large enough";
            return wrong("pools.vips", message.to_owned());
        }
        let pools = self.vips.iter().map(|p| ("pools.vips", *p));
        let pools: Vec<_> = pools
            .chain(self.mappings.iter().map(|p| ("pools.mappings", *p)))
            .collect();
        for (at, (key, prefix)) in pools.iter().enumerate() {
            if let Some((_, other)) = pools.iter().skip(at + 1).find(|(_, o)| o.overlaps(*prefix)) {
                return wrong(key, format!("{prefix} overlaps {other}"));
            }
            if let Some(pods) = self.pod_prefixes.iter().find(|o| o.overlaps(*prefix)) {
                return wrong("pod_prefixes", format!("{pods} overlaps {prefix} of {key}"));
            }
        }
        if self.tunnel_port == 0 {
            return wrong("tunnel_port", "a port is 1 to 65535".to_owned());
        }
        if self.peers.contains_key(own) {
            return wrong("peers", format!("{own} is this cluster itself"));
        }
        Ok(())
    }
}

/// Who leads, by a controller's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appointment {
    /// Rises with each change of leader, over all controllers; of two the higher is obeyed.
    pub term: u64,
    /// The gateway.
    pub leader: GatewayName,
    /// `HOST:PORT` of its local service.
    pub leader_address: String,
    /// The highest epoch that the controller knows of: a new leader's will be higher.
    pub epoch: u64,
    /// In force on every gateway.
    pub settings: ClusterSettings,
    /// For the leader only; what it holds that is newer stays.
    pub state: Option<LeaderState>,
}

/// What a controller tells a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeadRequest {
    /// At once, and whenever something in it changes.
    Appointment(Appointment),
    /// The Keep of this sequence number is stored.
    Kept(u64),
}

/// What a gateway tells a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeadReply {
    /// First, and whenever something in it changes.
    Hello(LeadHello),
    /// From the leader only.
    Keep(Keep),
    /// The appointment is not obeyed.
    Refused(LeadRefused),
}

/// What a gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadHello {
    /// Its name.
    pub gateway: GatewayName,
    /// The node that it runs on.
    pub node: NodeName,
    /// `HOST:PORT` where others of the cluster reach it.
    pub local_address: String,
    /// The highest epoch that it has ever seen, of itself or from peers.
    pub epoch: u64,
    /// Epoch and version of the allocations that it holds; zeros when it holds none.
    pub held: (u64, u64),
    /// The highest term that it has heard; 0 when none.
    pub term: u64,
    /// Whom that term appointed.
    pub leader: Option<GatewayName>,
    /// Whether it leads now.
    pub leads: bool,
    /// It is about to stop: another should lead.
    pub draining: bool,
    /// Milliseconds for which it has not heard that leader; `None` when it hears it, leads itself, or follows nobody.
    pub unheard_ms: Option<u64>,
    /// The CA that it holds.
    pub authority: Option<Digest>,
    /// An operator asks that another CA take over from that one.
    pub rotate_authority: bool,
}

/// What the leader alone writes, to be stored. What is `None` has not changed since the one before on this stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Counts on one stream, from 1; acknowledged once it is stored.
    pub sequence: u64,
    /// Of the leader.
    pub epoch: u64,
    /// Without rings.
    pub allocations: Option<Allocations>,
    /// Who is trusted and who is cut off.
    pub trust: Option<TrustState>,
}

/// Why an appointment is not obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadRefused {
    /// The highest term that the gateway has heard.
    pub term: u64,
    /// Whom that term appointed.
    pub leader: Option<GatewayName>,
    /// A sentence.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut ClusterSettings)) -> String {
        let mut settings = ClusterSettings::default();
        change(&mut settings);
        let checked = settings.check(&"east".parse().unwrap());
        checked.map_or_else(|e| e.to_string(), |()| "good".to_owned())
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn contradictions_name_the_setting() {
        assert_eq!(check(|_| ()), "good");
        assert_eq!(
            check(|s| s.vips.clear()),
            "pools.vips: needs at least one prefix"
        );
        assert_eq!(
            check(|s| s.vips.push(prefix("240.0.0.0/16"))),
            "pools.vips: agents know one IPv4 prefix; give one that is large enough"
        );
        assert_eq!(
            check(|s| s.vips = vec![prefix("242.1.0.0/16")]),
            "pools.vips: 242.1.0.0/16 overlaps 242.0.0.0/7"
        );
        assert_eq!(
            check(|s| s.pod_prefixes.push(prefix("241.0.4.0/24"))),
            "pod_prefixes: 241.0.4.0/24 overlaps 241.0.0.0/16 of pools.vips"
        );
        let own = |s: &mut ClusterSettings| {
            s.peers
                .insert("east".parse().unwrap(), PeerSettings::default());
        };
        assert_eq!(check(own), "peers: east is this cluster itself");
        assert_eq!(
            check(|s| s.tunnel_port = 0),
            "tunnel_port: a port is 1 to 65535"
        );
    }

    #[test]
    fn debug_shows_no_key() {
        let material = AuthorityMaterial {
            certificate: vec![171],
            key: vec![171],
            catalog_certificate: vec![171],
            catalog_key: vec![171],
            succession: None,
        };
        assert!(!format!("{material:?}").contains("171"));
    }
}
