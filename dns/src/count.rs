//! Pure: how many questions were answered, and how.

use std::sync::atomic::{AtomicU64, Ordering};

/// Codes by number (RFC 1035 4.1.1); others are not given.
const CODES: [&str; 6] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
];

/// One way of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// The answer's code.
    pub code: &'static str,
    /// `udp` or `tcp`.
    pub transport: &'static str,
}

/// Counts answers since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    udp: [AtomicU64; CODES.len()],
    tcp: [AtomicU64; CODES.len()],
}

impl Counts {
    /// An answer goes out.
    pub fn count(&self, response: &[u8], tcp: bool) {
        let code = response.get(3).map(|flags| usize::from(flags & 0x0f));
        let counts = if tcp { &self.tcp } else { &self.udp };
        if let Some(count) = code.and_then(|code| counts.get(code)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All ways of answering, with how often each was taken.
    #[must_use]
    pub fn read(&self) -> Vec<(Answered, u64)> {
        let both = [("udp", &self.udp), ("tcp", &self.tcp)];
        let each = both.into_iter().flat_map(|(transport, counts)| {
            let counts = CODES.into_iter().zip(counts);
            counts.map(move |(code, count)| {
                let answered = Answered { code, transport };
                (answered, count.load(Ordering::Relaxed))
            })
        });
        each.collect()
    }
}
