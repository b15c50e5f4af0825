//! Shell: dials every gateway that the core wants a session with, each in its own task with its own backoff.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_proto::model::ClusterId;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::handle::{Core, Input};
use super::random_u64;
use super::sessions::Sessions;
use crate::transport::Transport;

/// First pause after a failure, and the longest: under the lease, so that a peer that comes back is heard in time.
const FIRST_MS: u64 = 250;
const LONGEST_MS: u64 = 5_000;
/// Gateways that are dialled at one time: a whole clusterset does not come back at once.
const AT_ONCE: usize = 32;

/// Pauses before QUIC is tried again with a gateway whose session goes by TCP, at least and at most twice as long.
const QUIC_AGAIN_MS: u64 = 10_000;

/// A gateway to dial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Its cluster.
    pub cluster: ClusterId,
    /// `HOST:PORT`.
    pub address: String,
    /// There is a session with it already, by TCP.
    pub only_quic: bool,
}

/// A pause that doubles with each failure, by up to a half shorter so that a fleet does not move in step.
fn pause(failures: u32, random: u64) -> Duration {
    let whole = FIRST_MS
        .saturating_mul(1 << failures.min(10))
        .min(LONGEST_MS);
    let half = whole / 2;
    Duration::from_millis(half + random % (half + 1))
}

/// Keeps dialling what `wanted` names until it is dropped.
pub async fn run(
    core: Core,
    transport: Transport,
    sessions: Sessions,
    mut wanted: watch::Receiver<Arc<BTreeSet<Target>>>,
) {
    let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut tasks: JoinSet<Target> = JoinSet::new();
    let mut running: BTreeMap<Target, tokio::task::AbortHandle> = BTreeMap::new();
    loop {
        let targets = wanted.borrow_and_update().clone();
        running.retain(|target, task| {
            let keep = targets.contains(target);
            if !keep {
                task.abort();
            }
            keep
        });
        for target in targets.iter() {
            if !running.contains_key(target) {
                let dial = dial(
                    core.clone(),
                    transport.clone(),
                    sessions.clone(),
                    target.clone(),
                    Arc::clone(&places),
                );
                running.insert(target.clone(), tasks.spawn(dial));
            }
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                if let Ok(target) = done {
                    // It is in the core now, which takes it off the list; if it is wanted again, it is dialled again.
                    running.remove(&target);
                    let _ = tokio::time::timeout(Duration::from_millis(FIRST_MS), wanted.changed()).await;
                }
            }
        }
    }
}

async fn dial(
    core: Core,
    transport: Transport,
    sessions: Sessions,
    target: Target,
    places: Arc<tokio::sync::Semaphore>,
) -> Target {
    let mut failures = 0;
    // Both sides of a session that broke would else dial at the same moment.
    tokio::time::sleep(Duration::from_millis(random_u64() % 100)).await;
    loop {
        if target.only_quic {
            let jitter = random_u64() % QUIC_AGAIN_MS;
            tokio::time::sleep(Duration::from_millis(QUIC_AGAIN_MS + jitter)).await;
        }
        let place = Arc::clone(&places).acquire_owned().await;
        let dialled = sessions.clone().dial(transport.clone(), target.clone());
        match dialled.await {
            Ok(()) => return target,
            Err(error) => {
                let message = error.to_string();
                let Target {
                    cluster, address, ..
                } = &target;
                tracing::debug!(%cluster, %address, error = %message, "not connected");
                if !target.only_quic {
                    let failed = Input::DialFailed(cluster.clone(), message);
                    core.tell(failed).await;
                }
            }
        }
        drop(place);
        tokio::time::sleep(pause(failures, random_u64())).await;
        failures = failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let ms = |failures, random| pause(failures, random).as_millis();
        assert_eq!(ms(0, 0), 125);
        assert_eq!(ms(0, 125), 250);
        assert_eq!(ms(2, 0), 500);
        for failures in 0..40 {
            let pause = ms(failures, u64::MAX - u64::from(failures));
            assert!((125..=u128::from(LONGEST_MS)).contains(&pause), "{pause}");
        }
    }
}
