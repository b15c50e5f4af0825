//! Shell: the sessions of this gateway, each a pure `Session` beside its connection: frames in, decisions out.

use std::collections::BTreeSet;
use std::sync::Arc;

use causeway_certs::name::{PeerName, Role};
use causeway_proto::model::{
    ByeReason, ClusterId, Frame, GatewayName, Hello, SessionStatus, Timestamp, Transport,
};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Engine, Signing};
use crate::app::dial::Target;
use crate::app::handle::{Opened, SessionId};
use crate::config::Encrypt;
use crate::now::Now;
use crate::session::{End, Output, Session, VERSIONS};

/// How long a peer that broke the protocol is not dialled.
const FAULT_HOLD_MS: u64 = 10_000;
/// How long one is not dialled that speaks another version or has gone.
const STAY_DOWN_MS: u64 = 60_000;
/// When a connection that took no more frames is tried again.
const BLOCKED_MS: u64 = 20;
/// What a Bye at shutdown asks peers to bear.
const RESTART_LEASE_MS: u64 = 30_000;

/// One session and its connection.
pub(super) struct Live {
    pub session: Session,
    peer: PeerName,
    address: String,
    dialled: Option<String>,
    expires: Timestamp,
    since: Timestamp,
    hello: Option<Hello>,
    /// Theirs minus ours, at their Hello.
    skew_ms: i64,
    out: mpsc::Sender<Frame>,
    /// A frame that did not fit the connection's queue, and when to try again.
    blocked: Option<(Frame, u64)>,
}

impl Live {
    pub fn poll_timeout(&self) -> Option<u64> {
        let blocked = self.blocked.as_ref().map(|(_, at)| *at);
        [self.session.poll_timeout(), blocked]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn status(&self) -> SessionStatus {
        let version = self.hello.as_ref().map_or(0, |h| h.versions.1);
        SessionStatus {
            gateway: self.session.gateway().clone(),
            transport: Transport::Quic,
            address: self.address.clone(),
            dialled: self.dialled.is_some(),
            since: self.since,
            version: version.min(VERSIONS.1),
            clock_skew_ms: self.skew_ms,
            certificate_expires: Some(self.expires),
        }
    }

    /// Sends what there is to send; true when nothing is left.
    fn flush(&mut self, now: Now) -> bool {
        loop {
            let next = match self.blocked.take() {
                Some((frame, _)) => Some(frame),
                None => self.session.poll_frame(),
            };
            let Some(frame) = next else {
                return true;
            };
            match self.out.try_send(frame) {
                Ok(()) => {}
                Err(TrySendError::Full(frame)) => {
                    let again = now.mono_ms.saturating_add(BLOCKED_MS);
                    self.blocked = Some((frame, again));
                    return false;
                }
                Err(TrySendError::Closed(_)) => return true,
            }
        }
    }
}

/// Whose dial made a session: of two between the same gateways the one of the smaller name stays.
fn dialler(live: &Live, own: &PeerName) -> PeerName {
    if live.dialled.is_some() {
        own.clone()
    } else {
        live.peer.clone()
    }
}

impl Engine {
    fn own_name(&self) -> PeerName {
        PeerName {
            cluster: self.config.cluster.clone(),
            cluster_set: self.config.clusterset.clone(),
            role: Role::Gateway(self.config.name.clone()),
        }
    }

    pub(super) fn opened(&mut self, opened: Opened, now: Now) {
        let Role::Gateway(gateway) = opened.peer.role.clone() else {
            return;
        };
        let cluster = opened.peer.cluster.clone();
        if !self.catalog.peers().contains_key(&cluster) {
            // Revoked between handshake and now.
            return;
        }
        let number = self.allocations.in_force().peers.get(&cluster);
        let hello = Hello {
            cluster: self.config.cluster.clone(),
            cluster_set: self.config.clusterset.clone(),
            gateway: self.config.name.clone(),
            versions: VERSIONS,
            features: BTreeSet::new(),
            time: now.wall,
            number_for_you: number.map(|allotted| allotted.value.number),
            plain_allowed: self.config.encryption_with(&cluster) == Encrypt::Off,
            held: self.catalog.peers().get(&cluster).and_then(|p| p.held()),
            instance: self.instance,
        };
        let live = Live {
            session: Session::new(hello, cluster, gateway, now),
            peer: opened.peer,
            address: opened.address,
            dialled: opened.dialled,
            expires: opened.expires,
            since: now.wall,
            hello: None,
            skew_ms: 0,
            out: opened.out,
            blocked: None,
        };
        self.sessions.insert(opened.id, live);
    }

