//! Pure: which of several controllers is the active one, by a Lease that they share.
//!
//! Another's clock is never believed: a holder is gone when nothing in its Lease has changed for as long as it
//! promised, by our own clock. A holder that cannot renew stops acting well before anybody may take its place.

/// How long a Lease holds without renewal.
pub const DURATION_MS: u64 = 15_000;
/// How often the holder renews.
pub const RENEW_MS: u64 = 3_000;
/// The holder acts for so long after the beginning of its last renewal: the rest of the duration is for writes that are
/// under way and for clocks of unequal speed.
pub const ACT_MS: u64 = 10_000;
/// How often who does not hold it looks, so that a Lease that is released is taken at once.
pub const LOOK_MS: u64 = 1_000;

/// The Lease as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Changes with each write.
    pub version: String,
    /// Nobody when it was released.
    pub holder: Option<String>,
    /// How long it holds.
    pub duration_ms: u64,
    /// How often the holder has changed.
    pub transitions: u64,
}

/// A write to try. It fails when somebody else writes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// There is no Lease.
    Create,
    /// Take it, as this transition.
    Take(u64),
    /// It is ours.
    Renew,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the Lease, and tell it by [`Election::saw`].
    Look,
    /// Write it, and tell how that went by [`Election::wrote`] or [`Election::failed`].
    Write(Attempt),
    /// Nothing before that time.
    Wait(u64),
}

/// One controller's part in it. Times are milliseconds of a monotonic clock.
#[derive(Debug, Clone)]
pub struct Election {
    me: String,
    /// The Lease as last read or written, and since when it is so; `None`: there is none.
    seen: Option<(Seen, u64)>,
    looked: Option<u64>,
    /// We hold it, by a write that began then.
    renewed: Option<u64>,
}

impl Election {
    /// For a holder whose name nobody else has, not even an earlier run of the same process.
    #[must_use]
    pub fn new(me: String) -> Self {
        Self {
            me,
            seen: None,
            looked: None,
            renewed: None,
        }
    }

    /// Since which transition we may act, if we may now.
    #[must_use]
    pub fn term(&self, now: u64) -> Option<u64> {
        let renewed = self.renewed?;
        let (seen, _) = self.seen.as_ref()?;
        (now < renewed.saturating_add(ACT_MS)).then_some(seen.transitions)
    }

    /// When [`term`](Self::term) ends by itself.
    #[must_use]
    pub fn acts_until(&self) -> Option<u64> {
        self.renewed.map(|at| at.saturating_add(ACT_MS))
    }

    /// Who holds it, as far as is known.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref()?.0.holder.as_deref()
    }

    /// The version to write over.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.seen.as_ref().map(|(seen, _)| seen.version.as_str())
    }

    /// What was read; `None`: there is no Lease.
    pub fn saw(&mut self, read: Option<Seen>, now: u64) {
        self.looked = Some(now);
        let mine = |seen: &Seen| seen.holder.as_deref() == Some(&self.me);
        // Ours only by a write of ours: who has lost it does not come to it by reading.
        if !read.as_ref().is_some_and(mine) {
            self.renewed = None;
        }
        self.seen = read.map(|read| match self.seen.take() {
            Some((seen, since)) if seen.version == read.version => (seen, since),
            _ => (read, now),
        });
    }

    /// The write that began at `began` went through.
    pub fn wrote(&mut self, written: Seen, began: u64) {
        self.renewed = (written.holder.as_deref() == Some(&self.me)).then_some(began);
        self.looked = Some(began);
        self.seen = Some((written, began));
    }

    /// The write did not go through, or nobody knows: read again.
    pub fn failed(&mut self) {
        self.looked = None;
    }

    /// What to do now.
    #[must_use]
    pub fn step(&self, now: u64) -> Step {
        let Some(looked) = self.looked else {
            return Step::Look;
        };
        let look = looked.saturating_add(LOOK_MS);
        let Some((seen, since)) = &self.seen else {
            return Step::Write(Attempt::Create);
        };
        let take = Step::Write(Attempt::Take(seen.transitions.saturating_add(1)));
        match seen.holder.as_deref() {
            None => take,
            Some(holder) if holder == self.me => {
                let renew = self.renewed.map(|at| at.saturating_add(RENEW_MS));
                match renew {
                    Some(at) if now < at => Step::Wait(at),
                    _ => Step::Write(Attempt::Renew),
                }
            }
            Some(_) if now >= since.saturating_add(seen.duration_ms) => take,
            Some(_) if now >= look => Step::Look,
            Some(_) => Step::Wait(look),
        }
    }
}

#[cfg(test)]
mod tests;
