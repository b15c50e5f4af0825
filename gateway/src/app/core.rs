//! Shell: the one task that owns what this gateway knows. It takes inputs, lets the pure modules decide, writes
//! what must outlive the process before it tells anybody, and shows the newest View. Everything else in the
//! process sends to it or reads what it shows.

mod disk;
mod leader;
mod sessions;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::catalog_key::verify_catalog;
use causeway_proto::model::{
    ClusterId, FollowHello, FollowState, GatewayAddress, GatewayName, NodeName, Problem,
    Publication, Report, Revision, Timestamp, TrustBundle, TrustState, View,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::clock::Clock;
use super::dial::Target;
use super::handle::{Input, NotLeader, Published, SessionId};
use super::own::OwnKeys;
use crate::allot;
use crate::catalog::{Catalog, Keys};
use crate::config::Config;
use crate::follow::Lead;
use crate::now::{ClockWatch, Now};
use crate::status;
use crate::store::Store;

use sessions::Live;
pub(crate) use show::empty_view;

/// Inputs that are taken together before anything is decided on them.
const TOGETHER: usize = 256;
/// Nothing waits longer than this for a look at the clock.
const LOOK_MS: u64 = 1_000;

/// What the core shows.
pub struct Shown {
    /// The newest View.
    pub view: watch::Sender<Arc<View>>,
    /// What status needs beside it.
    pub facts: watch::Sender<Arc<status::Facts>>,
    /// Who is trusted.
    pub trust: watch::Sender<Arc<TrustState>>,
    /// What followers get.
    pub lead: watch::Sender<Arc<Lead>>,
    /// What this gateway says first when it follows.
    pub hello: watch::Sender<Arc<FollowHello>>,
    /// Gateways to dial.
    pub targets: watch::Sender<Arc<BTreeSet<Target>>>,
    /// Reports that go on to the leader.
    pub reports: mpsc::Sender<Report>,
}

/// What waits for the next round.
#[derive(Default)]
struct Due {
    /// Something that the View, an allotment or a revision is made of.
    content: bool,
    /// Shown facts.
    facts: bool,
    trust: bool,
    publication: bool,
    gateways: bool,
    own: bool,
    peers: BTreeSet<ClusterId>,
}

/// A gateway of this cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gateway {
    node: NodeName,
    address: GatewayAddress,
    /// Since when it is gone, on the monotonic clock; `None`: it follows, or is this one.
    gone: Option<u64>,
}

/// Everything that this gateway knows.
pub struct Engine {
    config: Arc<Config>,
    keys: Arc<OwnKeys>,
    store: Arc<Store>,
    shown: Shown,
    clock: Clock,
    watch: ClockWatch,
    instance: u64,
    started: Timestamp,

    catalog: Catalog,
    publication: Option<Arc<Publication>>,
    allocations: allot::Ledger,
    allot_problems: Vec<Problem>,
    cut_problems: Vec<Problem>,
    disk_problem: Option<Problem>,
    trust: Arc<TrustState>,
    gateways: BTreeMap<GatewayName, Gateway>,
    reports: Arc<BTreeMap<NodeName, Report>>,
    epoch: u64,
    frozen_since: Option<Timestamp>,

    sessions: BTreeMap<SessionId, Live>,
    /// The gateway behind an address that we dialled.
    known: BTreeMap<Target, GatewayName>,
    /// Peers that are not dialled before this, on the monotonic clock.
    hold: BTreeMap<ClusterId, u64>,
    acknowledged: BTreeMap<ClusterId, Revision>,
    errors: BTreeMap<ClusterId, (Timestamp, String)>,

    views: u64,
    last: Option<View>,
    due: Due,
    /// When catalogs are written next.
    write_at: Option<u64>,
    publishers: Vec<oneshot::Sender<Result<Published, NotLeader>>>,
    trusters: Vec<(oneshot::Sender<Result<bool, NotLeader>>, bool)>,
    followed: Vec<oneshot::Sender<bool>>,
    stopping: bool,
}

/// Keys as the catalog wants them.
struct Signing<'a> {
    keys: &'a OwnKeys,
    trust: &'a TrustState,
}

impl Keys for Signing<'_> {
    fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.keys.sign(bytes)
    }

    fn verify(&self, bundle: Option<&TrustBundle>, bytes: &[u8], signature: &[u8]) -> bool {
        let own = self.keys.own_bundle(self.trust);
        let Some(bundle) = bundle.or(own.as_ref()) else {
            return false;
        };
        let set = self.keys.cluster_set();
        verify_catalog(bundle, set, &bundle.cluster, bytes, signature).is_ok()
    }
}

