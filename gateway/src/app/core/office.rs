//! Shell: controllers and their words: the office is taken with the CA and left with it.

use causeway_certs::dial::Holding;
use causeway_proto::model::{Appointment, LeadHello, LeadRefused, LeadReply};
use tokio::sync::mpsc;

use super::Driver;
use crate::app::handle::{Input, Leading};
use crate::now::Now;

/// How often a controller hears at least how far the allocations have come.
const HELLO_MS: u64 = 5_000;

/// One controller's stream.
pub(super) struct Controller {
    replies: mpsc::Sender<LeadReply>,
    /// What it was told last, and when on the monotonic clock.
    told: Option<(LeadHello, u64)>,
}

impl Driver {
    /// What concerns who leads.
    pub(super) fn handle_office(&mut self, input: Input, now: Now) {
        match input {
            Input::Controller(stream, replies) => {
                tracing::info!(stream, "a controller has come");
                let told = None;
                self.controllers
                    .insert(stream, Controller { replies, told });
            }
            Input::Appoint(stream, appointment) => self.appoint(stream, *appointment, now),
            Input::Stored(stream, sequence) => self.gateway.store_ack(stream, sequence),
            Input::ControllerGone(stream) => {
                tracing::info!(stream, "the controller is gone");
                self.controllers.remove(&stream);
                self.gateway.store_down(stream);
            }
            Input::Holding(reply) => {
                let _ = reply.send(Holding {
                    epoch: self.gateway.highest_epoch(),
                    state: self.gateway.leader_state(),
                });
            }
            Input::OwnBundle if self.gateway.is_leader() => self.publish_own_bundle(now),
            Input::Drain => {
                self.draining = true;
                self.gateway.leave_soon(now);
            }
            _ => {}
        }
    }

    fn appoint(&mut self, stream: u64, appointment: Appointment, now: Now) {
        let (term, leader) = (appointment.term, appointment.leader.clone());
        let me = leader == self.config.name;
        let (led, before) = (self.gateway.is_leader(), self.gateway.term());
        match self.obey(appointment, me, now) {
            Ok(()) if me => {
                self.gateway.store_up(stream);
                self.publish_own_bundle(now);
            }
            Ok(()) => {
                if led {
                    self.lead_no_more();
                }
                self.keys.drop_authority();
            }
            Err(refused) => {
                tracing::warn!(term, %leader, why = refused.why, "appointment refused");
                if let Some(controller) = self.controllers.get(&stream) {
                    let _ = controller.replies.try_send(LeadReply::Refused(refused));
                }
                return;
            }
        }
        if term != before || me != led {
            tracing::info!(term, %leader, epoch = self.gateway.epoch(), "appointed");
        }
    }

    /// The CA first: without it there is no leading.
    fn obey(&mut self, appointment: Appointment, me: bool, now: Now) -> Result<(), LeadRefused> {
        self.gateway.obeys(&appointment)?;
        if me {
            let state = appointment.state.as_ref();
            let given = state.and_then(|state| state.authority.as_ref());
            let taken = self.keys.take_authority(given, now.wall);
            taken.map_err(|error| LeadRefused {
                term: self.gateway.term(),
                leader: self.gateway.leader().cloned(),
                why: error.to_string(),
            })?;
        }
        self.gateway.appoint(appointment, now)
    }

    /// Followers check this cluster's own catalog by its own bundle, which the leader puts beside the others.
    fn publish_own_bundle(&mut self, now: Now) {
        let Some(own) = self.keys.issued_bundle() else {
            return;
        };
        let mut trust = self.gateway.trust().clone();
        trust.bundles.insert(self.config.cluster.clone(), own);
        self.gateway.set_trust(trust, now);
    }

    pub(super) fn leader_quiet(&mut self) {
        if let Some(leader) = self.gateway.leader().cloned() {
            self.gateway.gateway_quiet(&leader);
        }
    }

    /// Who waits for what only the leader does asks the next one.
    fn lead_no_more(&mut self) {
        let follows = self.not_leader();
        for reply in self.publishers.drain(..) {
            let _ = reply.send(Err(follows.clone()));
        }
        for (_, answer) in self.trusters.drain(..) {
            answer(Err(follows.clone()));
        }
        self.followers.clear();
    }

    /// Tells controllers what has changed, and the one that stores what to store.
    pub(super) fn feed_controllers(&mut self, now: Now) {
        let address = self.config.advertise.local.clone().unwrap_or_default();
        let mut hello = self.gateway.lead_hello(&address, self.draining, now);
        (hello.authority, hello.rotate_authority) = self.keys.held_authority();
        let storing = self.gateway.store_stream();
        for (stream, controller) in &mut self.controllers {
            let news = controller.told.as_ref().is_none_or(|(told, at)| {
                // That a silence goes on is no news; that it begins or ends is.
                let silence = hello.unheard_ms.map(|ms| told.unheard_ms.unwrap_or(ms));
                let same = LeadHello {
                    held: told.held,
                    unheard_ms: silence,
                    ..hello.clone()
                } == *told;
                !same || (told.held != hello.held && now.age(*at) >= HELLO_MS)
            });
            if news
                && controller
                    .replies
                    .try_send(LeadReply::Hello(hello.clone()))
                    .is_ok()
            {
                controller.told = Some((hello.clone(), now.mono_ms));
            }
            if storing == Some(*stream)
                && let Ok(place) = controller.replies.try_reserve()
                && let Some(keep) = self.gateway.poll_keep(now)
            {
                place.send(LeadReply::Keep(keep));
            }
        }
    }

    pub(super) fn leading(&self) -> Leading {
        Leading {
            leads: self.gateway.is_leader(),
            leader: self.gateway.leader().cloned(),
            address: self.gateway.leader_address().map(str::to_owned),
            shared: self.gateway.settings().shared.clone(),
            controllers: self.controllers.len(),
        }
    }
}
