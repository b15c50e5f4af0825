//! Pure: many gateways of several clusters on one clock, one seed and a network of queues: frames as bytes with
//! delay, sessions that die, clusters cut off from each other, gateways that restart with and without their
//! disk, clocks that jump; and, where it is asked for, controllers that appoint the leaders. The same seed gives
//! the same run.

pub mod chaos;
mod keys;
pub mod net;
pub mod office;
pub mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_gateway::engine::{Command, Gateway, Keep, Restored};
use causeway_gateway::now::Now;
use causeway_proto::model::{
    Address, ClusterId, GatewayAddress, GatewayName, Report, ServiceName, Timestamp, TrustState,
    View,
};

pub use keys::{SimKeys, bundle, secret};
use net::{Follow, Wire};
use office::Controller;
use truth::Truth;

/// One step of the clock.
pub const STEP_MS: u64 = 20;
/// The wall clock when a simulation starts.
const EPOCH_MS: u64 = 1_800_000_000_000;
/// How often what is not connected is dialled, and agents report.
const OFTEN_MS: u64 = 500;

/// Numbers out of one seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    }

    /// One of `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(of.len()).ok()?);
        of.get(usize::try_from(at).ok()?)
    }
}

/// One gateway's host.
pub struct Host {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name; `g0` leads, unless a controller says otherwise.
    pub name: GatewayName,
    /// `None`: the process is down.
    pub gateway: Option<Gateway>,
    /// What is on its disk.
    pub disk: Restored,
    /// What its wall clock shows beside the true time.
    pub skew_ms: i64,
    started: u64,
    restarts: u64,
    /// When it wants to be looked at.
    due: Option<u64>,
    /// It was told something.
    touched: bool,
}

/// The whole of it.
pub struct Sim {
    /// Where all chance comes from.
    pub rng: Rng,
    /// True time.
    pub now_ms: u64,
    /// All gateways' hosts.
    pub hosts: Vec<Host>,
    /// What each cluster's controller knows.
    pub truth: BTreeMap<ClusterId, Truth>,
    /// Pairs of clusters (in order) whose gateways do not reach each other.
    pub cut: BTreeSet<(ClusterId, ClusterId)>,
    /// Pairs of clusters whose packets do not pass.
    pub dark: BTreeSet<(ClusterId, ClusterId)>,
    /// Hosts that are cut off from the other hosts of their cluster.
    pub alone: BTreeSet<usize>,
    /// What appoints the leader of each cluster; none: `g0` leads for good.
    pub controllers: BTreeMap<ClusterId, Controller>,
    wires: Vec<Wire>,
    follows: Vec<Follow>,
    sessions: u64,
    /// VIPs that Views have shown, by cluster and service: they do not change.
    vips: BTreeMap<(ClusterId, ServiceName), Address>,
    /// Clusters whose leader has lost its disk once: of those VIPs may have moved.
    lost: BTreeSet<ClusterId>,
    /// What went wrong though nobody did wrong.
    pub errors: Vec<String>,
}

/// In order.
#[must_use]
pub fn pair(a: &ClusterId, b: &ClusterId) -> (ClusterId, ClusterId) {
    (a.min(b).clone(), a.max(b).clone())
}

impl Sim {
    /// Clusters `c0`, `c1`, ... with so many gateways each; all know each other, nothing is offered yet.
    #[must_use]
    pub fn new(seed: u64, gateways: &[usize]) -> Self {
        Self::built(seed, gateways, false)
    }

    /// The same, with a controller in each cluster that appoints the leader.
    #[must_use]
    pub fn appointed(seed: u64, gateways: &[usize]) -> Self {
        Self::built(seed, gateways, true)
    }

    fn built(seed: u64, gateways: &[usize], appointed: bool) -> Self {
        let mut sim = Self {
            rng: Rng(seed),
            now_ms: 0,
            hosts: Vec::new(),
            truth: BTreeMap::new(),
            cut: BTreeSet::new(),
            dark: BTreeSet::new(),
            alone: BTreeSet::new(),
            controllers: BTreeMap::new(),
            wires: Vec::new(),
            follows: Vec::new(),
            sessions: 0,
            vips: BTreeMap::new(),
            lost: BTreeSet::new(),
            errors: Vec::new(),
        };
        for (number, count) in gateways.iter().enumerate() {
            let Ok(cluster) = format!("c{number}").parse::<ClusterId>() else {
                continue;
            };
            sim.truth.insert(cluster.clone(), Truth::new(number));
            if appointed {
                sim.controllers
                    .insert(cluster.clone(), Controller::default());
            }
            for gateway in 0..*count {
                let Ok(name) = format!("g{gateway}").parse() else {
                    continue;
                };
                sim.hosts.push(Host {
                    cluster: cluster.clone(),
                    name,
                    gateway: None,
                    disk: Restored::default(),
                    skew_ms: 0,
                    started: 0,
                    restarts: 0,
                    due: None,
                    touched: true,
                });
            }
        }
        let all: Vec<ClusterId> = sim.truth.keys().cloned().collect();
        for (id, truth) in &mut sim.truth {
            truth.members = all.iter().filter(|m| *m != id).cloned().collect();
        }
        for host in 0..sim.hosts.len() {
            sim.start(host, false);
        }
        sim
    }

