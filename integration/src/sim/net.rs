//! Pure: the simulation's network. A session is two queues of encoded frames, in order each, with delays of their
//! own, so what two sessions carry arrives in any order. Where clusters are cut off nothing arrives, and both
//! ends find out later.

use std::collections::VecDeque;

use causeway_gateway::session::End;
use causeway_proto::limits::FRAME_BYTES;
use causeway_proto::model::{FollowState, Frame};
use causeway_proto::wire::Encoded as _;

use super::{Rng, Sim, pair};
use causeway_gateway::engine::SessionId;

/// How long a connection that carries nothing lives until its ends notice.
const NOTICE_MS: u64 = 4_000;
/// Until the other end notices that a process has ended.
const ENDED_MS: u64 = 100;
/// The longest that something is on its way.
const DELAY_MS: u64 = 200;

/// One end of a session.
#[derive(Debug)]
struct Side {
    host: usize,
    /// The process that opened it: another one knows nothing of it.
    life: u64,
    id: SessionId,
    /// Towards this side: when it arrives, and what.
    queue: VecDeque<(u64, Vec<u8>)>,
    open: bool,
}

/// One session.
#[derive(Debug)]
pub struct Wire {
    sides: [Side; 2],
    delay: u64,
    /// Since when nothing passes.
    stuck: Option<u64>,
    /// It will be torn down at this time.
    pub doomed: Option<u64>,
}

/// The connection of a follower to its leader.
#[derive(Debug)]
pub struct Follow {
    leader: (usize, u64),
    follower: (usize, u64),
    states: VecDeque<(u64, FollowState)>,
    acks: VecDeque<(u64, u64)>,
    stuck: Option<u64>,
    notice: u64,
    instance: u64,
}

fn later(rng: &mut Rng, now: u64, least: Option<u64>) -> u64 {
    let at = now.saturating_add(1).saturating_add(rng.below(DELAY_MS));
    at.max(least.unwrap_or(0))
}

impl Sim {
    fn life(&self, host: usize) -> Option<u64> {
        let host = self.hosts.get(host)?;
        host.gateway.as_ref().map(|_| host.restarts)
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        let (Some(a), Some(b)) = (self.hosts.get(a), self.hosts.get(b)) else {
            return false;
        };
        !self.cut.contains(&pair(&a.cluster, &b.cluster))
    }

    /// Every gateway dials the gateways that it has no session with, followers dial their leader.
    pub(super) fn dial(&mut self) {
        for from in 0..self.hosts.len() {
            for to in 0..self.hosts.len() {
                self.dial_one(from, to);
            }
        }
    }

    fn dial_one(&mut self, from: usize, to: usize) {
        let (Some(a), Some(b)) = (self.life(from), self.life(to)) else {
            return;
        };
        let (Some(us), Some(them)) = (self.hosts.get(from), self.hosts.get(to)) else {
            return;
        };
        if us.cluster == them.cluster {
            self.follow_one(from, to, (a, b));
            return;
        }
        let members = us
            .gateway
            .as_ref()
            .map(causeway_gateway::engine::Gateway::members);
        let member = members.is_some_and(|m| m.contains(&them.cluster));
        let known = |w: &Wire| {
            let [x, y] = &w.sides;
            let ends = [(x.host, x.life), (y.host, y.life)];
            x.open && ends.contains(&(from, a)) && ends.iter().any(|(h, _)| *h == to)
        };
        if !member
            || !self.reaches(from, to)
            || self.wires.iter().any(known)
            || self.rng.below(3) == 0
        {
            return;
        }
        let id = SessionId(self.sessions);
        self.sessions = self.sessions.saturating_add(1);
        let side = |host, life| Side {
            host,
            life,
            id,
            queue: VecDeque::new(),
            open: true,
        };
        self.wires.push(Wire {
            sides: [side(from, a), side(to, b)],
            delay: 0,
            stuck: None,
            doomed: None,
        });
        for (at, other, dialled) in [(from, to, true), (to, from, false)] {
            let now = self.now(at);
            let Some((cluster, name)) = self
                .hosts
                .get(other)
                .map(|h| (h.cluster.clone(), h.name.clone()))
            else {
                continue;
            };
            if let Some(gateway) = self.touch(at) {
                gateway.open_session(id, cluster, name, dialled, now);
            }
        }
    }

