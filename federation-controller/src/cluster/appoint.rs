//! Shell: who leads, in the Lease `causeway-leader` and to all gateways.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;

use super::api::{REQUEST, Trouble, Troubles, in_time, metadata, missing, overtaken};
use super::keeper::Stored;
use super::lease::{Activity, micro_time};
use crate::clock::Clock;
use crate::enrolment::Standing;
use crate::lead::board::Board;
use crate::lead::office::{Ground, Office, Step};
use crate::lead::order::Order;
use crate::lead::settings::Settings;

/// Its holder is the leading gateway, its transitions the term. It is not renewed: only a higher term ends one.
pub const LEASE: &str = "causeway-leader";

/// What an appointment depends on.
#[derive(Clone)]
pub struct Known {
    /// Whether this controller may appoint.
    pub activity: watch::Receiver<Activity>,
    /// The gateways.
    pub board: watch::Receiver<Board>,
    /// The cluster's settings.
    pub settings: watch::Receiver<Option<Settings>>,
    /// Whether there is a CA: nobody leads without.
    pub standing: watch::Receiver<Standing>,
    /// What is stored: a leader gets it.
    pub stored: watch::Receiver<Option<Stored>>,
}

/// The task.
pub struct Appointing {
    leases: Api<Lease>,
    known: Known,
    orders: watch::Sender<Option<Arc<Order>>>,
    trouble: Trouble,
    clock: Clock,
    /// As last read or written, to be written over.
    lease: Option<Lease>,
}

impl Appointing {
    /// Ready to [`run`](Self::run); what gateways are to be told comes out.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        known: Known,
        troubles: &Troubles,
        clock: Clock,
    ) -> (Self, watch::Receiver<Option<Arc<Order>>>) {
        let (orders, told) = watch::channel(None);
        let appointing = Self {
            leases: Api::namespaced(client, namespace),
            known,
            orders,
            trouble: troubles.of("Lease causeway-leader"),
            clock,
            lease: None,
        };
        (appointing, told)
    }

    /// For ever.
    pub async fn run(mut self) {
        let mut activity = self.known.activity.clone();
        loop {
            let active = activity.wait_for(|activity| activity.term().is_some());
            let Ok(term) = active.await.map(|activity| *activity) else {
                return;
            };
            tokio::select! {
                over = activity.wait_for(|now| *now != term) => if over.is_err() {
                    return;
                },
                () = self.appoint() => return,
            }
            self.orders.send_replace(None);
        }
    }

    /// Until it is active no more.
    async fn appoint(&mut self) {
        let mut office = Office::new(self.clock.mono_ms());
        loop {
            let board = self.known.board.borrow_and_update().clone();
            let settings = self.known.settings.borrow_and_update().clone();
            let stored = self
                .known
                .stored
                .borrow_and_update()
                .as_ref()
                .map(|s| s.position.epoch);
            let ready = matches!(
                &*self.known.standing.borrow_and_update(),
                Standing::Ready(_)
            );
            let now = self.clock.mono_ms();
            let until = match (settings, stored) {
                (Some(settings), Some(stored)) if ready && board.is_listed() => {
                    let settings = &settings;
                    let ground = Ground { settings, stored };
                    let step = office.step(&board, ground, now);
                    self.tell(&office);
                    match step {
                        Step::Wait(until) => Some(until),
                        step => {
                            let done = self.request(step, &mut office, &board, ground).await;
                            if done.is_err() {
                                office.failed(self.clock.mono_ms());
                            }
                            self.trouble.outcome(&done);
                            continue;
                        }
                    }
                }
                _ => None,
            };
            if !self.woken(until).await {
                return;
            }
        }
    }

    /// Until something changes or that time. False: nothing ever will.
    async fn woken(&mut self, until: Option<u64>) -> bool {
        let now = self.clock.mono_ms();
        let pause = until.map_or(Duration::MAX, |at| {
            Duration::from_millis(at.saturating_sub(now))
        });
        let known = &mut self.known;
        let changed = tokio::time::timeout(pause, async {
            tokio::select! {
                changed = known.board.changed() => changed,
                changed = known.settings.changed() => changed,
                changed = known.standing.changed() => changed,
                changed = known.stored.changed() => changed,
            }
        });
        !matches!(changed.await, Ok(Err(_)))
    }

    fn tell(&self, office: &Office) {
        self.orders.send_if_modified(|told| {
            let changed = told.as_deref() != office.order();
            if changed {
                *told = office.order().cloned().map(Arc::new);
            }
            changed
        });
    }

    async fn request(
        &mut self,
        step: Step,
        office: &mut Office,
        board: &Board,
        ground: Ground<'_>,
    ) -> Result<(), kube::Error> {
        let Step::Take(leader, term, why) = step else {
            let read = missing(in_time(REQUEST, self.leases.get(LEASE)).await)?;
            let spec = read.as_ref().and_then(|lease| lease.spec.as_ref());
            let holder = spec.and_then(|spec| spec.holder_identity.as_ref());
            let holder = holder.and_then(|holder| holder.parse().ok());
            let term = spec.and_then(|spec| spec.lease_transitions);
            let term = term.and_then(|term| u64::try_from(term).ok()).unwrap_or(0);
            self.lease = read;
            office.saw(holder, term, self.clock.mono_ms());
            return Ok(());
        };
        let post = PostParams::default();
        let mut lease = self.lease.clone().unwrap_or_else(|| Lease {
            metadata: metadata(LEASE),
            spec: None,
        });
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_deref() != Some(leader.as_str()) {
            spec.acquire_time = micro_time(&self.clock);
        }
        spec.holder_identity = Some(leader.to_string());
        spec.lease_transitions = i32::try_from(term).ok();
        spec.renew_time = micro_time(&self.clock);
        let written = match &self.lease {
            Some(_) => in_time(REQUEST, self.leases.replace(LEASE, &post, &lease)).await,
            None => in_time(REQUEST, self.leases.create(&post, &lease)).await,
        };
        match written {
            Ok(written) => {
                self.lease = Some(written);
                tracing::info!(%leader, term, "a gateway leads: {why}");
                office.took(leader, term, board, ground, self.clock.mono_ms());
                self.tell(office);
                Ok(())
            }
            // Somebody else was first: no trouble.
            Err(error) if overtaken(&error) => {
                office.failed(self.clock.mono_ms());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
