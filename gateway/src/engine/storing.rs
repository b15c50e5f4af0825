//! Pure: the controller's store as one more holder of what the leader alone writes. It gets no rings, which are made anew
//! from the exports, and what differs in nothing else is as good as stored.

use causeway_proto::limits::LEASE_MS;
use causeway_proto::model::{self, Allocations, Problem, ProblemKind, TrustState};

use super::Gateway;
use super::office::without_rings;
use crate::allot::Holder;
use crate::now::Now;

/// A store that a controller offers over one stream.
#[derive(Debug, Clone)]
pub(super) struct Storing {
    stream: u64,
    sequence: u64,
    /// Sent and not acknowledged.
    open: Option<Open>,
    /// What was acknowledged last.
    stored: Option<(Allocations, TrustState)>,
    /// Allocations of this stamp were looked at.
    looked: Option<(u64, u64)>,
    /// It did not answer in time, and nobody waits for it.
    overdue: bool,
}

#[derive(Debug, Clone)]
struct Open {
    sequence: u64,
    content: (Allocations, TrustState),
    /// On the monotonic clock.
    since: u64,
}

/// Whether both are the same for a store.
fn alike(a: &Allocations, b: &Allocations) -> bool {
    a.epoch == b.epoch
        && a.vips == b.vips
        && a.peers == b.peers
        && a.self_map == b.self_map
        && a.identities == b.identities
        && a.seed == b.seed
        && a.salts == b.salts
}

impl Gateway {
    /// The controller of this stream, whose word was obeyed, stores what the leader writes. The one before does no more.
    pub fn store_up(&mut self, stream: u64) {
        if !self.is_leader() || self.storing.as_ref().is_some_and(|s| s.stream == stream) {
            return;
        }
        self.storing = Some(Storing {
            stream,
            sequence: 0,
            open: None,
            stored: None,
            looked: None,
            overdue: false,
        });
        self.ledger.holder(Holder::Store, true);
        self.dirty = true;
    }

    /// That controller is gone.
    pub fn store_down(&mut self, stream: u64) {
        if self.storing.as_ref().is_some_and(|s| s.stream == stream) {
            self.storing = None;
            self.dirty |= self.ledger.holder(Holder::Store, false);
        }
    }

    /// The stream of the controller that stores.
    #[must_use]
    pub fn store_stream(&self) -> Option<u64> {
        self.storing.as_ref().map(|s| s.stream)
    }

    /// What is to be stored now, if anything. One at a time: the next after its acknowledgement.
    pub fn poll_keep(&mut self, now: Now) -> Option<model::Keep> {
        if self.wait_until.is_some() {
            return None;
        }
        let newest = self.ledger.newest();
        let stamp = (newest.epoch, newest.version);
        let storing = self.storing.as_mut()?;
        if storing.open.is_some() {
            return None;
        }
        let stored = storing.stored.as_ref();
        let trust = stored.is_none_or(|(_, trust)| *trust != self.trust);
        let allocations = storing.looked != Some(stamp)
            && stored.is_none_or(|(stored, _)| !alike(stored, newest));
        storing.looked = Some(stamp);
        if !trust && !allocations {
            self.dirty |= self.ledger.ack_elsewhere(stamp.0, stamp.1);
            return None;
        }
        storing.sequence = storing.sequence.saturating_add(1);
        let content = (without_rings(newest), self.trust.clone());
        let keep = model::Keep {
            sequence: storing.sequence,
            epoch: self.epoch,
            allocations: allocations.then(|| content.0.clone()),
            trust: trust.then(|| content.1.clone()),
        };
        storing.open = Some(Open {
            sequence: storing.sequence,
            content,
            since: now.mono_ms,
        });
        Some(keep)
    }

    /// What was sent under this number is stored.
    pub fn store_ack(&mut self, stream: u64, sequence: u64) {
        let storing = self.storing.as_mut().filter(|s| s.stream == stream);
        let Some(storing) = storing else {
            return;
        };
        let Some(open) = storing.open.take_if(|open| open.sequence == sequence) else {
            return;
        };
        let stamp = (open.content.0.epoch, open.content.0.version);
        storing.stored = Some(open.content);
        if std::mem::take(&mut storing.overdue) {
            self.ledger.holder(Holder::Store, true);
        }
        self.ledger.ack_elsewhere(stamp.0, stamp.1);
        self.dirty = true;
    }

    /// Version of the trust state that is stored.
    pub(super) fn stored_trust(&self) -> Option<u64> {
        let storing = self.storing.as_ref().filter(|s| !s.overdue)?;
        Some(storing.stored.as_ref().map_or(0, |(_, t)| t.version))
    }

    /// When a store that does not answer is waited for no longer.
    pub(super) fn storing_timeout(&self, now: Now) -> Option<u64> {
        let storing = self.storing.as_ref().filter(|s| !s.overdue)?;
        let due = storing.open.as_ref()?.since.saturating_add(LEASE_MS);
        Some(due.max(now.mono_ms.saturating_add(1)))
    }

    /// A store that cannot write must not hold up what is decided for the cluster.
    pub(super) fn storing_overdue(&mut self, now: Now) {
        let Some(storing) = &mut self.storing else {
            return;
        };
        let open = storing.open.as_ref();
        if !storing.overdue && open.is_some_and(|open| now.age(open.since) >= LEASE_MS) {
            storing.overdue = true;
            self.ledger.holder(Holder::Store, false);
            self.dirty = true;
        }
    }

    pub(super) fn storing_problem(&self) -> Option<Problem> {
        let storing = self.storing.as_ref().filter(|s| s.overdue)?;
        let open = storing.open.as_ref()?;
        Some(Problem {
            kind: ProblemKind::Frozen,
            subject: "controller".to_owned(),
            message: format!(
                "does not store what the leader gave it as {} of epoch {}: a loss of all gateways' disks would lose it; see the controller's log",
                open.sequence, self.epoch
            ),
        })
    }
}
