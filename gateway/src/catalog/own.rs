//! Pure: the own catalog. The leader cuts and signs it, followers take it over; both serve it alike. It knows at
//! which revision each part changed last, so that it can say what changed since any of the last revisions.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits::{FRAME_BYTES, PART_BYTES, PARTS};
use causeway_proto::model::{
    CatalogDelta, ClusterId, Digest, Header, Held, NodeName, Part, PartKey, Problem, ProblemKind,
    Revision, SignedHeader, SignedPart,
};

use super::encode::{header, header_bytes, part, part_bytes, part_digest, sha256};
use super::merkle::Tree;
use super::{Keys, Refusal};
use crate::now::Now;
use causeway_proto::model::NackReason;

/// Revisions after which a change can be told; who holds an older one gets everything.
const REMEMBERED: usize = 256;
/// Room in a frame for what is not parts.
const FRAME_ROOM: usize = 16 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnPart {
    salt: [u8; 16],
    bytes: Vec<u8>,
    digest: Digest,
    /// Since which revision it says this.
    since: Revision,
    content: Part,
}

/// The own catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Whose.
    pub cluster: ClusterId,
    header: Option<SignedHeader>,
    parts: BTreeMap<PartKey, OwnPart>,
    /// Parts that are gone, and since when.
    gone: BTreeMap<PartKey, Revision>,
    /// Headers of the last revisions, and the nodes that each of them named.
    past: BTreeMap<Revision, (Digest, BTreeSet<NodeName>)>,
}

/// What to send to somebody who holds something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// There is nothing yet.
    Nothing,
    /// It holds the newest, or something newer than this gateway has.
    Current,
    /// This change.
    Delta(CatalogDelta),
    /// Everything: with `from: None`.
    Snapshot(CatalogDelta),
}