    pub(super) fn frame(&mut self, id: SessionId, frame: Frame, now: Now) {
        tracing::trace!(session = id.0, %frame, "received");
        if let Some(live) = self.sessions.get_mut(&id) {
            live.session.handle(frame, now);
            self.act(id, now);
        }
    }

    pub(super) fn malformed(&mut self, id: SessionId, why: &str, now: Now) {
        if let Some(live) = self.sessions.get_mut(&id) {
            live.session.handle_garbage(why);
            self.act(id, now);
        }
    }

    pub(super) fn expired(&mut self, id: SessionId, now: Now) {
        if let Some(live) = self.sessions.get_mut(&id) {
            let message = "the certificate that opened the session has ended";
            live.session.close(ByeReason::Expired, 0, message);
            self.act(id, now);
        }
    }

    pub(super) fn closed(&mut self, id: SessionId, why: &str, now: Now) {
        if let Some(live) = self.sessions.get_mut(&id) {
            live.session.handle_lost(why);
            self.act(id, now);
            self.sessions.remove(&id);
        }
    }

    /// What a session wants done.
    fn act(&mut self, id: SessionId, now: Now) {
        while let Some(output) = self
            .sessions
            .get_mut(&id)
            .and_then(|l| l.session.poll_output())
        {
            let Some(live) = self.sessions.get_mut(&id) else {
                return;
            };
            let cluster = live.session.cluster().clone();
            let gateway = live.session.gateway().clone();
            let signing = Signing {
                keys: &self.keys,
                trust: &self.trust,
            };
            let bundle = self.trust.bundles.get(&cluster);
            match output {
                Output::Up(hello) => self.up(id, hello, now),
                Output::Heard => {
                    if let Some(peer) = self.catalog.peer_mut(&cluster) {
                        peer.life.beat(now);
                    }
                }
                Output::Apply(delta) => {
                    tracing::debug!(%delta, "catalog");
                    let Some(bundle) = bundle else { continue };
                    let result = self.catalog.apply(&cluster, bundle, &delta, &signing);
                    self.applied(id, &cluster, result, now);
                }
                Output::ApplyHeader(header) => {
                    let Some(bundle) = bundle else { continue };
                    let result = self
                        .catalog
                        .apply_header(&cluster, bundle, &header, &signing);
                    self.applied(id, &cluster, result, now);
                }
                Output::Acknowledged(held) => {
                    let nodes = self.catalog.own.nodes_at(&held).cloned();
                    let nodes = nodes.unwrap_or_default();
                    if let Some(peer) = self.catalog.peer_mut(&cluster) {
                        self.due.content |= peer.acknowledge(&gateway, &nodes);
                    }
                    self.acknowledged.insert(cluster, held.revision);
                    self.due.facts = true;
                }
                Output::Refused(nack) => {
                    let why = format!("{gateway} refused {}: {}", nack.revision, nack.message);
                    tracing::warn!(peer = %cluster, reason = ?nack.reason, "{why}");
                    self.errors.insert(cluster, (now.wall, why));
                }
                Output::Closed(end) => self.ended(id, &end, now),
            }
        }
    }

