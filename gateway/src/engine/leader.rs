//! Pure: the leader's part: allotting, waiting for an acknowledgement, cutting revisions, and telling followers.

use std::collections::{BTreeMap, BTreeSet};

use causeway_certs::bundle::is_of;
use causeway_proto::limits::{LEASE_MS, PREFIXES_PER_CLUSTER};
use causeway_proto::model::{
    ByeReason, Carries, ClusterId, FollowHello, FollowState, GatewayAddress, GatewayName, Mapping,
    OwnGateway, Part, PartKey, Prefix, Problem, Publication, Report, TrustState,
};

use super::settings::pools;
use super::{Gateway, Keep, facts};
use crate::allot::{self, Holder, PeerWants};
use crate::catalog::{Local, parts};
use crate::now::Now;

/// How long a leader without state waits for a follower that has some.
pub(super) const WAIT_MS: u64 = 1_500;

/// One follower, as the leader knows it.
#[derive(Debug, Clone)]
pub(super) struct Follower {
    hello: FollowHello,
    /// Since when its connection is gone, on the monotonic clock.
    gone: Option<u64>,
    sequence: u64,
    /// Sent and not acknowledged: its number, and the allocations in it.
    open: Option<(u64, (u64, u64))>,
    /// What it was sent last; compared to find what changed.
    sent: Option<FollowState>,
    /// Version of the trust state that its disk has.
    trust: u64,
    reports: BTreeMap<causeway_proto::model::NodeName, Report>,
}

impl Follower {
    fn new(hello: FollowHello) -> Self {
        Self {
            hello,
            gone: None,
            sequence: 0,
            open: None,
            sent: None,
            trust: 0,
            reports: BTreeMap::new(),
        }
    }

    fn gone(hello: FollowHello, now: Now) -> Self {
        Self {
            gone: Some(now.mono_ms),
            ..Self::new(hello)
        }
    }
}

impl Gateway {
    /// The controller's word, whole. False: this gateway is not the leader.
    pub fn publish(&mut self, publication: Publication) -> bool {
        if !self.is_leader() {
            return false;
        }
        if self.publication.as_ref() != Some(&publication) {
            self.publication = Some(publication.clone());
            self.keep(Keep::Publication(publication));
            self.dirty = true;
        }
        true
    }

    /// Who is trusted, as changed by an operator or a join; the version counts up by itself. False: this gateway
    /// is not the leader.
    pub fn set_trust(&mut self, mut trust: TrustState, now: Now) -> bool {
        if !self.is_leader() {
            return false;
        }
        trust.version = self.trust.version;
        if trust != self.trust {
            trust.version = trust.version.saturating_add(1);
            self.trusted(trust, now);
        }
        true
    }

    /// Trusted and not cut off.
    #[must_use]
    pub fn members(&self) -> BTreeSet<ClusterId> {
        let trusted = self.trust.bundles.keys();
        trusted
            .filter(|id| !self.is_cut_off(id) && **id != self.settings.cluster)
            .cloned()
            .collect()
    }

    /// Whether it was cut off, and has not come back with another CA since.
    pub(super) fn is_cut_off(&self, id: &ClusterId) -> bool {
        let cut = self.trust.revocations.get(id);
        let bundle = self.trust.bundles.get(id);
        cut.is_some_and(|cut| bundle.is_none_or(|bundle| is_of(bundle, cut.ca)))
    }

    pub(super) fn trusted(&mut self, trust: TrustState, now: Now) {
        let before = self.members();
        self.trust = trust.clone();
        self.keep(Keep::Trust(trust));
        let members = self.members();
        self.catalog.keep_only(&members, now);
        self.refused.retain(|id, _| members.contains(id));
        let cut_off = self.trust.revocations.keys();
        let cut_off: BTreeSet<_> = cut_off.filter(|id| self.is_cut_off(id)).cloned().collect();
        let revoked = |id: &ClusterId| cut_off.contains(id);
        self.close_all(ByeReason::Revoked, "cut off", now, revoked);
        let out = |id: &ClusterId| !members.contains(id);
        self.close_all(ByeReason::Left, "no member any more", now, out);
        for gone in before.difference(&members) {
            self.keep(Keep::Peer(gone.clone(), None));
        }
        self.dirty = true;
    }

