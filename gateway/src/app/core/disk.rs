//! Shell: what outlives the process. Names in the state file: `allocations`, `trust`, `publication`, `own`,
//! `peer/ID`. State from the disk counts as synced, with its age.

use std::sync::Arc;

use causeway_proto::model::{
    Allocations, CatalogDelta, ClusterId, Problem, ProblemKind, Publication, TrustState,
};
use causeway_proto::wire::{Encoded, pb};
use prost::Message as _;

use super::Driver;
use crate::engine::{Keep, Restored};
use crate::now::Now;
use crate::store::{Changes, Store, StoreError};

/// Catalogs may be asked for again, so they are written at most so often.
const CATALOGS_EVERY_MS: u64 = 1_000;

fn catalog_bytes(whole: &CatalogDelta) -> Vec<u8> {
    pb::model::CatalogDelta::from(whole).encode_to_vec()
}

fn catalog(name: &str, bytes: &[u8]) -> Option<CatalogDelta> {
    let message = pb::model::CatalogDelta::decode(bytes);
    let message = told(name, message)?;
    told(name, CatalogDelta::try_from(message))
}

/// What cannot be read any more is told and left out; the rest stays in force.
fn told<T, E: std::fmt::Display>(name: &str, read: Result<T, E>) -> Option<T> {
    read.inspect_err(|error| tracing::error!(%error, name, "on disk and cannot be read"))
        .ok()
}

/// What was kept.
pub(super) fn load(store: &Store) -> Result<Restored, StoreError> {
    let all = store.load()?;
    let bytes = |name: &str| all.get(name).map(Vec::as_slice);
    let mut restored = Restored {
        trust: bytes("trust").and_then(|b| told("trust", TrustState::from_bytes(b))),
        allocations: bytes("allocations")
            .and_then(|b| told("allocations", Allocations::from_bytes(b))),
        publication: bytes("publication")
            .and_then(|b| told("publication", Publication::from_bytes(b))),
        own: bytes("own").and_then(|b| catalog("own", b)),
        ..Restored::default()
    };
    for (name, bytes) in &all {
        let peer = name.strip_prefix("peer/").map(str::parse::<ClusterId>);
        if let (Some(Ok(peer)), Some(whole)) = (peer, catalog_of_peer(name, bytes)) {
            restored.peers.insert(peer, whole);
        }
    }
    Ok(restored)
}

fn catalog_of_peer(name: &str, bytes: &[u8]) -> Option<CatalogDelta> {
    name.starts_with("peer/").then(|| catalog(name, bytes))?
}

impl Driver {
    pub(super) fn keep(&mut self, keep: Keep) {
        let mut urgent = |name: &str, bytes| self.urgent.insert(name.to_owned(), Some(bytes));
        match keep {
            Keep::Allocations(allocations) => {
                self.stamp = Some((allocations.epoch, allocations.version));
                urgent("allocations", allocations.to_bytes());
            }
            Keep::Publication(publication) => {
                urgent("publication", publication.to_bytes());
            }
            Keep::Trust(trust) => {
                urgent("trust", trust.to_bytes());
                self.keys.trust_is(&trust);
            }
            Keep::Own(whole) => {
                self.lazy
                    .insert("own".to_owned(), Some(catalog_bytes(&whole)));
            }
            Keep::Peer(id, whole) => {
                self.lazy
                    .insert(format!("peer/{id}"), whole.as_ref().map(catalog_bytes));
            }
        }
    }

    /// Writes what must be on disk before anybody is told. When the disk fails, what waits for it goes on waiting, and the
    /// View says so.
    pub(super) async fn write_urgent(&mut self) -> bool {
        let changes = std::mem::take(&mut self.urgent);
        let written = self.write(&changes).await;
        if let Some(problem) = written {
            tracing::error!(%problem, "state is not kept");
            self.gateway.told(Some(problem));
            self.urgent = changes;
            return false;
        }
        self.gateway.told(None);
        if let Some((epoch, version)) = self.stamp.take() {
            self.gateway.kept(epoch, version);
        }
        if changes.contains_key("trust") {
            let trust = Arc::new(self.gateway.trust().clone());
            self.shown.trust.send_replace(trust);
        }
        true
    }

    /// Those who wait until what they changed is on disk.
    pub(super) fn answer_kept(&mut self) {
        if !self.urgent.is_empty() {
            return;
        }
        for (reply, changed) in self.trusters.drain(..) {
            let _ = reply.send(Ok(changed));
        }
        for done in self.followed.drain(..) {
            let _ = done.send(true);
        }
    }

    /// Writes catalogs, coalesced.
    pub(super) async fn write_lazy(&mut self, now: Now) {
        if self.lazy.is_empty() {
            return;
        }
        let at = *self
            .write_lazy_at
            .get_or_insert(now.mono_ms.saturating_add(CATALOGS_EVERY_MS));
        if now.mono_ms < at && !self.stopping {
            return;
        }
        self.write_lazy_at = None;
        let changes = std::mem::take(&mut self.lazy);
        if let Some(problem) = self.write(&changes).await {
            tracing::error!(%problem, "catalogs are not kept");
            for (name, bytes) in changes {
                self.lazy.entry(name).or_insert(bytes);
            }
        }
    }

    async fn write(&self, changes: &Changes) -> Option<Problem> {
        let (store, changes) = (Arc::clone(&self.store), changes.clone());
        let written = tokio::task::spawn_blocking(move || store.write(&changes)).await;
        let error = match written {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Some(Problem {
            kind: ProblemKind::Frozen,
            subject: "state file".to_owned(),
            message: format!("{error}; nothing new is allotted or signed until it can be written"),
        })
    }
}
