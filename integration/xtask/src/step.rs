//! Shell: a named step that says what it does and how long it took, and the running of programs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::say;

/// What a step found: it had nothing to do, or it did something.
pub enum Outcome {
    /// Nothing to do, and why
    Already(String),
    /// Done, and what
    Done(String),
}

/// Runs one step and prints its outcome and time.
pub fn step(name: &str, work: impl FnOnce() -> anyhow::Result<Outcome>) -> anyhow::Result<()> {
    let (result, took) = timed(work);
    match result {
        Ok(Outcome::Already(what)) => say::line(&format!("  {name}: {what} ({})", seconds(took))),
        Ok(Outcome::Done(what)) => say::line(&format!("  {name}: {what} ({})", seconds(took))),
        Err(error) => {
            say::line(&format!("  {name}: failed ({})", seconds(took)));
            return Err(error.context(name.to_owned()));
        }
    }
    Ok(())
}

/// Runs `work` and tells how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a stopwatch for the person who waits"
    )]
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// `12.3 s`, or minutes from two minutes on.
pub fn seconds(took: Duration) -> String {
    let secs = took.as_secs_f64();
    if secs >= 120.0 {
        format!("{:.1} min", secs / 60.0)
    } else {
        format!("{secs:.1} s")
    }
}

/// `0.2 min`.
pub fn minutes(took: Duration) -> String {
    format!("{:.1} min", took.as_secs_f64() / 60.0)
}

/// A program with its arguments, in a directory, with the terminal's own output.
pub fn program<S: AsRef<OsStr>>(name: &str, args: &[S], directory: &Path) -> Command {
    let mut command = Command::new(name);
    command
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end; an unsuccessful one is an error that names it.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// Runs a command and gives its output as text; None when it is absent or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
