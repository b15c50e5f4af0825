//! Pure: whether a thread without work looks for the next packet before it sleeps. Who sleeps has to be woken, which takes time
//! on both sides; but a look in vain takes time that others could use, so there is one only where it is likely to pay.

use std::time::Duration;

/// How long a look lasts.
pub const LOOK: Duration = Duration::from_micros(100);
/// Work ended twice within this: a look might have found what came between.
const CLOSE: Duration = Duration::from_micros(200);
/// So many close ones in a row make a look; twice as many after each that was in vain, one less after each that was not.
const LEAST: u16 = 4;
const MOST: u16 = 256;

/// How packets have come lately.
#[derive(Debug)]
pub struct Awake {
    /// When work ended the last time.
    last: Option<Duration>,
    close: u16,
    needed: u16,
}

impl Default for Awake {
    fn default() -> Self {
        Self {
            last: None,
            close: 0,
            needed: LEAST,
        }
    }
}

impl Awake {
    /// A thread has no work any more, so long after some moment in the past. True: it should look before it sleeps.
    pub fn idle(&mut self, now: Duration) -> bool {
        let close = |last| now.saturating_sub(last) < CLOSE;
        self.close = if self.last.is_some_and(close) {
            self.close.saturating_add(1)
        } else {
            0
        };
        self.last = Some(now);
        self.close >= self.needed
    }

    /// It has looked.
    pub fn looked(&mut self, found: bool) {
        if found {
            self.needed = self.needed.saturating_sub(1).max(LEAST);
        } else {
            self.needed = self.needed.saturating_mul(2).min(MOST);
            self.close = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets with so much between: looks, and those of them that found one.
    fn looks(gaps: &[u64]) -> (usize, usize) {
        let (mut awake, mut now, mut all, mut found) = (Awake::default(), Duration::ZERO, 0, 0);
        for gap in gaps {
            let gap = Duration::from_micros(*gap);
            if awake.idle(now) {
                let finds = gap < LOOK;
                awake.looked(finds);
                all += 1;
                found += usize::from(finds);
            }
            now += gap;
        }
        (all, found)
    }

    #[test]
    fn packets_that_follow_each_other_closely_are_looked_for() {
        assert_eq!(looks(&[50; 104]), (100, 100));
    }

    #[test]
    fn rare_ones_are_not() {
        assert_eq!(looks(&[1_000; 1_000]), (0, 0));
        assert_eq!(looks(&[20, 20, 20, 1_000].repeat(250)), (0, 0));
    }

    #[test]
    fn a_look_in_vain_is_not_often_done_again() {
        // Close, but not close enough to be found.
        let (all, found) = looks(&[150; 10_000]);
        assert!(found == 0 && (1..50).contains(&all), "{all}");
        // Half of them.
        let (all, found) = looks(&[60, 140].repeat(5_000));
        assert!((1..100).contains(&(all - found)), "{found} of {all}");
        // Bursts: each ends with one.
        let (all, found) = looks(&[[20; 20].as_slice(), &[5_000]].concat().repeat(100));
        assert!(found >= 9 * (all - found), "{found} of {all}");
    }
}
