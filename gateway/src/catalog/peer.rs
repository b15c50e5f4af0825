//! Pure: one peer's catalog as it says itself, checked: signature, chain, root. A Snapshot replaces; a change
//! that does not fit asks for what is missing; what was held stays in force until the new is whole.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits::{PART_BYTES, PARTS};
use causeway_proto::model::{
    Address, CatalogDelta, ClusterId, ClusterPart, Digest, GatewayName, Held, NackReason,
    NamespacePart, NodeName, Part, PartKey, PeerNumber, Revision, SignedHeader, SignedPart,
    TrustBundle, Want,
};

use super::encode::{header, part, part_digest};
use super::merkle::{Tree, stands};
use super::own::held;
use super::{Applied, Gateways, Keys, Life, Refusal};
use crate::now::Now;

/// Headers of a peer that are remembered, to catch a second story about any of them.
const REMEMBERED: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
struct HeldPart {
    salt: [u8; 16],
    bytes: Vec<u8>,
    digest: Digest,
    content: Part,
}

/// What arrived of a revision that is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Staged {
    header: SignedHeader,
    parts: BTreeMap<PartKey, HeldPart>,
    /// Asked for again.
    missing: BTreeSet<PartKey>,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCatalog {
    id: ClusterId,
    header: Option<SignedHeader>,
    parts: BTreeMap<PartKey, HeldPart>,
    staged: Option<Staged>,
    seen: BTreeMap<Revision, Digest>,
    /// Signs of life.
    pub life: Life,
    /// And of each of its gateways.
    pub gateways: Gateways,
    /// What it did that no honest peer does; stays until it leaves or starts a new epoch.
    pub fault: Option<String>,
    /// Whether its gateways take packets in datagrams, by its last Hello.
    pub takes_packets: Option<bool>,
    /// How it numbers this cluster, by its last Hello.
    pub number_there: Option<PeerNumber>,
    /// What each of its gateways holds of the own catalog: the nodes that it knows.
    acknowledged: BTreeMap<GatewayName, BTreeSet<NodeName>>,
}

fn cluster_part(parts: &BTreeMap<PartKey, HeldPart>) -> Option<&ClusterPart> {
    match &parts.get(&PartKey::Cluster)?.content {
        Part::Cluster(part) => Some(part),
        Part::Namespace(_) => None,
    }
}

impl PeerCatalog {
    pub(super) fn new(id: ClusterId, now: Now) -> Self {
        Self {
            id,
            header: None,
            parts: BTreeMap::new(),
            staged: None,
            seen: BTreeMap::new(),
            life: Life::new(now),
            gateways: Gateways::default(),
            fault: None,
            takes_packets: None,
            number_there: None,
            acknowledged: BTreeMap::new(),
        }
    }

    /// What is in force.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        self.header.as_ref().map(held)
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> Option<&SignedHeader> {
        self.header.as_ref()
    }

    /// Its cluster-wide part.
    #[must_use]
    pub fn cluster_part(&self) -> Option<&ClusterPart> {
        cluster_part(&self.parts)
    }

    /// Tells apart what it says there.
    #[must_use]
    pub fn cluster_digest(&self) -> Option<Digest> {
        Some(self.parts.get(&PartKey::Cluster)?.digest)
    }

    pub(super) fn list_gateways(&mut self, now: Now) {
        let listed = cluster_part(&self.parts).into_iter();
        self.gateways
            .list(listed.flat_map(|part| part.gateways.keys()), now);
    }

    /// Those of its gateways that have fallen silent while others are heard, with their outer addresses.
    #[must_use]
    pub fn silent_gateways(&self, now: Now) -> BTreeMap<GatewayName, Address> {
        let silent = self.gateways.silent(now);
        let listed = self.cluster_part().into_iter().flat_map(|p| &p.gateways);
        let silent = listed.filter(|(name, _)| silent.contains(*name));
        silent.map(|(name, at)| (name.clone(), at.tunnel)).collect()
    }

    /// Its namespaces' parts.
    pub fn namespaces(&self) -> impl Iterator<Item = &NamespacePart> {
        self.parts.values().filter_map(|p| match &p.content {
            Part::Namespace(part) => Some(part),
            Part::Cluster(_) => None,
        })
    }

