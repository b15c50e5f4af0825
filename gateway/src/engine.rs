//! Pure: one gateway's whole state and what follows from it. A single task owns it: tells it what happened, calls
//! [`Gateway::settle`] once after each batch, and then does what [`Gateway::poll`] and [`Gateway::poll_frame`] give
//! out. The same code runs under the simulation's clock. No runtime, sockets, disk, clock or RNG in here.

mod carrying;
mod command;
mod follower;
mod introductions;
mod leader;
mod link;
mod office;
mod settings;
mod storing;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use causeway_proto::model::{
    Allocations, Carries, CatalogDelta, ClusterId, GatewayName, NodeName, OwnGateway, Problem,
    ProblemKind, Publication, Report, Timestamp, TrustState, View, ViewRevision,
};

use crate::allot::Ledger;
use crate::catalog::{Catalog, Keys, sha256};
use crate::merge::{self, Known};
use crate::now::{ClockWatch, Now};
use crate::session::Session;

use follower::Link;
use leader::Follower;
use office::Office;
use settings::facts;
use storing::Storing;

pub use command::{Command, Keep};
pub use settings::{Restored, Settings};

/// A node whose agent is not heard for so long is forgotten: nodes come and go under ever new names.
const FORGOTTEN_MS: u64 = 600_000;

/// Two reports that say that a peer was heard at times this near mean the same packets: probes come once a
/// second, and the nodes' own conversion of clocks is good to some milliseconds.
const SAME_PACKETS_MS: u64 = 250;

/// A session, as the shell numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One gateway.
pub struct Gateway {
    settings: Settings,
    keys: Box<dyn Keys + Send + Sync>,
    catalog: Catalog,
    ledger: Ledger,
    publication: Option<Publication>,
    trust: TrustState,
    reports: BTreeMap<NodeName, (Report, u64)>,
    sessions: BTreeMap<SessionId, (Session, bool)>,
    followers: BTreeMap<GatewayName, Follower>,
    /// Other own gateways, as followers told the leader and it told them.
    gateways: BTreeMap<GatewayName, OwnGateway>,
    /// What this one carries.
    carries: Carries,
    link: Link,
    office: Office,
    /// The controller's store.
    storing: Option<Storing>,
    clock: ClockWatch,
    /// Of the own leadership, else the newest known.
    epoch: u64,
    /// The highest of this cluster that anybody has told of.
    seen: u64,
    draws: u64,
    /// A leader without state first waits this long for a follower that has some.
    wait_until: Option<u64>,
    problems: Vec<Problem>,
    /// From outside.
    told: Option<Problem>,
    /// What peers refuse of ours, until they take something.
    refused: BTreeMap<ClusterId, Problem>,
    vouched: introductions::Vouched,
    dirty: bool,
    view: Arc<View>,
    commands: VecDeque<Command>,
}

impl Gateway {
    /// With what the disk has kept. Bad parts of it are left out and told.
    #[must_use]
    pub fn new(
        settings: Settings,
        restored: Restored,
        keys: Box<dyn Keys + Send + Sync>,
        now: Now,
    ) -> Self {
        let catalog = Catalog::new(settings.cluster.clone());
        let (office, settings) = Office::new(settings, restored.appointment, restored.authority);
        let facts = facts(&settings, &BTreeSet::new());
        let allocations = restored.allocations.unwrap_or_default();
        let nothing = Known {
            facts: &facts,
            catalog: &catalog,
            publication: None,
            allocations: &allocations,
            gateways: &BTreeMap::new(),
            introduced: &BTreeMap::new(),
            frozen_since: None,
            problems: &[],
            revision: ViewRevision {
                instance: settings.instance,
                number: 0,
            },
        };
        let view = Arc::new(merge::merge(&nothing, now));
        let blank = allocations.epoch == 0;
        let mut core = Self {
            keys,
            ledger: Ledger::restored(allocations),
            publication: restored.publication,
            trust: restored.trust.unwrap_or_default(),
            reports: BTreeMap::new(),
            sessions: BTreeMap::new(),
            followers: BTreeMap::new(),
            gateways: BTreeMap::new(),
            carries: Carries::new(),
            link: Link::new(now),
            office,
            storing: None,
            clock: ClockWatch::default(),
            epoch: 0,
            seen: 0,
            draws: 0,
            wait_until: blank.then(|| now.mono_ms.saturating_add(leader::WAIT_MS)),
            problems: restored.problem.into_iter().collect(),
            told: None,
            refused: BTreeMap::new(),
            vouched: introductions::Vouched::default(),
            dirty: true,
            view,
            commands: VecDeque::new(),
            catalog,
            settings,
        };
        core.clock.look(now);
        core.restore(restored.own, restored.peers, now);
        core.recall_followers(None, now);
        core.resume(now);
        core
    }