    fn up(&mut self, id: SessionId, hello: Hello, now: Now) {
        let own = self.own_name();
        let Some(live) = self.sessions.get_mut(&id) else {
            return;
        };
        tracing::info!(
            peer = %live.session.cluster(), gateway = %live.session.gateway(),
            address = %live.address, dialled = live.dialled.is_some(), "session"
        );
        let theirs = i64::try_from(hello.time.0).unwrap_or(i64::MAX);
        live.skew_ms = theirs.saturating_sub(i64::try_from(now.wall.0).unwrap_or(i64::MAX));
        let (cluster, gateway) = (
            live.session.cluster().clone(),
            live.session.gateway().clone(),
        );
        if let Some(address) = &live.dialled {
            self.known
                .insert((cluster.clone(), address.clone()), gateway.clone());
        }
        let seen = hello.held.map_or(0, |held| held.revision.epoch);
        if let Some(peer) = self.catalog.peer_mut(&cluster) {
            peer.number_there = hello.number_for_you.or(peer.number_there);
        }
        live.hello = Some(hello);
        self.hold.remove(&cluster);
        if self.config.is_leader() && seen > self.epoch {
            self.epoch_above(seen, now);
        }
        self.due.content = true;
        self.replace(id, &own);
    }

    /// Of two sessions between the same two gateways one stays.
    fn replace(&mut self, id: SessionId, own: &PeerName) {
        let Some(this) = self.sessions.get(&id) else {
            return;
        };
        let (peer, instance) = (this.peer.clone(), this.session.their_instance());
        let by = dialler(this, own);
        let same = |(other, live): (&SessionId, &Live)| {
            (*other != id && live.peer == peer && live.session.is_up()).then_some(*other)
        };
        let others: Vec<SessionId> = self.sessions.iter().filter_map(same).collect();
        for other in others {
            let Some(old) = self.sessions.get(&other) else {
                continue;
            };
            // A restarted gateway's old session is dead; of two by the same side the newer is what it believes in.
            let restarted = old.session.their_instance() != instance;
            let loser = if restarted || by <= dialler(old, own) {
                other
            } else {
                id
            };
            if let Some(live) = self.sessions.get_mut(&loser) {
                let message = "another session between the same gateways stays";
                live.session.close(ByeReason::Replaced, 0, message);
            }
        }
    }

    fn applied(
        &mut self,
        id: SessionId,
        cluster: &ClusterId,
        result: Result<crate::catalog::Applied, crate::catalog::Refusal>,
        now: Now,
    ) {
        match &result {
            Ok(crate::catalog::Applied::InForce(held)) => {
                tracing::debug!(peer = %cluster, revision = %held.revision, "in force");
                self.due.content = true;
                self.due.peers.insert(cluster.clone());
                for (other, live) in &mut self.sessions {
                    if *other != id && live.session.cluster() == cluster {
                        live.session.holds(Some(*held));
                    }
                }
            }
            Ok(_) => {}
            Err(refusal) => {
                tracing::warn!(peer = %cluster, reason = ?refusal.reason, "{}", refusal.message);
                let error = (now.wall, refusal.message.clone());
                self.errors.insert(cluster.clone(), error);
                self.due.content = true;
            }
        }
        if let Some(live) = self.sessions.get_mut(&id) {
            live.session.applied(result);
        }
    }

    fn ended(&mut self, id: SessionId, end: &End, now: Now) {
        let Some(live) = self.sessions.get(&id) else {
            return;
        };
        let cluster = live.session.cluster().clone();
        let gateway = live.session.gateway().clone();
        let until = |ms: u64| now.mono_ms.saturating_add(ms);
        match end {
            End::PeerFault(_) => {
                self.hold.insert(cluster.clone(), until(FAULT_HOLD_MS));
            }
            End::Incompatible(_) => {
                self.hold.insert(cluster.clone(), until(STAY_DOWN_MS));
            }
            End::Bye(bye) => match bye.reason {
                ByeReason::Left | ByeReason::Revoked => {
                    if let Some(peer) = self.catalog.peer_mut(&cluster) {
                        peer.life.leave();
                    }
                    self.hold.insert(cluster.clone(), until(STAY_DOWN_MS));
                    self.due.content = true;
                }
                ByeReason::Shutdown => {
                    if let Some(peer) = self.catalog.peer_mut(&cluster) {
                        peer.life.restarting(bye.lease_ms, now);
                    }
                }
                ByeReason::Incompatible => {
                    self.hold.insert(cluster.clone(), until(STAY_DOWN_MS));
                }
                ByeReason::PeerFault => {
                    self.hold.insert(cluster.clone(), until(FAULT_HOLD_MS));
                }
                _ => {}
            },
            End::Local(_) => {}
        }
        let replaced = matches!(end, End::Bye(bye) if bye.reason == ByeReason::Replaced);
        if !replaced {
            tracing::info!(peer = %cluster, %gateway, %end, "session ended");
            self.errors
                .insert(cluster.clone(), (now.wall, end.to_string()));
        }
        self.due.facts = true;
    }

