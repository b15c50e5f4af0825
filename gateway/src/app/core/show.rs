//! Shell: shows what the round has changed beside the View: facts for status, whom to dial, what to say to the
//! leader.

use std::sync::Arc;

use causeway_proto::model::Encryption;
use tokio::sync::watch;

use super::Driver;
use super::sessions::Live;
use crate::app::carry::{WayTo, Ways};
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
        if self.exports_changed {
            self.exports_changed = false;
            let publication = self.gateway.publication();
            self.exports = Arc::new(publication.map(|p| p.exports.clone()).unwrap_or_default());
        }
        // Some are forgotten without a word.
        let count = self.gateway.reports().len();
        if self.reports_changed || count != self.reports.len() {
            self.reports_changed = false;
            let reports = self.gateway.reports().iter();
            let reports = reports.map(|(node, (report, _))| (node.clone(), report.clone()));
            self.reports = Arc::new(reports.collect());
        }
        update(&self.shown.leading, self.leading());
        update(&self.shown.targets, self.targets(now));
        update(&self.shown.facts, self.facts());
        update(&self.shown.ways, self.ways());
        update(&self.shown.carries, self.gateway.carries().clone());
    }

    /// The sessions that packets of each peer go by.
    fn ways(&self) -> Ways {
        let peers = self.gateway.view().peers.iter();
        let encrypted = peers.filter(|(_, peer)| peer.encryption == Encryption::Encrypted);
        let ways = encrypted.map(|(id, peer)| {
            let up = self.gateway.sessions().filter(|(_, s)| s.is_up());
            let live = up.filter_map(|(id, session)| Some((self.live.get(&id)?, session)));
            let ways = live.filter(|(live, _)| live.is_with(id));
            let ways = ways.map(|(live, session)| WayTo {
                link: live.link().clone(),
                leaving: session.is_leaving(),
            });
            (peer.number.number(), ways.collect())
        });
        Ways {
            peers: ways.collect(),
            leaving: self.draining,
            waiting: self.stopping.is_some(),
        }
    }

    /// Large pieces are shared with the facts before, so that a round that changes nothing copies and compares nothing.
    fn facts(&self) -> status::Facts {
        let exports = Arc::clone(&self.exports);
        let reports = Arc::clone(&self.reports);
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
            leader: self.gateway.leader().filter(|_| !frozen).cloned(),
            epoch: self.gateway.epoch(),
            revision: self.gateway.catalog().own.held().map(|h| h.revision),
            gateways: self.gateway.session_addresses(),
            certificate_expires: self.keys.tls.leaf.validity().map(|v| v.not_after),
            ca_expires: self.keys.ca_expires(),
            peers: peers.collect(),
            reports,
            exports,
        }
    }
}
