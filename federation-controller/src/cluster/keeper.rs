//! Shell: the one task that writes a leader's state: while this controller is active, no more often than the API server
//! should bear, and with an answer for whoever waits for it.

use std::sync::Arc;
use std::time::Duration;

use causeway_certs::dial::causes;
use causeway_proto::model::{LeaderState, Timestamp};
use kube::Client;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::api::{Trouble, Troubles};
use super::lease::Activity;
use super::state::{StateError, Store};
use crate::clock::Clock;
use crate::stored::{NotStored, Position, newest};

/// Between two writes: the first of a burst is written at once.
const PAUSE: Duration = Duration::from_secs(1);
/// A large state is written less often: etcd keeps every version for minutes.
const BYTES_PER_SEC: usize = 1 << 20;
/// How often it is looked whether all is still there.
const LOOK: Duration = Duration::from_secs(30);
/// After a request that failed.
const AGAIN: Duration = Duration::from_millis(500);
/// States that are written together.
const TOGETHER: usize = 256;
/// States that wait; who has more to say waits.
const WAITING: usize = 16;

/// Why nothing is stored any more.
const ENDS: &str = "this controller ends";

/// What is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The state, without the CA.
    pub state: Arc<LeaderState>,
    /// Where it stands.
    pub position: Position,
    /// When this controller wrote it last.
    pub at: Option<Timestamp>,
}

struct Asked {
    state: LeaderState,
    done: oneshot::Sender<Result<(), String>>,
}

/// Where states are handed in.
#[derive(Clone)]
pub struct Keeper(mpsc::Sender<Asked>);

impl Keeper {
    /// Stores what is new in `state`; over when it lies there.
    ///
    /// # Errors
    /// When it will not: something newer is stored, or this controller is not the active one.
    pub async fn keep(&self, state: LeaderState) -> Result<(), String> {
        let answer = self.ask(state).await?;
        answer.await.map_err(|_| ENDS)?
    }

    /// As [`keep`](Self::keep), in two steps: over when it is in line, and the answer comes later.
    ///
    /// # Errors
    /// When there is nobody who stores.
    pub async fn ask(
        &self,
        state: LeaderState,
    ) -> Result<oneshot::Receiver<Result<(), String>>, String> {
        let (done, answer) = oneshot::channel();
        let asked = self.0.send(Asked { state, done }).await;
        asked.map(|()| answer).map_err(|_| ENDS.to_owned())
    }
}

/// The task, its door, and what is stored, which is known only while this controller is active.
pub struct Keeping {
    client: Client,
    namespace: String,
    /// A name that no other process has.
    me: String,
    activity: watch::Receiver<Activity>,
    asked: mpsc::Receiver<Asked>,
    stored: watch::Sender<Option<Stored>>,
    trouble: Trouble,
    clock: Clock,
}

