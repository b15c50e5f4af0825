//! Pure: the follower's part: it takes what the leader alone writes, serves it alike, and says since when there
//! has been no leader.

use std::collections::BTreeMap;

use causeway_proto::model::{
    FollowHello, FollowState, GatewayAddress, GatewayName, Part, PartKey, Problem, ProblemKind,
    Timestamp,
};

use super::{Gateway, Keep};
use crate::allot::Ledger;
use crate::now::Now;

/// The connection to the leader.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// Since when it is gone.
    down: Option<Now>,
    /// Why what came last over it was not taken.
    refused: Option<String>,
}

impl Link {
    pub fn new(now: Now) -> Self {
        Self {
            down: Some(now),
            refused: None,
        }
    }
}

impl Gateway {
    /// What this follower says first to the leader.
    #[must_use]
    pub fn follow_hello(&self) -> FollowHello {
        let held = self.ledger.in_force();
        FollowHello {
            gateway: self.settings.gateway.clone(),
            epoch: self.highest_epoch(),
            instance: self.settings.instance,
            node: self.settings.node.clone(),
            address: self.settings.address.clone(),
            allocations: (held.epoch > 0).then(|| held.clone()),
            trust: (self.trust.version > 0).then(|| self.trust.clone()),
        }
    }

    /// Takes what the leader sent. True: acknowledge it once all that [`Gateway::poll`] wants kept is on disk. False:
    /// nothing of it was taken, and the connection is of no use: it comes from a leadership that is over, or with
    /// a catalog that is not this cluster's.
    pub fn follow(&mut self, state: FollowState, now: Now) -> bool {
        let other = self.leader() != Some(&state.leader);
        if self.is_leader() || other || state.epoch < self.ledger.in_force().epoch {
            return false;
        }
        let taken = state.catalog.map(|whole| {
            let taken = self.catalog.own.take(&whole, self.keys.as_ref());
            taken.map(|news| news.then_some(whole))
        });
        let catalog = match taken.transpose() {
            Ok(catalog) => catalog.flatten(),
            Err(refusal) => {
                self.link.refused = Some(refusal.message);
                self.dirty = true;
                return false;
            }
        };
        self.link.refused = None;
        if let Some(whole) = catalog {
            self.keep(Keep::Own(whole));
        }
        if state.epoch > self.epoch {
            self.epoch = state.epoch;
        }
        if let Some(publication) = state.publication
            && self.publication.as_ref() != Some(&publication)
        {
            self.publication = Some(publication.clone());
            self.keep(Keep::Publication(publication));
        }
        if let Some(allocations) = state.allocations
            && allocations != *self.ledger.in_force()
        {
            self.ledger = Ledger::restored(allocations.clone());
            self.keep(Keep::Allocations(allocations));
        }
        if let Some(trust) = state.trust
            && trust != self.trust
        {
            self.trusted(trust, now);
        }
        self.gateways = state.gateways;
        for report in state.reports {
            self.report(report, now);
        }
        self.dirty = true;
        true
    }

    /// The connection to the leader came or went.
    pub fn leader_link(&mut self, up: bool, now: Now) {
        let down = (!up).then_some(now);
        // Frozen since it first was gone.
        self.link.down = match (self.link.down, down) {
            (Some(since), Some(_)) => Some(since),
            (_, down) => down,
        };
        if let Some(leader) = self.leader().cloned().filter(|_| !up && !self.is_leader()) {
            self.gateway_quiet(&leader);
        }
        self.dirty = true;
    }

    /// What the leader sends and cannot be taken.
    pub(super) fn refused_leader(&self) -> Option<Problem> {
        let leader = self.leader()?;
        self.link.refused.as_ref().map(|why| Problem {
            kind: ProblemKind::Frozen,
            subject: format!("leader {leader}"),
            message: format!(
                "its catalog is not taken: {why}; does this gateway's enrolment file come from it?"
            ),
        })
    }

    /// Whom this follower has not heard since when, if it has a leader and does not hear it.
    pub(super) fn unheard(&self) -> Option<(GatewayName, Now)> {
        let leader = self.leader().filter(|_| !self.is_leader());
        leader.cloned().zip(self.link.down)
    }

    pub(super) fn frozen_since(&self) -> Option<Timestamp> {
        let down = self.link.down.filter(|_| !self.is_leader());
        down.map(|since| since.wall)
    }

    /// Where own gateways take sessions, as the signed catalog says.
    #[must_use]
    pub fn session_addresses(&self) -> Vec<String> {
        let gateways = self.own_gateways().into_values();
        gateways.map(|address| address.session).collect()
    }

    /// Own gateways, as the signed catalog says.
    pub(super) fn own_gateways(&self) -> BTreeMap<GatewayName, GatewayAddress> {
        match self.catalog.own.content(&PartKey::Cluster) {
            Some(Part::Cluster(part)) => part.gateways.clone(),
            _ => BTreeMap::new(),
        }
    }
}
