//! Pure: the two times that every decision gets: the wall clock, to show, and a monotonic one, for ages.

use causeway_proto::model::{Problem, ProblemKind, Timestamp};

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Wall clock; may jump.
    pub wall: Timestamp,
    /// Milliseconds since the process started; never jumps.
    pub mono_ms: u64,
}

impl Now {
    /// Milliseconds since `earlier`, by the clock that does not jump.
    #[must_use]
    pub fn age(self, earlier_mono_ms: u64) -> u64 {
        self.mono_ms.saturating_sub(earlier_mono_ms)
    }
}

/// A difference between the two clocks that no slewing makes.
const JUMP_MS: i128 = 2_000;
/// How long a jump is told.
const TOLD_MS: u64 = 600_000;

/// Notices when the wall clock jumps against the monotonic one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClockWatch {
    last: Option<Now>,
    jumped: Option<(u64, i128)>,
}

impl ClockWatch {
    /// Looks at both clocks; true when the wall clock has jumped since the look before.
    pub fn look(&mut self, now: Now) -> bool {
        let offset = |at: Now| i128::from(at.wall.0).saturating_sub(i128::from(at.mono_ms));
        let by = self
            .last
            .map_or(0, |last| offset(now).saturating_sub(offset(last)));
        self.last = Some(now);
        if by.abs() <= JUMP_MS {
            return false;
        }
        self.jumped = Some((now.mono_ms, by));
        true
    }

    /// What is told of the last jump, for a while.
    #[must_use]
    pub fn problem(&self, now: Now) -> Option<Problem> {
        let (at, by) = self.jumped?;
        (now.age(at) < TOLD_MS).then(|| Problem {
            kind: ProblemKind::ClockJumped,
            subject: "clock".to_owned(),
            message: format!(
                "the wall clock jumped by {by} ms; leases are not touched, but certificates need the right time"
            ),
        })
    }

    /// When the telling ends.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<u64> {
        let (at, _) = self.jumped?;
        (now.age(at) < TOLD_MS).then(|| at.saturating_add(TOLD_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64, mono_ms: u64) -> Now {
        Now {
            wall: Timestamp(wall),
            mono_ms,
        }
    }

    #[test]
    fn only_jumps_are_told() {
        let mut watch = ClockWatch::default();
        assert!(!watch.look(at(1_000_000, 0)));
        assert!(!watch.look(at(1_060_500, 60_000)));
        assert!(watch.problem(at(1_060_500, 60_000)).is_none());
        assert!(watch.look(at(500_000, 61_000)));
        let told = watch.problem(at(500_000, 61_000));
        assert!(told.is_some_and(|p| p.message.contains("-561500 ms")));
        assert!(!watch.look(at(501_000, 62_000)));
        assert!(watch.problem(at(0, 61_000 + TOLD_MS)).is_none());
    }
}
