//! Shell: shows what the round has changed beside the View: facts for status, whom to dial, what to say to the
//! leader.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_proto::model::{Exports, NodeName, Report};
use tokio::sync::watch;

use super::Driver;
use super::sessions::Live;
use crate::now::Now;
use crate::status;

/// Wakes the readers only when there is news.
fn update<T: PartialEq>(shown: &watch::Sender<Arc<T>>, next: T) {
    shown.send_if_modified(|shown| {
        let changed = **shown != next;
        if changed {
            *shown = Arc::new(next);
        }
        changed
    });
}

impl Driver {
    pub(super) fn show(&mut self, now: Now) {
        update(&self.shown.targets, self.targets(now));
        if !self.gateway.is_leader() {
            update(&self.shown.hello, self.gateway.follow_hello());
        }
        update(&self.shown.facts, self.facts());
    }

    fn facts(&self) -> status::Facts {
        let shown = self.shown.facts.borrow();
        let exports = match self.gateway.publication() {
            Some(p) if *shown.exports == p.exports => Arc::clone(&shown.exports),
            Some(p) => Arc::new(p.exports.clone()),
            None => Arc::new(Exports::default()),
        };
        let reports: BTreeMap<NodeName, Report> = self
            .gateway
            .reports()
            .iter()
            .map(|(node, (report, _))| (node.clone(), report.clone()))
            .collect();
        let up: Vec<_> = self.gateway.sessions().collect();
        let up = |id| up.iter().any(|(other, s)| *other == id && s.is_up());
        let peers = self.gateway.catalog().peers().iter().map(|(id, peer)| {
            let sessions = self.live.iter();
            let sessions = sessions.filter(|(at, live)| live.is_with(id) && up(**at));
            let facts = status::PeerFacts {
                held: peer.held().map(|h| h.revision),
                acknowledged: self.acknowledged.get(id).copied(),
                heard: peer.life.heard(),
                sessions: sessions.map(|(_, live)| Live::status(live)).collect(),
                last_error: self.errors.get(id).cloned(),
            };
            (id.clone(), facts)
        });
        let frozen = self.gateway.view().frozen_since.is_some();
        status::Facts {
            started: self.started,
            leader: (!frozen).then(|| self.config.leader_name().clone()),
            epoch: self.gateway.epoch(),
            revision: self.gateway.catalog().own.held().map(|h| h.revision),
            certificate_expires: self.keys.tls.leaf.validity().map(|v| v.not_after),
            ca_expires: self.keys.ca_expires(),
            peers: peers.collect(),
            reports: Arc::new(reports),
            exports,
        }
    }
}
