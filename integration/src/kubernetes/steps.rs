//! Shell: what bringing clusters up prints: each step when it is done, with its seconds.
#![expect(
    clippy::print_stdout,
    reason = "the output of a program for a person at a terminal"
)]

use std::fmt::Display;

use crate::lab::wait;

/// Does one step and says how long it took.
pub fn step<T>(
    who: &str,
    what: &str,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let start = wait::now();
    let result = work();
    let took = start.elapsed().as_secs_f64();
    let mark = if result.is_ok() { "" } else { "  FAILED" };
    println!("  {who:6} {what:48} {took:5.1} s{mark}");
    result.map_err(|error| error.context(format!("{who}: {what}")))
}

/// A line for the person who waits.
pub fn say(text: impl Display) {
    println!("{text}");
}
