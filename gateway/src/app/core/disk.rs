//! Shell: what outlives the process. Names in the state file: `allocations`, `trust`, `publication`, `own`,
//! `peer/ID`, `gateway/NAME`. State from the disk counts as synced, with its age.

use std::collections::BTreeSet;
use std::sync::Arc;

use causeway_proto::model::{
    Allocations, CatalogDelta, ClusterId, FollowHello, FollowRequest, Problem, ProblemKind,
    Publication, TrustState,
};
use causeway_proto::wire::{Encoded, pb};
use prost::Message as _;

use super::{Engine, Gateway, Signing};
use crate::allot;
use crate::catalog::Applied;
use crate::now::Now;
use crate::store::Changes;

/// Catalogs may be asked for again, so they are written at most so often.
const CATALOGS_EVERY_MS: u64 = 1_000;

/// A catalog's bytes, in a message that has them whole.
fn catalog_bytes(whole: &CatalogDelta) -> Vec<u8> {
    pb::model::CatalogDelta::from(whole).encode_to_vec()
}

fn catalog(bytes: &[u8]) -> Option<CatalogDelta> {
    let message = pb::model::CatalogDelta::decode(bytes).ok()?;
    CatalogDelta::try_from(message).ok()
}

impl Engine {
    /// Takes up what was kept. What cannot be read any more is told and left out; the rest stays in force.
    pub(super) fn load(&mut self, now: Now) -> Result<(), anyhow::Error> {
        let all = self.store.load()?;
        let bytes = |name: &str| all.get(name).map(Vec::as_slice);
        if let Some(trust) = bytes("trust").and_then(|b| told("trust", TrustState::from_bytes(b))) {
            self.trust = Arc::new(trust);
        }
        let kept = bytes("allocations");
        if let Some(kept) = kept.and_then(|b| told("allocations", Allocations::from_bytes(b))) {
            self.epoch = kept.epoch;
            self.allocations = allot::Ledger::restored(kept);
        }
        let kept = bytes("publication");
        if let Some(kept) = kept.and_then(|b| told("publication", Publication::from_bytes(b))) {
            self.publication = Some(Arc::new(kept));
        }
        self.keys.trust_is(&self.trust);
        self.members(now);
        let trust = Arc::clone(&self.trust);
        let signing = Signing {
            keys: &self.keys,
            trust: &trust,
        };
        if let Some(whole) = bytes("own").and_then(catalog) {
            if let Err(refusal) = self.catalog.own.take(&whole, &signing) {
                tracing::warn!(reason = %refusal.message, "own catalog on disk left out");
            }
        }
        for (name, bytes) in &all {
            if let Some(gateway) = name.strip_prefix("gateway/") {
                let kept = pb::local::FollowRequest::decode(bytes.as_slice()).ok();
                let kept = kept.and_then(|m| FollowRequest::try_from(m).ok());
                if let (Some(FollowRequest::Hello(kept)), Ok(name)) = (kept, gateway.parse()) {
                    let gateway = Gateway {
                        node: kept.node,
                        address: kept.address,
                        gone: Some(now.mono_ms),
                    };
                    self.gateways.insert(name, gateway);
                }
            }
            let peer = name.strip_prefix("peer/").map(str::parse::<ClusterId>);
            let (Some(Ok(peer)), Some(whole)) = (peer, catalog(bytes)) else {
                continue;
            };
            let Some(bundle) = trust.bundles.get(&peer) else {
                continue;
            };
            match self.catalog.apply(&peer, bundle, &whole, &signing) {
                Ok(Applied::InForce(held)) => {
                    tracing::info!(%peer, revision = %held.revision, "catalog from disk");
                }
                Ok(_) => {}
                Err(refusal) => {
                    tracing::warn!(%peer, reason = %refusal.message, "catalog on disk left out");
                }
            }
        }
        Ok(())
    }