    /// The two clocks as a host sees them.
    #[must_use]
    pub fn now(&self, host: usize) -> Now {
        let (skew, started) = self
            .hosts
            .get(host)
            .map_or((0, 0), |h| (h.skew_ms, h.started));
        Now {
            wall: Timestamp(
                EPOCH_MS
                    .saturating_add(self.now_ms)
                    .saturating_add_signed(skew),
            ),
            mono_ms: self.now_ms.saturating_sub(started),
        }
    }

    /// Starts a gateway; `lost`: its disk is empty, but for the keys.
    pub fn start(&mut self, at: usize, lost: bool) {
        let random = [
            self.rng.draw(),
            self.rng.draw(),
            self.rng.draw(),
            self.rng.draw(),
        ];
        let now_ms = self.now_ms;
        let Some(host) = self.hosts.get_mut(at) else {
            return;
        };
        host.started = now_ms;
        host.restarts = host.restarts.saturating_add(1);
        if lost {
            host.disk = Restored::default();
            if !self.controllers.contains_key(&host.cluster) {
                self.lost.insert(host.cluster.clone());
            }
        }
        let Some(truth) = self.truth.get(&host.cluster) else {
            return;
        };
        let mut bytes = [0; 32];
        let drawn = random.iter().flat_map(|r| r.to_be_bytes());
        bytes
            .iter_mut()
            .zip(drawn)
            .for_each(|(to, from)| *to = from);
        let appointed = self.controllers.contains_key(&host.cluster);
        let Some(settings) = truth.settings(host, bytes, appointed) else {
            return;
        };
        let keys = SimKeys {
            secret: secret(&host.cluster),
            signs: appointed || host.name.as_str() == "g0",
        };
        let restored = host.disk.clone();
        let now = self.now(at);
        let mut gateway = Gateway::new(settings, restored, Box::new(keys), now);
        self.tell_leader(at, &mut gateway, now);
        if let Some(host) = self.hosts.get_mut(at) {
            host.gateway = Some(gateway);
        }
        self.work(at);
    }

    /// Kills a gateway; its connections are found dead later.
    pub fn kill(&mut self, at: usize) {
        if let Some(host) = self.hosts.get_mut(at) {
            host.gateway = None;
        }
    }

    /// Controller and operator speak to a leader.
    fn tell_leader(&self, at: usize, gateway: &mut Gateway, now: Now) {
        if !gateway.is_leader() {
            return;
        }
        let cluster = self.hosts.get(at).map(|h| &h.cluster);
        if let Some(truth) = cluster.and_then(|c| self.truth.get(c)) {
            gateway.publish(truth.publication());
            let trust = TrustState {
                bundles: truth
                    .members
                    .iter()
                    .map(|m| (m.clone(), bundle(m)))
                    .collect(),
                ..gateway.trust().clone()
            };
            gateway.set_trust(trust, now);
        }
    }