    /// One of its gateways holds a revision of ours that names these nodes. True when that is news.
    pub fn acknowledge(&mut self, gateway: &GatewayName, nodes: &BTreeSet<NodeName>) -> bool {
        if self.acknowledged.get(gateway) == Some(nodes) {
            return false;
        }
        self.acknowledged.insert(gateway.clone(), nodes.clone());
        true
    }

    /// Nodes of ours that all its gateways know that are or were in session with us.
    #[must_use]
    pub fn acknowledged_nodes(&self) -> BTreeSet<NodeName> {
        let listed = self.cluster_part().map(|p| &p.gateways);
        let listed = |name: &GatewayName| listed.is_some_and(|l| l.contains_key(name));
        let mut all = self.acknowledged.iter().filter(|(name, _)| listed(name));
        let first = all.next().map(|(_, n)| n.clone()).unwrap_or_default();
        all.fold(first, |common, (_, nodes)| &common & nodes)
    }

    /// All that is in force, to keep it over a restart. Proofs are left out: the root is recomputed.
    #[must_use]
    pub fn snapshot(&self) -> Option<CatalogDelta> {
        let header = self.header.clone()?;
        let part = |(key, part): (&PartKey, &HeldPart)| SignedPart {
            key: key.clone(),
            salt: part.salt,
            bytes: part.bytes.clone(),
            proof: Default::default(),
        };
        Some(CatalogDelta {
            from: None,
            header,
            parts: self.parts.iter().map(part).collect(),
            removed: Vec::new(),
        })
    }

    /// Applies a change or a Snapshot.
    pub(super) fn apply(
        &mut self,
        bundle: &TrustBundle,
        delta: &CatalogDelta,
        keys: &dyn Keys,
    ) -> Result<Applied, Refusal> {
        let revision = delta.header.header.revision;
        self.check_header(bundle, &delta.header, keys)?;
        if self.held() == Some(held(&delta.header)) {
            return Ok(Applied::Known(held(&delta.header)));
        }
        let Some((mut parts, mut bad)) = self.base(delta) else {
            return Ok(Applied::Ask(self.ask()));
        };
        for key in &delta.removed {
            parts.remove(key);
        }
        let count = delta.header.header.parts;
        for sent in &delta.parts {
            let part = read(&sent.key, sent, revision)?;
            let fits = stands(delta.header.header.root, count, &part.digest, &sent.proof);
            // A Snapshot from the disk has no proofs; there the root alone decides.
            if delta.from.is_some() && !fits {
                bad.insert(sent.key.clone());
            } else {
                bad.remove(&sent.key);
                parts.insert(sent.key.clone(), part);
            }
        }
        let root = Tree::new(parts.values().map(|p| &p.digest)).root();
        let whole = bad.is_empty() && root == delta.header.header.root;
        if whole && u32::try_from(parts.len()) == Ok(count) {
            self.commit(delta.header.clone(), parts);
            return Ok(Applied::InForce(held(&delta.header)));
        }
        if bad.is_empty() {
            self.staged = None;
            return Ok(Applied::Ask(Want::Snapshot));
        }
        self.staged = Some(Staged {
            header: delta.header.clone(),
            parts,
            missing: bad.clone(),
        });
        Ok(Applied::Ask(Want::Parts(bad)))
    }

    /// Applies a header alone: there is something newer, or nothing that concerns us.
    pub(super) fn apply_header(
        &mut self,
        bundle: &TrustBundle,
        signed: &SignedHeader,
        keys: &dyn Keys,
    ) -> Result<Applied, Refusal> {
        self.check_header(bundle, signed, keys)?;
        if self.held() == Some(held(signed)) {
            return Ok(Applied::Known(held(signed)));
        }
        Ok(Applied::Ask(self.ask()))
    }

    /// What brings us from what is held to the newest.
    #[must_use]
    pub fn ask(&self) -> Want {
        self.held().map_or(Want::Snapshot, Want::Since)
    }

    /// What a change starts from, and what is missing of it: nothing for a Snapshot; else what is held or staged,
    /// if it is that.
    fn base(
        &self,
        delta: &CatalogDelta,
    ) -> Option<(BTreeMap<PartKey, HeldPart>, BTreeSet<PartKey>)> {
        let Some(from) = delta.from else {
            return Some(Default::default());
        };
        let staged = self.staged.as_ref();
        if let Some(staged) = staged.filter(|s| s.header.bytes == delta.header.bytes) {
            return Some((staged.parts.clone(), staged.missing.clone()));
        }
        let at = self.header.as_ref().map(|h| h.header.revision);
        (at == Some(from)).then(|| (self.parts.clone(), BTreeSet::new()))
    }

