//! Shell: the Secrets `causeway-state` (the head) and `causeway-state-N` (the pieces): read whole when this controller
//! becomes active, then written by it alone.
//!
//! Two that believe to be active do not tear each other's state: each takes the head over first, then reads the versions
//! of all pieces, then makes sure that the head is still its own; every write names the version that it replaces.

use std::collections::BTreeMap;

use causeway_proto::model::LeaderState;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};

use super::api::{REQUEST, in_time, metadata, missing, overtaken};
use crate::stored::{Damage, Head, NotStored, Position, SLOTS, newest};

/// The head; pieces have a number behind it.
pub const NAME: &str = "causeway-state";
const HEAD: &str = "head";
const PIECE: &str = "piece";
/// Pieces that are read at one time.
const READS: usize = 8;
/// How often the head is taken over before somebody has to wait: another controller does the same at this moment.
const TAKES: usize = 4;

/// Why the state is not read or not written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The API server.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// Another controller writes as well.
    #[error("another controller writes the Secrets {NAME} too")]
    Overtaken,
    /// Written by a later version: it is not touched.
    #[error("Secret {NAME}: {0}")]
    Later(Damage),
    /// What is stored is newer, or there is no room.
    #[error(transparent)]
    NotStored(#[from] NotStored),
}

/// The state as it lies there.
#[derive(Debug)]
pub struct Store {
    secrets: Api<Secret>,
    head: Head,
    /// Versions of the Secrets that exist.
    versions: BTreeMap<String, String>,
    state: LeaderState,
    damage: Option<Damage>,
}

impl Store {
    /// Takes the head over as `me`, and reads all.
    ///
    /// # Errors
    /// When the API server refuses or is away, another does the same, or the state is of a later version.
    pub async fn open(client: &Client, namespace: &str, me: &str) -> Result<Self, StateError> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        for _ in 0..TAKES {
            match Self::take(&secrets, me).await {
                Err(StateError::Overtaken) => (),
                taken => return taken,
            }
        }
        Err(StateError::Overtaken)
    }

    async fn take(secrets: &Api<Secret>, me: &str) -> Result<Self, StateError> {
        let mut store = Self {
            secrets: secrets.clone(),
            head: Head::default(),
            versions: BTreeMap::new(),
            state: LeaderState::default(),
            damage: None,
        };
        let found = missing(in_time(REQUEST, secrets.get(NAME)).await)?;
        if let Some(secret) = &found {
            store.versions.insert(NAME.to_owned(), version(secret));
            match Head::parse(content(secret, HEAD)) {
                Ok(head) => store.head = head,
                Err(later @ Damage::Format(_)) => return Err(StateError::Later(later)),
                Err(damage) => store.damage = Some(damage),
            }
        }
        if found.is_none() || store.head.writer != me {
            me.clone_into(&mut store.head.writer);
            let head = store.head.render();
            store.put(NAME, HEAD, head).await?;
        }
        let pieces = store.read_pieces().await?;
        let now = missing(in_time(REQUEST, secrets.get(NAME)).await)?;
        if now.as_ref().map(version).as_ref() != store.versions.get(NAME) {
            return Err(StateError::Overtaken);
        }
        if store.damage.is_none() {
            match store.head.join(&pieces) {
                Ok(state) => store.state = state,
                Err(damage) => {
                    store.damage = Some(damage);
                    store.head = store.head.without_pieces();
                }
            }
        }
        Ok(store)
    }

    async fn read_pieces(&mut self) -> Result<BTreeMap<u16, Vec<u8>>, StateError> {
        let secrets = &self.secrets;
        let used = self.head.slots();
        let read = futures::stream::iter((0..SLOTS).map(async |slot| {
            let found = in_time(REQUEST, secrets.get(&piece_name(slot))).await;
            Ok::<_, kube::Error>((slot, missing(found)?))
        }));
        let found: Vec<_> = read.buffer_unordered(READS).try_collect().await?;
        let mut pieces = BTreeMap::new();
        for (slot, secret) in found {
            let Some(secret) = secret else { continue };
            self.versions.insert(piece_name(slot), version(&secret));
            if used.contains(&slot) {
                pieces.insert(slot, content(&secret, PIECE).to_vec());
            }
        }
        Ok(pieces)
    }

    /// Whether what lies there is still what was read or written last.
    ///
    /// # Errors
    /// When the API server refuses or is away.
    pub async fn is_there(&self) -> Result<bool, StateError> {
        let now = missing(in_time(REQUEST, self.secrets.get(NAME)).await)?;
        Ok(now.as_ref().map(version).as_ref() == self.versions.get(NAME))
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &LeaderState {
        &self.state
    }

    /// Where it stands; what a damaged one was said to be is not undercut either.
    #[must_use]
    pub fn position(&self) -> Position {
        self.head.position
    }

    /// What was wrong with it when it was read.
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Stores what is new in `state`; what it lacks stays, and so does trust that is newer than what it has. Says how many
    /// bytes were written, 0 when nothing was new. After an error, open the store anew.
    ///
    /// # Errors
    /// When something newer is stored, or the API server refuses or is away.
    pub async fn write(&mut self, state: LeaderState) -> Result<usize, StateError> {
        let allocations = state.allocations.clone();
        let mut next = newest(state, self.state.clone());
        // Older allocations are refused, not passed over: their writer has been replaced.
        if allocations.is_some() {
            next.allocations = allocations;
        }
        let Some(writes) = self.head.replace(&next)? else {
            return Ok(0);
        };
        let mut count = 0usize;
        for (slot, bytes) in writes.pieces {
            count = count.saturating_add(bytes.len());
            self.put(&piece_name(slot), PIECE, bytes).await?;
        }
        let head = writes.head.render();
        count = count.saturating_add(head.len());
        self.put(NAME, HEAD, head).await?;
        self.head = writes.head;
        self.state = next;
        self.damage = None;
        Ok(count)
    }

    async fn put(&mut self, name: &str, key: &str, bytes: Vec<u8>) -> Result<(), StateError> {
        let mut secret = Secret {
            metadata: metadata(name),
            data: Some(BTreeMap::from([(key.to_owned(), ByteString(bytes))])),
            ..Secret::default()
        };
        let post = PostParams::default();
        let written = match self.versions.get(name) {
            Some(version) => {
                secret.metadata.resource_version = Some(version.clone());
                in_time(REQUEST, self.secrets.replace(name, &post, &secret)).await
            }
            None => in_time(REQUEST, self.secrets.create(&post, &secret)).await,
        };
        match written {
            Ok(written) => {
                self.versions.insert(name.to_owned(), version(&written));
                Ok(())
            }
            Err(error) if overtaken(&error) => Err(StateError::Overtaken),
            Err(error) => Err(error.into()),
        }
    }
}

fn piece_name(slot: u16) -> String {
    format!("{NAME}-{slot}")
}

fn version(secret: &Secret) -> String {
    secret.metadata.resource_version.clone().unwrap_or_default()
}

fn content<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    let data = secret.data.as_ref().and_then(|data| data.get(key));
    data.map_or(&[], |bytes| bytes.0.as_slice())
}

#[cfg(test)]
mod tests;