    /// Tells the leader of a cluster what is true now.
    pub fn told(&mut self, cluster: &ClusterId) {
        for at in 0..self.hosts.len() {
            let leads = |h: &Host| h.gateway.as_ref().is_some_and(Gateway::is_leader);
            let theirs = self.hosts.get(at).filter(|h| h.cluster == *cluster);
            if !theirs.is_some_and(leads) {
                continue;
            }
            let now = self.now(at);
            let gateway = self.hosts.get_mut(at).and_then(|h| h.gateway.take());
            if let Some(mut gateway) = gateway {
                self.tell_leader(at, &mut gateway, now);
                if let Some(host) = self.hosts.get_mut(at) {
                    host.gateway = Some(gateway);
                    host.touched = true;
                }
            }
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let until = self.now_ms.saturating_add(ms);
        while self.now_ms < until {
            self.now_ms = self.now_ms.saturating_add(STEP_MS);
            self.deliver();
            if self.now_ms.checked_rem(OFTEN_MS) == Some(0) {
                self.control();
                self.dial();
                self.report();
            }
            for at in 0..self.hosts.len() {
                let now = self.now(at);
                let Some(host) = self.hosts.get_mut(at) else {
                    continue;
                };
                let due = host.due.is_some_and(|due| due <= now.mono_ms);
                if let Some(gateway) = host.gateway.as_mut().filter(|_| due) {
                    gateway.handle_timeout(now);
                    if gateway
                        .poll_timeout(now)
                        .is_some_and(|at| at <= now.mono_ms)
                    {
                        let error = format!("host {at}: a deadline is left behind");
                        self.errors.push(error);
                    }
                }
                // Nobody looks at a gateway that nothing was told and that asked for nothing.
                if due || host.touched {
                    self.work(at);
                }
            }
        }
    }

    /// Decides, keeps and sends what a gateway wants.
    fn work(&mut self, at: usize) {
        let now = self.now(at);
        let mut views = Vec::new();
        let Some(host) = self.hosts.get_mut(at) else {
            return;
        };
        let Some(gateway) = host.gateway.as_mut() else {
            return;
        };
        gateway.settle(now);
        let mut closed = Vec::new();
        while let Some(command) = gateway.poll() {
            match command {
                Command::View(view) => views.push(view),
                Command::Keep(keep) => {
                    let stamp = match &keep {
                        Keep::Allocations(a) => Some((a.epoch, a.version)),
                        _ => None,
                    };
                    put(&mut host.disk, keep);
                    if let Some((epoch, version)) = stamp {
                        gateway.kept(epoch, version);
                        gateway.settle(now);
                    }
                }
                Command::Closed { session, end, .. } => closed.push((session, end)),
            }
        }
        host.touched = false;
        host.due = gateway.poll_timeout(now);
        self.send(at, &closed);
        for view in views {
            self.check_view(at, &view);
        }
    }

    /// What must hold of every View at every time.
    fn check_view(&mut self, at: usize, view: &Arc<View>) {
        let mut taken = BTreeMap::new();
        let sticky = !self.lost.contains(&view.cluster);
        for (name, import) in &view.imports {
            let Some(vip) = import.vip else {
                continue;
            };
            let key = (view.cluster.clone(), name.clone());
            let before = *self.vips.entry(key).or_insert(vip);
            if sticky && before != vip {
                let error = format!("host {at}: {name} was {before}, is {vip}");
                self.errors.push(error);
            }
            if let Some(other) = taken.insert(vip, name) {
                self.errors
                    .push(format!("host {at}: {vip} is {other}'s and {name}'s"));
            }
        }
        let numbers: BTreeSet<_> = view.peers.values().map(|p| p.number).collect();
        if numbers.len() != view.peers.len() {
            self.errors
                .push(format!("host {at}: two peers have one number"));
        }
    }

    /// Agents say whose packets they hear.
    fn report(&mut self) {
        for at in 0..self.hosts.len() {
            let now = self.now(at);
            let Some(host) = self.hosts.get(at) else {
                continue;
            };
            let Some(node) = truth::node_of(&host.name) else {
                continue;
            };
            let clusters = self.truth.keys().filter(|c| **c != host.cluster);
            let heard = clusters.filter(|c| !self.dark.contains(&pair(c, &host.cluster)));
            let report = Report {
                node,
                time: now.wall,
                programmed: None,
                drops: BTreeMap::new(),
                services: BTreeMap::new(),
                heard: heard.map(|c| (c.clone(), now.wall)).collect(),
                pods: BTreeMap::new(),
                flows: (0, 0),
                hooks: BTreeMap::new(),
                problems: Vec::new(),
                checks: Vec::new(),
            };
            if let Some(gateway) = self.touch(at) {
                gateway.report(report, now);
            }
        }
    }

    /// The gateway of a host, to tell it something; it will be looked at.
    fn touch(&mut self, at: usize) -> Option<&mut Gateway> {
        let host = self.hosts.get_mut(at)?;
        host.touched = true;
        host.gateway.as_mut()
    }

    /// Where a gateway is.
    #[must_use]
    pub fn host(&self, cluster: &str, gateway: &str) -> Option<usize> {
        let found = |h: &Host| h.cluster.as_str() == cluster && h.name.as_str() == gateway;
        self.hosts.iter().position(found)
    }

    /// The newest View of a gateway that is up.
    #[must_use]
    pub fn view(&self, at: usize) -> Option<&Arc<View>> {
        let gateway = self.hosts.get(at).and_then(|h| h.gateway.as_ref());
        gateway.map(Gateway::view)
    }

    /// Every gateway that is up, with where it is.
    pub fn gateways(&self) -> impl Iterator<Item = (usize, &Host, &Gateway)> {
        let all = self.hosts.iter().enumerate();
        all.filter_map(|(at, host)| Some((at, host, host.gateway.as_ref()?)))
    }
}

fn put(disk: &mut Restored, keep: Keep) {
    match keep {
        Keep::Allocations(a) => disk.allocations = Some(a),
        Keep::Publication(p) => disk.publication = Some(p),
        Keep::Trust(t) => disk.trust = Some(t),
        Keep::Own(own) => disk.own = Some(own),
        Keep::Appointment(word) => disk.appointment = Some(word),
        Keep::Peer(id, Some(whole)) => {
            disk.peers.insert(id, whole);
        }
        Keep::Peer(id, None) => {
            disk.peers.remove(&id);
        }
    }
}

/// Where a simulated gateway is.
#[must_use]
pub fn address(cluster: usize, gateway: &GatewayName) -> Option<GatewayAddress> {
    let number = gateway.as_str().trim_start_matches('g');
    Some(GatewayAddress {
        session: format!("c{cluster}.{gateway}:7443"),
        tunnel: format!("192.168.{cluster}.{number}").parse().ok()?,
    })
}
