//! Pure: sessions with peers: what comes in goes to the catalog, what became of it goes back.

use std::collections::BTreeSet;

use causeway_proto::limits::{LEASE_MS, SESSIONS_PER_PEER};
use causeway_proto::model::{
    ByeReason, ClusterId, Frame, GatewayName, Hello, Nack, Problem, ProblemKind,
};

use super::{Command, Gateway, Keep, SessionId, facts};
use crate::catalog::Applied;
use crate::introduce::part;
use crate::now::Now;
use crate::session::{DIAGNOSE, End, Output, PACKETS, Session, VERSIONS};

impl Gateway {
    /// A session with the gateway that the other side's certificate names. `dialled`: by this side.
    pub fn open_session(
        &mut self,
        id: SessionId,
        cluster: ClusterId,
        gateway: GatewayName,
        dialled: bool,
        now: Now,
    ) {
        let plain = facts(&self.settings, &self.members()).plain_with;
        let allotted = self.ledger.in_force().peers.get(&cluster);
        let ours = Hello {
            cluster: self.settings.cluster.clone(),
            cluster_set: self.settings.cluster_set.clone(),
            gateway: self.settings.gateway.clone(),
            versions: VERSIONS,
            features: BTreeSet::from([PACKETS, DIAGNOSE].map(str::to_owned)),
            time: now.wall,
            number_for_you: allotted.map(|p| p.value.number),
            plain_allowed: plain.contains(&cluster),
            held: self.catalog.peers().get(&cluster).and_then(|p| p.held()),
            instance: self.settings.instance,
        };
        let member = self.members().contains(&cluster);
        let mut session = Session::new(ours, cluster.clone(), gateway, now);
        if !member {
            let (reason, why) = if self.is_cut_off(&cluster) {
                (ByeReason::Revoked, "cut off")
            } else {
                (ByeReason::Incompatible, "no member of this clusterset")
            };
            session.close(reason, 0, why);
        }
        let with_it = self
            .sessions
            .values()
            .filter(|(s, _)| *s.cluster() == cluster);
        if with_it.count() >= SESSIONS_PER_PEER {
            let why = "more sessions than all gateways of two clusters need";
            session.close(ByeReason::PeerFault, 0, why);
        }
        self.sessions.insert(id, (session, dialled));
        self.drain(id, now);
    }

    /// A frame came.
    pub fn handle_frame(&mut self, id: SessionId, frame: Frame, now: Now) {
        if let Some((session, _)) = self.sessions.get_mut(&id) {
            session.handle(frame, now);
        }
        self.drain(id, now);
    }

    /// Something came that is no frame.
    pub fn handle_garbage(&mut self, id: SessionId, why: &str, now: Now) {
        if let Some((session, _)) = self.sessions.get_mut(&id) {
            session.handle_garbage(why);
        }
        self.drain(id, now);
    }

    /// One of the leaves that opened it has ended.
    pub fn expire_session(&mut self, id: SessionId, now: Now) {
        if let Some((session, _)) = self.sessions.get_mut(&id) {
            let message = "the certificate that opened the session has ended";
            session.close(ByeReason::Expired, 0, message);
        }
        self.drain(id, now);
    }

    /// The connection is gone; nothing can be sent on it any more.
    pub fn handle_lost(&mut self, id: SessionId, why: &str, now: Now) {
        if let Some((session, _)) = self.sessions.get_mut(&id) {
            session.handle_lost(why);
        }
        self.drain(id, now);
        self.sessions.remove(&id);
    }

    /// The next frame to send on a session. Ask only when it can be sent.
    pub fn poll_frame(&mut self, id: SessionId) -> Option<Frame> {
        let (session, _) = self.sessions.get_mut(&id)?;
        let frame = session.poll_frame();
        if frame.is_none() {
            session.serve(&self.catalog.own);
        }
        let frame = frame.or_else(|| session.poll_frame());
        if frame.is_none() && session.is_closed() {
            self.sessions.remove(&id);
        }
        frame
    }