    /// The disk has allocations of this stamp.
    pub fn kept(&mut self, epoch: u64, version: u64) {
        self.dirty |= self.ledger.ack_disk(epoch, version);
    }

    /// A follower has connected.
    pub fn follower_up(&mut self, hello: FollowHello, now: Now) {
        let name = hello.gateway.clone();
        self.seen_epoch(hello.epoch);
        // An appointed leader takes up what others hold before it decides anything; from then on they take what it holds.
        if self.settings.leader.is_some() || self.wait_until.is_some() {
            self.take_up_from(&hello, now);
        }
        self.ledger.holder(Holder::Follower(name.clone()), true);
        let gateway = OwnGateway {
            node: hello.node.clone(),
            carries: Carries::new(),
        };
        self.gateways.insert(name.clone(), gateway);
        self.followers.insert(name, Follower::new(hello));
        if self.followers.values().all(|f| f.gone.is_none()) {
            self.wait_until = None;
        }
        self.dirty = true;
    }

    fn take_up_from(&mut self, hello: &FollowHello, now: Now) {
        if let Some(theirs) = &hello.allocations {
            self.seen_epoch(theirs.epoch);
            let ours = self.ledger.newest();
            if (theirs.epoch, theirs.version) > (ours.epoch, ours.version) {
                let holders: Vec<_> = self.ledger.holders().cloned().collect();
                self.ledger = allot::Ledger::restored(theirs.clone());
                for holder in holders {
                    self.ledger.holder(holder, true);
                }
            }
        }
        if let Some(trust) = hello.trust.clone()
            && trust.version > self.trust.version
        {
            self.trusted(trust, now);
        }
    }

    /// When the leadership begins: the gateways of the last revision are listed until they had time to follow again; one that
    /// has been unheard for a while has had that much of it.
    pub(super) fn recall_followers(&mut self, unheard: Option<(GatewayName, Now)>, now: Now) {
        if !self.is_leader() {
            return;
        }
        let known = self.gateways();
        for (gateway, address) in self.own_gateways() {
            let Some(node) = known.get(&gateway).map(|known| known.node.clone()) else {
                continue;
            };
            if gateway == self.settings.gateway {
                continue;
            }
            let hello = FollowHello {
                gateway: gateway.clone(),
                epoch: 0,
                instance: 0,
                node,
                address,
                allocations: None,
                trust: None,
            };
            let since = unheard.as_ref().filter(|(name, _)| *name == gateway);
            let since = since.map_or(now, |(_, since)| *since);
            self.followers.insert(gateway, Follower::gone(hello, since));
        }
    }

    /// A follower's disk has what was sent under this number.
    pub fn follower_ack(&mut self, name: &GatewayName, sequence: u64) {
        let Some(follower) = self.followers.get_mut(name) else {
            return;
        };
        if let Some((open, (epoch, version))) = follower.open
            && open == sequence
        {
            follower.open = None;
            let sent = follower.sent.as_ref().and_then(|s| s.trust.as_ref());
            follower.trust = sent.map_or(0, |trust| trust.version);
            self.dirty |= self.ledger.ack_elsewhere(epoch, version);
        }
    }

    /// Whether somebody else has this version of the trust state, if there is anybody: a burnt token stays burnt
    /// when the leader's disk is lost.
    #[must_use]
    pub fn trust_is_shared(&self, version: u64) -> bool {
        let there = self.followers.values().filter(|f| f.gone.is_none());
        let newest = there.map(|f| f.trust).chain(self.stored_trust()).max();
        newest.is_none_or(|newest| newest >= version)
    }

    /// A follower's connection is gone. That of a process that has another one since is no news.
    pub fn follower_down(&mut self, name: &GatewayName, instance: u64, now: Now) {
        match self.followers.get_mut(name) {
            Some(follower) if follower.hello.instance == instance => {
                follower.gone = Some(now.mono_ms);
            }
            _ => return,
        }
        self.ledger.holder(Holder::Follower(name.clone()), false);
        self.gateway_quiet(name);
        self.dirty = true;
    }