impl Own {
    /// With nothing in it.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            header: None,
            parts: BTreeMap::new(),
            gone: BTreeMap::new(),
            past: BTreeMap::new(),
        }
    }

    /// The newest header.
    #[must_use]
    pub fn header(&self) -> Option<&SignedHeader> {
        self.header.as_ref()
    }

    /// Where it stands.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        self.header.as_ref().map(held)
    }

    /// What its parts say.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<PartKey, Part> {
        let parts = self.parts.iter();
        parts.map(|(k, p)| (k.clone(), p.content.clone())).collect()
    }

    /// What the part of this key says.
    #[must_use]
    pub fn content(&self, key: &PartKey) -> Option<&Part> {
        self.parts.get(key).map(|p| &p.content)
    }

    /// The nodes that the cluster had at one of the last revisions.
    #[must_use]
    pub fn nodes_at(&self, held: &Held) -> Option<&BTreeSet<NodeName>> {
        let (digest, nodes) = self.past.get(&held.revision)?;
        (*digest == held.digest).then_some(nodes)
    }

    /// Cuts a revision of `epoch` if `content` differs from the last one, or if the epoch does. True when it did.
    /// The leader's alone.
    pub fn cut(
        &mut self,
        content: BTreeMap<PartKey, Part>,
        salts: &BTreeMap<PartKey, [u8; 16]>,
        epoch: u64,
        now: Now,
        keys: &dyn Keys,
    ) -> (bool, Vec<Problem>) {
        let mut problems = Vec::new();
        let old = self.header.as_ref().map(|h| h.header.revision);
        let revision = match old {
            Some(r) if r.epoch >= epoch => Revision {
                epoch: r.epoch,
                number: r.number.saturating_add(1),
            },
            _ => Revision { epoch, number: 1 },
        };
        let mut parts = BTreeMap::new();
        problems.extend(left_out(content.len()));
        for (key, content) in content.into_iter().take(PARTS) {
            let salt = salts.get(&key).copied().unwrap_or_default();
            let before = self.parts.get(&key);
            let same = before.filter(|b| b.salt == salt && b.content == content);
            let part = same.cloned().unwrap_or_else(|| {
                let (content, bytes) = fitting(&key, content, &mut problems);
                let digest = part_digest(&salt, &bytes);
                let old = before.filter(|b| b.digest == digest);
                OwnPart {
                    salt,
                    digest,
                    bytes,
                    since: old.map_or(revision, |b| b.since),
                    content,
                }
            });
            parts.insert(key, part);
        }
        let digests = |parts: &BTreeMap<PartKey, OwnPart>| -> Vec<(PartKey, Digest)> {
            parts.iter().map(|(k, p)| (k.clone(), p.digest)).collect()
        };
        let same_epoch = old.is_some_and(|r| r.epoch == revision.epoch);
        if same_epoch && digests(&parts) == digests(&self.parts) {
            return (false, problems);
        }
        let head = Header {
            cluster: self.cluster.clone(),
            revision,
            time: now.wall,
            previous: self.held().map(|h| h.digest).unwrap_or_default(),
            root: Tree::new(parts.values().map(|p| &p.digest)).root(),
            parts: u32::try_from(parts.len()).unwrap_or(u32::MAX),
        };
        let bytes = header_bytes(&head);
        let Some(signature) = keys.sign(&bytes) else {
            problems.push(unsigned(&self.cluster));
            return (false, problems);
        };
        let signed = SignedHeader {
            header: head,
            bytes,
            signature,
        };
        self.put(signed, parts);
        (true, problems)
    }

    /// Takes over what the leader has signed, or what the disk has kept. Older than what is held is ignored.
    ///
    /// # Errors
    /// When it is not signed by this cluster's key, or is not whole.
    pub fn take(&mut self, whole: &CatalogDelta, keys: &dyn Keys) -> Result<bool, Refusal> {
        let signed = &whole.header;
        let revision = signed.header.revision;
        let refuse = |reason, message: &str| Refusal {
            revision,
            reason,
            message: message.to_owned(),
        };
        if self.held().is_some_and(|h| h.revision >= revision) {
            return Ok(false);
        }
        if !keys.verify(None, &signed.bytes, &signed.signature) {
            return Err(refuse(
                NackReason::BadSignature,
                "not signed by this cluster's catalog key",
            ));
        }
        let said = header(&signed.bytes);
        if said.as_ref() != Some(&signed.header) || signed.header.cluster != self.cluster {
            return Err(refuse(NackReason::NotYours, "not a header of this cluster"));
        }
        let mut parts = BTreeMap::new();
        for sent in &whole.parts {
            let content = part(&sent.bytes).map_err(|e| refuse(NackReason::Malformed, &e))?;
            let digest = part_digest(&sent.salt, &sent.bytes);
            let old = self.parts.get(&sent.key).filter(|b| b.digest == digest);
            let own = OwnPart {
                salt: sent.salt,
                bytes: sent.bytes.clone(),
                digest,
                since: old.map_or(revision, |b| b.since),
                content,
            };
            parts.insert(sent.key.clone(), own);
        }
        if Tree::new(parts.values().map(|p| &p.digest)).root() != signed.header.root {
            return Err(refuse(
                NackReason::BadProof,
                "parts do not lie under the header's root",
            ));
        }
        self.put(signed.clone(), parts);
        Ok(true)
    }

    fn put(&mut self, signed: SignedHeader, parts: BTreeMap<PartKey, OwnPart>) {
        let revision = signed.header.revision;
        for key in self.parts.keys().filter(|k| !parts.contains_key(k)) {
            self.gone.insert(key.clone(), revision);
        }
        self.gone.retain(|key, _| !parts.contains_key(key));
        let nodes = match parts.get(&PartKey::Cluster).map(|p| &p.content) {
            Some(Part::Cluster(part)) => part.nodes.keys().cloned().collect(),
            _ => BTreeSet::new(),
        };
        self.past.insert(revision, (held(&signed).digest, nodes));
        while self.past.len() > REMEMBERED {
            self.past.pop_first();
        }
        let oldest = self.past.keys().next().copied().unwrap_or_default();
        self.gone.retain(|_, since| *since > oldest);
        self.header = Some(signed);
        self.parts = parts;
    }

    /// What somebody who holds `theirs` needs.
    #[must_use]
    pub fn since(&self, theirs: Option<&Held>) -> Answer {
        let Some(signed) = &self.header else {
            return Answer::Nothing;
        };
        let now = held(signed);
        let Some(theirs) = theirs else {
            return Answer::Snapshot(self.whole(signed));
        };
        if theirs.revision > now.revision || *theirs == now {
            return Answer::Current;
        }
        let known = self.past.get(&theirs.revision);
        if known.is_none_or(|(digest, _)| *digest != theirs.digest) {
            return Answer::Snapshot(self.whole(signed));
        }
        let changed = |p: &OwnPart| p.since > theirs.revision;
        let delta = CatalogDelta {
            from: Some(theirs.revision),
            header: signed.clone(),
            parts: self.signed_parts(|_, p| changed(p)),
            removed: self
                .gone
                .iter()
                .filter(|(_, since)| **since > theirs.revision)
                .map(|(key, _)| key.clone())
                .collect(),
        };
        let total: usize = delta.parts.iter().map(size).sum();
        if total.saturating_add(delta.removed.len() * 70) > FRAME_BYTES - FRAME_ROOM {
            return Answer::Snapshot(self.whole(signed));
        }
        Answer::Delta(delta)
    }

    /// These parts as they are now, as many as fit one frame; the others are asked for once more.
    #[must_use]
    pub fn again(&self, keys: &BTreeSet<PartKey>) -> Option<CatalogDelta> {
        let signed = self.header.as_ref()?;
        let mut room = FRAME_BYTES - FRAME_ROOM;
        let mut parts = self.signed_parts(|key, _| keys.contains(key));
        parts.retain(|part| {
            let left = room.checked_sub(size(part));
            room = left.unwrap_or(0);
            left.is_some()
        });
        (!parts.is_empty()).then(|| CatalogDelta {
            from: Some(signed.header.revision),
            header: signed.clone(),
            parts,
            removed: Vec::new(),
        })
    }

    /// All of it, for followers, the disk and whoever holds nothing.
    #[must_use]
    pub fn snapshot(&self) -> Option<CatalogDelta> {
        self.header.as_ref().map(|signed| self.whole(signed))
    }

    fn whole(&self, signed: &SignedHeader) -> CatalogDelta {
        CatalogDelta {
            from: None,
            header: signed.clone(),
            parts: self.signed_parts(|_, _| true),
            removed: Vec::new(),
        }
    }

    fn signed_parts(&self, wanted: impl Fn(&PartKey, &OwnPart) -> bool) -> Vec<SignedPart> {
        let tree = Tree::new(self.parts.values().map(|p| &p.digest));
        let numbered = self.parts.iter().enumerate();
        numbered
            .filter(|(_, (key, part))| wanted(key, part))
            .map(|(index, (key, part))| SignedPart {
                key: key.clone(),
                salt: part.salt,
                bytes: part.bytes.clone(),
                proof: tree.proof(index),
            })
            .collect()
    }
}

