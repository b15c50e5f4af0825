//! Shell: what a thread for packets does before it sleeps: where packets come one after the other, it looks for the next one
//! for a moment, and lets whoever else can use its processor have it.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::app::clock::Clock;
use crate::tunnel::awake::{Awake, LOOK};

/// Where packets come from.
type Source = dyn AsFd + Send + Sync;

/// Of all threads for packets.
pub struct Idle {
    clock: Clock,
    awake: Mutex<Awake>,
    sources: Mutex<Vec<Weak<Source>>>,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").finish_non_exhaustive()
    }
}

impl Idle {
    pub fn new() -> Self {
        Self {
            clock: Clock::start(),
            awake: Mutex::default(),
            sources: Mutex::default(),
        }
    }

    /// Packets come from there too, for as long as it is there.
    pub fn add(&self, source: Weak<Source>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|source| source.strong_count() > 0);
        sources.push(source);
    }

    /// A thread has no work. What it has to do next comes a moment later at most.
    pub fn before_sleep(&self) {
        // Where another one looks, this one sleeps.
        let Ok(mut awake) = self.awake.try_lock() else {
            return;
        };
        if awake.idle(self.clock.age()) {
            let found = self.look();
            awake.looked(found);
        }
    }

    /// Whether a packet came.
    fn look(&self) -> bool {
        let sources: Vec<Arc<Source>> = {
            let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            sources.iter().filter_map(Weak::upgrade).collect()
        };
        let each = sources.iter();
        let mut sources: Vec<PollFd<'_>> = each
            .map(|source| PollFd::new(source.as_fd(), PollFlags::POLLIN))
            .collect();
        let start = self.clock.age();
        while self.clock.age().saturating_sub(start) < LOOK {
            if poll(&mut sources, PollTimeout::ZERO) != Ok(0) {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn it_looks_at_what_is_there() -> std::io::Result<()> {
        let idle = Idle::new();
        assert!(!idle.look());
        let (from, to) = UnixDatagram::pair()?;
        let to: Arc<Source> = Arc::new(to);
        idle.add(Arc::downgrade(&to));
        assert!(!idle.look());
        from.send(b"packet")?;
        assert!(idle.look());
        drop(to);
        assert!(!idle.look());
        Ok(())
    }
}
