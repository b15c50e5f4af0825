//! Shell: waiting for what is expected, and telling what was seen instead.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{anyhow, bail};

use crate::lab::wait;

/// Between two looks; each costs some milliseconds here and at the API server.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether somebody wants this run to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on nothing is waited for, so that cases end by themselves and clean up.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether somebody wants this run to end.
#[must_use]
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// What a look gave.
pub enum Look<T> {
    /// As expected
    Yes(T),
    /// Not (yet), and what was there instead
    No(String),
}

impl<T> Look<T> {
    /// Yes with the value if it is as expected; it tells itself otherwise.
    pub fn when(is: bool, value: T) -> Look<T>
    where
        T: Display,
    {
        if is {
            Look::Yes(value)
        } else {
            Look::No(value.to_string())
        }
    }
}

/// Waits until a look is as expected. An error of a look counts as not yet: an API server may be away.
pub fn within<T>(
    limit: Duration,
    expected: &str,
    mut look: impl FnMut() -> anyhow::Result<Look<T>>,
) -> anyhow::Result<T> {
    let start = wait::now();
    loop {
        let seen = match look() {
            Ok(Look::Yes(value)) => return Ok(value),
            Ok(Look::No(seen)) => seen,
            Err(error) => format!("{error:#}"),
        };
        if is_interrupted() {
            bail!("interrupted while waiting for: {expected}");
        }
        let took = start.elapsed();
        if took >= limit {
            let limit = limit.as_secs_f32();
            return Err(anyhow!(
                "expected within {limit} s: {expected}\n  last seen: {seen}"
            ));
        }
        std::thread::sleep(PAUSE.min(limit.saturating_sub(took)));
    }
}

/// Every look for so long must be as expected.
pub fn keeps<T>(
    time: Duration,
    expected: &str,
    mut look: impl FnMut() -> anyhow::Result<Look<T>>,
) -> anyhow::Result<()> {
    let start = wait::now();
    while start.elapsed() < time {
        if let Look::No(seen) = look()? {
            let (time, took) = (time.as_secs_f32(), start.elapsed().as_secs_f32());
            bail!("expected for {time} s: {expected}\n  after {took:.1} s: {seen}");
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// A single look that must be as expected.
pub fn now<T: PartialEq + Display>(what: &str, expected: T, seen: T) -> anyhow::Result<()> {
    if expected != seen {
        bail!("{what}: expected {expected}\n  seen: {seen}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_a_value() {
        let mut count = 0;
        let seen = within(Duration::from_secs(5), "the third", || {
            count += 1;
            Ok(if count == 3 {
                Look::Yes(count)
            } else {
                Look::No(count.to_string())
            })
        });
        assert_eq!(seen.unwrap(), 3);
    }

    #[test]
    fn tells_what_was_seen_last() {
        let error = within::<()>(Duration::ZERO, "two", || Ok(Look::No("one".into())));
        assert_eq!(
            error.unwrap_err().to_string(),
            "expected within 0 s: two\n  last seen: one"
        );
        let error = within::<()>(Duration::ZERO, "two", || bail!("away"));
        assert!(error.unwrap_err().to_string().ends_with("last seen: away"));
    }

    #[test]
    fn one_miss_ends_what_must_stay() {
        let error = keeps::<()>(Duration::from_secs(1), "up", || Ok(Look::No("down".into())));
        assert!(error.unwrap_err().to_string().contains("down"));
        assert!(keeps(Duration::from_millis(1), "up", || Ok(Look::Yes(()))).is_ok());
    }
}
