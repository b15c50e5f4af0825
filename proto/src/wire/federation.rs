//! Pure: frames between clusters.

use super::Encoded;
use super::export::texts;
use super::field::{
    Code, Fault, InvalidWire, Read, code, codes, contradiction, digest, maybe, name, need, one,
    other_number, set, small, text,
};
use super::pb::federation as pb;
use super::report::{bounded, checks, checks_of};
use crate::limits;
use crate::model::{
    Ack, Beat, Bye, CatalogDelta, Frame, Held, Hello, Nack, SignedHeader, SnapshotBegin,
    SnapshotEnd, Timestamp, Want,
};

codes! {
    NackReason = pb::NackReason {
        BadSignature = BadSignature, BadProof = BadProof, OldRevision = OldRevision,
        TwoStories = TwoStories, NotYours = NotYours, TooLarge = TooLarge, Malformed = Malformed,
        UnknownBase = UnknownBase,
    }
    ByeReason = pb::ByeReason {
        Shutdown = Shutdown, Left = Left, Revoked = Revoked, Incompatible = Incompatible,
        PeerFault = PeerFault, Expired = Expired, TooSlow = TooSlow, Replaced = Replaced,
    }
}

impl From<&Frame> for pb::Frame {
    fn from(frame: &Frame) -> Self {
        use pb::frame::Frame as F;
        let frame = match frame {
            Frame::Hello(f) => F::Hello(f.into()),
            Frame::Header(f) => F::Header(f.into()),
            Frame::Beat(f) => F::Beat(f.into()),
            Frame::SnapshotBegin(f) => F::SnapshotBegin(pb::SnapshotBegin {
                header: Some((&f.header).into()),
            }),
            Frame::SnapshotPart(f) => F::SnapshotPart(f.into()),
            Frame::SnapshotEnd(f) => F::SnapshotEnd(pb::SnapshotEnd {
                revision: Some(f.revision.into()),
            }),
            Frame::Delta(f) => F::Delta(f.into()),
            Frame::Want(f) => F::Want(f.into()),
            Frame::Ack(f) => F::Ack(pb::Ack {
                held: Some((&f.held).into()),
            }),
            Frame::Nack(f) => F::Nack(f.into()),
            Frame::Bye(f) => F::Bye(f.into()),
            Frame::Diagnose(id) => F::Diagnose(pb::Diagnose { id: *id }),
            Frame::Diagnosed(id, found) => F::Diagnosed(pb::Diagnosed {
                id: *id,
                checks: checks(found),
            }),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<pb::Frame> for Frame {
    type Error = InvalidWire;
    fn try_from(frame: pb::Frame) -> Read<Self> {
        use pb::frame::Frame as F;
        Ok(match frame.frame.ok_or(Fault::Missing)? {
            F::Hello(f) => Self::Hello(one("hello", f, TryFrom::try_from)?),
            F::Header(f) => Self::Header(one("header", f, TryFrom::try_from)?),
            F::Beat(f) => Self::Beat(one("beat", f, TryFrom::try_from)?),
            F::SnapshotBegin(f) => Self::SnapshotBegin(one("snapshot_begin", f, begin)?),
            F::SnapshotPart(f) => Self::SnapshotPart(one("snapshot_part", f, TryFrom::try_from)?),
            F::SnapshotEnd(f) => Self::SnapshotEnd(one("snapshot_end", f, end)?),
            F::Delta(f) => Self::Delta(one("delta", f, delta)?),
            F::Want(f) => Self::Want(one("want", f, TryFrom::try_from)?),
            F::Ack(f) => Self::Ack(Ack {
                held: one("ack", f, |f| need("held", f.held, TryFrom::try_from))?,
            }),
            F::Nack(f) => Self::Nack(one("nack", f, TryFrom::try_from)?),
            F::Bye(f) => Self::Bye(one("bye", f, TryFrom::try_from)?),
            F::Diagnose(f) => Self::Diagnose(f.id),
            F::Diagnosed(f) => Self::Diagnosed(f.id, one("diagnosed", f.checks, checks_of)?),
        })
    }
}

fn begin(f: pb::SnapshotBegin) -> Read<SnapshotBegin> {
    let header: SignedHeader = need("header", f.header, TryFrom::try_from)?;
    Ok(SnapshotBegin { header })
}

fn end(f: pb::SnapshotEnd) -> Read<SnapshotEnd> {
    let revision = need("revision", f.revision, |r| Ok(r.into()))?;
    Ok(SnapshotEnd { revision })
}

fn delta(f: super::pb::model::CatalogDelta) -> Read<CatalogDelta> {
    let delta: CatalogDelta = f.try_into()?;
    match delta.from {
        None => Err(InvalidWire::from(Fault::Missing).within("from")),
        Some(from) if from > delta.header.header.revision => {
            Err(contradiction("starts after its end").within("from"))
        }
        Some(_) => Ok(delta),
    }
}

impl From<&Hello> for pb::Hello {
    fn from(h: &Hello) -> Self {
        Self {
            cluster: h.cluster.to_string(),
            cluster_set: h.cluster_set.to_string(),
            gateway: h.gateway.to_string(),
            version_min: h.versions.0.into(),
            version_max: h.versions.1.into(),
            features: texts(&h.features),
            time_ms: h.time.0,
            number_for_you: h.number_for_you.map(|n| n.number().into()),
            plain_allowed: h.plain_allowed,
            held: h.held.as_ref().map(Into::into),
            instance: h.instance,
        }
    }
}

/// Oldest and newest.
pub(super) fn versions(min: u32, max: u32) -> Read<(u16, u16)> {
    let rule = "a version of 1 to 65535";
    let oldest = one("version_min", min, |n| small(n, rule))?;
    let newest = one("version_max", max, |n| small(n, rule))?;
    if oldest == 0 || oldest > newest {
        return Err(contradiction("is no range of versions").within("version_min"));
    }
    Ok((oldest, newest))
}

impl TryFrom<pb::Hello> for Hello {
    type Error = InvalidWire;
    fn try_from(h: pb::Hello) -> Read<Self> {
        Ok(Self {
            cluster: one("cluster", h.cluster, name)?,
            cluster_set: one("cluster_set", h.cluster_set, name)?,
            gateway: one("gateway", h.gateway, name)?,
            versions: versions(h.version_min, h.version_max)?,
            features: set("features", limits::FEATURES, h.features, text)?,
            time: Timestamp(h.time_ms),
            number_for_you: maybe("number_for_you", h.number_for_you, other_number)?,
            plain_allowed: h.plain_allowed,
            held: maybe("held", h.held, TryFrom::try_from)?,
            instance: h.instance,
        })
    }
}

impl From<&Held> for pb::Held {
    fn from(h: &Held) -> Self {
        Self {
            revision: Some(h.revision.into()),
            digest: h.digest.0.to_vec(),
        }
    }
}

impl TryFrom<pb::Held> for Held {
    type Error = InvalidWire;
    fn try_from(h: pb::Held) -> Read<Self> {
        Ok(Self {
            revision: need("revision", h.revision, |r| Ok(r.into()))?,
            digest: one("digest", h.digest, digest)?,
        })
    }
}

impl From<&Beat> for pb::Beat {
    fn from(b: &Beat) -> Self {
        Self {
            newest: b.newest.map(|d| d.0.to_vec()),
            time_ms: b.time.0,
            leaving: b.leaving,
        }
    }
}

impl TryFrom<pb::Beat> for Beat {
    type Error = InvalidWire;
    fn try_from(b: pb::Beat) -> Read<Self> {
        Ok(Self {
            newest: maybe("newest", b.newest, digest)?,
            time: Timestamp(b.time_ms),
            leaving: b.leaving,
        })
    }
}

impl From<&Want> for pb::Want {
    fn from(w: &Want) -> Self {
        use pb::want::Want as W;
        let want = match w {
            Want::Snapshot => W::Snapshot(pb::want::Snapshot {}),
            Want::Since(held) => W::Since(held.into()),
            Want::Parts(keys) => W::Parts(pb::want::Parts {
                keys: keys.iter().map(Into::into).collect(),
            }),
        };
        Self { want: Some(want) }
    }
}

impl TryFrom<pb::Want> for Want {
    type Error = InvalidWire;
    fn try_from(w: pb::Want) -> Read<Self> {
        use pb::want::Want as W;
        Ok(match w.want.ok_or(Fault::Missing)? {
            W::Snapshot(_) => Self::Snapshot,
            W::Since(held) => Self::Since(one("since", held, TryFrom::try_from)?),
            W::Parts(parts) => {
                Self::Parts(set("parts", limits::PARTS, parts.keys, TryFrom::try_from)?)
            }
        })
    }
}

impl From<&Nack> for pb::Nack {
    fn from(n: &Nack) -> Self {
        Self {
            revision: Some(n.revision.into()),
            reason: n.reason.code(),
            message: bounded(&n.message),
        }
    }
}

impl TryFrom<pb::Nack> for Nack {
    type Error = InvalidWire;
    fn try_from(n: pb::Nack) -> Read<Self> {
        Ok(Self {
            revision: need("revision", n.revision, |r| Ok(r.into()))?,
            reason: one("reason", n.reason, code)?,
            message: one("message", n.message, text)?,
        })
    }
}

impl From<&Bye> for pb::Bye {
    fn from(b: &Bye) -> Self {
        Self {
            reason: b.reason.code(),
            lease_ms: b.lease_ms,
            message: bounded(&b.message),
        }
    }
}

fn lease(got: u64) -> Read<u64> {
    if got <= limits::BYE_LEASE_MS {
        return Ok(got);
    }
    let rule = "a lease that a Bye may announce";
    Err(Fault::Range { got, rule }.into())
}

impl TryFrom<pb::Bye> for Bye {
    type Error = InvalidWire;
    fn try_from(b: pb::Bye) -> Read<Self> {
        Ok(Self {
            reason: one("reason", b.reason, code)?,
            lease_ms: one("lease_ms", b.lease_ms, lease)?,
            message: one("message", b.message, text)?,
        })
    }
}

impl Encoded for Frame {
    type Message = pb::Frame;
}