    fn commit(&mut self, signed: SignedHeader, parts: BTreeMap<PartKey, HeldPart>) {
        let newer = |old: &SignedHeader| old.header.revision.epoch < signed.header.revision.epoch;
        if self.header.as_ref().is_some_and(newer) {
            self.fault = None;
        }
        self.staged = None;
        self.header = Some(signed);
        self.parts = parts;
    }

    /// Who signed, for whom, and that there is no second story.
    fn check_header(
        &mut self,
        bundle: &TrustBundle,
        signed: &SignedHeader,
        keys: &dyn Keys,
    ) -> Result<(), Refusal> {
        let revision = signed.header.revision;
        let refuse = |reason, message: String| Refusal {
            revision,
            reason,
            message,
        };
        let said = header(&signed.bytes);
        if said.as_ref() != Some(&signed.header) {
            let message = "the header does not say what its bytes say".to_owned();
            return Err(refuse(NackReason::Malformed, message));
        }
        if signed.header.cluster != self.id {
            let message = format!("{} speaks for {}", self.id, signed.header.cluster);
            self.fault = Some(message.clone());
            return Err(refuse(NackReason::NotYours, message));
        }
        if !keys.verify(Some(bundle), &signed.bytes, &signed.signature) {
            let message = format!(
                "revision {revision} is not signed by the catalog key of {}",
                self.id
            );
            self.fault = Some(message.clone());
            return Err(refuse(NackReason::BadSignature, message));
        }
        if usize::try_from(signed.header.parts).is_ok_and(|n| n > PARTS) {
            let message = format!("{} parts; at most {PARTS}", signed.header.parts);
            return Err(refuse(NackReason::TooLarge, message));
        }
        self.one_story(signed)
    }

    /// Two headers at one revision, or one that denies its predecessor, prove that the peer lies to somebody.
    fn one_story(&mut self, signed: &SignedHeader) -> Result<(), Refusal> {
        let revision = signed.header.revision;
        let digest = held(signed).digest;
        let other = match self.seen.get(&revision) {
            Some(seen) => (*seen != digest).then_some(revision),
            None => {
                let before = Revision {
                    epoch: revision.epoch,
                    number: revision.number.saturating_sub(1),
                };
                let denied = |seen: &&Digest| **seen != signed.header.previous;
                self.seen.get(&before).filter(denied).map(|_| before)
            }
        };
        if let Some(at) = other {
            let message =
                format!("tells two stories about its revision {at}; the first one stays in force");
            self.fault = Some(message.clone());
            return Err(Refusal {
                revision,
                reason: NackReason::TwoStories,
                message,
            });
        }
        let newest = self.held().map(|h| h.revision);
        if newest.is_some_and(|held| revision < held) {
            return Err(Refusal {
                revision,
                reason: NackReason::OldRevision,
                message: format!("{} is held already", newest.unwrap_or_default()),
            });
        }
        self.seen.insert(revision, digest);
        while self.seen.len() > REMEMBERED {
            self.seen.pop_first();
        }
        Ok(())
    }
}

fn read(key: &PartKey, sent: &SignedPart, revision: Revision) -> Result<HeldPart, Refusal> {
    let refuse = |reason, message: String| Refusal {
        revision,
        reason,
        message,
    };
    if sent.bytes.len() > PART_BYTES {
        let message = format!("{key} has {} bytes; at most {PART_BYTES}", sent.bytes.len());
        return Err(refuse(NackReason::TooLarge, message));
    }
    let content =
        part(&sent.bytes).map_err(|e| refuse(NackReason::Malformed, format!("{key}: {e}")))?;
    if content.key() != *key {
        let message = format!("{key} says that it is {}", content.key());
        return Err(refuse(NackReason::Malformed, message));
    }
    Ok(HeldPart {
        salt: sent.salt,
        digest: part_digest(&sent.salt, &sent.bytes),
        bytes: sent.bytes.clone(),
        content,
    })
}
