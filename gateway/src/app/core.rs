//! Shell: the one task that owns what this gateway knows. It tells the pure [`Gateway`] what happened, writes what
//! must outlive the process before it goes on, sends what sessions want sent, and shows the newest View.
//! Everything else in the process sends to it or reads what it shows.

mod diagnose;
mod disk;
mod office;
mod sessions;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::ca::Authority;
use causeway_certs::dial::Holding;
use causeway_proto::model::{
    Carries, ClusterId, Exports, FollowState, GatewayAddress, GatewayName, LeaderState, NodeName,
    Publication, Report, Revision, Timestamp, TrustBundle, TrustState, View,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::carry::{HEARD_MS, Ways};
use super::clock::{Clock, random};
use super::dial::Target;
use super::handle::{Input, Leading, Left, NotLeader, Published, SessionId, TrustChange};
use super::own::OwnKeys;
use crate::catalog::Keys;
use crate::config::Config;
use crate::engine::{Command, Gateway, Restored, Settings};
use crate::introduce::part;
use crate::now::Now;
use crate::status;
use crate::store::{Changes, Store};

use diagnose::Questions;
use office::Controller;
use sessions::Live;

pub(super) use disk::open;

/// Inputs that are taken together before anything is decided on them.
const TOGETHER: usize = 256;
/// Nothing waits longer than this for a look at the clock.
const LOOK_MS: u64 = 1_000;
/// Writes of one round: allocations that came into force may lead to others once or twice, not for ever.
const WRITES: usize = 8;
/// What a Bye at shutdown asks peers to bear.
const RESTART_LEASE_MS: u64 = 30_000;

/// What the core shows.
pub struct Shown {
    /// The newest View.
    pub view: watch::Sender<Arc<View>>,
    /// What status needs beside it.
    pub facts: watch::Sender<Arc<status::Facts>>,
    /// Who is trusted.
    pub trust: watch::Sender<Arc<TrustState>>,
    /// Who leads.
    pub leading: watch::Sender<Arc<Leading>>,
    /// Gateways to dial.
    pub targets: watch::Sender<Arc<BTreeSet<Target>>>,
    /// What packets to peers go by.
    pub ways: watch::Sender<Arc<Ways>>,
    /// Peers that packets are carried to here.
    pub carries: watch::Sender<Arc<Carries>>,
    /// Reports that go on to the leader.
    pub reports: mpsc::Sender<Report>,
    /// Peers whose gateways ask what is found of the ways to them.
    pub questions: mpsc::Sender<ClusterId>,
}

/// One follower's connection.
struct Following {
    instance: u64,
    states: mpsc::Sender<FollowState>,
}

type Publishing = oneshot::Sender<Result<Published, NotLeader>>;
type Trusting = oneshot::Sender<Result<bool, NotLeader>>;
type Answer = Box<dyn FnOnce(Result<(), NotLeader>) + Send>;

/// The gateway and what it acts through.
pub struct Driver {
    config: Arc<Config>,
    keys: Arc<OwnKeys>,
    store: Arc<Store>,
    shown: Shown,
    clock: Clock,
    started: Timestamp,
    gateway: Gateway,

    live: BTreeMap<SessionId, Live>,
    followers: BTreeMap<GatewayName, Following>,
    /// Controllers by the number of their stream.
    controllers: BTreeMap<u64, Controller>,
    /// It stops soon.
    draining: bool,
    /// The gateway behind an address that we dialled.
    known: BTreeMap<(ClusterId, String), GatewayName>,
    /// Connections, by their number, that nothing is heard of.
    quiet: BTreeSet<usize>,
    /// Numbers of the peers that are heard by packets' own way.
    heard: BTreeSet<u16>,
    /// Peers that are not dialled before this, on the monotonic clock.
    hold: BTreeMap<ClusterId, u64>,
    /// Shown with the facts; made anew when they change.
    exports: Arc<Exports>,
    exports_changed: bool,
    reports: Arc<BTreeMap<NodeName, Report>>,
    reports_changed: bool,
    acknowledged: BTreeMap<ClusterId, Revision>,
    errors: BTreeMap<ClusterId, (Timestamp, String)>,

    /// Must be on disk before anybody is told, with the stamp of the allocations in it.
    urgent: Changes,
    stamp: Option<(u64, u64)>,
    /// Catalogs, which may be asked for again.
    lazy: Changes,
    write_lazy_at: Option<u64>,
    publishers: Vec<Publishing>,
    questions: Questions,
    /// Answers that wait until this version of the trust state is kept.
    trusters: Vec<(u64, Answer)>,
    followed: Vec<oneshot::Sender<bool>>,
    /// Told when all is said and written.
    stopping: Option<oneshot::Sender<()>>,
}

/// What a gateway holds that is not running yet, for a controller that has lost its store.
pub(super) fn holding(config: &Config, restored: &Restored, now: Timestamp) -> Holding {
    let now = Now {
        wall: now,
        mono_ms: 0,
    };
    let held = Restored {
        allocations: restored.allocations.clone(),
        trust: restored.trust.clone(),
        ..Restored::default()
    };
    let gateway = Gateway::new(settings(config, 0), held, Box::new(NoKeys), now);
    let (dir, cluster, set) = (&config.state_dir, &config.cluster, &config.clusterset);
    let authority = Authority::load(dir, cluster, set, now.wall).ok().flatten();
    Holding {
        epoch: gateway.highest_epoch(),
        state: LeaderState {
            authority: authority.map(|a| a.material().clone()),
            ..gateway.leader_state()
        },
    }
}

/// What the pure gateway is told by the configuration.
fn settings(config: &Config, instance: u64) -> Settings {
    Settings {
        cluster: config.cluster.clone(),
        cluster_set: config.clusterset.clone(),
        gateway: config.name.clone(),
        node: config.node.clone(),
        address: GatewayAddress {
            session: config.advertise.session.clone(),
            tunnel: config.advertise.tunnel,
        },
        leader: config.fixed_leader().cloned(),
        instance,
        random: random(),
        shared: config.shared.clone(),
        seed: config.seed.map(|seed| seed.0),
    }
}

impl Driver {
    /// With what the disk has kept.
    #[must_use]
    pub fn restore(
        config: Arc<Config>,
        keys: Arc<OwnKeys>,
        (store, mut restored): (Arc<Store>, Restored),
        shown: Shown,
        clock: Clock,
        instance: u64,
    ) -> Self {
        let now = clock.now();
        restored.authority = keys.authority().is_some();
        // Followers check this cluster's own catalog by its own bundle, which the leader puts beside the others.
        let mut trust = restored.trust.take().unwrap_or_default();
        if let Some(own) = keys.issued_bundle() {
            trust.bundles.insert(config.cluster.clone(), own);
        }
        keys.trust_is(&trust);
        shown.trust.send_replace(Arc::new(trust.clone()));
        restored.trust = Some(trust);
        let settings = settings(&config, instance);
        let gateway = Gateway::new(settings, restored, Box::new(Arc::clone(&keys)), now);
        Self {
            config,
            keys,
            store,
            shown,
            clock,
            started: now.wall,
            gateway,
            live: BTreeMap::new(),
            followers: BTreeMap::new(),
            controllers: BTreeMap::new(),
            draining: false,
            known: BTreeMap::new(),
            quiet: BTreeSet::new(),
            heard: BTreeSet::new(),
            hold: BTreeMap::new(),
            exports: Arc::default(),
            exports_changed: true,
            reports: Arc::default(),
            reports_changed: false,
            acknowledged: BTreeMap::new(),
            errors: BTreeMap::new(),
            urgent: Changes::new(),
            stamp: None,
            lazy: Changes::new(),
            write_lazy_at: None,
            publishers: Vec::new(),
            questions: Questions::default(),
            trusters: Vec::new(),
            followed: Vec::new(),
            stopping: None,
        }
    }

    fn not_leader(&self) -> NotLeader {
        let leader = self.gateway.leader().cloned();
        leader.map_or(NotLeader::Nobody, NotLeader::Follows)
    }

    /// Takes inputs until the process stops.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        loop {
            let now = self.clock.now();
            self.settle(now).await;
            if let Some(done) = self.stopping.take() {
                let _ = done.send(());
                return;
            }
            let wait = self.poll_timeout(now).saturating_sub(now.mono_ms).max(1);
            let received = tokio::time::timeout(Duration::from_millis(wait), inputs.recv()).await;
            match received {
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
            Input::Publish(publication, reply) => self.publish(*publication, reply),
            Input::Report(report) => {
                if !self.gateway.is_leader() {
                    // A leader that is away hears the next one.
                    let _ = self.shown.reports.try_send((*report).clone());
                }
                self.gateway.report(*report, now);
                self.reports_changed = true;
            }
            Input::Trust(change, reply) => self.change_trust(change, reply, now),
            Input::Opened(opened) => self.opened(opened, now),
            Input::Frame(id, frame) => self.frame(id, *frame, now),
            Input::Malformed(id, why) => self.gateway.handle_garbage(id, &why, now),
            Input::Expired(id) => self.gateway.expire_session(id, now),
            Input::Closed(id, why) => self.gateway.handle_lost(id, &why, now),
            Input::DialFailed(cluster, why) => {
                self.errors.insert(cluster, (now.wall, why));
            }
            // Without the sender its stream ends, and it asks again.
            Input::Follower(..) if !self.gateway.is_leader() => {}
            Input::Follower(hello, states) => {
                let instance = hello.instance;
                let following = Following { instance, states };
                self.followers.insert(hello.gateway.clone(), following);
                self.gateway.follower_up(*hello, now);
            }
            Input::FollowerAck(name, sequence) => self.gateway.follower_ack(&name, sequence),
            Input::FollowerCarries(name, peers) => self.gateway.follower_carries(&name, peers),
            Input::FollowerQuiet(name) => self.gateway.gateway_quiet(&name),
            Input::LeaderQuiet => self.leader_quiet(),
            Input::Carried(carried) => {
                self.gateway.carries_to(&carried.peers);
                self.quiet = carried.quiet;
                self.heard = carried.heard;
            }
            Input::FollowerGone(name, instance) => {
                self.gateway.follower_down(&name, instance, now);
                let same = |f: &Following| f.instance == instance;
                if self.followers.get(&name).is_some_and(same) {
                    self.followers.remove(&name);
                }
            }
            Input::Followed(state, done) => self.follow(*state, done, now),
            Input::Hello(reply) => {
                let _ = reply.send(self.gateway.follow_hello());
            }
            Input::LeaderLost => self.gateway.leader_link(false, now),
            Input::Controller(..)
            | Input::Appoint(..)
            | Input::Stored(..)
            | Input::ControllerGone(_)
            | Input::Holding(_)
            | Input::OwnBundle
            | Input::Drain => self.handle_office(input, now),
            Input::PeerGateways(peer, ask, reply) => self.tell_gateways(peer.as_ref(), ask, reply),
            Input::Diagnosed(cluster, checks) => self.diagnosed(cluster, checks, now),
            Input::Alive(reply) => {
                let _ = reply.send(());
            }
            Input::Foretell(cluster, prefixes, reply) => {
                let _ = reply.send(self.gateway.foretell(&cluster, &prefixes, now));
            }
            Input::Leave(reply) => self.leave(reply, now),
            Input::Stop(done) => {
                self.gateway.shutdown(RESTART_LEASE_MS, now);
                self.stopping = Some(done);
            }
        }
    }

    fn publish(&mut self, publication: Publication, reply: Publishing) {
        if self.gateway.publish(publication) {
            self.publishers.push(reply);
        } else {
            let _ = reply.send(Err(self.not_leader()));
        }
    }

    fn change_trust(&mut self, change: TrustChange, reply: Trusting, now: Now) {
        if !self.gateway.is_leader() {
            let _ = reply.send(Err(self.not_leader()));
            return;
        }
        let mut next = self.gateway.trust().clone();
        let changed = change(&mut next, now.wall);
        let mut version = 0;
        if changed {
            self.gateway.set_trust(next, now);
            version = self.gateway.trust().version;
        }
        let answer = move |done: Result<(), NotLeader>| {
            let _ = reply.send(done.map(|()| changed));
        };
        self.trusters.push((version, Box::new(answer)));
    }

    fn follow(&mut self, state: FollowState, done: oneshot::Sender<bool>, now: Now) {
        self.gateway.leader_link(true, now);
        if let Some(trust) = &state.trust {
            // What comes with it is checked by it.
            self.keys.trust_is(trust);
        }
        self.reports_changed |= !state.reports.is_empty();
        if self.gateway.follow(state, now) {
            self.followed.push(done);
        } else {
            let _ = done.send(false);
        }
    }

    fn leave(&mut self, reply: oneshot::Sender<Result<Left, NotLeader>>, now: Now) {
        if !self.gateway.is_leader() {
            let _ = reply.send(Err(self.not_leader()));
            return;
        }
        let up = self.gateway.sessions().filter(|(_, s)| s.is_up());
        let told: BTreeSet<ClusterId> = up.map(|(_, s)| s.cluster().clone()).collect();
        let members = self.gateway.members();
        let not_told = members.difference(&told).cloned().collect();
        self.gateway.leave(None, now);
        let mut next = self.gateway.trust().clone();
        members.iter().for_each(|id| part(&mut next, id));
        next.bundles.retain(|id, _| *id == self.config.cluster);
        self.gateway.set_trust(next, now);
        self.flush(now);
        let answer = move |done: Result<(), NotLeader>| {
            let _ = reply.send(done.map(|()| (told.into_iter().collect(), not_told)));
        };
        let version = self.gateway.trust().version;
        self.trusters.push((version, Box::new(answer)));
    }

    /// Decides and shows what the inputs have changed. What must be on disk first is written in between.
    async fn settle(&mut self, now: Now) {
        self.gateway.data_heard(&self.heard, HEARD_MS, now);
        self.gateway.handle_timeout(now);
        self.gateway.settle(now);
        self.commands(now);
        for _ in 0..WRITES {
            if self.urgent.is_empty() || !self.write_urgent().await {
                break;
            }
            self.gateway.settle(now);
            self.commands(now);
        }
        self.answer_kept();
        self.answer();
        self.feed_followers(now);
        self.feed_controllers(now);
        self.flush(now);
        self.show(now);
        self.write_lazy(now).await;
    }

    fn commands(&mut self, now: Now) {
        while let Some(command) = self.gateway.poll() {
            match command {
                Command::View(view) => {
                    tracing::trace!(%view, "view");
                    self.shown.view.send_replace(view);
                }
                Command::Keep(keep) => self.keep(keep),
                Command::Closed {
                    session,
                    cluster,
                    end,
                } => self.closed(session, &cluster, &end, now),
            }
        }
    }

    /// Publications are answered when what they need is in force.
    fn answer(&mut self) {
        if !self.gateway.is_settled() || !self.urgent.is_empty() {
            return;
        }
        let held = self.gateway.catalog().own.held();
        for reply in self.publishers.drain(..) {
            let _ = reply.send(Ok(Published {
                revision: held.map(|h| h.revision),
                problems: self.gateway.view().problems.clone(),
            }));
        }
    }

    fn feed_followers(&mut self, now: Now) {
        for (name, following) in &self.followers {
            if let Ok(place) = following.states.try_reserve()
                && let Some(state) = self.gateway.poll_follow(name, now)
            {
                place.send(state);
            }
        }
    }

    /// When something is due by itself, on the monotonic clock.
    fn poll_timeout(&self, now: Now) -> u64 {
        let holds = self.hold.values().copied();
        let blocked = self.live.values().filter_map(Live::blocked_until);
        let others = [self.gateway.poll_timeout(now), self.write_lazy_at];
        holds
            .filter(|at| *at > now.mono_ms)
            .chain(blocked)
            .chain(others.into_iter().flatten())
            .chain([now.mono_ms.saturating_add(LOOK_MS)])
            .min()
            .unwrap_or(now.mono_ms)
    }
}

/// Before anything is known.
pub(super) fn nothing_seen(config: &Config, instance: u64) -> View {
    let settings = settings(config, instance);
    let nothing = Restored::default();
    let gateway = Gateway::new(settings, nothing, Box::new(NoKeys), Now::default());
    View::clone(gateway.view())
}

/// Of a process that has said nothing yet.
struct NoKeys;

impl Keys for NoKeys {
    fn sign(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn verify(&self, _: Option<&TrustBundle>, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn admits(&self, _: &TrustBundle, _: Timestamp) -> Result<(), String> {
        Err("there are no keys yet".to_owned())
    }
}
