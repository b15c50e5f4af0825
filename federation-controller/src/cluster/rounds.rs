//! Shell: the one task that owns the mirror. It takes in what the API server and the leader say, publishes what follows, and
//! while this controller is active writes what differs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_proto::model::{ClusterId, Publication};
use futures::StreamExt;
use kube::api::ApiResource;
use tokio::sync::{mpsc, watch};

use super::api::{Trouble, Troubles};
use super::execute::{Outcome, Writer};
use super::leading::Told;
use super::lease::Activity;
use crate::clock::Clock;
use crate::crd::ClusterPeerSpec;
use crate::mirror::{Change, Mirror, Source};
use crate::peer::Statuses;
use crate::plan::Write;
use crate::want::{Group, Target};

/// What comes together is taken in together.
const TOGETHER: usize = 4096;
/// How long more is waited for before anything is decided.
const CALM: Duration = Duration::from_millis(20);
/// Nothing waits longer than this for a look at the clock.
const LOOK: Duration = Duration::from_secs(1);
/// Writes at one time.
const WRITES: usize = 8;

/// What comes in.
#[derive(Debug)]
pub enum News {
    /// From a watch.
    Change(Change),
    /// How a source is served.
    Served(Source, ApiResource),
    /// From the leader.
    Told(Told),
}

/// What goes out.
pub struct Out {
    /// What is published; begins with the first.
    pub publications: watch::Sender<Option<Arc<Publication>>>,
    /// What ClusterPeers ask for and is not so yet.
    pub asked: watch::Sender<BTreeMap<ClusterId, ClusterPeerSpec>>,
}

/// The task.
pub struct Rounds {
    mirror: Mirror,
    writer: Writer,
    clock: Clock,
    activity: watch::Receiver<Activity>,
    out: Out,
    trouble: Trouble,
    /// Groups that are looked at again, and when on the monotonic clock.
    later: BTreeMap<Group, u64>,
    /// What could not be written, and why.
    unwritten: BTreeMap<Target, String>,
}

impl Rounds {
    /// With nothing known yet.
    #[must_use]
    pub fn new(
        namespace: &str,
        writer: Writer,
        clock: Clock,
        activity: watch::Receiver<Activity>,
        out: Out,
        troubles: &Troubles,
    ) -> Self {
        Self {
            mirror: Mirror::new(namespace),
            writer,
            clock,
            activity,
            out,
            trouble: troubles.of("writes"),
            later: BTreeMap::new(),
            unwritten: BTreeMap::new(),
        }
    }

    /// Until nobody has news any more.
    pub async fn run(mut self, mut news: mpsc::Receiver<News>) {
        let mut activity = self.activity.clone();
        let mut active = false;
        let mut more = false;
        loop {
            let wait = if more { Duration::ZERO } else { self.wait() };
            tokio::select! {
                one = news.recv() => {
                    let Some(one) = one else { return };
                    self.take(one);
                    tokio::time::sleep(CALM).await;
                }
                _ = activity.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
            for _ in 0..TOGETHER {
                match news.try_recv() {
                    Ok(one) => self.take(one),
                    Err(_) => break,
                }
            }
            let is_active = activity.borrow_and_update().term().is_some();
            if is_active && !active {
                // Another one may have written, or left off in the middle.
                self.mirror.all_dirty();
            }
            active = is_active;
            more = self.round(active).await;
        }
    }

    fn wait(&self) -> Duration {
        let now = self.clock.mono_ms();
        let due = self
            .later
            .values()
            .copied()
            .chain(self.mirror.next_ms())
            .min();
        let due = due.map(|at| Duration::from_millis(at.saturating_sub(now)));
        due.unwrap_or(LOOK).min(LOOK)
    }

    fn take(&mut self, news: News) {
        match news {
            News::Change(change) => self.mirror.apply(change),
            News::Served(source, resource) => {
                if let Some(kind) = source.kind() {
                    self.writer.serves(kind, resource);
                }
            }
            News::Told(Told::View(view)) => self.mirror.take_view(view),
            News::Told(Told::Status(status)) => {
                self.mirror.take_statuses(Statuses::of(&[*status]));
            }
            News::Told(Told::Trouble(why)) => self.mirror.take_trouble(why),
            News::Told(Told::Joining(id, joining)) => self.mirror.take_joining(&id, joining),
        }
    }

    /// Whether there is more to do at once.
    async fn round(&mut self, active: bool) -> bool {
        let now = self.clock.mono_ms();
        if let Some(publication) = self.mirror.publication(now) {
            self.out.publications.send_replace(Some(publication));
        }
        self.ask();
        if !active {
            return false;
        }
        let due: Vec<Group> = self
            .later
            .extract_if(.., |_, at| *at <= now)
            .map(|(group, _)| group)
            .collect();
        for group in due {
            self.mirror.again(group);
        }
        let (writes, more) = self.mirror.plan(self.clock.wall());
        self.write(writes).await;
        // What nobody tries again is not wanted any more.
        let (mirror, later) = (&self.mirror, &self.later);
        self.unwritten
            .retain(|target, _| later.contains_key(&mirror.group(target)));
        self.mirror.take_unwritten(&self.unwritten);
        more
    }

    fn ask(&self) {
        let trusted = self.mirror.trusted();
        let open = self.mirror.asked().into_iter();
        let open = open.filter(|(id, spec)| trusted.contains(id) == spec.revoked);
        let open: BTreeMap<_, _> = open.collect();
        self.out.asked.send_if_modified(|told| {
            let changed = *told != open;
            *told = open;
            changed
        });
    }

    /// Phase by phase; what hangs on one that fails is planned again.
    async fn write(&mut self, writes: Vec<Write>) {
        let mut rest = writes.into_iter().peekable();
        while let Some(phase) = rest.peek().map(Write::phase) {
            let mut these = Vec::new();
            while let Some(write) = rest.next_if(|w| w.phase() == phase) {
                these.push(write);
            }
            let writer = self.writer.clone();
            let done = futures::stream::iter(these).map(|write| {
                let writer = writer.clone();
                async move {
                    let outcome = writer.execute(&write).await;
                    (write, outcome)
                }
            });
            let done: Vec<_> = done.buffer_unordered(WRITES).collect().await;
            for (write, outcome) in done {
                self.wrote(&write, outcome);
            }
            // Whoever is no longer the active one stops at once.
            if self.activity.borrow().term().is_none() {
                return;
            }
        }
    }

    fn wrote(&mut self, write: &Write, outcome: Outcome) {
        let target = &write.target;
        let (group, now) = (self.mirror.group(target), self.clock.mono_ms());
        match outcome {
            Outcome::Done(seen) => {
                tracing::debug!(%target, "written");
                self.trouble.over();
                self.unwritten.remove(target);
                self.mirror.wrote(target, seen);
            }
            Outcome::Overtaken => {
                tracing::debug!(%target, "somebody else wrote first");
                self.later.insert(group, now.saturating_add(500));
            }
            Outcome::Failed(why, pause) => {
                self.trouble.is(format!("{target}: {why}"));
                self.unwritten.insert(target.clone(), why);
                let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                self.later.insert(group, now.saturating_add(pause));
            }
        }
    }
}
