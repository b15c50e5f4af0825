//! Pure: the simulation's controllers: each keeps what its leader writes, appoints a gateway, and another one when that is
//! gone for long; and, by chance, says what it said before.

use std::collections::BTreeMap;

use causeway_proto::model::{Appointment, ClusterId, GatewayName, LeaderState};

use super::Sim;

/// How long a leader may be unreachable before another is appointed: short, so that it happens often.
const PATIENCE_MS: u64 = 1_500;

/// One cluster's controller, or what several of them share: their store and their words.
#[derive(Debug, Clone, Default)]
pub struct Controller {
    /// It is away.
    pub down: bool,
    /// All words, the newest last.
    pub words: Vec<Appointment>,
    store: LeaderState,
    /// The highest epoch that a gateway has told of.
    epoch: u64,
    /// Since when its leader is not reached.
    missed: Option<u64>,
    /// Sent by the leader, not stored yet: host, stream, sequence.
    waiting: Option<(usize, u64, u64)>,
}

impl Sim {
    /// Hosts of a cluster that its controller reaches.
    fn reached(&self, cluster: &ClusterId) -> Vec<usize> {
        let hosts = self.hosts.iter().enumerate();
        hosts
            .filter(|(at, h)| {
                h.cluster == *cluster && h.gateway.is_some() && !self.alone.contains(at)
            })
            .map(|(at, _)| at)
            .collect()
    }

    /// One round of every controller.
    pub(super) fn control(&mut self) {
        let clusters: Vec<ClusterId> = self.controllers.keys().cloned().collect();
        for cluster in clusters {
            if self.controllers.get(&cluster).is_some_and(|c| !c.down) {
                self.control_one(&cluster);
            }
        }
    }

    fn control_one(&mut self, cluster: &ClusterId) {
        let Some(mut controller) = self.controllers.remove(cluster) else {
            return;
        };
        let reached = self.reached(cluster);
        self.look(&mut controller, &reached);
        self.store(&mut controller);
        self.choose(&mut controller, &reached);
        if let Some(word) = controller.words.last().cloned() {
            let word = Appointment {
                epoch: controller.epoch,
                ..word
            };
            for at in reached {
                self.appoint(at, &word, &controller.store);
            }
            self.keep(&mut controller, &word.leader, cluster);
        }
        self.controllers.insert(cluster.clone(), controller);
        self.told(cluster);
    }

    fn look(&self, controller: &mut Controller, reached: &[usize]) {
        let gateways = reached.iter().filter_map(|at| self.hosts.get(*at));
        for gateway in gateways.filter_map(|h| h.gateway.as_ref()) {
            controller.epoch = controller.epoch.max(gateway.highest_epoch());
        }
    }

    /// What was sent a round ago is stored now.
    fn store(&mut self, controller: &mut Controller) {
        if let Some((at, stream, sequence)) = controller.waiting.take()
            && let Some(gateway) = self.touch(at)
        {
            gateway.store_ack(stream, sequence);
        }
    }

    /// Another leader, where there is none or it is gone for long: whoever holds the most.
    fn choose(&mut self, controller: &mut Controller, reached: &[usize]) {
        let leader = controller.words.last().map(|word| word.leader.clone());
        let named = |at: &&usize| self.hosts.get(**at).map(|h| &h.name) == leader.as_ref();
        if reached.iter().find(named).is_some() {
            controller.missed = None;
            return;
        }
        let since = *controller.missed.get_or_insert(self.now_ms);
        if leader.is_some() && self.now_ms.saturating_sub(since) < PATIENCE_MS {
            return;
        }
        let held = |at: &&usize| {
            let gateway = self.hosts.get(**at).and_then(|h| h.gateway.as_ref());
            gateway.map(|g| g.lead_hello("", false, self.now(**at)).held)
        };
        let Some(most) = reached.iter().max_by_key(held) else {
            return;
        };
        let Some(host) = self.hosts.get(*most) else {
            return;
        };
        let Some(truth) = self.truth.get(&host.cluster) else {
            return;
        };
        let term = controller.words.last().map_or(0, |word| word.term);
        controller.missed = None;
        controller.words.push(Appointment {
            term: term.saturating_add(1),
            leader: host.name.clone(),
            leader_address: host.name.to_string(),
            epoch: 0,
            settings: truth.shared(),
            state: None,
        });
    }

    /// Says a word to one gateway; with the store to the one that it appoints.
    pub(super) fn appoint(&mut self, at: usize, word: &Appointment, store: &LeaderState) {
        let now = self.now(at);
        let Some(host) = self.hosts.get_mut(at) else {
            return;
        };
        let me = host.name == word.leader;
        let Some(gateway) = host.gateway.as_mut() else {
            return;
        };
        let word = Appointment {
            state: me.then(|| store.clone()),
            ..word.clone()
        };
        if gateway.appoint(word, now).is_ok() {
            // The CA comes with the office and goes with it.
            host.disk.authority = me;
            host.touched = true;
        }
    }

    fn keep(&mut self, controller: &mut Controller, leader: &GatewayName, cluster: &ClusterId) {
        let Some(at) = self.host(cluster.as_str(), leader.as_str()) else {
            return;
        };
        if self.alone.contains(&at) {
            return;
        }
        let now = self.now(at);
        let stream = self.hosts.get(at).map_or(0, |h| h.restarts);
        let Some(gateway) = self.touch(at).filter(|g| g.is_leader()) else {
            return;
        };
        gateway.store_up(stream);
        if let Some(keep) = gateway.poll_keep(now) {
            controller.waiting = Some((at, stream, keep.sequence));
            let store = &mut controller.store;
            store.allocations = keep.allocations.or(store.allocations.take());
            store.trust = keep.trust.or(store.trust.take());
        }
    }

    /// The controller appoints another gateway, for whatever reason.
    pub fn hand_over(&mut self, cluster: &ClusterId, to: &GatewayName) {
        let Some(controller) = self.controllers.get_mut(cluster) else {
            return;
        };
        let Some(last) = controller.words.last().cloned() else {
            return;
        };
        controller.words.push(Appointment {
            term: last.term.saturating_add(1),
            leader: to.clone(),
            leader_address: to.to_string(),
            ..last
        });
    }

    /// A controller that believes to lead says again what was true once.
    pub fn say_again(&mut self, cluster: &ClusterId) {
        let Some(controller) = self.controllers.get(cluster) else {
            return;
        };
        let (words, store) = (controller.words.clone(), controller.store.clone());
        let Some(word) = self.rng.pick(&words).cloned() else {
            return;
        };
        for at in self.reached(cluster) {
            self.appoint(at, &word, &store);
        }
    }

    /// Who leads each cluster, by the newest word.
    #[must_use]
    pub fn appointed_leaders(&self) -> BTreeMap<ClusterId, GatewayName> {
        let each = self.controllers.iter();
        each.filter_map(|(id, c)| Some((id.clone(), c.words.last()?.leader.clone())))
            .collect()
    }
}
