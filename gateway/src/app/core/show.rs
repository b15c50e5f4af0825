//! Shell: shows what the round has changed: the View, facts for status, what followers get, whom to dial.

use std::sync::Arc;

use causeway_proto::model::{
    Exports, Liveness, PeerView, Problem, ProblemKind, View, ViewRevision,
};

use super::Engine;
use super::sessions::same;
use crate::follow::Lead;
use crate::merge::{Facts, Known, merge};
use crate::now::Now;
use crate::status;

impl Engine {
    pub(super) fn show(&mut self, now: Now) {
        if self.due.content || self.liveness_changed(now) {
            self.show_view(now);
            self.due.facts = true;
        }
        self.show_facts();
        self.show_lead();
        let targets = self.targets(now);
        self.shown.targets.send_if_modified(|shown| {
            let changed = **shown != targets;
            if changed {
                *shown = Arc::new(targets);
            }
            changed
        });
        let hello = self.hello_to_leader();
        self.shown.hello.send_if_modified(|shown| {
            let changed = **shown != hello;
            if changed {
                *shown = Arc::new(hello);
            }
            changed
        });
    }

    fn liveness_changed(&self, now: Now) -> bool {
        let shown = self.last.as_ref().map(|view| &view.peers);
        let of = |id| -> Option<Liveness> {
            shown.and_then(|p| p.get(id)).map(|p: &PeerView| p.liveness)
        };
        self.catalog
            .peers()
            .iter()
            .any(|(id, peer)| of(id) != Some(peer.life.liveness(now)))
    }

