//! Shell: the connections behind the gateway's sessions: frames in and out, and whom to dial next.

use std::collections::BTreeSet;

use causeway_certs::name::Role;
use causeway_proto::model::{
    ByeReason, ClusterId, Frame, GatewayName, SessionStatus, Timestamp, Transport,
};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Driver;
use crate::app::dial::Target;
use crate::app::handle::{Opened, SessionId};
use crate::engine::Gateway;
use crate::now::Now;
use crate::session::{DIAGNOSE, End, VERSIONS};
use crate::transport::Link;

/// How long a peer that broke the protocol is not dialled.
const FAULT_HOLD_MS: u64 = 10_000;
/// How long one is not dialled that speaks another version or has gone.
const STAY_DOWN_MS: u64 = 60_000;
/// A session this short has not worked.
const SHORT_MS: u64 = 3_000;
/// How long a peer is not dialled after one.
const AGAIN_MS: u64 = 1_000;
/// A clock that differs by this much from what it was has been set.
const CLOCK_SET_MS: u64 = 1_000;
/// When a connection that took no more frames is tried again.
const BLOCKED_MS: u64 = 20;

/// One session's connection.
pub(super) struct Live {
    cluster: ClusterId,
    gateway: GatewayName,
    link: Link,
    dialled: bool,
    expires: Timestamp,
    since: Timestamp,
    /// By their Hello.
    version: u16,
    /// Theirs minus ours, at their Hello.
    skew_ms: i64,
    out: mpsc::Sender<Frame>,
    /// It has said Hello, and whether it can be asked for a diagnosis.
    diagnoses: Option<bool>,
    /// A frame that did not fit the connection's queue, and when to try again.
    blocked: Option<(Frame, u64)>,
    over: bool,
}

impl Live {
    pub fn is_with(&self, cluster: &ClusterId) -> bool {
        self.cluster == *cluster
    }

    pub fn who(&self) -> (&ClusterId, &GatewayName) {
        (&self.cluster, &self.gateway)
    }

    pub fn is_up(&self) -> bool {
        self.diagnoses.is_some() && !self.over
    }

    pub fn can_diagnose(&self) -> bool {
        self.diagnoses == Some(true)
    }

