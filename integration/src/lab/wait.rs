//! Shell: waiting for a value, with a limit; the only clock of the lab.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The stopwatch of the lab.
#[must_use]
pub fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a lab waits for real programs in real time"
    )]
    Instant::now()
}

/// Waits until `look` says yes.
pub fn until(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    value(limit, what, || Ok(look()?.then_some(())))
}

/// Waits until `look` gives a value; an error of `look` is told only when the time is over.
pub fn value<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = now();
    loop {
        let last = match look() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() >= limit {
            match last {
                Some(error) => {
                    return Err(
                        error.context(format!("waited {} s for {what}", limit.as_secs_f32()))
                    );
                }
                None => bail!("waited {} s for {what}", limit.as_secs_f32()),
            }
        }
        std::thread::sleep(PAUSE);
    }
}
