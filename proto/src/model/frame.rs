//! Pure: what two gateways of different clusters say to each other on a session, the same whoever dialled.
//!
//! Order on a session: each side sends `Hello` first and nothing before the other's; then `Want`; then what
//! was asked for, and `Beat` every `limits::BEAT_MS`. Encoded, a frame is at most `limits::FRAME_BYTES`, and
//! a part at most `limits::PART_BYTES`: a change that does not fit one `Delta` goes as a Snapshot, part by part.

use std::collections::BTreeSet;
use std::fmt;

use super::{
    CatalogDelta, Check, ClusterId, ClusterSet, Digest, GatewayName, PartKey, PeerNumber, Revision,
    SignedHeader, SignedPart, Timestamp,
};

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// First on every session, once from each side.
    Hello(Hello),
    /// The newest header, where no wanted part changed, or before anything was asked for.
    Header(SignedHeader),
    /// Alone keeps the lease.
    Beat(Beat),
    /// A Snapshot follows: it replaces what is held when its end has come, not before.
    SnapshotBegin(SnapshotBegin),
    /// One of its parts.
    SnapshotPart(SignedPart),
    /// It is whole.
    SnapshotEnd(SnapshotEnd),
    /// A change; `from` is always set. The answer to `Want::Parts` has `from` equal to the header's revision.
    Delta(CatalogDelta),
    /// What the sender wants of the other's catalog.
    Want(Want),
    /// Taken.
    Ack(Ack),
    /// Refused.
    Nack(Nack),
    /// Last on a session that is closed in order.
    Bye(Bye),
    /// Asks, by a number, what the receiver finds of its ways to the sender. Only to who has the feature.
    Diagnose(u64),
    /// What it found.
    Diagnosed(u64, Vec<Check>),
}

/// Who speaks, and how the two sides stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The sender's cluster; must be the one in its certificate.
    pub cluster: ClusterId,
    /// Its clusterset.
    pub cluster_set: ClusterSet,
    /// The gateway's name; must be the one in its certificate.
    pub gateway: GatewayName,
    /// Oldest and newest version of this protocol that it speaks; the greatest common one is used.
    pub versions: (u16, u16),
    /// Features that it has beyond the version, by name; unknown ones are ignored.
    pub features: BTreeSet<String>,
    /// Its wall clock.
    pub time: Timestamp,
    /// How the sender's cluster numbers the receiver's in packets; `None` until its leader has allotted it.
    pub number_for_you: Option<PeerNumber>,
    /// Whether its configuration says `encryption: off` towards the receiver.
    pub plain_allowed: bool,
    /// What it holds of the receiver's catalog.
    pub held: Option<Held>,
    /// Drawn when the process started: tells a restart from a second connection.
    pub instance: u64,
}

/// A state of a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Where it stands.
    pub revision: Revision,
    /// Digest of the signed bytes of its header.
    pub digest: Digest,
}

/// Word of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Digest of the newest header that the sender holds of its *own* cluster; `None` before the first.
    pub newest: Option<Digest>,
    /// Its wall clock.
    pub time: Timestamp,
    /// It stops soon: packets better go by another gateway of its cluster.
    pub leaving: bool,
}

/// Opens a Snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotBegin {
    /// What it is of; says how many parts follow.
    pub header: SignedHeader,
}

/// Closes a Snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// As opened.
    pub revision: Revision,
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Everything, then every change.
    Snapshot,
    /// What changed since, then every change; a Snapshot if that is no longer known.
    Since(Held),
    /// These parts once more, as they are now: their digest did not fit.
    Parts(BTreeSet<PartKey>),
}

/// Taken, checked and in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Of the receiver's catalog.
    pub held: Held,
}

/// Refused; what was held stays in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nack {
    /// What was refused.
    pub revision: Revision,
    /// Why, for programs.
    pub reason: NackReason,
    /// Why, for people.
    pub message: String,
}

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NackReason {
    /// The signature over the header is not the catalog key's.
    BadSignature,
    /// A part does not lie under the header's root.
    BadProof,
    /// The epoch and revision are behind what is held.
    OldRevision,
    /// Two different headers at one epoch and revision.
    TwoStories,
    /// It speaks for another cluster.
    NotYours,
    /// A bound of `limits` is passed.
    TooLarge,
    /// It cannot be read.
    Malformed,
    /// A change to something that is not held.
    UnknownBase,
}

/// Goodbye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bye {
    /// Why, for programs.
    pub reason: ByeReason,
    /// Keeps the lease this long from now, in milliseconds, if it is longer: a restart withdraws nobody.
    pub lease_ms: u64,
    /// Why, for people.
    pub message: String,
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ByeReason {
    /// The process stops; dial again later.
    Shutdown,
    /// The cluster has left the clusterset; do not dial again.
    Left,
    /// The receiver is cut off; do not dial again.
    Revoked,
    /// No common version, or another clusterset; dial again only after a change.
    Incompatible,
    /// The receiver broke the protocol; the message says how.
    PeerFault,
    /// The certificate that opened the session is over; dial again at once.
    Expired,
    /// The queue to the receiver was full; dial again at once.
    TooSlow,
    /// Another session between the same two instances took over.
    Replaced,
}

impl Frame {
    /// Its name in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Header(_) => "Header",
            Self::Beat(_) => "Beat",
            Self::SnapshotBegin(_) => "SnapshotBegin",
            Self::SnapshotPart(_) => "SnapshotPart",
            Self::SnapshotEnd(_) => "SnapshotEnd",
            Self::Delta(_) => "Delta",
            Self::Want(_) => "Want",
            Self::Ack(_) => "Ack",
            Self::Nack(_) => "Nack",
            Self::Bye(_) => "Bye",
            Self::Diagnose(_) => "Diagnose",
            Self::Diagnosed(..) => "Diagnosed",
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.revision, self.digest)
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        match self {
            Self::Hello(h) => write!(f, " {}/{}", h.cluster, h.gateway),
            Self::Header(h) => write!(f, " {} {}", h.header.cluster, h.header.revision),
            Self::Beat(b) => b.newest.iter().try_for_each(|d| write!(f, " {d}")),
            Self::SnapshotBegin(s) => write!(
                f,
                " {} {} of {} parts",
                s.header.header.cluster, s.header.header.revision, s.header.header.parts
            ),
            Self::SnapshotPart(p) => write!(f, " {} ({} bytes)", p.key, p.bytes.len()),
            Self::SnapshotEnd(s) => write!(f, " {}", s.revision),
            Self::Delta(d) => write!(f, " {d}"),
            Self::Want(Want::Snapshot) => write!(f, " all"),
            Self::Want(Want::Since(held)) => write!(f, " since {held}"),
            Self::Want(Want::Parts(keys)) => keys.iter().try_for_each(|k| write!(f, " {k}")),
            Self::Ack(a) => write!(f, " {}", a.held),
            Self::Nack(n) => write!(f, " {} {:?}: {}", n.revision, n.reason, n.message),
            Self::Diagnose(id) => write!(f, " {id}"),
            Self::Diagnosed(id, checks) => write!(f, " {id}, {} checks", checks.len()),
            Self::Bye(b) => write!(f, " {:?}: {}", b.reason, b.message),
        }
    }
}
