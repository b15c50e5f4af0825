//! Pure: the protocol of one session with one gateway of a peer, the same whoever dialled. In: frames, time, and
//! what became of what it handed on. Out: frames to send, what the catalog should apply, and why it ended. It
//! knows no sockets, holds no catalog, and never sends a second change before the first is acknowledged, so its
//! queue is bounded and changes coalesce by themselves.

mod incoming;
pub mod pace;
mod serve;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;

use causeway_proto::limits::{BEAT_MS, LEASE_MS, SESSION_QUEUE};
use causeway_proto::model::{
    Ack, Beat, Bye, ByeReason, CatalogDelta, ClusterId, Digest, Frame, GatewayName, Held, Hello,
    Nack, NackReason, SignedHeader, Want,
};

use crate::catalog::{Applied, Refusal};
use crate::now::Now;
use incoming::Incoming;
use serve::Serving;

/// Versions of the protocol that this gateway speaks.
pub const VERSIONS: (u16, u16) = (1, 1);
/// A feature of Hello: packets are taken in datagrams of the session's connection.
pub const PACKETS: &str = "packets";
/// Feature of a gateway that says, when it is asked, what it finds of the ways between.
pub const DIAGNOSE: &str = "diagnose";
/// How long the other side may take for its Hello.
const HELLO_MS: u64 = 5_000;
/// How often in a row something may not fit before the peer is at fault.
const ASKS: u32 = 4;
/// Beats in a row that tell of something newer than what arrived before it is asked for.
const BEHIND: u32 = 3;

/// Why a session ended: it says who must act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The peer broke the protocol or said what it may not say: back off, and tell.
    PeerFault(String),
    /// Both keep to the rules, but not to the same: stay down until something changes.
    Incompatible(String),
    /// Nothing of the peer's: the connection, or this side.
    Local(String),
    /// The peer said goodbye.
    Bye(Bye),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerFault(why) => write!(f, "peer's fault: {why}"),
            Self::Incompatible(why) => write!(f, "incompatible: {why}"),
            Self::Local(why) => write!(f, "{why}"),
            Self::Bye(bye) => write!(f, "peer said {:?}: {}", bye.reason, bye.message),
        }
    }
}

/// What a session wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The other side has said who it is.
    Up(Hello),
    /// Any word of the other side.
    Heard,
    /// To the catalog; answer with [`Session::applied`].
    Apply(CatalogDelta),
    /// To the catalog; answer with [`Session::applied`].
    ApplyHeader(SignedHeader),
    /// The other side holds this of the own catalog.
    Acknowledged(Held),
    /// The other side refused something of ours.
    Refused(Nack),
    /// It is over; nothing follows but what is still to be sent.
    Closed(End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Up,
    Closed,
}

/// One session.
#[derive(Debug, Clone)]
pub struct Session {
    ours: Hello,
    /// Who the certificate says is there.
    cluster: ClusterId,
    gateway: GatewayName,
    phase: Phase,
    opened: u64,
    heard: u64,
    next_beat: u64,
    frames: VecDeque<Frame>,
    outputs: VecDeque<Output>,
    incoming: Option<Incoming>,
    serving: Serving,
    /// What is held of theirs.
    held: Option<Held>,
    /// Times in a row that something did not fit.
    asks: u32,
    /// Beats in a row that told of something else than what is held.
    behind: u32,
    their_instance: Option<u64>,
    /// This side has said that it stops soon, and the other.
    leaving: (bool, bool),
}

impl Session {
    /// Opens one with the gateway that the other side's certificate names. `ours` is sent first.
    #[must_use]
    pub fn new(ours: Hello, cluster: ClusterId, gateway: GatewayName, now: Now) -> Self {
        let held = ours.held;
        Self {
            frames: VecDeque::from([Frame::Hello(ours.clone())]),
            ours,
            cluster,
            gateway,
            phase: Phase::Opening,
            opened: now.mono_ms,
            heard: now.mono_ms,
            next_beat: now.mono_ms.saturating_add(BEAT_MS),
            outputs: VecDeque::new(),
            incoming: None,
            serving: Serving::default(),
            held,
            asks: 0,
            behind: 0,
            their_instance: None,
            leaving: (false, false),
        }
    }

    /// The peer's cluster.
    #[must_use]
    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// The peer's gateway.
    #[must_use]
    pub fn gateway(&self) -> &GatewayName {
        &self.gateway
    }