    fn problems(&self, now: Now) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(self.watch.problem(now));
        problems.extend(self.catalog.problems());
        problems.extend(self.allot_problems.iter().cloned());
        problems.extend(self.cut_problems.iter().cloned());
        problems.extend(self.disk_problem.clone());
        if self.frozen_since.is_some() {
            problems.push(Problem {
                kind: ProblemKind::Frozen,
                subject: format!("leader {}", self.config.leader_name()),
                message: "cannot be reached: what is held stays in force, nothing new is allotted"
                    .to_owned(),
            });
        }
        problems
    }

    fn show_view(&mut self, now: Now) {
        let facts = Facts {
            cluster: self.config.cluster.clone(),
            cluster_set: self.config.clusterset.clone(),
            plain_with: self.plain_with(),
            vip_pool: self.config.pools.vips.clone(),
            mapping_pool: self.config.pools.mappings.clone(),
            tunnel_port: self.config.tunnel_port,
        };
        let gateways = self.gateways.iter();
        let gateways = gateways
            .map(|(name, g)| (name.clone(), g.node.clone()))
            .collect();
        let problems = self.problems(now);
        let known = Known {
            facts: &facts,
            catalog: &self.catalog,
            publication: self.publication.as_deref(),
            allocations: self.allocations.in_force(),
            gateways: &gateways,
            frozen_since: self.frozen_since,
            problems: &problems,
            revision: ViewRevision {
                instance: self.instance,
                number: self.views,
            },
        };
        let mut view = merge(&known, now);
        // When a peer was last heard is a fact of its own: a beat makes no new View.
        for peer in view.peers.values_mut() {
            peer.heard = None;
        }
        if self.last.as_ref() == Some(&view) {
            return;
        }
        self.views = self.views.saturating_add(1);
        view.revision.number = self.views;
        tracing::trace!(%view, "view");
        self.last = Some(view.clone());
        self.shown.view.send_replace(Arc::new(view));
    }

    fn show_facts(&mut self) {
        let nothing = || Arc::new(Exports::default());
        let exports = self.shown.facts.borrow().exports.clone();
        let exports = match &self.publication {
            Some(p) if *exports == p.exports => exports,
            Some(p) => Arc::new(p.exports.clone()),
            None => nothing(),
        };
        let peers = self.catalog.peers().iter().map(|(id, peer)| {
            let sessions = self.sessions.values();
            let sessions = sessions.filter(|l| l.session.cluster() == id && l.session.is_up());
            let facts = status::PeerFacts {
                held: peer.held().map(|h| h.revision),
                acknowledged: self.acknowledged.get(id).copied(),
                heard: peer.life.heard(),
                sessions: sessions.map(super::Live::status).collect(),
                last_error: self.errors.get(id).cloned(),
            };
            (id.clone(), facts)
        });
        let facts = status::Facts {
            started: self.started,
            leader: match (self.config.is_leader(), self.frozen_since) {
                (true, _) => Some(self.config.name.clone()),
                (false, None) => Some(self.config.leader_name().clone()),
                (false, Some(_)) => None,
            },
            epoch: self.epoch,
            revision: self.catalog.own.held().map(|h| h.revision),
            certificate_expires: self.keys.tls.leaf.validity().map(|v| v.not_after),
            ca_expires: self.keys.ca_expires(),
            peers: peers.collect(),
            reports: Arc::clone(&self.reports),
            exports,
        };
        self.due.facts = false;
        self.shown.facts.send_if_modified(|shown| {
            let changed = **shown != facts;
            if changed {
                *shown = Arc::new(facts);
            }
            changed
        });
    }

    /// Followers get the newest allocations, which may wait for just their acknowledgement.
    fn show_lead(&mut self) {
        if !self.config.is_leader() {
            return;
        }
        let old = self.shown.lead.borrow().clone();
        let newest = self.allocations.newest();
        let allocations = match *old.allocations == *newest {
            true => Arc::clone(&old.allocations),
            false => Arc::new(newest.clone()),
        };
        // Followers check our own catalog by our own bundle.
        let mut trust = (*self.trust).clone();
        if let Some(bundle) = self.keys.own_bundle(&trust) {
            trust.bundles.insert(self.config.cluster.clone(), bundle);
        }
        let trust = match *old.trust == trust {
            true => Arc::clone(&old.trust),
            false => Arc::new(trust),
        };
        let held = |c: &Option<Arc<causeway_proto::model::CatalogDelta>>| {
            c.as_ref().map(|c| c.header.header.revision)
        };
        let catalog = match self.catalog.own.held().map(|h| h.revision) {
            now if now == held(&old.catalog) => old.catalog.clone(),
            _ => self.catalog.own.snapshot().map(Arc::new),
        };
        let gateways = self.gateways.iter();
        let lead = Lead {
            leader: Some(self.config.name.clone()),
            epoch: self.epoch,
            publication: self.publication.clone(),
            allocations,
            trust,
            catalog,
            reports: Arc::clone(&self.reports),
            gateways: gateways.map(|(n, g)| (n.clone(), g.node.clone())).collect(),
        };
        self.shown.lead.send_if_modified(|shown| {
            let unchanged = lead.epoch == shown.epoch
                && same(&lead.allocations, &shown.allocations)
                && same(&lead.trust, &shown.trust)
                && same(&lead.reports, &shown.reports)
                && lead.gateways == shown.gateways
                && held(&lead.catalog) == held(&shown.catalog)
                && lead.publication == shown.publication;
            if !unchanged {
                *shown = Arc::new(lead);
            }
            !unchanged
        });
    }
}

/// Before the first round.
pub(crate) fn empty_view(config: &crate::config::Config, instance: u64) -> View {
    let facts = Facts {
        cluster: config.cluster.clone(),
        cluster_set: config.clusterset.clone(),
        plain_with: Default::default(),
        vip_pool: config.pools.vips.clone(),
        mapping_pool: config.pools.mappings.clone(),
        tunnel_port: config.tunnel_port,
    };
    let known = Known {
        facts: &facts,
        catalog: &crate::catalog::Catalog::new(config.cluster.clone()),
        publication: None,
        allocations: &Default::default(),
        gateways: &Default::default(),
        frozen_since: None,
        problems: &[],
        revision: ViewRevision {
            instance,
            number: 0,
        },
    };
    merge(&known, Now::default())
}
