//! Pure: how fast one session's frames are taken. What comes faster waits on the connection, and so at the peer: one that
//! floods slows down nobody but itself.

use causeway_proto::limits::{
    SESSION_BURST_BYTES, SESSION_BURST_FRAMES, SESSION_BYTES_PER_SECOND, SESSION_FRAMES_PER_SECOND,
};

/// What may be spent on, and how fast it fills again.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of a frame or a byte; below zero: spent before it was there.
    left: i64,
    burst: i64,
    per_ms: i64,
}

impl Bucket {
    fn new(burst: u64, per_second: u64) -> Self {
        let burst = i64::try_from(burst)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000);
        Self {
            left: burst,
            burst,
            per_ms: i64::try_from(per_second).unwrap_or(i64::MAX),
        }
    }

    fn fill(&mut self, ms: u64) {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        let more = ms.saturating_mul(self.per_ms);
        self.left = self.left.saturating_add(more).min(self.burst);
    }

    fn spend(&mut self, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.left = self.left.saturating_sub(count.saturating_mul(1000));
    }

    /// Milliseconds until it is out of debt.
    fn wait(&self) -> u64 {
        let debt = u64::try_from(self.left.saturating_neg()).unwrap_or(0);
        debt.div_ceil(u64::try_from(self.per_ms).unwrap_or(1).max(1))
    }
}

/// The pace of one session.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    frames: Bucket,
    bytes: Bucket,
    /// When it was last looked at, on the monotonic clock.
    at_ms: u64,
}

impl Pace {
    /// With a whole burst to spend.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self {
            frames: Bucket::new(SESSION_BURST_FRAMES, SESSION_FRAMES_PER_SECOND),
            bytes: Bucket::new(SESSION_BURST_BYTES, SESSION_BYTES_PER_SECOND),
            at_ms: now_ms,
        }
    }

    /// A frame of so many bytes was taken. For how many milliseconds no more must be; 0: at once.
    pub fn take(&mut self, bytes: usize, now_ms: u64) -> u64 {
        let since = now_ms.saturating_sub(self.at_ms);
        self.at_ms = now_ms;
        self.frames.fill(since);
        self.bytes.fill(since);
        self.frames.spend(1);
        self.bytes.spend(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.frames.wait().max(self.bytes.wait())
    }
}

#[cfg(test)]
mod tests {
    use causeway_proto::limits::FRAME_BYTES;

    use super::*;

    /// How many frames are taken in these milliseconds by one who never stops sending.
    fn taken(bytes: usize, ms: u64) -> u64 {
        let mut pace = Pace::new(0);
        let (mut now, mut count) = (0, 0);
        while now < ms {
            now += pace.take(bytes, now);
            count += 1;
        }
        count
    }

    #[test]
    fn a_burst_and_then_a_steady_rate() {
        let frames = taken(1, 10_000);
        assert!(frames.abs_diff(SESSION_BURST_FRAMES + 10 * SESSION_FRAMES_PER_SECOND) < 10);
        let large = taken(FRAME_BYTES, 10_000);
        let bytes = SESSION_BURST_BYTES + 10 * SESSION_BYTES_PER_SECOND;
        assert!(large.abs_diff(bytes / FRAME_BYTES as u64) < 10, "{large}");
    }

    #[test]
    fn who_keeps_to_the_protocol_never_waits() {
        let mut pace = Pace::new(0);
        // A whole catalog of many small parts at once, and a beat each second.
        assert!((0..SESSION_BURST_FRAMES).all(|_| pace.take(10_000, 5) == 0));
        assert!((1..100).all(|second| pace.take(100, second * 1000) == 0));
    }
}