    /// Whether both have said Hello.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// Whether the other side has said that it stops soon.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.1
    }

    /// Says that this side stops soon, with a beat that is due at once.
    pub fn leave_soon(&mut self, now: Now) {
        self.leaving.0 = true;
        self.next_beat = now.mono_ms;
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Tells a restart of the other side from a second connection.
    #[must_use]
    pub fn their_instance(&self) -> Option<u64> {
        self.their_instance
    }

    /// The next frame to send.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front().or_else(|| self.serving.next())
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes a frame of the other side.
    pub fn handle(&mut self, frame: Frame, now: Now) {
        if self.phase == Phase::Closed {
            return;
        }
        self.heard = self.heard.max(now.mono_ms);
        match (self.phase, frame) {
            (Phase::Opening, Frame::Hello(hello)) => self.handle_hello(hello, now),
            (Phase::Opening, Frame::Bye(bye)) => self.end(End::Bye(bye)),
            (Phase::Opening, other) => self.fault(format!("{} before Hello", other.name())),
            (_, Frame::Hello(_)) => self.fault("a second Hello".to_owned()),
            (_, frame) => {
                self.outputs.push_back(Output::Heard);
                self.handle_frame(frame);
            }
        }
    }

    fn handle_hello(&mut self, hello: Hello, now: Now) {
        if hello.cluster != self.cluster || hello.gateway != self.gateway {
            let (said, proved) = (&hello.cluster, &self.cluster);
            let (at, by) = (&hello.gateway, &self.gateway);
            self.fault(format!(
                "says it is {said}/{at}, its certificate {proved}/{by}"
            ));
        } else if hello.cluster_set != self.ours.cluster_set {
            let (theirs, ours) = (&hello.cluster_set, &self.ours.cluster_set);
            self.incompatible(format!("it is in clusterset {theirs}, this is {ours}"));
        } else if hello.versions.0 > self.ours.versions.1 || hello.versions.1 < self.ours.versions.0
        {
            let ((a, b), (c, d)) = (hello.versions, self.ours.versions);
            self.incompatible(format!(
                "it speaks versions {a} to {b}, this gateway {c} to {d}"
            ));
        } else {
            self.phase = Phase::Up;
            self.next_beat = now.mono_ms.saturating_add(BEAT_MS);
            self.their_instance = Some(hello.instance);
            self.outputs.push_back(Output::Up(hello));
            self.outputs.push_back(Output::Heard);
            let want = self.held.map_or(Want::Snapshot, Want::Since);
            self.send(Frame::Want(want));
        }
    }

    fn handle_frame(&mut self, frame: Frame) {
        match frame {
            Frame::Beat(beat) => {
                self.leaving.1 = beat.leaving;
                self.handle_beat(beat.newest);
            }
            Frame::Header(header) if self.incoming.is_none() => {
                self.outputs.push_back(Output::ApplyHeader(header));
            }
            Frame::Delta(delta) if self.incoming.is_none() && delta.from.is_some() => {
                self.outputs.push_back(Output::Apply(delta));
            }
            Frame::Header(_) | Frame::Delta(_) => {
                self.fault("a change inside a Snapshot, or one from nothing".to_owned());
            }
            Frame::SnapshotBegin(begin) => match Incoming::begin(begin) {
                Ok(incoming) => self.incoming = Some(incoming),
                Err(why) => self.fault(why),
            },
            Frame::SnapshotPart(part) => {
                let taken = self.incoming.as_mut().map(|incoming| incoming.part(part));
                match taken {
                    Some(Ok(())) => {}
                    Some(Err(why)) => self.fault(why),
                    None => self.fault("a part outside a Snapshot".to_owned()),
                }
            }
            Frame::SnapshotEnd(end) => match self.incoming.take().map(|i| i.end(end)) {
                Some(Ok(whole)) => self.outputs.push_back(Output::Apply(whole)),
                Some(Err(why)) => self.fault(why),
                None => self.fault("the end of no Snapshot".to_owned()),
            },
            Frame::Want(want) => self.handle_want(want),
            Frame::Ack(ack) => {
                self.serving.acknowledged(ack.held);
                self.outputs.push_back(Output::Acknowledged(ack.held));
            }
            Frame::Nack(nack) => {
                self.serving.refused();
                if nack.reason != NackReason::OldRevision {
                    self.outputs.push_back(Output::Refused(nack));
                }
            }
            Frame::Bye(bye) => self.end(End::Bye(bye)),
            // They are no part of the exchange of catalogs.
            Frame::Diagnose(_) | Frame::Diagnosed(..) => {}
            Frame::Hello(_) => self.fault("a second Hello".to_owned()),
        }
    }

    fn handle_want(&mut self, want: Want) {
        if let Want::Since(held) = &want {
            self.outputs.push_back(Output::Acknowledged(*held));
        }
        self.serving.wanted(want);
    }

    /// Something newer that does not arrive is asked for.
    fn handle_beat(&mut self, newest: Option<Digest>) {
        let same = newest.is_none() || newest == self.held.map(|h| h.digest);
        if same || self.incoming.is_some() {
            self.behind = 0;
            return;
        }
        self.behind = self.behind.saturating_add(1);
        if self.behind >= BEHIND {
            self.behind = 0;
            let want = self.held.map_or(Want::Snapshot, Want::Since);
            self.send(Frame::Want(want));
        }
    }

    /// What became of what was handed on.
    pub fn applied(&mut self, result: Result<Applied, Refusal>) {
        match result {
            Ok(Applied::InForce(held) | Applied::Known(held)) => {
                self.asks = 0;
                self.behind = 0;
                self.held = Some(held);
                self.send(Frame::Ack(Ack { held }));
            }
            Ok(Applied::Ask(want)) => {
                self.asks = self.asks.saturating_add(1);
                if self.asks >= ASKS {
                    self.fault(
                        "what it sends does not fit its header, however often it is asked"
                            .to_owned(),
                    );
                } else {
                    self.send(Frame::Want(want));
                }
            }
            Err(refusal) => {
                let fault = refusal.is_fault().then(|| refusal.message.clone());
                self.send(Frame::Nack(Nack {
                    revision: refusal.revision,
                    reason: refusal.reason,
                    message: refusal.message,
                }));
                if let Some(why) = fault {
                    self.fault(why);
                }
            }
        }
    }

    /// The catalog holds this of theirs now, by whatever session.
    pub fn holds(&mut self, held: Option<Held>) {
        self.held = held;
    }

    /// The transport could not read a frame: truncated, too large, or nonsense.
    pub fn handle_garbage(&mut self, why: &str) {
        self.fault(why.to_owned());
    }

    /// The connection is gone.
    pub fn handle_lost(&mut self, why: &str) {
        self.end(End::Local(why.to_owned()));
    }

    /// When [`Session::handle_timeout`] is due, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.phase {
            Phase::Opening => Some(self.opened.saturating_add(HELLO_MS)),
            Phase::Up => Some(self.next_beat.min(self.heard.saturating_add(LEASE_MS))),
            Phase::Closed => None,
        }
    }

    /// Does what is due. `newest` is the own catalog's newest header.
    pub fn handle_timeout(&mut self, newest: Option<Held>, now: Now) {
        match self.phase {
            Phase::Opening if now.age(self.opened) >= HELLO_MS => {
                self.end(End::Local("no Hello came".to_owned()));
            }
            Phase::Up if now.age(self.heard) >= LEASE_MS => {
                self.end(End::Local("silent for the whole lease".to_owned()));
            }
            Phase::Up if now.mono_ms >= self.next_beat => {
                self.next_beat = now.mono_ms.saturating_add(BEAT_MS);
                self.send(Frame::Beat(Beat {
                    newest: newest.map(|h| h.digest),
                    time: now.wall,
                    leaving: self.leaving.0,
                }));
            }
            _ => {}
        }
    }

    /// Sends what the other side lacks of the own catalog, if it has taken what was sent before.
    pub fn serve(&mut self, own: &crate::catalog::Own) {
        if self.phase == Phase::Up {
            self.serving.serve(own);
        }
    }

    /// Ends it in order.
    pub fn close(&mut self, reason: ByeReason, lease_ms: u64, message: &str) {
        if self.phase == Phase::Closed {
            return;
        }
        self.bye(reason, lease_ms, message);
        self.end(End::Local(message.to_owned()));
    }

    fn bye(&mut self, reason: ByeReason, lease_ms: u64, message: &str) {
        self.serving = Serving::default();
        self.frames.push_back(Frame::Bye(Bye {
            reason,
            lease_ms,
            message: message.to_owned(),
        }));
    }

    fn fault(&mut self, why: String) {
        if self.phase != Phase::Closed {
            self.bye(ByeReason::PeerFault, 0, &why);
            self.end(End::PeerFault(why));
        }
    }

    fn incompatible(&mut self, why: String) {
        self.bye(ByeReason::Incompatible, 0, &why);
        self.end(End::Incompatible(why));
    }

    fn end(&mut self, end: End) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.incoming = None;
            self.outputs.push_back(Output::Closed(end));
        }
    }

    fn send(&mut self, frame: Frame) {
        if self.phase == Phase::Closed {
            return;
        }
        if self.frames.len() >= SESSION_QUEUE {
            self.frames.clear();
            self.bye(ByeReason::TooSlow, 0, "too many frames wait to be sent");
            self.end(End::Local(
                "the peer takes its frames too slowly".to_owned(),
            ));
            return;
        }
        self.frames.push_back(frame);
    }
}