    /// A frame that belongs to no exchange of catalogs; false when it did not fit.
    pub fn say(&self, frame: Frame) -> bool {
        self.is_up() && self.out.try_send(frame).is_ok()
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    pub fn blocked_until(&self) -> Option<u64> {
        self.blocked.as_ref().map(|(_, at)| *at)
    }

    pub fn status(&self) -> SessionStatus {
        SessionStatus {
            gateway: self.gateway.clone(),
            transport: self.link.transport(),
            address: self.link.remote().to_string(),
            dialled: self.dialled,
            since: self.since,
            version: self.version.min(VERSIONS.1),
            clock_skew_ms: self.skew_ms,
            certificate_expires: Some(self.expires),
            path: self.link.path(),
        }
    }

    /// Sends what there is to send; true when nothing is left.
    fn flush(&mut self, id: SessionId, gateway: &mut Gateway, now: Now) -> bool {
        loop {
            let next = match self.blocked.take() {
                Some((frame, _)) => Some(frame),
                None => gateway.poll_frame(id),
            };
            let Some(frame) = next else {
                return true;
            };
            tracing::trace!(session = id.0, %frame, "sent");
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

fn skew_ms(theirs: Timestamp, now: Now) -> i64 {
    let theirs = i64::try_from(theirs.0).unwrap_or(i64::MAX);
    let ours = i64::try_from(now.wall.0).unwrap_or(i64::MAX);
    theirs.saturating_sub(ours)
}

impl Driver {
    pub(super) fn opened(&mut self, opened: Opened, now: Now) {
        let Role::Gateway(gateway) = opened.peer.role.clone() else {
            return;
        };
        let cluster = opened.peer.cluster.clone();
        let dialled = opened.dialled.is_some();
        if let Some(address) = opened.dialled {
            self.known
                .insert((cluster.clone(), address), gateway.clone());
        }
        let live = Live {
            cluster: cluster.clone(),
            gateway: gateway.clone(),
            link: opened.link,
            dialled,
            expires: opened.expires,
            since: now.wall,
            version: 0,
            skew_ms: 0,
            out: opened.out,
            diagnoses: None,
            blocked: None,
            over: false,
        };
        self.live.insert(opened.id, live);
        self.gateway
            .open_session(opened.id, cluster, gateway, dialled, now);
    }

    pub(super) fn frame(&mut self, id: SessionId, frame: Frame, now: Now) {
        tracing::trace!(session = id.0, %frame, "received");
        let Some(live) = self.live.get_mut(&id) else {
            return;
        };
        match &frame {
            Frame::Hello(hello) => {
                tracing::info!(
                    peer = %live.cluster, gateway = %live.gateway,
                    address = %live.link.remote(), dialled = live.dialled, "session"
                );
                live.skew_ms = skew_ms(hello.time, now);
                live.diagnoses = Some(hello.features.contains(DIAGNOSE));
                live.version = hello.versions.1;
                self.hold.remove(&live.cluster);
                self.errors.remove(&live.cluster);
            }
            Frame::Ack(ack) => {
                let cluster = live.cluster.clone();
                self.acknowledged.insert(cluster, ack.held.revision);
            }
            Frame::Nack(nack) => {
                let why = format!("refused {}: {}", nack.revision, nack.message);
                tracing::warn!(peer = %live.cluster, reason = ?nack.reason, "{why}");
                self.errors.insert(live.cluster.clone(), (now.wall, why));
            }
            // A beat waits a little now and then; a clock that was set is further off.
            Frame::Beat(beat) => {
                let skew_ms = skew_ms(beat.time, now);
                if skew_ms.abs_diff(live.skew_ms) >= CLOCK_SET_MS {
                    live.skew_ms = skew_ms;
                }
            }
            Frame::Delta(delta) => tracing::debug!(%delta, "received"),
            Frame::Diagnose(question) if live.is_up() => self.asks(id, *question, now),
            Frame::Diagnosed(question, checks) if live.is_up() => {
                self.answered(id, *question, checks.clone());
            }
            _ => {}
        }
        self.gateway.handle_frame(id, frame, now);
    }

    pub(super) fn closed(&mut self, id: SessionId, cluster: &ClusterId, end: &End, now: Now) {
        let Some(live) = self.live.get_mut(&id) else {
            return;
        };
        live.over = true;
        let gateway = live.gateway.clone();
        let mut others = self.live.values().filter(|l| !l.over && l.is_with(cluster));
        let elsewhere = others.any(|l| l.gateway == gateway);
        let Some(live) = self.live.get(&id) else {
            return;
        };
        let hold = match end {
            End::PeerFault(_) => Some(FAULT_HOLD_MS),
            End::Incompatible(_) => Some(STAY_DOWN_MS),
            End::Bye(bye) => match bye.reason {
                ByeReason::Left | ByeReason::Revoked | ByeReason::Incompatible => {
                    Some(STAY_DOWN_MS)
                }
                ByeReason::PeerFault => Some(FAULT_HOLD_MS),
                _ => None,
            },
            // One that came up and broke at once would be dialled without a pause.
            End::Local(_) if elsewhere => None,
            End::Local(_) => (now.wall.since(live.since) < SHORT_MS).then_some(AGAIN_MS),
        };
        // Who is no member is not dialled anyway, and who comes back by a token should not wait.
        if let Some(ms) = hold
            && self.gateway.members().contains(cluster)
        {
            let until = now.mono_ms.saturating_add(ms);
            self.hold.insert(cluster.clone(), until);
        }
        tracing::info!(peer = %cluster, %gateway, %end, "session ended");
        let in_order = match end {
            End::Bye(bye) => matches!(
                bye.reason,
                ByeReason::Shutdown | ByeReason::Replaced | ByeReason::Expired | ByeReason::Left
            ),
            End::Local(_) => elsewhere || self.stopping.is_some(),
            End::PeerFault(_) | End::Incompatible(_) => false,
        };
        if !in_order {
            self.errors
                .insert(cluster.clone(), (now.wall, end.to_string()));
        }
    }

    /// Sends what sessions want sent; those that are over go when all of it is on its way.
    pub(super) fn flush(&mut self, now: Now) {
        let gateway = &mut self.gateway;
        self.live.retain(|id, live| {
            let flushed = live.flush(*id, gateway, now);
            !(flushed && live.over)
        });
    }

    /// Gateways that should be dialled now: those of peers that have no session with us, or none by QUIC.
    pub(super) fn targets(&self, now: Now) -> BTreeSet<Target> {
        let mut targets = BTreeSet::new();
        for (id, peer) in self.gateway.catalog().peers() {
            if self.hold.get(id).is_some_and(|until| now.mono_ms < *until) {
                continue;
            }
            // Whoever dialled dials again: then both sides keep the new session.
            let quiet = |live: &Live| live.dialled && self.quiet.contains(&live.link.number());
            let live = self.live.values();
            let live = live.filter(|l| l.cluster == *id && !l.over && !quiet(l));
            // One that goes by TCP is better than none, and worse than QUIC.
            let by_tcp = |live: &&Live| live.dialled && live.link.transport() == Transport::Tcp;
            let by_tcp: BTreeSet<&GatewayName> =
                live.clone().filter(by_tcp).map(|l| &l.gateway).collect();
            let live: BTreeSet<&GatewayName> = live.map(|l| &l.gateway).collect();
            let target = |address: &String, only_quic| Target {
                cluster: id.clone(),
                address: address.clone(),
                only_quic,
            };
            let part = peer.cluster_part();
            let named = part.iter().flat_map(|part| part.gateways.iter());
            for (name, gateway) in named {
                if !live.contains(name) || by_tcp.contains(name) {
                    targets.insert(target(&gateway.session, live.contains(name)));
                }
            }
            let bundle = self.gateway.trust().bundles.get(id);
            let bundle = bundle.filter(|_| live.is_empty());
            let fallback = bundle.iter().flat_map(|b| b.gateways.iter());
            targets.extend(fallback.map(|address| target(address, false)));
            targets.retain(|target| {
                let known = self.known.get(&(id.clone(), target.address.clone()));
                target.cluster != *id
                    || target.only_quic
                    || known.is_none_or(|name| !live.contains(name))
            });
        }
        targets
    }
}
