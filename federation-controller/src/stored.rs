//! Pure: what a leader must not lose, as pieces small enough for a Secret, and a head that says which pieces it is.
//!
//! Pieces lie in numbered slots. A piece that the head names is never written over: what changes goes to free slots,
//! then the head is replaced, so whatever ends a writer leaves the old state or the new. A piece whose content stays
//! stays where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use causeway_certs::cert::fingerprint;
use causeway_proto::model::{Allocations, Digest, LeaderState, TrustState};
use causeway_proto::wire::{Encoded, InvalidWire};
use serde::{Deserialize, Serialize};

/// Form of the head.
const FORMAT: u32 = 1;
/// Bytes of one piece: a Secret takes 1 MiB, names and all.
pub const PIECE_BYTES: usize = 900 << 10;
/// Slots: half of them hold the state, the others take the next one. More than a cluster of the largest size needs.
pub const SLOTS: u16 = 64;

/// Where a state stands: allocations by epoch and version, then trust by its version. It never falls back.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position {
    /// Of the allocations.
    pub epoch: u64,
    /// Of the allocations, within the epoch.
    pub version: u64,
    /// Of whom the cluster trusts.
    pub trust: u64,
}

impl Position {
    /// Of a state.
    #[must_use]
    pub fn of(state: &LeaderState) -> Self {
        let allocations = state.allocations.as_ref();
        Self {
            epoch: allocations.map_or(0, |a| a.epoch),
            version: allocations.map_or(0, |a| a.version),
            trust: state.trust.as_ref().map_or(0, |trust| trust.version),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}, trust {}", self.epoch, self.version, self.trust)
    }
}

/// One piece as the head knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Where it lies.
    pub slot: u16,
    /// SHA-256 of its content.
    pub digest: Digest,
}

/// What a state consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Form of all this; a newer one than ours is not read.
    format: u32,
    /// Where the state stands.
    #[serde(default)]
    pub position: Position,
    /// Which controller writes: no other one has this name. Who comes after takes the head over before it writes.
    #[serde(default)]
    pub writer: String,
    /// Allocations, in order.
    #[serde(default)]
    allocations: Vec<Piece>,
    /// Whom the cluster trusts, in order.
    #[serde(default)]
    trust: Vec<Piece>,
}

/// Why a stored state cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The head is no head.
    #[error("the head cannot be read: {0}")]
    Head(String),
    /// Written by a later version of this program.
    #[error("the head has format {0}, and this version knows {FORMAT}; upgrade the controller")]
    Format(u32),
    /// A piece is not there.
    #[error("piece {0} is missing")]
    Missing(u16),
    /// A piece is another one.
    #[error("piece {0} is not what the head says: it was altered")]
    Altered(u16),
    /// The pieces make no state.
    #[error("the pieces do not make a state: {0}")]
    Content(#[from] InvalidWire),
    /// The pieces make another state.
    #[error("the pieces make the state {found}, and the head says {expected}")]
    Position {
        /// Of the pieces.
        found: Position,
        /// Of the head.
        expected: Position,
    },
}

/// Why a state is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// What is stored is newer.
    #[error("what is stored, {stored}, is newer than {offered}")]
    Older {
        /// What lies there.
        stored: Position,
        /// What was to be written.
        offered: Position,
    },
    /// No room.
    #[error(
        "{bytes} bytes do not fit the {} Secrets of {PIECE_BYTES} bytes", SLOTS / 2
    )]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
}

/// Writes in their order: the pieces in any, then the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writes {
    /// Slot and content.
    pub pieces: Vec<(u16, Vec<u8>)>,
    /// Names them, and those that stay.
    pub head: Head,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            format: FORMAT,
            position: Position::default(),
            writer: String::new(),
            allocations: Vec::new(),
            trust: Vec::new(),
        }
    }
}

