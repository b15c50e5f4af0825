//! Shell: the two clocks: the wall's for reports and certificates, the programs' for what they noted.

use std::time::SystemTime;

use causeway_proto::model::Timestamp;

/// Now.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the shell's clock")]
    SystemTime::now().into()
}

/// CLOCK_MONOTONIC in nanoseconds: what the programs read.
#[must_use]
pub fn monotonic() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the one structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The wall's time of something that the programs noted.
#[must_use]
pub fn wall(noted: u64) -> Timestamp {
    let ago = monotonic().saturating_sub(noted) / 1_000_000;
    Timestamp(now().0.saturating_sub(ago))
}
