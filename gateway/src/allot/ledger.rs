//! Pure: when allocations may be told to anybody: after somebody else has them, too. A leader that dies between
//! allotting and telling has then told nothing that its successor does not know.

use std::collections::{BTreeSet, VecDeque};

use causeway_proto::model::{Allocations, GatewayName};

/// Proposals that wait at one time: as many as change while one acknowledgement travels, and more.
const PENDING: usize = 8;

/// Who holds a copy beside the leader's own disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A gateway that follows.
    Follower(GatewayName),
    /// The controller's store.
    Store,
}

/// What is proposed and what is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    in_force: Allocations,
    /// Oldest first; the last is the newest. Bounded: what waits in the middle is left out.
    pending: VecDeque<Allocations>,
    /// Those that are there; while there are none the leader's own disk counts.
    holders: BTreeSet<Holder>,
    /// The newest that the own disk has, as (epoch, version).
    on_disk: (u64, u64),
    /// The newest that any follower, or the controller's store, has.
    elsewhere: (u64, u64),
}

fn stamp(allocations: &Allocations) -> (u64, u64) {
    (allocations.epoch, allocations.version)
}

impl Ledger {
    /// With what came back from a store: it had been acknowledged by being there.
    #[must_use]
    pub fn restored(allocations: Allocations) -> Self {
        let at = stamp(&allocations);
        Self {
            in_force: allocations,
            on_disk: at,
            elsewhere: at,
            ..Self::default()
        }
    }

    /// What may be told.
    #[must_use]
    pub fn in_force(&self) -> &Allocations {
        &self.in_force
    }

    /// What the next allotment starts from.
    #[must_use]
    pub fn newest(&self) -> &Allocations {
        self.pending.back().unwrap_or(&self.in_force)
    }

    /// The newest that waits for an acknowledgement.
    #[must_use]
    pub fn pending(&self) -> Option<&Allocations> {
        self.pending.back()
    }

    /// Puts new allocations up for acknowledgement; true when they differ from the newest.
    pub fn propose(&mut self, next: Allocations) -> bool {
        if next == *self.newest() {
            return false;
        }
        self.pending.push_back(next);
        if self.pending.len() > PENDING {
            self.pending.remove(PENDING - 1);
        }
        true
    }

    /// Those that are there.
    pub fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.holders.iter()
    }

    /// The own disk has this.
    pub fn ack_disk(&mut self, epoch: u64, version: u64) -> bool {
        self.on_disk = self.on_disk.max((epoch, version));
        self.settle()
    }

    /// A follower, or the controller's store, has this.
    pub fn ack_elsewhere(&mut self, epoch: u64, version: u64) -> bool {
        self.elsewhere = self.elsewhere.max((epoch, version));
        self.settle()
    }

    /// One came or went.
    pub fn holder(&mut self, holder: Holder, there: bool) -> bool {
        if there {
            self.holders.insert(holder);
        } else {
            self.holders.remove(&holder);
        }
        self.settle()
    }

    /// True when what was pending has come into force.
    fn settle(&mut self) -> bool {
        let enough = if self.holders.is_empty() {
            self.elsewhere.max(self.on_disk)
        } else {
            self.elsewhere
        };
        let mut settled = false;
        while self
            .pending
            .front()
            .is_some_and(|next| stamp(next) <= enough)
        {
            if let Some(next) = self.pending.pop_front() {
                self.in_force = next;
                settled = true;
            }
        }
        settled
    }
}