impl Head {
    /// From the bytes of a Secret.
    ///
    /// # Errors
    /// When they are none, or of a later form.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let wrong = |e: serde_json::Error| Damage::Head(e.to_string());
        let form: Form = serde_json::from_slice(bytes).map_err(wrong)?;
        if form.format != FORMAT {
            return Err(Damage::Format(form.format));
        }
        serde_json::from_slice(bytes).map_err(wrong)
    }

    /// As bytes for a Secret.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        // Numbers and digests: there is nothing that JSON could refuse.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Slots that it names.
    #[must_use]
    pub fn slots(&self) -> BTreeSet<u16> {
        let pieces = self.allocations.iter().chain(&self.trust);
        pieces.map(|piece| piece.slot).collect()
    }

    /// As it stands, naming no piece: for one whose pieces are damaged.
    #[must_use]
    pub fn without_pieces(&self) -> Self {
        Self {
            position: self.position,
            writer: self.writer.clone(),
            ..Self::default()
        }
    }

    /// The state that its pieces make.
    ///
    /// # Errors
    /// When they do not.
    pub fn join(&self, pieces: &BTreeMap<u16, Vec<u8>>) -> Result<LeaderState, Damage> {
        let state = LeaderState {
            authority: None,
            allocations: section(&self.allocations, pieces)?.allocations,
            trust: section(&self.trust, pieces)?.trust,
        };
        let found = Position::of(&state);
        if found != self.position {
            let expected = self.position;
            return Err(Damage::Position { found, expected });
        }
        Ok(state)
    }

    /// What to write so that the state is stored; `None`: it is already. `self` is the head as it lies there. Rings and
    /// the CA, which has a Secret of its own, are left out.
    ///
    /// # Errors
    /// When something newer lies there, or the state is too large.
    pub fn replace(&self, state: &LeaderState) -> Result<Option<Writes>, NotStored> {
        self.replace_by(state, PIECE_BYTES)
    }

    fn replace_by(&self, state: &LeaderState, piece: usize) -> Result<Option<Writes>, NotStored> {
        let offered = Position::of(state);
        let (new, held) = (offered, self.position);
        if (new.epoch, new.version) < (held.epoch, held.version) || new.trust < held.trust {
            let stored = self.position;
            return Err(NotStored::Older { stored, offered });
        }
        let sections = [
            bytes_of(state.allocations.as_ref(), |a| LeaderState {
                allocations: Some(without_rings(a)),
                ..LeaderState::default()
            }),
            bytes_of(state.trust.as_ref(), |trust| LeaderState {
                trust: Some(trust.clone()),
                ..LeaderState::default()
            }),
        ];
        let bytes = sections.iter().map(Vec::len).sum();
        let count: usize = sections.iter().map(|s| s.len().div_ceil(piece)).sum();
        if count > usize::from(SLOTS / 2) {
            return Err(NotStored::TooLarge { bytes });
        }
        let mut writes = Writes {
            pieces: Vec::new(),
            head: Self {
                position: offered,
                writer: self.writer.clone(),
                ..Self::default()
            },
        };
        let used = self.slots();
        let mut free = (0..SLOTS).filter(|slot| !used.contains(slot));
        let [allocations, trust] = &sections;
        let mut place = |content: &[u8], old: &[Piece]| {
            let digest = fingerprint(content);
            if let Some(piece) = old.iter().find(|piece| piece.digest == digest) {
                return Ok(piece.clone());
            }
            let slot = free.next().ok_or(NotStored::TooLarge { bytes })?;
            writes.pieces.push((slot, content.to_vec()));
            Ok(Piece { slot, digest })
        };
        for content in allocations.chunks(piece) {
            let piece = place(content, &self.allocations)?;
            writes.head.allocations.push(piece);
        }
        for content in trust.chunks(piece) {
            let piece = place(content, &self.trust)?;
            writes.head.trust.push(piece);
        }
        Ok((writes.head != *self).then_some(writes))
    }
}

fn section(named: &[Piece], pieces: &BTreeMap<u16, Vec<u8>>) -> Result<LeaderState, Damage> {
    let mut bytes = Vec::new();
    for piece in named {
        let content = pieces.get(&piece.slot).ok_or(Damage::Missing(piece.slot))?;
        if fingerprint(content) != piece.digest {
            return Err(Damage::Altered(piece.slot));
        }
        bytes.extend_from_slice(content);
    }
    Ok(LeaderState::from_bytes(&bytes)?)
}

/// An absent part has no bytes, and no piece.
fn bytes_of<T>(part: Option<&T>, alone: impl FnOnce(&T) -> LeaderState) -> Vec<u8> {
    part.map_or_else(Vec::new, |part| alone(part).to_bytes())
}

fn without_rings(allocations: &Allocations) -> Allocations {
    Allocations {
        rings: BTreeMap::new(),
        ..allocations.clone()
    }
}

/// The newer of each: what one side has lost the other has kept.
#[must_use]
pub fn newest(one: LeaderState, other: LeaderState) -> LeaderState {
    let standing = |a: &Allocations| (a.epoch, a.version);
    let version = |trust: &TrustState| trust.version;
    LeaderState {
        authority: one.authority.or(other.authority),
        allocations: newer(one.allocations, other.allocations, standing),
        trust: newer(one.trust, other.trust, version),
    }
}

fn newer<T, K: Ord>(one: Option<T>, other: Option<T>, key: impl Fn(&T) -> K) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) if key(&other) > key(&one) => Some(other),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