    fn restore(
        &mut self,
        own: Option<CatalogDelta>,
        peers: BTreeMap<ClusterId, CatalogDelta>,
        now: Now,
    ) {
        let mut bad = Vec::new();
        if let Some(Err(refusal)) = own.map(|own| self.catalog.own.take(&own, self.keys.as_ref())) {
            bad.push((self.settings.cluster.clone(), refusal));
        }
        self.catalog.keep_only(&self.members(), now);
        for (id, whole) in peers {
            let Some(bundle) = self.trust.bundles.get(&id) else {
                continue;
            };
            let applied = self.catalog.apply(&id, bundle, &whole, self.keys.as_ref());
            bad.extend(applied.err().map(|refusal| (id, refusal)));
        }
        self.problems
            .extend(bad.into_iter().map(|(id, refusal)| Problem {
                kind: ProblemKind::BadObject,
                subject: format!("catalog of {id} on disk"),
                message: format!("{}; it is fetched again", refusal.message),
            }));
    }

    /// What was configured.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The newest View.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Every cluster's catalog: for status and for whom to dial.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What is in force.
    #[must_use]
    pub fn allocations(&self) -> &Allocations {
        self.ledger.in_force()
    }

    /// Whom this cluster trusts.
    #[must_use]
    pub fn trust(&self) -> &TrustState {
        &self.trust
    }

    /// The newest epoch known.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What the controller published last.
    #[must_use]
    pub fn publication(&self) -> Option<&Publication> {
        self.publication.as_ref()
    }