    /// What a follower is to be sent now, if anything. One at a time: the next after its acknowledgement.
    pub fn poll_follow(&mut self, name: &GatewayName, now: Now) -> Option<FollowState> {
        let gateways = self.gateways();
        let follower = self.followers.get_mut(name)?;
        if follower.open.is_some() || follower.gone.is_some() {
            return None;
        }
        let allocations = self.ledger.newest();
        let before = follower.sent.as_ref();
        let differs = |same: Option<bool>| !same.unwrap_or(false);
        let newest = self.catalog.own.held();
        let had = before
            .and_then(|s| s.catalog.as_ref())
            .map(|c| c.header.header.revision);
        let catalog = (newest.map(|h| h.revision) != had).then(|| self.catalog.own.snapshot());
        let state = FollowState {
            sequence: follower.sequence.saturating_add(1),
            leader: self.settings.gateway.clone(),
            epoch: self.epoch,
            time: now.wall,
            publication: self
                .publication
                .clone()
                .filter(|p| differs(before.map(|s| s.publication.as_ref() == Some(p)))),
            allocations: Some(allocations.clone())
                .filter(|a| differs(before.map(|s| s.allocations.as_ref() == Some(a)))),
            trust: Some(self.trust.clone())
                .filter(|t| differs(before.map(|s| s.trust.as_ref() == Some(t)))),
            catalog: catalog.flatten(),
            reports: std::mem::take(&mut follower.reports)
                .into_values()
                .collect(),
            gateways,
        };
        let empty = state.publication.is_none()
            && state.allocations.is_none()
            && state.trust.is_none()
            && state.catalog.is_none()
            && state.reports.is_empty()
            && before.is_some_and(|sent| sent.gateways == state.gateways);
        if empty && before.is_some() {
            return None;
        }
        let stamp = (allocations.epoch, allocations.version);
        follower.sequence = state.sequence;
        follower.open = Some((state.sequence, stamp));
        let sent = follower.sent.get_or_insert_with(|| state.clone());
        sent.publication = state.publication.clone().or(sent.publication.take());
        sent.allocations = state.allocations.clone().or(sent.allocations.take());
        sent.trust = state.trust.clone().or(sent.trust.take());
        sent.catalog = state.catalog.clone().or(sent.catalog.take());
        sent.gateways.clone_from(&state.gateways);
        sent.reports.clear();
        Some(state)
    }

    /// Followers learn what agents say to the leader.
    pub(super) fn note_report(&mut self, report: &Report) {
        for follower in self.followers.values_mut() {
            if follower.gone.is_none() && follower.hello.node != report.node {
                follower.reports.insert(report.node.clone(), report.clone());
            }
        }
    }

    /// Until when a follower that is gone is listed; `None`: it is not gone. Packets need no gateway process, so it
    /// stays while its node's agent is heard.
    fn listed_until(&self, follower: &Follower) -> Option<u64> {
        let heard = self.reports.get(&follower.hello.node).map(|(_, at)| *at);
        let last = follower.gone?.max(heard.unwrap_or_default());
        Some(last.saturating_add(LEASE_MS))
    }

    /// When a follower that is gone is listed no more.
    pub(super) fn followers_timeout(&self, now: Now) -> Option<u64> {
        let until = self.followers.values().filter_map(|f| self.listed_until(f));
        until.filter(|at| *at > now.mono_ms).min()
    }

    /// Whether time alone has changed which gateways peers should be told of.
    pub(super) fn listing_is_old(&self, now: Now) -> bool {
        self.is_leader()
            && self.publication.is_some()
            && self.listed_gateways(now) != self.own_gateways()
    }

    /// Own gateways as peers are told.
    fn listed_gateways(&self, now: Now) -> BTreeMap<GatewayName, GatewayAddress> {
        let there = |f: &&Follower| self.listed_until(f).is_none_or(|at| now.mono_ms < at);
        let followers = self.followers.values().filter(there);
        let mut all: BTreeMap<_, _> = followers
            .map(|f| (f.hello.gateway.clone(), f.hello.address.clone()))
            .collect();
        let me = (self.settings.gateway.clone(), self.settings.address.clone());
        all.extend([me]);
        all
    }

