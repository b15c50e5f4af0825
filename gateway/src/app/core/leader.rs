//! Shell: what only the leader does: allots, cuts revisions, knows its followers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_proto::limits::PREFIXES_PER_CLUSTER;
use causeway_proto::model::{
    ByeReason, ClusterId, FollowHello, GatewayAddress, GatewayName, Prefix, Problem, ProblemKind,
    Publication,
};
use tokio::sync::oneshot;

use super::{Engine, Gateway, Signing};
use crate::allot::{self, PeerWants, Pools, allot, next_epoch};
use crate::app::clock::random;
use crate::app::handle::{NotLeader, Published};
use crate::catalog::{Local, parts};
use crate::config::Encrypt;
use crate::now::Now;

/// A gateway that has not followed for so long is no longer named to peers.
const GATEWAY_GONE_MS: u64 = 60_000;

type Left = Result<(Vec<ClusterId>, Vec<ClusterId>), NotLeader>;

impl Engine {
    /// Takes the lead: a new epoch, above all that was ever seen.
    pub(super) fn lead(&mut self, now: Now) {
        let own = self.catalog.own.held().map_or(0, |h| h.revision.epoch);
        let own = own.max(self.allocations.newest().epoch);
        self.epoch_above(own, now);
        if let Some(seed) = self.config.seed {
            let mut next = self.allocations.newest().clone();
            next.seed = seed.0;
            next.version = next.version.saturating_add(1);
            self.allocations.propose(next);
        }
    }

    /// Somebody has seen this epoch of ours: ours is above it.
    pub(super) fn epoch_above(&mut self, seen: u64, now: Now) {
        let own = self.allocations.newest().epoch;
        let mut next = self.allocations.newest().clone();
        next.epoch = next_epoch(own, seen, 0, now.wall.0 / 1000);
        next.version = next.version.saturating_add(1);
        tracing::info!(epoch = next.epoch, "leads");
        self.epoch = next.epoch;
        self.allocations.propose(next);
        self.due.content = true;
    }

    pub(super) fn published(
        &mut self,
        publication: Publication,
        reply: oneshot::Sender<Result<Published, NotLeader>>,
    ) {
        if !self.config.is_leader() {
            let _ = reply.send(Err(self.not_leader()));
            return;
        }
        if self.publication.as_deref() != Some(&publication) {
            self.publication = Some(Arc::new(publication));
            self.due.publication = true;
            self.due.content = true;
        }
        self.publishers.push(reply);
    }

    pub(super) fn follower(&mut self, hello: FollowHello) {
        let now = self.clock.now();
        let lost = self.allocations.in_force().version == 0 && self.publication.is_none();
        if let Some(theirs) = hello.allocations.filter(|_| lost) {
            tracing::warn!(follower = %hello.gateway, "own state is lost: the follower's is taken up");
            let epoch = theirs.epoch;
            self.allocations = allot::Ledger::restored(theirs);
            self.epoch_above(epoch, now);
        }
        if let Some(mut theirs) = hello.trust.filter(|_| self.trust.version == 0) {
            theirs.bundles.remove(&self.config.cluster);
            self.trust_is(theirs);
        }
        if hello.epoch > self.epoch {
            self.epoch_above(hello.epoch, now);
        }
        self.due.content |= self.allocations.follower(&hello.gateway, true);
        let gateway = Gateway {
            node: hello.node,
            address: hello.address,
            gone: None,
        };
        let old = self.gateways.insert(hello.gateway.clone(), gateway.clone());
        if old.map(|old| (old.node, old.address)) != Some((gateway.node, gateway.address)) {
            self.due.gateways = true;
            self.due.content = true;
        }
    }

    /// Gateways that stay away are no longer named.
    pub(super) fn forget_gateways(&mut self, now: Now) {
        if !self.config.is_leader() {
            return;
        }
        let before = self.gateways.len();
        let own = &self.config.name;
        self.gateways.retain(|name, gateway| {
            let gone = gateway.gone.is_some_and(|at| now.age(at) > GATEWAY_GONE_MS);
            name == own || !gone
        });
        self.due.content |= before != self.gateways.len();
    }

    /// Prefixes of this cluster's pods.
    pub(super) fn own_prefixes(&self) -> (Vec<Prefix>, Option<Problem>) {
        let mut all = self.config.pod_prefixes.clone();
        let nodes = self
            .publication
            .iter()
            .flat_map(|p| p.exports.nodes.values());
        for prefix in nodes.flat_map(|node| node.pod_prefixes.iter().copied()) {
            let covered = all
                .iter()
                .any(|p| p.contains(prefix.base()) && p.bits() <= prefix.bits());
            if !covered {
                all.push(prefix);
            }
        }
        let problem = (all.len() > PREFIXES_PER_CLUSTER).then(|| Problem {
            kind: ProblemKind::LimitReached,
            subject: "pod prefixes".to_owned(),
            message: format!(
                "{} prefixes, at most {PREFIXES_PER_CLUSTER} are used: name what covers them in pod_prefixes",
                all.len()
            ),
        });
        all.truncate(PREFIXES_PER_CLUSTER);
        (all, problem)
    }