    /// Whether nothing waits for an acknowledgement.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.ledger.pending().is_none() && self.wait_until.is_none()
    }

    /// What is wrong around this gateway: its disk, say. Replaces what was told before.
    pub fn told(&mut self, problem: Option<Problem>) {
        self.dirty |= self.told != problem;
        self.told = problem;
    }

    /// Nodes' last words, with when they came on the monotonic clock.
    #[must_use]
    pub fn reports(&self) -> &BTreeMap<NodeName, (Report, u64)> {
        &self.reports
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions
            .iter()
            .map(|(id, (session, _))| (*id, session))
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// An agent's word about its node and about whose packets it has heard.
    pub fn report(&mut self, report: Report, now: Now) {
        for (id, heard) in &report.heard {
            // The same packets told again are no new evidence, however long the telling took.
            let told = self.reports.get(&report.node);
            let told = told.and_then(|(before, _)| before.heard.get(id));
            if told.is_some_and(|told| heard.since(*told) < SAME_PACKETS_MS) {
                continue;
            }
            let age = report.time.since(*heard);
            if let Some(peer) = self.catalog.peer_mut(id) {
                let before = peer.life.liveness(now);
                peer.life.packet(age, now);
                self.dirty |= peer.life.liveness(now) != before;
            }
        }
        self.note_report(&report);
        self.reports
            .insert(report.node.clone(), (report, now.mono_ms));
    }

    /// When [`Gateway::handle_timeout`] is due, on the monotonic clock; always after `now` once it was called.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<u64> {
        let sessions = self.sessions.values().filter_map(|(s, _)| s.poll_timeout());
        let waits = self.wait_until.filter(|_| self.is_leader());
        let others = [
            self.catalog.poll_timeout(now),
            self.clock.poll_timeout(now),
            waits,
            self.followers_timeout(now),
            self.storing_timeout(now),
        ];
        sessions.chain(others.into_iter().flatten()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.clock.look(now) {
            self.dirty = true;
        }
        if self.wait_until.is_some_and(|at| at <= now.mono_ms) {
            self.wait_until = None;
            self.dirty = true;
        }
        self.storing_overdue(now);
        self.reports
            .retain(|_, (_, at)| now.age(*at) < FORGOTTEN_MS);
        let newest = self.catalog.own.held();
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            if let Some((session, _)) = self.sessions.get_mut(&id) {
                while session.poll_timeout().is_some_and(|at| at <= now.mono_ms) {
                    session.handle_timeout(newest, now);
                }
            }
            self.drain(id, now);
        }
        self.dirty |= self.outdated(now);
    }

    /// Whether time alone has changed what the View says.
    fn outdated(&self, now: Now) -> bool {
        let told = |p: &Problem| p.kind == ProblemKind::ClockJumped;
        let jump = self.clock.problem(now).is_some() != self.view.problems.iter().any(told);
        let alive = self.catalog.peers().iter().any(|(id, peer)| {
            self.view.peers.get(id).is_some_and(|shown| {
                let silent = peer.silent_gateways(now);
                shown.liveness != peer.life.liveness(now)
                    || !silent.values().eq(&shown.silent_gateways)
            })
        });
        jump || alive || self.listing_is_old(now)
    }

    /// Draws the consequences of all that was told since the last time.
    pub fn settle(&mut self, now: Now) {
        if self.clock.look(now) || self.outdated(now) {
            self.dirty = true;
        }
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.catalog.list_gateways(now);
        self.problems.retain(|p| p.subject.ends_with(" on disk"));
        if self.is_leader() {
            self.lead_on(now);
        }
        self.see(now);
        let own = &self.catalog.own;
        for (session, _) in self.sessions.values_mut() {
            session.serve(own);
        }
    }

    /// Makes the View, and tells of it when it says something new.
    fn see(&mut self, now: Now) {
        let facts = facts(&self.settings, &self.members());
        let mut problems = self.problems.clone();
        problems.extend(self.catalog.problems());
        problems.extend(self.clock.problem(now));
        problems.extend(self.told.clone());
        problems.extend(self.refused.values().cloned());
        problems.extend(self.refused_leader());
        problems.extend(self.office_problems());
        let gateways = self.gateways();
        let known = Known {
            facts: &facts,
            catalog: &self.catalog,
            publication: self.publication.as_ref(),
            allocations: self.ledger.in_force(),
            gateways: &gateways,
            introduced: &self.trust.introduced,
            frozen_since: self.frozen_since(),
            problems: &problems,
            revision: self.view.revision,
        };
        let mut next = merge::merge(&known, now);
        if same(&mut next, &self.view) {
            return;
        }
        next.revision.number = self.view.revision.number.saturating_add(1);
        self.view = Arc::new(next);
        self.commands.push_back(Command::View(self.view.clone()));
    }

    /// 32 bytes that were not given out before.
    fn draw(&mut self) -> [u8; 32] {
        self.draws = self.draws.saturating_add(1);
        sha256(&[&self.settings.random, &self.draws.to_be_bytes()]).0
    }

    fn keep(&mut self, keep: Keep) {
        self.commands.push_back(Command::Keep(keep));
    }
}

/// Whether two Views say the same: when a peer was heard last is no news while it is alive.
fn same(next: &mut View, shown: &View) -> bool {
    let mut heard = Vec::new();
    for (id, peer) in &mut next.peers {
        let before = shown.peers.get(id).and_then(|p| p.heard);
        heard.push(std::mem::replace(&mut peer.heard, before));
    }
    let same = *next == *shown;
    for (peer, heard) in next.peers.values_mut().zip(heard) {
        peer.heard = heard;
    }
    same
}

/// Unix seconds.
fn unix_secs(at: Timestamp) -> u64 {
    at.0 / 1_000
}
