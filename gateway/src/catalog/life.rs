//! Pure: whether a peer is there, by two evidences: the beats of its sessions and its packets. Ages are on the
//! monotonic clock, so a wall clock that jumps withdraws nobody.

use causeway_proto::limits::{LEASE_MS, SILENT_MS};
use causeway_proto::model::{Liveness, Timestamp};

use crate::now::Now;

/// The longest that a peer may ask to be kept while it restarts.
const LONGEST_LEASE_MS: u64 = 120_000;

/// Signs of life of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Last word on any session; the start of this process counts as one.
    session: u64,
    /// Last packet on any node.
    packets: Option<u64>,
    /// How long silence on the sessions is borne.
    lease_ms: u64,
    /// It said that it has gone for good.
    left: bool,
    /// Last sign by the wall clock, to show.
    heard: Option<Timestamp>,
}

impl Life {
    /// From now on it has time to speak.
    #[must_use]
    pub fn new(now: Now) -> Self {
        Self {
            session: now.mono_ms,
            packets: None,
            lease_ms: LEASE_MS,
            left: false,
            heard: None,
        }
    }

    /// A frame of a session of its.
    pub fn beat(&mut self, now: Now) {
        self.session = self.session.max(now.mono_ms);
        self.lease_ms = LEASE_MS;
        self.left = false;
        self.heard = Some(now.wall);
    }

    /// A packet of its, so long ago.
    pub fn packet(&mut self, age_ms: u64, now: Now) {
        // From before this process there is nothing to say.
        let Some(at) = now.mono_ms.checked_sub(age_ms) else {
            return;
        };
        if self.packets.is_none_or(|before| before < at) {
            self.packets = Some(at);
            let wall = Timestamp(now.wall.0.saturating_sub(age_ms));
            self.heard = self.heard.max(Some(wall));
        }
    }

    /// It restarts and asks to be kept so long.
    pub fn restarting(&mut self, lease_ms: u64, now: Now) {
        self.session = self.session.max(now.mono_ms);
        self.lease_ms = lease_ms.clamp(LEASE_MS, LONGEST_LEASE_MS);
    }

    /// It has gone for good.
    pub fn leave(&mut self) {
        self.left = true;
    }

    /// Last sign, to show.
    #[must_use]
    pub fn heard(&self) -> Option<Timestamp> {
        self.heard
    }

    /// Whether new flows may go there.
    #[must_use]
    pub fn liveness(&self, now: Now) -> Liveness {
        let silent = now.age(self.session);
        let no_packets = self.packets.is_none_or(|at| now.age(at) >= SILENT_MS);
        // Who said that it restarts is borne with as long as its packets flow.
        if self.left || silent >= self.lease_ms || (silent >= SILENT_MS && no_packets) {
            Liveness::Withdrawn
        } else if silent >= SILENT_MS {
            Liveness::Suspect
        } else {
            Liveness::Live
        }
    }

    /// When that changes if nothing more is heard; always after `now`.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<u64> {
        if self.left {
            return None;
        }
        let silent = self.session.saturating_add(SILENT_MS);
        let lease = self.session.saturating_add(self.lease_ms);
        let packets = self.packets.map(|at| at.saturating_add(SILENT_MS));
        let changes = [Some(silent), Some(lease), packets.map(|p| p.max(silent))];
        changes
            .into_iter()
            .flatten()
            .filter(|at| *at > now.mono_ms)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now {
            wall: Timestamp(1_000_000 + mono_ms),
            mono_ms,
        }
    }

    #[test]
    fn both_silent_is_withdrawn_after_three_seconds() {
        let mut life = Life::new(at(0));
        life.beat(at(1_000));
        life.packet(0, at(1_000));
        assert_eq!(life.liveness(at(3_999)), Liveness::Live);
        assert_eq!(life.poll_timeout(at(3_999)), Some(4_000));
        assert_eq!(life.liveness(at(4_000)), Liveness::Withdrawn);
    }

    #[test]
    fn the_session_alone_is_suspect_then_withdrawn_at_the_lease() {
        let mut life = Life::new(at(0));
        life.beat(at(1_000));
        for second in 1..=20 {
            life.packet(100, at(second * 1_000));
            let expected = match second {
                ..4 => Liveness::Live,
                4..11 => Liveness::Suspect,
                _ => Liveness::Withdrawn,
            };
            assert_eq!(life.liveness(at(second * 1_000)), expected, "{second} s");
        }
        life.beat(at(21_000));
        assert_eq!(life.liveness(at(21_000)), Liveness::Live);
    }

    #[test]
    fn packets_alone_silent_change_nothing() {
        let mut life = Life::new(at(0));
        for second in 0..20 {
            life.beat(at(second * 1_000));
            assert_eq!(life.liveness(at(second * 1_000)), Liveness::Live);
        }
    }

    #[test]
    fn a_restart_that_was_announced_keeps_the_lease_while_packets_flow() {
        let mut life = Life::new(at(0));
        life.restarting(30_000, at(1_000));
        life.packet(0, at(29_000));
        assert_eq!(life.liveness(at(30_000)), Liveness::Suspect);
        assert_eq!(life.liveness(at(31_000)), Liveness::Withdrawn);
        let mut life = Life::new(at(0));
        life.restarting(30_000, at(1_000));
        assert_eq!(life.liveness(at(4_000)), Liveness::Withdrawn);
        life.beat(at(5_000));
        life.leave();
        assert_eq!(life.liveness(at(5_000)), Liveness::Withdrawn);
        assert_eq!(life.poll_timeout(at(5_000)), None);
    }
}