impl Engine {
    /// With what the disk has kept.
    ///
    /// # Errors
    /// When the state file cannot be read.
    pub fn restore(
        config: Arc<Config>,
        keys: Arc<OwnKeys>,
        store: Arc<Store>,
        shown: Shown,
        clock: Clock,
        instance: u64,
    ) -> Result<Self, anyhow::Error> {
        let now = clock.now();
        let mut engine = Self {
            catalog: Catalog::new(config.cluster.clone()),
            publication: None,
            allocations: allot::Ledger::default(),
            allot_problems: Vec::new(),
            cut_problems: Vec::new(),
            disk_problem: None,
            trust: Arc::default(),
            gateways: BTreeMap::new(),
            reports: Arc::default(),
            epoch: 0,
            frozen_since: (!config.is_leader()).then_some(now.wall),
            sessions: BTreeMap::new(),
            known: BTreeMap::new(),
            hold: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            errors: BTreeMap::new(),
            views: 0,
            last: None,
            due: Due {
                content: true,
                trust: true,
                ..Due::default()
            },
            write_at: None,
            publishers: Vec::new(),
            trusters: Vec::new(),
            followed: Vec::new(),
            stopping: false,
            started: now.wall,
            watch: ClockWatch::default(),
            config,
            keys,
            store,
            shown,
            clock,
            instance,
        };
        engine.load(now)?;
        let this = Gateway {
            node: engine.config.node.clone(),
            address: engine.own_address(),
            gone: None,
        };
        engine.gateways.insert(engine.config.name.clone(), this);
        if engine.config.is_leader() {
            engine.lead(now);
        }
        Ok(engine)
    }

    fn own_address(&self) -> GatewayAddress {
        GatewayAddress {
            session: self.config.advertise.session.clone(),
            tunnel: self.config.advertise.tunnel,
        }
    }

    fn not_leader(&self) -> NotLeader {
        NotLeader::Follows(self.config.leader_name().clone())
    }

    /// Takes inputs until the process stops.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        loop {
            let now = self.clock.now();
            self.settle(now).await;
            if self.stopping {
                return;
            }
            let wait = self.poll_timeout(now).saturating_sub(now.mono_ms).max(1);
            let wait = Duration::from_millis(wait);
            match tokio::time::timeout(wait, inputs.recv()).await {
                Ok(Some(input)) => self.handle(input),
                Ok(None) => return,
                Err(_) => continue,
            }
            for _ in 0..TOGETHER {
                match inputs.try_recv() {
                    Ok(input) => self.handle(input),
                    Err(_) => break,
                }
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.clock.now();
        match input {
            Input::Publish(publication, reply) => self.published(*publication, reply),
            Input::Report(report) => self.reported(*report, now),
            Input::Trust(change, reply) => {
                if !self.config.is_leader() {
                    let _ = reply.send(Err(self.not_leader()));
                    return;
                }
                let mut next = (*self.trust).clone();
                let changed = change(&mut next, now.wall);
                if changed {
                    self.trust_is(next);
                }
                self.trusters.push((reply, changed));
            }
            Input::Opened(opened) => self.opened(opened, now),
            Input::Frame(id, frame) => self.frame(id, *frame, now),
            Input::Malformed(id, why) => self.malformed(id, &why, now),
            Input::Expired(id) => self.expired(id, now),
            Input::Closed(id, why) => self.closed(id, &why, now),
            Input::DialFailed(cluster, why) => {
                self.errors.insert(cluster, (now.wall, why));
                self.due.facts = true;
            }
            Input::Follower(hello) => self.follower(*hello),
            Input::FollowerAck(_, (epoch, version)) => {
                self.due.content |= self.allocations.ack_elsewhere(epoch, version);
            }
            Input::FollowerGone(name) => {
                self.due.content |= self.allocations.follower(&name, false);
                if let Some(gateway) = self.gateways.get_mut(&name) {
                    gateway.gone = Some(now.mono_ms);
                }
            }
            Input::Followed(state, done) => self.followed(*state, done),
            Input::LeaderLost => {
                if self.frozen_since.is_none() {
                    tracing::warn!(leader = %self.config.leader_name(), "leader lost: frozen");
                    self.frozen_since = Some(now.wall);
                    self.due.content = true;
                }
            }
            Input::Leave(reply) => self.leave(reply, now),
            Input::Stop(done) => {
                self.say_goodbye();
                self.stopping = true;
                let _ = done.send(());
            }
        }
    }

    /// Any change of who is trusted.
    fn trust_is(&mut self, mut next: TrustState) {
        next.version = next.version.max(self.trust.version.saturating_add(1));
        self.trust = Arc::new(next);
        self.due.trust = true;
        self.due.content = true;
    }