    /// This process stops: peers keep what they know of us for `lease_ms`.
    pub fn shutdown(&mut self, lease_ms: u64, now: Now) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            if let Some((session, _)) = self.sessions.get_mut(&id) {
                session.close(
                    ByeReason::Shutdown,
                    lease_ms.max(LEASE_MS),
                    "the gateway stops",
                );
            }
            self.drain(id, now);
        }
    }

    /// Says goodbye for good to `cluster`, or to all.
    pub fn leave(&mut self, cluster: Option<&ClusterId>, now: Now) {
        self.close_all(ByeReason::Left, "left the clusterset", now, |id| {
            cluster.is_none_or(|cluster| id == cluster)
        });
    }

    pub(super) fn close_all(
        &mut self,
        reason: ByeReason,
        why: &str,
        now: Now,
        which: impl Fn(&ClusterId) -> bool,
    ) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            match self.sessions.get_mut(&id) {
                Some((session, _)) if which(session.cluster()) => session.close(reason, 0, why),
                _ => continue,
            }
            self.drain(id, now);
        }
    }

    /// Does what a session wants done.
    pub(super) fn drain(&mut self, id: SessionId, now: Now) {
        while let Some((session, _)) = self.sessions.get_mut(&id) {
            let Some(output) = session.poll_output() else {
                session.serve(&self.catalog.own);
                return;
            };
            let cluster = session.cluster().clone();
            let gateway = session.gateway().clone();
            match output {
                Output::Up(hello) => self.up(id, &hello, now),
                Output::Heard => self.heard(&cluster, &gateway, now),
                Output::Apply(delta) => {
                    let result = match self.trust.bundles.get(&cluster) {
                        Some(bundle) => {
                            let keys = self.keys.as_ref();
                            self.catalog.apply(&cluster, bundle, &delta, keys)
                        }
                        None => return,
                    };
                    self.applied(id, &cluster, result);
                }
                Output::ApplyHeader(header) => {
                    let result = match self.trust.bundles.get(&cluster) {
                        Some(bundle) => {
                            let keys = self.keys.as_ref();
                            self.catalog.apply_header(&cluster, bundle, &header, keys)
                        }
                        None => return,
                    };
                    self.applied(id, &cluster, result);
                }
                Output::Acknowledged(held) => {
                    let nodes = self.catalog.own.nodes_at(&held).cloned();
                    if let Some(peer) = self.catalog.peer_mut(&cluster)
                        && let Some(nodes) = nodes
                    {
                        self.dirty |= peer.acknowledge(&gateway, &nodes);
                    }
                    self.seen_epoch(held.revision.epoch);
                    self.dirty |= self.refused.remove(&cluster).is_some();
                }
                Output::Refused(nack) => self.is_refused(cluster, &nack),
                Output::Closed(end) => self.closed(id, cluster, end, now),
            }
        }
    }

    fn is_refused(&mut self, cluster: ClusterId, nack: &Nack) {
        let problem = Problem {
            kind: ProblemKind::PeerDisagrees,
            subject: format!("peer {cluster}"),
            message: format!("refuses our revision {}: {}", nack.revision, nack.message),
        };
        self.refused.insert(cluster, problem);
        self.dirty = true;
    }

    fn up(&mut self, id: SessionId, hello: &Hello, now: Now) {
        if let Some(peer) = self.catalog.peer_mut(&hello.cluster) {
            let takes = Some(hello.features.contains(PACKETS));
            let before = (peer.number_there, peer.takes_packets);
            (peer.number_there, peer.takes_packets) = (hello.number_for_you, takes);
            self.dirty |= before != (peer.number_there, peer.takes_packets);
        }
        self.seen_epoch(hello.held.map_or(0, |h| h.revision.epoch));
        // One session between two processes is enough. Both sides must close the same one.
        let lower = self.settings.cluster < hello.cluster;
        let mut others: Vec<(SessionId, bool)> = Vec::new();
        for (other, (session, dialled)) in &self.sessions {
            let same = session.cluster() == &hello.cluster && session.gateway() == &hello.gateway;
            if *other != id && same && session.is_up() {
                others.push((*other, *dialled));
            }
        }
        let dialled = self.sessions.get(&id).is_some_and(|(_, dialled)| *dialled);
        for (other, other_dialled) in others {
            let restarted = self
                .sessions
                .get(&other)
                .is_some_and(|(s, _)| s.their_instance() != Some(hello.instance));
            let keep_new = restarted || other_dialled == dialled || dialled == lower;
            let closing = if keep_new { other } else { id };
            if let Some((session, _)) = self.sessions.get_mut(&closing) {
                session.close(ByeReason::Replaced, 0, "one session is enough");
            }
            if keep_new {
                self.drain(other, now);
            }
        }
    }

    fn heard(&mut self, cluster: &ClusterId, gateway: &GatewayName, now: Now) {
        if let Some(peer) = self.catalog.peer_mut(cluster) {
            let before = peer.life.liveness(now);
            peer.life.beat(now);
            peer.gateways.beat(gateway, now);
            self.dirty |= peer.life.liveness(now) != before;
        }
    }

    fn applied(
        &mut self,
        id: SessionId,
        cluster: &ClusterId,
        result: Result<Applied, crate::catalog::Refusal>,
    ) {
        let faulty = result.as_ref().is_err_and(|refusal| refusal.is_fault());
        self.dirty |= faulty;
        let in_force = matches!(result, Ok(Applied::InForce(_)));
        if let Some((session, _)) = self.sessions.get_mut(&id) {
            session.applied(result);
        }
        if !in_force {
            return;
        }
        self.dirty = true;
        let Some(peer) = self.catalog.peers().get(cluster) else {
            return;
        };
        let (held, whole) = (peer.held(), peer.snapshot());
        for (session, _) in self.sessions.values_mut() {
            if session.cluster() == cluster {
                session.holds(held);
            }
        }
        self.keep(Keep::Peer(cluster.clone(), whole));
    }

    fn closed(&mut self, session: SessionId, cluster: ClusterId, end: End, now: Now) {
        self.dirty = true;
        let others = self
            .sessions
            .values()
            .any(|(s, _)| s.cluster() == &cluster && s.is_up());
        let left = matches!(&end, End::Bye(bye) if bye.reason == ByeReason::Left);
        if let End::Bye(bye) = &end
            && let Some(peer) = self.catalog.peer_mut(&cluster)
        {
            match bye.reason {
                ByeReason::Left => peer.life.leave(),
                ByeReason::Shutdown if !others => peer.life.restarting(bye.lease_ms, now),
                _ => {}
            }
        }
        if let End::PeerFault(why) = &end
            && let Some(peer) = self.catalog.peer_mut(&cluster)
        {
            peer.fault.get_or_insert_with(|| why.clone());
        }
        if left {
            self.part_from(&cluster, now);
        }
        self.commands.push_back(Command::Closed {
            session,
            cluster,
            end,
        });
    }

    /// It took leave: no trust outlives that, and its way back is a token, as for anybody.
    fn part_from(&mut self, cluster: &ClusterId, now: Now) {
        let mut trust = self.trust.clone();
        part(&mut trust, cluster);
        self.set_trust(trust, now);
    }
}
