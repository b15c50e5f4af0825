//! Shell: what outlives the process. Names in the state file: `allocations`, `trust`, `publication`, `own`, `appointment`,
//! `peer/ID`. State from the disk counts as synced, with its age.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use causeway_proto::model::{
    Allocations, Appointment, CatalogDelta, ClusterId, Problem, ProblemKind, Publication,
    Timestamp, TrustState,
};
use causeway_proto::wire::{Encoded, pb};
use prost::Message as _;

use super::Driver;
use crate::engine::{Keep, Restored};
use crate::now::Now;
use crate::store::{Changes, Store, StoreError, set_aside};

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

/// What others can tell again is told and left out when it cannot be read; the rest stays in force.
fn told<T, E: std::fmt::Display>(name: &str, read: Result<T, E>) -> Option<T> {
    read.inspect_err(|error| tracing::error!(%error, name, "on disk and cannot be read"))
        .ok()
}

/// What nobody beside this cluster can tell again must be readable, or the whole file is taken for damaged.
fn whole<T: Encoded>(
    store: &Store,
    name: &str,
    bytes: Option<&[u8]>,
) -> Result<Option<T>, StoreError>
where
    for<'a> T::Message: From<&'a T>,
{
    let read = bytes.map(T::from_bytes).transpose();
    read.map_err(|error| store.unreadable(name, &error))
}

/// The store and what it has kept. A damaged file is set aside: other gateways, the controller's store and peers know what was
/// in it, and a new leadership's numbers are above all that was.
pub fn open(dir: &Path, now: Timestamp) -> Result<(Store, Restored), anyhow::Error> {
    let opened = Store::open(dir).and_then(|store| {
        let restored = load(&store)?;
        Ok((store, restored))
    });
    let (path, why) = match opened {
        Err(StoreError::Damaged { path, why }) => (path, why),
        opened => return Ok(opened?),
    };
    let aside = set_aside(dir, now.0 / 1_000)
        .with_context(|| format!("{} is damaged and cannot be set aside", path.display()))?;
    let message = format!(
        "the state file was damaged ({why}) and is set aside as {}; what it held is taken from this cluster's other gateways, \
         its controller and its peers",
        aside.display()
    );
    tracing::error!("{message}");
    let restored = Restored {
        problem: Some(Problem {
            kind: ProblemKind::BadObject,
            subject: "state on disk".to_owned(),
            message,
        }),
        ..Restored::default()
    };
    Ok((Store::open(dir)?, restored))
}

/// What was kept.
fn load(store: &Store) -> Result<Restored, StoreError> {
    let all = store.load()?;
    let bytes = |name: &str| all.get(name).map(Vec::as_slice);
    let publication = bytes("publication").map(Publication::from_bytes);
    let mut restored = Restored {
        trust: whole::<TrustState>(store, "trust", bytes("trust"))?,
        allocations: whole::<Allocations>(store, "allocations", bytes("allocations"))?,
        publication: publication.and_then(|read| told("publication", read)),
        own: bytes("own").and_then(|b| catalog("own", b)),
        appointment: bytes("appointment")
            .map(Appointment::from_bytes)
            .and_then(|read| told("appointment", read)),
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
                self.exports_changed = true;
                urgent("publication", publication.to_bytes());
            }
            Keep::Trust(trust) => {
                urgent("trust", trust.to_bytes());
                self.keys.trust_is(&trust);
            }
            Keep::Appointment(word) => {
                urgent("appointment", word.to_bytes());
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

    /// Those who wait until what they changed is on disk, and with a follower where one is there.
    pub(super) fn answer_kept(&mut self) {
        if !self.urgent.is_empty() {
            return;
        }
        let gateway = &self.gateway;
        let shared = |(version, _): &mut (u64, _)| gateway.trust_is_shared(*version);
        for (_, answer) in self.trusters.extract_if(.., shared) {
            answer(Ok(()));
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
        if now.mono_ms < at && self.stopping.is_none() {
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

    fn write(&self, changes: &Changes) -> impl Future<Output = Option<Problem>> + Send + use<> {
        let (store, changes) = (Arc::clone(&self.store), changes.clone());
        async move {
            let written = tokio::task::spawn_blocking(move || store.write(&changes)).await;
            let error = match written {
                Ok(Ok(())) => return None,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            Some(Problem {
                kind: ProblemKind::Frozen,
                subject: "state file".to_owned(),
                message: format!(
                    "{error}; nothing new is allotted or signed until it can be written"
                ),
            })
        }
    }
}
