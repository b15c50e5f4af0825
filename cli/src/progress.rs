//! Shell: what goes on, with times, on standard error.

use std::time::Instant;

use crate::print::note;

/// A clock that runs from the beginning of the command.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    since: Instant,
    verbose: bool,
}

impl Progress {
    /// Starts it. `verbose`: small steps are told too.
    #[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
    pub fn start(verbose: bool) -> Self {
        Self {
            since: Instant::now(),
            verbose,
        }
    }

    /// A small step is done.
    pub fn step(&self, text: &str) {
        if self.verbose {
            self.say(text);
        }
    }

    /// Something that whoever waits should know.
    pub fn say(&self, text: &str) {
        note(&format!(
            "{:6.2} s  {text}",
            self.since.elapsed().as_secs_f32()
        ));
    }
}