    /// Peers towards which plain packets are allowed.
    pub(super) fn plain_with(&self) -> BTreeSet<ClusterId> {
        let known = self.trust.bundles.keys();
        let plain = known.filter(|id| self.config.encryption_with(id) == Encrypt::Off);
        plain
            .filter(|id| **id != self.config.cluster)
            .cloned()
            .collect()
    }

    pub(super) fn allot(&mut self, now: Now) {
        let wants: BTreeMap<ClusterId, PeerWants> = self
            .catalog
            .peers()
            .iter()
            .map(|(id, peer)| {
                let services = peer.namespaces().flat_map(|part| part.services.keys());
                let wants = PeerWants {
                    prefixes: peer
                        .cluster_part()
                        .map_or_else(Vec::new, |p| p.prefixes.clone()),
                    services: services.cloned().collect(),
                };
                (id.clone(), wants)
            })
            .collect();
        let (own, problem) = self.own_prefixes();
        let native = self.config.peers.iter();
        let pools = Pools {
            vips: self.config.pools.vips.clone(),
            mappings: self.config.pools.mappings.clone(),
            own,
            native: native
                .map(|(id, p)| (id.clone(), p.native.clone()))
                .collect(),
        };
        let nothing = Publication::default();
        let exports = &self.publication.as_deref().unwrap_or(&nothing).exports;
        let held = self.allocations.newest();
        let (next, mut problems) = allot(exports, &wants, held, &pools, now.wall, &random());
        problems.extend(problem);
        self.allot_problems = problems;
        self.allocations.propose(next);
    }

    /// Cuts a revision if what peers may know has changed.
    pub(super) fn cut(&mut self, now: Now) {
        if self.disk_problem.is_some() || self.allocations.in_force().version == 0 {
            return;
        }
        let gateways: BTreeMap<GatewayName, GatewayAddress> = self
            .gateways
            .iter()
            .map(|(name, gateway)| (name.clone(), gateway.address.clone()))
            .collect();
        let nothing = Publication::default();
        let publication = self.publication.clone();
        let allocations = self.allocations.in_force();
        let (prefixes, _) = self.own_prefixes();
        let local = Local {
            exports: &publication.as_deref().unwrap_or(&nothing).exports,
            allocations,
            trust: &self.trust,
            gateways: &gateways,
            prefixes: &prefixes,
            plain_with: &self.plain_with(),
        };
        let content = parts(local, &self.catalog.own.contents());
        let (salts, epoch) = (allocations.salts.clone(), allocations.epoch);
        let signing = Signing {
            keys: &self.keys,
            trust: &self.trust,
        };
        let (cut, problems) = self.catalog.own.cut(content, &salts, epoch, now, &signing);
        self.cut_problems = problems;
        if cut {
            self.due.own = true;
            let revision = self.catalog.own.held().map(|h| h.revision);
            tracing::debug!(?revision, "revision cut");
        }
    }

    /// Publications are answered when what they need is in force.
    pub(super) fn answer(&mut self) {
        if self.disk_problem.is_some() || self.allocations.pending().is_some() {
            return;
        }
        let held = self.catalog.own.held();
        for reply in self.publishers.drain(..) {
            let _ = reply.send(Ok(Published {
                revision: held.map(|h| h.revision).unwrap_or_default(),
                problems: self.allot_problems.clone(),
            }));
        }
    }

    /// Takes leave of every peer; their bundles go.
    pub(super) fn leave(&mut self, reply: oneshot::Sender<Left>, now: Now) {
        if !self.config.is_leader() {
            let _ = reply.send(Err(self.not_leader()));
            return;
        }
        let told: BTreeSet<ClusterId> = self
            .sessions
            .values_mut()
            .filter(|live| live.session.is_up())
            .map(|live| {
                let message = "this cluster has left the clusterset";
                live.session.close(ByeReason::Left, 0, message);
                live.session.cluster().clone()
            })
            .collect();
        self.pump(now);
        let peers = self.trust.bundles.keys().cloned();
        let not_told = peers.filter(|id| !told.contains(id)).collect();
        let mut next = (*self.trust).clone();
        next.bundles.clear();
        self.trust_is(next);
        let _ = reply.send(Ok((told.into_iter().collect(), not_told)));
    }
}