    /// Who is a peer by the trust state: the others' sessions end, their catalogs are forgotten.
    pub(super) fn members(&mut self, now: Now) {
        let own = &self.config.cluster;
        let members = self.trust.bundles.keys().filter(|id| *id != own);
        let members: BTreeSet<ClusterId> = members.cloned().collect();
        let gone: Vec<ClusterId> = self.catalog.peers().keys().cloned().collect();
        for id in gone.into_iter().filter(|id| !members.contains(id)) {
            self.due.peers.insert(id);
        }
        if self.catalog.keep_only(&members, now) {
            self.due.content = true;
        }
        for live in self.sessions.values_mut() {
            let cluster = live.session.cluster();
            if !members.contains(cluster) {
                let reason = match self.trust.revocations.contains_key(cluster) {
                    true => ByeReason::Revoked,
                    false => ByeReason::Left,
                };
                live.session.close(reason, 0, "no longer a peer");
            }
        }
    }

    pub(super) fn timeouts(&mut self, now: Now) {
        let newest = self.catalog.own.held();
        let due = |live: &Live| {
            live.session
                .poll_timeout()
                .is_some_and(|at| at <= now.mono_ms)
        };
        let ids: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, live)| due(live))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            if let Some(live) = self.sessions.get_mut(&id) {
                live.session.handle_timeout(newest, now);
            }
        }
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.act(id, now);
        }
    }

    /// Sends what sessions want sent; those that are over go when all of it is on its way.
    pub(super) fn pump(&mut self, now: Now) {
        let own = &self.catalog.own;
        self.sessions.retain(|_, live| {
            live.session.serve(own);
            let flushed = live.flush(now);
            !(flushed && live.session.is_closed())
        });
    }

    pub(super) fn say_goodbye(&mut self) {
        let now = self.clock.now();
        for live in self.sessions.values_mut() {
            let message = "this gateway stops";
            live.session
                .close(ByeReason::Shutdown, RESTART_LEASE_MS, message);
        }
        self.pump(now);
    }

    /// Gateways that should be dialled now: those of peers that have no session with us.
    pub(super) fn targets(&self, now: Now) -> BTreeSet<Target> {
        let mut targets = BTreeSet::new();
        for (id, peer) in self.catalog.peers() {
            if self.hold.get(id).is_some_and(|until| now.mono_ms < *until) {
                continue;
            }
            let live: BTreeSet<&GatewayName> = self
                .sessions
                .values()
                .filter(|l| l.session.cluster() == id && !l.session.is_closed())
                .map(|l| l.session.gateway())
                .collect();
            let part = peer.cluster_part();
            let named = part.iter().flat_map(|part| part.gateways.iter());
            for (name, address) in named {
                if !live.contains(name) {
                    targets.insert((id.clone(), address.session.clone()));
                }
            }
            let bundle = self.trust.bundles.get(id).filter(|_| live.is_empty());
            for address in bundle.iter().flat_map(|b| b.gateways.iter()) {
                targets.insert((id.clone(), address.clone()));
            }
            targets.retain(|target| {
                self.known
                    .get(target)
                    .is_none_or(|name| !live.contains(name))
            });
        }
        targets
    }
}

/// Shared pieces are compared by address first.
pub(super) fn same<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}