    fn reported(&mut self, report: Report, now: Now) {
        if !self.config.is_leader() {
            // A leader that is away hears the next one.
            let _ = self.shown.reports.try_send(report.clone());
        }
        self.heard_packets(&report, now);
        Arc::make_mut(&mut self.reports).insert(report.node.clone(), report);
        self.due.facts = true;
    }

    /// The second evidence of life.
    fn heard_packets(&mut self, report: &Report, now: Now) {
        for (cluster, heard) in &report.heard {
            if let Some(peer) = self.catalog.peer_mut(cluster) {
                peer.life.packet(report.time.since(*heard), now);
            }
        }
    }

    /// From the leader: what came replaces what was.
    fn followed(&mut self, state: FollowState, done: oneshot::Sender<bool>) {
        let now = self.clock.now();
        if self.config.is_leader() || state.epoch < self.epoch {
            let _ = done.send(false);
            return;
        }
        if self.frozen_since.take().is_some() {
            tracing::info!(leader = %state.leader, epoch = state.epoch, "follows the leader");
            self.due.content = true;
        }
        self.epoch = state.epoch;
        let mut kept = false;
        if let Some(trust) = state.trust {
            if trust != *self.trust {
                self.trust = Arc::new(trust);
                self.due.trust = true;
                kept = true;
            }
        }
        if let Some(publication) = state.publication {
            self.publication = Some(Arc::new(publication));
            self.due.publication = true;
            kept = true;
        }
        if let Some(allocations) = state.allocations {
            self.allocations = allot::Ledger::restored(allocations);
            self.due.gateways = true;
            kept = true;
        }
        if let Some(whole) = state.catalog {
            let signing = Signing {
                keys: &self.keys,
                trust: &self.trust,
            };
            match self.catalog.own.take(&whole, &signing) {
                Ok(taken) => self.due.own |= taken,
                Err(refusal) => {
                    tracing::error!(reason = %refusal.message, "the leader's catalog is refused");
                }
            }
        }
        self.learn_gateways(&state.gateways);
        for report in state.reports {
            if report.node != self.config.node {
                self.heard_packets(&report, now);
                Arc::make_mut(&mut self.reports).insert(report.node.clone(), report);
                self.due.facts = true;
            }
        }
        self.due.content |= kept;
        self.followed.push(done);
    }

    fn learn_gateways(&mut self, named: &BTreeMap<GatewayName, NodeName>) {
        let own = self.config.name.clone();
        let before = self.gateways.len();
        self.gateways
            .retain(|name, _| *name == own || named.contains_key(name));
        let mut changed = before != self.gateways.len();
        let addresses = self
            .catalog
            .own
            .content(&causeway_proto::model::PartKey::Cluster);
        let addresses = match addresses {
            Some(causeway_proto::model::Part::Cluster(part)) => part.gateways.clone(),
            _ => BTreeMap::new(),
        };
        for (name, node) in named.iter().filter(|(name, _)| **name != own) {
            let Some(address) = addresses.get(name).cloned() else {
                continue;
            };
            let gateway = Gateway {
                node: node.clone(),
                address,
                gone: None,
            };
            let old = self.gateways.insert(name.clone(), gateway.clone());
            changed |= old != Some(gateway);
        }
        self.due.content |= changed;
        self.due.gateways |= changed;
    }

    /// Decides and shows what the inputs have changed.
    async fn settle(&mut self, now: Now) {
        if self.watch.look(now) {
            tracing::warn!("the wall clock jumped");
            self.due.content = true;
        }
        if self.due.trust {
            self.keys.trust_is(&self.trust);
            self.members(now);
        }
        self.forget_gateways(now);
        if self.config.is_leader() && self.due.content {
            self.allot(now);
        }
        self.keep().await;
        if self.config.is_leader() && self.due.content {
            self.cut(now);
        }
        self.timeouts(now);
        self.pump(now);
        self.show(now);
        self.answer();
        self.keep_catalogs(now).await;
        self.due.content = false;
    }

    /// When something is due by itself, on the monotonic clock.
    fn poll_timeout(&self, now: Now) -> u64 {
        let sessions = self.sessions.values().filter_map(Live::poll_timeout);
        let others = [
            self.catalog.poll_timeout(now),
            self.watch.poll_timeout(now),
            self.write_at,
            self.hold
                .values()
                .copied()
                .filter(|at| *at > now.mono_ms)
                .min(),
        ];
        sessions
            .chain(others.into_iter().flatten())
            .chain([now.mono_ms.saturating_add(LOOK_MS)])
            .min()
            .unwrap_or(now.mono_ms)
    }
}
