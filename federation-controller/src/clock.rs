//! Shell: the process's clocks.

use std::time::SystemTime;

use causeway_proto::model::Timestamp;
use tokio::time::Instant;

/// A monotonic clock that begins with the process, and the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the shell's clock")]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn mono_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The time of day.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the shell's clock")]
    pub fn wall(&self) -> Timestamp {
        SystemTime::now().into()
    }
}