/// About what a part takes in a frame, never less.
fn size(part: &SignedPart) -> usize {
    part.bytes
        .len()
        .saturating_add(part.proof.path.len() * 40 + 256)
}

/// What a header stands for.
pub(super) fn held(signed: &SignedHeader) -> Held {
    Held {
        revision: signed.header.revision,
        digest: sha256(&[&signed.bytes]),
    }
}

/// A part within its bound: services at the end are left out until it fits.
fn fitting(key: &PartKey, mut content: Part, problems: &mut Vec<Problem>) -> (Part, Vec<u8>) {
    let mut left_out = 0u32;
    loop {
        let bytes = part_bytes(&content);
        let smaller = match &mut content {
            Part::Namespace(part) if bytes.len() > PART_BYTES => part.services.pop_last(),
            _ => None,
        };
        if smaller.is_none() {
            if left_out > 0 {
                problems.push(Problem {
                    kind: ProblemKind::LimitReached,
                    subject: key.to_string(),
                    message: format!(
                        "does not fit {PART_BYTES} bytes: peers do not learn of its last {left_out} services"
                    ),
                });
            }
            return (content, bytes);
        }
        left_out = left_out.saturating_add(1);
    }
}

/// Namespaces at the end that are too many to be told.
fn left_out(parts: usize) -> Option<Problem> {
    let over = parts.checked_sub(PARTS).filter(|over| *over > 0)?;
    Some(Problem {
        kind: ProblemKind::LimitReached,
        subject: "catalog".to_owned(),
        message: format!(
            "has at most {PARTS} parts: peers do not learn of the last {over} namespaces"
        ),
    })
}

fn unsigned(cluster: &ClusterId) -> Problem {
    Problem {
        kind: ProblemKind::Frozen,
        subject: format!("catalog of {cluster}"),
        message: "cannot be signed: the catalog key cannot be used; check the state directory"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use causeway_proto::model::NamespacePart;

    use super::*;
    use crate::samples::{NameKeys, at, id};

    #[test]
    fn namespaces_that_are_too_many_are_told() {
        let part = |n: usize| {
            let namespace = format!("n{n:05}").parse().unwrap();
            let part = NamespacePart {
                namespace,
                services: BTreeMap::new(),
                identities: BTreeMap::new(),
            };
            let key = PartKey::Namespace(part.namespace.clone());
            (key, Part::Namespace(part))
        };
        let mut own = Own::new(id("west"));
        let keys = NameKeys(id("west"));
        let mut cut = |count| {
            let content = (0..count).map(part).collect();
            own.cut(content, &BTreeMap::new(), 1, at(0), &keys)
        };
        assert_eq!(cut(PARTS), (true, Vec::new()));
        // In each revision anew, also when it is no news to peers.
        for _ in 0..2 {
            let (news, problems) = cut(PARTS + 2);
            assert!(!news);
            let told = problems[0].to_string();
            assert!(told.contains("the last 2 namespaces"), "{told}");
        }
    }
}