    /// The prefixes of the own pods, then of the own VIPs and nodes' addresses, and which there is no room for.
    fn own_prefixes(&self) -> (Vec<Prefix>, Option<Problem>) {
        let publication = self.publication.iter();
        let nodes = publication.flat_map(|p| p.exports.nodes.values());
        let named = nodes.flat_map(|n| n.pod_prefixes.iter().copied());
        let shared = &self.settings.shared;
        let pools: Vec<Prefix> = shared
            .vips
            .iter()
            .chain(&shared.mappings)
            .copied()
            .collect();
        let vips = allot::told_vips(&shared.vips);
        let room = PREFIXES_PER_CLUSTER.saturating_sub(vips.len());
        let (mut own, problem) =
            allot::own_prefixes(&shared.pod_prefixes, &named.collect(), &pools, room);
        own.extend(vips);
        (own, problem)
    }

    fn wants(&self) -> BTreeMap<ClusterId, PeerWants> {
        let each = self.catalog.peers().iter().map(|(id, peer)| {
            let part = peer.cluster_part();
            let wants = PeerWants {
                prefixes: part.map_or_else(Vec::new, |p| p.prefixes.clone()),
                services: peer
                    .namespaces()
                    .flat_map(|n| n.services.keys().cloned())
                    .collect(),
            };
            (id.clone(), wants)
        });
        each.collect()
    }

    /// What a cluster that is no peer yet would get for its prefixes here, and what would not fit.
    #[must_use]
    pub fn foretell(
        &self,
        id: &ClusterId,
        prefixes: &[Prefix],
        now: Now,
    ) -> (Vec<Mapping>, Vec<Problem>) {
        let pools = pools(&self.settings.shared, self.own_prefixes().0);
        allot::foretell(self.ledger.newest(), id, prefixes, &pools, now.wall)
    }

    /// Allots, and cuts a revision of what is in force.
    pub(super) fn lead_on(&mut self, now: Now) {
        if self.wait_until.is_some() {
            return;
        }
        self.take_introductions(now);
        let random = self.draw();
        let (prefixes, problem) = self.own_prefixes();
        self.problems.extend(problem);
        let pools = pools(&self.settings.shared, prefixes.clone());
        let mut held = self.ledger.newest().clone();
        held.epoch = self.epoch;
        held.seed = self.settings.seed.unwrap_or(held.seed);
        let wants = self.wants();
        let nothing = Default::default();
        let exports = self.publication.as_ref().map_or(&nothing, |p| &p.exports);
        let (mut next, problems) = allot::allot(exports, &wants, &held, &pools, now.wall, &random);
        // Before the controller has spoken nothing of services and workloads is freed.
        if self.publication.is_none() {
            next.vips.clone_from(&held.vips);
            next.nodes.clone_from(&held.nodes);
            next.identities.clone_from(&held.identities);
            next.rings.clone_from(&held.rings);
            next.salts.clone_from(&held.salts);
            next.version = held.version;
            if next != held {
                next.version = held.version.saturating_add(1);
            }
        }
        self.problems.extend(problems);
        if self.ledger.propose(next.clone()) {
            self.keep(Keep::Allocations(next));
        }
        self.cut(&prefixes, now);
    }

    fn cut(&mut self, prefixes: &[Prefix], now: Now) {
        let allocations = self.ledger.in_force();
        let Some(publication) = &self.publication else {
            return;
        };
        // Of another leadership's epoch revisions were cut that this one may not know: it cuts none there.
        if allocations.epoch == 0 || allocations.epoch != self.epoch {
            return;
        }
        let gateways = self.listed_gateways(now);
        let plain_with = facts(&self.settings, &self.members()).plain_with;
        let introductions = self.introductions();
        let local = Local {
            exports: &publication.exports,
            allocations,
            trust: &self.trust,
            gateways: &gateways,
            prefixes,
            plain_with: &plain_with,
            introductions: &introductions,
        };
        let before: BTreeMap<PartKey, Part> = self.catalog.own.contents();
        let content = parts(local, &before);
        let (salts, epoch) = (allocations.salts.clone(), allocations.epoch);
        let keys = self.keys.as_ref();
        let (cut, problems) = self.catalog.own.cut(content, &salts, epoch, now, keys);
        self.problems.extend(problems);
        if cut && let Some(whole) = self.catalog.own.snapshot() {
            self.has_cut();
            self.keep(Keep::Own(whole));
        }
    }
}