    fn follow_one(&mut self, follower: usize, leader: usize, (life, of): (u64, u64)) {
        let cut = self.alone.contains(&follower) || self.alone.contains(&leader);
        let there = self.follows.iter().any(|f| f.follower == (follower, life));
        if !self.led_by(follower, leader) || cut || there {
            return;
        }
        let hello = self.hosts.get(follower).and_then(|h| h.gateway.as_ref());
        let Some(hello) = hello.map(causeway_gateway::engine::Gateway::follow_hello) else {
            return;
        };
        let now = self.now(leader);
        let instance = hello.instance;
        if let Some(gateway) = self.touch(leader) {
            gateway.follower_up(hello, now);
        }
        // A leader without state takes up whom its follower trusts; what changed since the operator says again.
        if let Some(cluster) = self.hosts.get(leader).map(|h| h.cluster.clone()) {
            self.told(&cluster);
        }
        self.follows.push(Follow {
            leader: (leader, of),
            follower: (follower, life),
            states: VecDeque::new(),
            acks: VecDeque::new(),
            stuck: None,
            notice: NOTICE_MS,
            instance,
        });
    }

    /// Whether one gateway leads, and the other, which does not, knows that.
    fn led_by(&self, follower: usize, leader: usize) -> bool {
        let gateway = |at: usize| self.hosts.get(at).and_then(|h| h.gateway.as_ref());
        let (Some(follower), Some(leader)) = (gateway(follower), gateway(leader)) else {
            return false;
        };
        let named = follower.leader() == Some(&leader.settings().gateway);
        leader.is_leader() && !follower.is_leader() && named
    }

    /// Puts what a gateway wants to send on its way.
    pub(super) fn send(&mut self, at: usize, closed: &[(SessionId, End)]) {
        for (id, end) in closed {
            if let End::PeerFault(why) = end {
                self.errors
                    .push(format!("host {at}: a fault of an honest peer: {why}"));
            }
            for wire in &mut self.wires {
                if wire.sides.iter().any(|s| s.host == at && s.id == *id) {
                    let due = self.now_ms.saturating_add(DELAY_MS.saturating_mul(2));
                    wire.doomed.get_or_insert(due);
                }
            }
        }
        let host = self.hosts.get_mut(at);
        let Some(gateway) = host.and_then(|h| h.gateway.as_mut()) else {
            return;
        };
        for wire in &mut self.wires {
            let [a, b] = &mut wire.sides;
            let (own, other) = if a.host == at { (a, b) } else { (b, a) };
            if own.host != at {
                continue;
            }
            while let Some(frame) = gateway.poll_frame(own.id) {
                let bytes = frame.to_bytes();
                if bytes.len() > FRAME_BYTES {
                    self.errors.push(format!(
                        "host {at}: {} of {} bytes",
                        frame.name(),
                        bytes.len()
                    ));
                }
                wire.delay = later(&mut self.rng, self.now_ms, Some(wire.delay));
                other.queue.push_back((wire.delay, bytes));
            }
        }
    }

    /// Hands over what has arrived.
    pub(super) fn deliver(&mut self) {
        let mut wires = std::mem::take(&mut self.wires);
        for wire in &mut wires {
            let [a, b] = &wire.sides;
            let passes = self.reaches(a.host, b.host)
                && self.life(a.host) == Some(a.life)
                && self.life(b.host) == Some(b.life);
            if passes {
                wire.stuck = None;
                let [a, b] = &mut wire.sides;
                self.deliver_to(a);
                self.deliver_to(b);
            } else {
                let since = *wire.stuck.get_or_insert(self.now_ms);
                if self.now_ms.saturating_sub(since) >= NOTICE_MS {
                    wire.doomed = Some(self.now_ms);
                }
            }
            if wire.doomed.is_some_and(|at| at <= self.now_ms) {
                for side in &mut wire.sides {
                    side.open = false;
                    self.lost(side);
                }
            }
        }
        wires.retain(|w| w.sides.iter().all(|s| s.open));
        self.wires = wires;
        self.deliver_follows();
    }

