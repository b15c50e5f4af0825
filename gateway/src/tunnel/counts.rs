//! Pure: what the sessions carry and what is lost there, counted from the start of the process.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// No session with the peer came in time.
    NoSession,
    /// The session takes less than it is given.
    QueueFull,
    /// It does not fit the path, and may not be split.
    TooLarge,
    /// The programs sent what they should not.
    BadFrame,
    /// A peer sent what no gateway would.
    BadDatagram,
    /// The device to the programs is not there, or full.
    NoDevice,
}

impl Lost {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NoSession,
        Self::QueueFull,
        Self::TooLarge,
        Self::BadFrame,
        Self::BadDatagram,
        Self::NoDevice,
    ];

    /// In metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSession => "NoSession",
            Self::QueueFull => "QueueFull",
            Self::TooLarge => "TooLarge",
            Self::BadFrame => "BadFrame",
            Self::BadDatagram => "BadDatagram",
            Self::NoDevice => "NoDevice",
        }
    }
}

/// Of one process.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
    lost: [AtomicU64; Lost::ALL.len()],
}

/// As read at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    /// Datagrams to peers.
    pub sent: u64,
    /// Datagrams from peers.
    pub received: u64,
    /// Frames and datagrams that are lost, by reason; all reasons.
    pub lost: Vec<(&'static str, u64)>,
}

impl Counts {
    /// Datagrams went to a peer.
    pub fn sent(&self, datagrams: usize) {
        self.sent.fetch_add(datagrams as u64, Ordering::Relaxed);
    }

    /// Datagrams came from a peer.
    pub fn received(&self, datagrams: usize) {
        self.received.fetch_add(datagrams as u64, Ordering::Relaxed);
    }

    /// One is lost.
    pub fn lost(&self, why: Lost) {
        if let Some(count) = self.lost.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Carried {
        let count = |why: Lost| {
            self.lost
                .get(why as usize)
                .map(|n| n.load(Ordering::Relaxed))
        };
        let lost = Lost::ALL.into_iter();
        Carried {
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            lost: lost
                .map(|why| (why.name(), count(why).unwrap_or_default()))
                .collect(),
        }
    }
}
