//! Shell: the two clocks, and randomness. Nothing else in this crate reads them.

use std::time::Duration;

use causeway_proto::model::Timestamp;
use tokio::time::Instant;

use crate::now::Now;

/// Since when the monotonic clock counts.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Counting from now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Time since the start.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let mono = self.start.elapsed().as_millis();
        Now {
            wall: wall_clock(),
            mono_ms: u64::try_from(mono).unwrap_or(u64::MAX),
        }
    }
}

/// The wall clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.map_or(0, |d| d.as_millis());
    Timestamp(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Bytes from the operating system; zeroes in the case, which does not happen, that it has none.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!("the operating system gives no random bytes");
    }
    bytes
}

/// For jitter and instance numbers.
#[must_use]
pub fn random_u64() -> u64 {
    u64::from_le_bytes(random())
}