impl Keeping {
    /// Ready to [`run`](Self::run).
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        me: &str,
        activity: watch::Receiver<Activity>,
        troubles: &Troubles,
        clock: Clock,
    ) -> (Self, Keeper, watch::Receiver<Option<Stored>>) {
        let (door, asked) = mpsc::channel(WAITING);
        let (stored, known) = watch::channel(None);
        let keeping = Self {
            client,
            namespace: namespace.to_owned(),
            me: me.to_owned(),
            activity,
            asked,
            stored,
            trouble: troubles.of("Secrets causeway-state"),
            clock,
        };
        (keeping, Keeper(door), known)
    }

    /// Until nobody can ask any more.
    pub async fn run(mut self) {
        loop {
            let active = self.activity.borrow_and_update().term().is_some();
            if active {
                if self.active().await.is_none() {
                    return;
                }
                self.stored.send_replace(None);
                continue;
            }
            tokio::select! {
                changed = self.activity.changed() => if changed.is_err() {
                    return;
                },
                asked = self.asked.recv() => match asked {
                    Some(asked) => refuse(asked, "this controller is not the active one"),
                    None => return,
                },
            }
        }
    }

    /// Until it is active no more; `None`: until nobody can ask.
    async fn active(&mut self) -> Option<()> {
        let mut activity = self.activity.clone();
        let over = activity.wait_for(|activity| activity.term().is_none());
        tokio::select! {
            over = over => over.ok().map(|_| ()),
            () = self.keep_all() => None,
        }
    }

    async fn keep_all(&mut self) {
        let mut store = self.open().await;
        let mut next = Batch::default();
        let mut not_before: Option<Instant> = None;
        loop {
            if next.is_empty() {
                match tokio::time::timeout(LOOK, self.asked.recv()).await {
                    Ok(Some(asked)) => next.add(asked),
                    Ok(None) => return,
                    Err(_) => match store.is_there().await {
                        Ok(true) => continue,
                        Ok(false) => {
                            tracing::warn!(
                                "the stored state was changed or deleted by somebody else"
                            );
                            store = self.anew(&store, &mut next).await;
                            continue;
                        }
                        Err(error) => {
                            self.trouble.is(causes(&error));
                            continue;
                        }
                    },
                }
            }
            self.collect(&mut next, not_before).await;
            match store.write(next.state.clone()).await {
                Ok(bytes) => {
                    self.trouble.over();
                    if bytes > 0 {
                        not_before = Some(after(bytes));
                        self.tell(&store, true);
                    }
                    std::mem::take(&mut next).answer(&store);
                }
                Err(StateError::NotStored(why)) => {
                    if matches!(why, NotStored::TooLarge { .. }) {
                        self.trouble.is(why.to_string());
                    }
                    tracing::warn!("a gateway's state is not stored: {why}");
                    std::mem::take(&mut next).refuse(&why.to_string());
                }
                // What was written of it nobody knows: read anew, then once more.
                Err(error) => {
                    self.trouble.is(causes(&error));
                    tokio::time::sleep(AGAIN).await;
                    store = self.anew(&store, &mut next).await;
                }
            }
        }
    }

    /// What comes until it may be written.
    async fn collect(&mut self, next: &mut Batch, not_before: Option<Instant>) {
        let wait = async {
            if let Some(at) = not_before {
                tokio::time::sleep_until(at).await;
            }
        };
        tokio::pin!(wait);
        while next.waiting.len() < TOGETHER {
            tokio::select! {
                biased;
                Some(asked) = self.asked.recv() => next.add(asked),
                () = &mut wait => return,
            }
        }
        wait.await;
    }

    /// Opens the store once more. Where less lies there than before, what was there is put back.
    async fn anew(&mut self, before: &Store, next: &mut Batch) -> Store {
        let store = self.open().await;
        if store.position() < before.position() {
            let known = before.state().clone();
            next.state = newest(std::mem::take(&mut next.state), known);
        }
        store
    }

    async fn open(&mut self) -> Store {
        loop {
            match Store::open(&self.client, &self.namespace, &self.me).await {
                Ok(store) => {
                    match store.damage() {
                        None => self.trouble.over(),
                        Some(damage) => self.trouble.is(format!(
                            "{damage}; the state is taken from the gateways and written anew"
                        )),
                    }
                    self.tell(&store, false);
                    return store;
                }
                Err(error) => self.trouble.is(causes(&error)),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn tell(&self, store: &Store, written: bool) {
        let at = written.then(|| self.clock.wall());
        self.stored.send_modify(|stored| {
            let before = stored.as_ref().and_then(|stored| stored.at);
            *stored = Some(Stored {
                state: Arc::new(store.state().clone()),
                position: store.position(),
                at: at.or(before),
            });
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell's clock")]
fn after(bytes: usize) -> Instant {
    let secs = u64::try_from(bytes / BYTES_PER_SEC).unwrap_or(u64::MAX);
    Instant::now() + PAUSE.max(Duration::from_secs(secs))
}

fn refuse(asked: Asked, why: &str) {
    // Who does not wait any more needs no answer.
    let _ = asked.done.send(Err(why.to_owned()));
}

/// What is written together.
#[derive(Default)]
struct Batch {
    state: LeaderState,
    waiting: Vec<(u64, oneshot::Sender<Result<(), String>>)>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.state == LeaderState::default()
    }

    fn add(&mut self, asked: Asked) {
        let epoch = asked.state.allocations.as_ref().map_or(0, |a| a.epoch);
        self.waiting.push((epoch, asked.done));
        self.state = newest(asked.state, std::mem::take(&mut self.state));
    }

    /// Who spoke for an epoch that is over was not heard.
    fn answer(self, store: &Store) {
        for (epoch, done) in self.waiting {
            let over = epoch != 0 && epoch < store.position().epoch;
            let _ = done.send(if over {
                Err(format!("epoch {epoch} is over"))
            } else {
                Ok(())
            });
        }
    }

    fn refuse(self, why: &str) {
        for (_, done) in self.waiting {
            let _ = done.send(Err(why.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use causeway_proto::model::Allocations;

    use super::super::fake::{Fake, Fault};
    use super::*;

    fn state(epoch: u64, version: u64) -> LeaderState {
        LeaderState {
            allocations: Some(Allocations {
                epoch,
                version,
                ..Allocations::default()
            }),
            ..LeaderState::default()
        }
    }

    struct Bed {
        fake: Fake,
        activity: watch::Sender<Activity>,
        keeper: Keeper,
        stored: watch::Receiver<Option<Stored>>,
        troubles: Troubles,
    }

    fn bed(activity: Activity) -> Bed {
        let fake = Fake::new();
        let (activity, now) = watch::channel(activity);
        let troubles = Troubles::default();
        let clock = Clock::start();
        let (keeping, keeper, stored) =
            Keeping::new(fake.client(), "causeway-system", "a", now, &troubles, clock);
        tokio::spawn(keeping.run());
        Bed {
            fake,
            activity,
            keeper,
            stored,
            troubles,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_a_few_writes_and_the_first_is_at_once() {
        let bed = bed(Activity::Active(1));
        let clock = Clock::start();
        bed.keeper.keep(state(1, 1)).await.unwrap();
        assert!(clock.mono_ms() < 100);
        let before = bed.fake.writes();
        for version in 2..100 {
            let keeper = bed.keeper.clone();
            tokio::spawn(async move { keeper.keep(state(1, version)).await });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bed.keeper.keep(state(1, 100)).await.unwrap();
        // Two seconds of churn: a piece and the head each second.
        assert!(
            bed.fake.writes() - before <= 8,
            "{}",
            bed.fake.writes() - before
        );
        let writes = bed.fake.writes();
        bed.keeper.keep(state(1, 100)).await.unwrap();
        assert_eq!(bed.fake.writes(), writes);
        let stored = bed.stored.borrow().clone().unwrap();
        assert_eq!((stored.position.version, stored.at.is_some()), (100, true));
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_passes_and_is_told() {
        let bed = bed(Activity::Active(1));
        bed.keeper.keep(state(1, 1)).await.unwrap();
        bed.fake
            .faults(|asked| asked.writes().then_some(Fault::Refused(403)));
        let mut told = bed.troubles.subscribe();
        let keeper = bed.keeper.clone();
        let kept = tokio::spawn(async move { keeper.keep(state(1, 2)).await });
        told.wait_for(|all| !all.is_empty()).await.unwrap();
        bed.fake.well();
        kept.await.unwrap().unwrap();
        assert!(told.borrow_and_update().is_empty());
        let old = bed.keeper.keep(state(1, 1)).await.unwrap_err();
        assert!(old.contains("newer"), "{old}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_deleted_is_put_back() {
        let bed = bed(Activity::Active(1));
        bed.keeper.keep(state(7, 1)).await.unwrap();
        bed.fake.forget();
        tokio::time::sleep(Duration::from_secs(40)).await;
        let client = bed.fake.client();
        let other = Store::open(&client, "causeway-system", "b").await.unwrap();
        assert_eq!(*other.state(), state(7, 1));
        // The other has taken it over, and nothing is missing: nothing is written but the claim.
        tokio::time::sleep(Duration::from_secs(40)).await;
        let writes = bed.fake.writes();
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(bed.fake.writes(), writes);
        bed.fake.forget();
        bed.keeper.keep(state(7, 2)).await.unwrap();
        let other = Store::open(&client, "causeway-system", "b").await.unwrap();
        assert_eq!(*other.state(), state(7, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_active_one_writes() {
        let mut bed = bed(Activity::Standby);
        assert!(bed.keeper.keep(state(1, 1)).await.is_err());
        assert_eq!(bed.fake.asked().len(), 0);
        bed.activity.send_replace(Activity::Active(1));
        bed.stored.wait_for(Option::is_some).await.unwrap();
        bed.keeper.keep(state(1, 1)).await.unwrap();
        bed.activity.send_replace(Activity::Standby);
        bed.stored.wait_for(Option::is_none).await.unwrap();
        let writes = bed.fake.writes();
        assert!(bed.keeper.keep(state(1, 2)).await.is_err());
        assert_eq!(bed.fake.writes(), writes);
    }
}
