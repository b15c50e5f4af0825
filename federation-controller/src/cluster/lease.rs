//! Shell: this controller's part in the Lease `causeway-controller`: whether it is the active one.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;

use super::api::{REQUEST, Trouble, Troubles, in_time, metadata, missing, overtaken};
use crate::clock::Clock;
use crate::election::{Attempt, DURATION_MS, Election, Seen, Step};

/// The Lease.
pub const LEASE: &str = "causeway-controller";
/// After a request that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// Whether this controller may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Another one may, or nobody.
    Standby,
    /// It may, since this transition of the Lease; a later one has a higher number.
    Active(u64),
}

impl Activity {
    /// The term, if it may write.
    #[must_use]
    pub fn term(self) -> Option<u64> {
        match self {
            Self::Standby => None,
            Self::Active(term) => Some(term),
        }
    }
}

/// Takes part until `stop` is over, then releases the Lease, so that another takes it at once. `me` is a name that no
/// other process has.
pub async fn run(
    client: Client,
    namespace: &str,
    me: String,
    clock: &Clock,
    activity: watch::Sender<Activity>,
    troubles: &Troubles,
    stop: impl Future<Output = ()>,
) {
    let mut part = Part {
        api: Api::namespaced(client, namespace),
        me: me.clone(),
        election: Election::new(me),
        lease: None,
        activity,
        trouble: troubles.of("Lease causeway-controller"),
    };
    tokio::select! {
        () = part.hold(clock) => {}
        () = stop => {}
    }
    part.release(clock).await;
}

struct Part {
    api: Api<Lease>,
    me: String,
    election: Election,
    /// As last read or written, to be written over.
    lease: Option<Lease>,
    activity: watch::Sender<Activity>,
    trouble: Trouble,
}

impl Part {
    async fn hold(&mut self, clock: &Clock) {
        loop {
            let now = clock.mono_ms();
            self.tell(now);
            match self.election.step(now) {
                Step::Wait(at) => self.sleep(at.saturating_sub(now), clock).await,
                step => {
                    let result = self.request(step, clock).await;
                    let failed = result.is_err();
                    self.trouble.outcome(&result);
                    self.tell(clock.mono_ms());
                    if failed {
                        self.election.failed();
                        self.sleep(AGAIN.as_millis().try_into().unwrap_or(u64::MAX), clock)
                            .await;
                    }
                }
            }
        }
    }

    /// Never past the end of what was promised: then it must be told.
    async fn sleep(&self, ms: u64, clock: &Clock) {
        let now = clock.mono_ms();
        let until = self.election.acts_until().filter(|at| *at > now);
        let ms = until.map_or(ms, |at| ms.min(at.saturating_sub(now)));
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    fn tell(&self, now: u64) {
        let next = self
            .election
            .term(now)
            .map_or(Activity::Standby, Activity::Active);
        self.activity.send_if_modified(|told| {
            let changed = *told != next;
            if changed {
                match next {
                    Activity::Active(term) => tracing::info!(term, "this controller is active"),
                    Activity::Standby => {
                        let holder = self.election.holder().unwrap_or("nobody");
                        tracing::info!(holder, "this controller is on standby");
                    }
                }
            }
            *told = next;
            changed
        });
    }

    async fn request(&mut self, step: Step, clock: &Clock) -> Result<(), kube::Error> {
        let began = clock.mono_ms();
        // What was promised may end while a request hangs: nobody waits for that then.
        let left = self
            .election
            .acts_until()
            .map(|at| at.saturating_sub(began))
            .filter(|ms| *ms > 0);
        let limit = left.map_or(REQUEST, |ms| REQUEST.min(Duration::from_millis(ms)));
        let Step::Write(attempt) = step else {
            let read = missing(in_time(limit, self.api.get(LEASE)).await)?;
            self.election.saw(read.as_ref().map(seen), clock.mono_ms());
            self.lease = read;
            return Ok(());
        };
        let wanted = self.wanted(&attempt, clock);
        let post = PostParams::default();
        let written = match attempt {
            Attempt::Create => in_time(limit, self.api.create(&post, &wanted)).await,
            _ => in_time(limit, self.api.replace(LEASE, &post, &wanted)).await,
        };
        match written {
            Ok(written) => {
                self.election.wrote(seen(&written), began);
                self.lease = Some(written);
                Ok(())
            }
            // Somebody else was first: no trouble.
            Err(error) if overtaken(&error) => {
                self.election.failed();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn wanted(&self, attempt: &Attempt, clock: &Clock) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_default();
        if *attempt == Attempt::Create {
            lease = Lease {
                metadata: metadata(LEASE),
                spec: None,
            };
        }
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        let now = micro_time(clock);
        match attempt {
            Attempt::Renew => (),
            Attempt::Create | Attempt::Take(_) => {
                let transitions = match attempt {
                    Attempt::Take(transitions) => *transitions,
                    _ => 1,
                };
                spec.lease_transitions = i32::try_from(transitions).ok();
                spec.acquire_time.clone_from(&now);
            }
        }
        spec.holder_identity = Some(self.me.clone());
        spec.lease_duration_seconds = i32::try_from(DURATION_MS / 1000).ok();
        spec.renew_time = now;
        lease
    }

    async fn release(&mut self, clock: &Clock) {
        let held = self.election.term(clock.mono_ms()).is_some();
        // First nobody here acts any more, then another may.
        self.activity.send_replace(Activity::Standby);
        let Some(mut lease) = self.lease.take().filter(|_| held) else {
            return;
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = micro_time(clock);
        }
        let post = PostParams::default();
        match in_time(REQUEST, self.api.replace(LEASE, &post, &lease)).await {
            Ok(_) => tracing::info!("another controller may be active"),
            Err(error) => tracing::warn!(%error, "the Lease was not released and will run out"),
        }
    }
}

pub(super) fn micro_time(clock: &Clock) -> Option<MicroTime> {
    let ms = i64::try_from(clock.wall().0).ok()?;
    jiff::Timestamp::from_millisecond(ms).ok().map(MicroTime)
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.clone().unwrap_or_default();
    let number = |n: Option<i32>| n.and_then(|n| u64::try_from(n).ok());
    Seen {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration_ms: number(spec.lease_duration_seconds)
            .map_or(DURATION_MS, |secs| secs.saturating_mul(1000)),
        transitions: number(spec.lease_transitions).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