    fn deliver_to(&mut self, side: &mut Side) {
        let now = self.now(side.host);
        let now_ms = self.now_ms;
        if side.queue.front().is_none_or(|(at, _)| *at > now_ms) {
            return;
        }
        let Some(gateway) = self.touch(side.host) else {
            return;
        };
        while side.queue.front().is_some_and(|(at, _)| *at <= now_ms) {
            let Some((_, bytes)) = side.queue.pop_front() else {
                return;
            };
            match Frame::from_bytes(&bytes) {
                Ok(frame) => gateway.handle_frame(side.id, frame, now),
                Err(why) => gateway.handle_garbage(side.id, &why.to_string(), now),
            }
        }
    }

    fn lost(&mut self, side: &Side) {
        let now = self.now(side.host);
        if self.life(side.host) != Some(side.life) {
            return;
        }
        if let Some(gateway) = self.touch(side.host) {
            gateway.handle_lost(side.id, "connection lost", now);
        }
    }

    fn deliver_follows(&mut self) {
        let mut follows = std::mem::take(&mut self.follows);
        for follow in &mut follows {
            let ((leader, leads), (follower, lives)) = (follow.leader, follow.follower);
            let alive = self.life(leader) == Some(leads)
                && self.life(follower) == Some(lives)
                && self.led_by(follower, leader);
            let cut = self.alone.contains(&leader) || self.alone.contains(&follower);
            if !alive || cut {
                follow.stuck.get_or_insert(self.now_ms);
                // A process that ends closes its connections; a network that is cut does not.
                if !alive && !cut {
                    follow.notice = ENDED_MS;
                }
                continue;
            }
            let now = self.now(leader);
            let Some(name) = self.hosts.get(follower).map(|h| h.name.clone()) else {
                continue;
            };
            let now_ms = self.now_ms;
            if let Some(gateway) = self.touch(leader) {
                while follow.acks.front().is_some_and(|(at, _)| *at <= now_ms) {
                    if let Some((_, sequence)) = follow.acks.pop_front() {
                        gateway.follower_ack(&name, sequence);
                    }
                }
                if let Some(state) = gateway.poll_follow(&name, now) {
                    let at = later(&mut self.rng, now_ms, None);
                    follow.states.push_back((at, state));
                }
            }
            let now = self.now(follower);
            while follow.states.front().is_some_and(|(at, _)| *at <= now_ms) {
                let Some((_, state)) = follow.states.pop_front() else {
                    break;
                };
                let sequence = state.sequence;
                let gateway = self.touch(follower);
                let taken = gateway.is_some_and(|g| {
                    g.leader_link(true, now);
                    g.follow(state, now)
                });
                self.work(follower);
                if taken {
                    let at = later(&mut self.rng, self.now_ms, None);
                    follow.acks.push_back((at, sequence));
                }
            }
        }
        let now = self.now_ms;
        let over = |f: &Follow| f.stuck.is_some_and(|at| now.saturating_sub(at) >= f.notice);
        for follow in follows.iter().filter(|f| over(f)) {
            let ((leader, leads), (follower, lives)) = (follow.leader, follow.follower);
            let name = self.hosts.get(follower).map(|h| h.name.clone());
            let at = self.now(leader);
            if self.life(leader) == Some(leads)
                && let Some(gateway) = self.touch(leader)
                && let Some(name) = name
            {
                gateway.follower_down(&name, follow.instance, at);
            }
            let at = self.now(follower);
            if self.life(follower) == Some(lives)
                && let Some(gateway) = self.touch(follower)
            {
                gateway.leader_link(false, at);
            }
        }
        follows.retain(|f| !over(f));
        self.follows = follows;
    }

    /// Tears down a session, if there is one.
    pub fn break_session(&mut self) {
        let at = self
            .rng
            .below(u64::try_from(self.wires.len()).unwrap_or(0).max(1));
        let now = self.now_ms;
        let wire = usize::try_from(at)
            .ok()
            .and_then(|at| self.wires.get_mut(at));
        if let Some(wire) = wire {
            wire.doomed = Some(now);
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.wires.len()
    }
}