    /// Writes what must be on disk before anybody is told. A disk that fails is a problem in the View, and what waits for
    /// it goes on waiting.
    pub(super) async fn keep(&mut self) {
        let mut changes = Changes::new();
        let mut put = |name: &str, bytes| changes.insert(name.to_owned(), Some(bytes));
        let newest = self.allocations.newest().clone();
        let unkept = self.allocations.pending().is_some() || self.due.gateways;
        if unkept {
            put("allocations", newest.to_bytes());
        }
        if self.due.trust {
            put("trust", self.trust.to_bytes());
        }
        if self.due.publication {
            if let Some(publication) = &self.publication {
                put("publication", publication.to_bytes());
            }
        }
        if self.due.gateways {
            for (name, gateway) in &self.gateways {
                let hello = FollowHello {
                    gateway: name.clone(),
                    epoch: 0,
                    instance: 0,
                    node: gateway.node.clone(),
                    address: gateway.address.clone(),
                    allocations: None,
                    trust: None,
                };
                let message = pb::local::FollowRequest::from(&FollowRequest::Hello(hello));
                put(&format!("gateway/{name}"), message.encode_to_vec());
            }
        }
        let kept = self.write(changes).await;
        if !kept {
            return;
        }
        if unkept && self.allocations.ack_disk(newest.epoch, newest.version) {
            self.due.content = true;
        }
        if self.due.trust {
            self.shown.trust.send_replace(Arc::clone(&self.trust));
        }
        self.due.trust = false;
        self.due.publication = false;
        self.due.gateways = false;
        for (reply, changed) in self.trusters.drain(..) {
            let _ = reply.send(Ok(changed));
        }
        for done in self.followed.drain(..) {
            let _ = done.send(true);
        }
    }

    /// Writes catalogs, coalesced.
    pub(super) async fn keep_catalogs(&mut self, now: Now) {
        if !self.due.own && self.due.peers.is_empty() {
            return;
        }
        let at = *self
            .write_at
            .get_or_insert(now.mono_ms.saturating_add(CATALOGS_EVERY_MS));
        if now.mono_ms < at && !self.stopping {
            return;
        }
        let mut changes = Changes::new();
        if self.due.own {
            let whole = self.catalog.own.snapshot();
            changes.insert("own".to_owned(), whole.as_ref().map(catalog_bytes));
        }
        for id in &self.due.peers {
            let whole = self.catalog.peers().get(id).and_then(|p| p.snapshot());
            changes.insert(format!("peer/{id}"), whole.as_ref().map(catalog_bytes));
        }
        self.write_at = None;
        if self.write(changes).await {
            self.due.own = false;
            self.due.peers = BTreeSet::new();
        }
    }

    async fn write(&mut self, changes: Changes) -> bool {
        if changes.is_empty() {
            return true;
        }
        let store = Arc::clone(&self.store);
        let written = tokio::task::spawn_blocking(move || store.write(&changes)).await;
        let problem = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let problem = problem.map(|error| Problem {
            kind: ProblemKind::Frozen,
            subject: "state file".to_owned(),
            message: format!("{error}; nothing new is allotted or signed until it can be written"),
        });
        if problem != self.disk_problem {
            if let Some(problem) = &problem {
                tracing::error!(%problem, "state is not kept");
            }
            self.disk_problem = problem;
            self.due.content = true;
        }
        self.disk_problem.is_none()
    }

    /// What this gateway says first when it follows.
    pub(super) fn hello_to_leader(&self) -> FollowHello {
        let allocations = self.allocations.newest();
        FollowHello {
            gateway: self.config.name.clone(),
            epoch: self.epoch,
            instance: self.instance,
            node: self.config.node.clone(),
            address: self.own_address(),
            allocations: (allocations.version > 0).then(|| allocations.clone()),
            trust: (self.trust.version > 0).then(|| (*self.trust).clone()),
        }
    }
}

fn told<T, E: std::fmt::Display>(name: &str, read: Result<T, E>) -> Option<T> {
    read.inspect_err(|error| tracing::error!(%error, "{name} on disk cannot be read"))
        .ok()
}
