//! Pure: every cluster's public state as known here: the own one, cut and signed by the leader, and the peers',
//! checked part by part, with how alive each is. In: what was received and the time; keys through [`Keys`].
//! Out: what is in force, what to ask for again, or why it was refused. No protocol, no clock, no keys.

mod encode;
mod gateways;
mod life;
mod merkle;
mod own;
mod parts;
mod peer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits::PEERS;
use causeway_proto::model::{
    CatalogDelta, ClusterId, Held, NackReason, Problem, ProblemKind, Revision, SignedHeader,
    Timestamp, TrustBundle,
};

use crate::now::Now;

pub use encode::sha256;
pub use gateways::Gateways;
pub use life::Life;
pub use own::{Answer, Own};
pub use parts::{Local, parts};
pub use peer::PeerCatalog;

/// The catalog key of this cluster and the checks of the others'.
pub trait Keys {
    /// Signs with this cluster's catalog key; `None` where there is none, as on a follower.
    fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>>;
    /// Whether `signature` is over `bytes` by the catalog key in `bundle`; `None` means the own cluster's key.
    fn verify(&self, bundle: Option<&TrustBundle>, bytes: &[u8], signature: &[u8]) -> bool;
    /// Whether a bundle may be trusted as its cluster's.
    ///
    /// # Errors
    /// Why it may not.
    fn admits(&self, bundle: &TrustBundle, now: Timestamp) -> Result<(), String>;
}

/// What became of something that a peer said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// All of it is in force now.
    InForce(Held),
    /// It was in force already.
    Known(Held),
    /// Something is missing or does not fit: ask for it. What was held stays in force.
    Ask(causeway_proto::model::Want),
}

/// Why something that a peer said of itself was refused; what was held stays in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused.
    pub revision: Revision,
    /// Why, for programs.
    pub reason: NackReason,
    /// Why, for people.
    pub message: String,
}

impl Refusal {
    /// Whether nobody who keeps to the protocol can cause it.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        match self.reason {
            NackReason::BadSignature
            | NackReason::TwoStories
            | NackReason::NotYours
            | NackReason::TooLarge
            | NackReason::Malformed => true,
            NackReason::OldRevision | NackReason::UnknownBase | NackReason::BadProof => false,
        }
    }
}

/// All clusters' catalogs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// This cluster's.
    pub own: Own,
    peers: BTreeMap<ClusterId, PeerCatalog>,
}

impl Catalog {
    /// With nothing known.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            own: Own::new(cluster),
            peers: BTreeMap::new(),
        }
    }

    /// Peers by id.
    #[must_use]
    pub fn peers(&self) -> &BTreeMap<ClusterId, PeerCatalog> {
        &self.peers
    }

    /// One peer, to note signs of life and words of its sessions.
    pub fn peer_mut(&mut self, id: &ClusterId) -> Option<&mut PeerCatalog> {
        self.peers.get_mut(id)
    }

    /// Who is a peer at all: the others are forgotten, new ones start unknown. True when anything changed.
    pub fn keep_only(&mut self, members: &BTreeSet<ClusterId>, now: Now) -> bool {
        let before = self.peers.len();
        self.peers.retain(|id, _| members.contains(id));
        let mut changed = self.peers.len() != before;
        for id in members.iter().filter(|id| **id != self.own.cluster) {
            if !self.peers.contains_key(id) && self.peers.len() < PEERS {
                self.peers
                    .insert(id.clone(), PeerCatalog::new(id.clone(), now));
                changed = true;
            }
        }
        changed
    }

    /// Applies what `from` says of itself.
    ///
    /// # Errors
    /// With the reason to tell it; what was held stays in force.
    pub fn apply(
        &mut self,
        from: &ClusterId,
        bundle: &TrustBundle,
        delta: &CatalogDelta,
        keys: &dyn Keys,
    ) -> Result<Applied, Refusal> {
        let Some(peer) = self.peers.get_mut(from) else {
            return Err(not_member(from, &delta.header));
        };
        peer.apply(bundle, delta, keys)
    }

    /// Applies a header that came without parts.
    ///
    /// # Errors
    /// With the reason to tell it.
    pub fn apply_header(
        &mut self,
        from: &ClusterId,
        bundle: &TrustBundle,
        header: &SignedHeader,
        keys: &dyn Keys,
    ) -> Result<Applied, Refusal> {
        let Some(peer) = self.peers.get_mut(from) else {
            return Err(not_member(from, header));
        };
        peer.apply_header(bundle, header, keys)
    }

    /// Takes note of the gateways that peers list now.
    pub fn list_gateways(&mut self, now: Now) {
        for peer in self.peers.values_mut() {
            peer.list_gateways(now);
        }
    }

    /// The moment, on the monotonic clock, at which some peer's liveness, or that of its gateways, changes if nothing
    /// more is heard.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<u64> {
        let each = self.peers.values();
        let each = each.flat_map(|p| [p.life.poll_timeout(now), p.gateways.poll_timeout(now)]);
        each.flatten().min()
    }

    /// What peers did that they may not do.
    pub fn problems(&self) -> impl Iterator<Item = Problem> + '_ {
        self.peers.iter().filter_map(|(id, peer)| {
            let message = peer.fault.clone()?;
            Some(Problem {
                kind: ProblemKind::PeerFault,
                subject: format!("peer {id}"),
                message,
            })
        })
    }
}

fn not_member(from: &ClusterId, header: &SignedHeader) -> Refusal {
    Refusal {
        revision: header.header.revision,
        reason: NackReason::NotYours,
        message: format!("{from} is no member here"),
    }
}
