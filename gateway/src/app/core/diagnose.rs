//! Shell: where peers' gateways are, and questions to them and from them about the ways between.

use std::collections::BTreeMap;

use causeway_proto::model::{Check, ClusterId, Frame};
use tokio::sync::oneshot;

use super::Driver;
use crate::app::diagnose::PeerGateways;
use crate::app::handle::SessionId;
use crate::diagnose::printable;
use crate::now::Now;

/// How long what was found for a peer is told again: to find it costs dials.
const AGAIN_MS: u64 = 5_000;
/// Questions of one peer that wait for the same answer.
const WAITING_FOR_ONE: usize = 16;
/// Questions that wait for their answer, of all that have asked here.
const WAITING: usize = 256;

/// About the ways between, from here and from peers.
#[derive(Default)]
pub(super) struct Questions {
    /// Peers' gateways that were asked what they find, by session and number.
    asked: BTreeMap<(SessionId, u64), oneshot::Sender<Vec<Check>>>,
    /// Number of the last one.
    last: u64,
    /// Those that wait, by the peer that asks.
    asking: BTreeMap<ClusterId, Vec<(SessionId, u64)>>,
    /// What was found for peers, and when on the monotonic clock.
    found: BTreeMap<ClusterId, (u64, Vec<Check>)>,
}

impl Driver {
    pub(super) fn tell_gateways(
        &mut self,
        peer: Option<&ClusterId>,
        ask: bool,
        reply: oneshot::Sender<PeerGateways>,
    ) {
        let mut ways = PeerGateways::default();
        for (id, held) in self.gateway.catalog().peers() {
            if peer.is_some_and(|peer| peer != id) {
                continue;
            }
            let part = held.cluster_part();
            let named = part.iter().flat_map(|part| &part.gateways);
            let named = named.map(|(name, at)| (Some(name.clone()), at.session.clone()));
            let mut all: Vec<_> = named.collect();
            if all.is_empty() {
                let bundle = self.gateway.trust().bundles.get(id);
                let listed = bundle.iter().flat_map(|bundle| &bundle.gateways);
                all.extend(listed.map(|address| (None, address.clone())));
            }
            ways.gateways.insert(id.clone(), all);
        }
        if ask {
            self.ask_peers(&mut ways);
        }
        let _ = reply.send(ways);
    }

    fn ask_peers(&mut self, ways: &mut PeerGateways) {
        self.questions.asked.retain(|_, answer| !answer.is_closed());
        for (id, live) in &self.live {
            let (cluster, gateway) = live.who();
            let room = self.questions.asked.len() < WAITING;
            if !ways.gateways.contains_key(cluster) || !live.is_up() {
                continue;
            }
            let (answer, answered) = oneshot::channel();
            self.questions.last = self.questions.last.wrapping_add(1);
            if room && live.can_diagnose() && live.say(Frame::Diagnose(self.questions.last)) {
                self.questions
                    .asked
                    .insert((*id, self.questions.last), answer);
            }
            ways.asked
                .push((cluster.clone(), gateway.clone(), answered));
        }
    }

    /// A peer's gateway asks. What was found a moment ago is told again.
    pub(super) fn asks(&mut self, session: SessionId, id: u64, now: Now) {
        let Some(live) = self.live.get(&session) else {
            return;
        };
        let (cluster, _) = live.who();
        let found = self.questions.found.get(cluster);
        if let Some((at, checks)) = found
            && now.age(*at) < AGAIN_MS
        {
            live.say(Frame::Diagnosed(id, checks.clone()));
            return;
        }
        let waiting = self.questions.asking.entry(cluster.clone()).or_default();
        if waiting.len() < WAITING_FOR_ONE {
            waiting.push((session, id));
        }
        let first = waiting.len() == 1;
        if first && self.shown.questions.try_send(cluster.clone()).is_err() {
            // Many peers ask at once; who gets no answer asks again.
            self.questions.asking.remove(cluster);
        }
    }

    /// What was found of the ways to a peer whose gateways ask.
    pub(super) fn diagnosed(&mut self, cluster: ClusterId, checks: Vec<Check>, now: Now) {
        for (session, id) in self.questions.asking.remove(&cluster).into_iter().flatten() {
            if let Some(live) = self.live.get(&session) {
                live.say(Frame::Diagnosed(id, checks.clone()));
            }
        }
        self.questions
            .found
            .retain(|_, (at, _)| now.age(*at) < AGAIN_MS);
        self.questions.found.insert(cluster, (now.mono_ms, checks));
    }

    /// A peer's gateway has answered.
    pub(super) fn answered(&mut self, session: SessionId, id: u64, checks: Vec<Check>) {
        if let Some(answer) = self.questions.asked.remove(&(session, id)) {
            let _ = answer.send(checks.into_iter().map(printable).collect());
        }
    }
}
