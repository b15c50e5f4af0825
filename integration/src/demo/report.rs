//! Shell: what the demo prints: each step, and in it what was expected and what was seen.
#![expect(
    clippy::print_stdout,
    reason = "the output of a program for a person at a terminal"
)]

use std::fmt::Display;
use std::time::Instant;

use crate::demo::mesh::Mesh;
use crate::lab::wait;

/// Lines of a log that are shown after a failure.
const TAIL: usize = 25;

/// The whole run.
pub struct Report {
    start: Instant,
    steps: u32,
    checks: u32,
    failures: Vec<String>,
}

impl Default for Report {
    fn default() -> Report {
        Report {
            start: wait::now(),
            steps: 0,
            checks: 0,
            failures: Vec::new(),
        }
    }
}

/// The checks of one step.
#[derive(Default)]
pub struct Checks {
    count: u32,
    failures: Vec<String>,
}

impl Checks {
    /// One promise: what it is, what was expected, what was seen, and whether they agree.
    pub fn check(&mut self, what: &str, expected: impl Display, seen: impl Display, agrees: bool) {
        self.count = self.count.saturating_add(1);
        let mark = if agrees { "ok  " } else { "DIFF" };
        println!("     {mark} {what}: expected {expected}, seen {seen}");
        if !agrees {
            self.failures
                .push(format!("{what}: expected {expected}, seen {seen}"));
        }
    }

    /// A promise that two values are equal.
    pub fn same<T: PartialEq + Display>(&mut self, what: &str, expected: T, seen: T) {
        let agrees = expected == seen;
        self.check(what, &expected, &seen, agrees);
    }

    /// Something worth to know that is no promise.
    pub fn note(&mut self, text: &str) {
        for line in text.lines() {
            println!("          {line}");
        }
    }

    /// Whether all agreed so far.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }
}

impl Report {
    /// Runs a step and prints it.
    pub fn step(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Checks) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.steps = self.steps.saturating_add(1);
        println!("{:>3}  {name}", self.steps);
        let start = wait::now();
        let mut checks = Checks::default();
        let outcome = work(&mut checks);
        println!("     {:.1} s", start.elapsed().as_secs_f64());
        self.checks = self.checks.saturating_add(checks.count);
        self.failures.extend(
            checks
                .failures
                .into_iter()
                .map(|failure| format!("{name}: {failure}")),
        );
        outcome.map_err(|error| error.context(name.to_owned()))
    }

    /// A step that could not be tried to its end.
    pub fn problem(&mut self, text: &str) {
        println!("     DIFF {text}");
        self.failures.push(text.to_owned());
    }

    /// Whether all steps were as expected.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// What to type to look around.
    pub fn how_to_enter(&self, mesh: &Mesh) {
        println!("the lab stays up; for example:");
        println!(
            "  nsenter --net={} bash",
            mesh.lab.netns("e1-client").path().display()
        );
        for node in ["e1", "w1", "w2"] {
            println!(
                "  {} --socket {} status",
                mesh.program("causeway").display(),
                mesh.socket(node).display()
            );
        }
        println!("  cargo xtask demo down   removes it");
    }

    /// The last line.
    pub fn summary(&self) {
        let took = self.start.elapsed().as_secs_f64();
        for failure in &self.failures {
            println!("failed: {failure}");
        }
        let verdict = if self.is_good() {
            "all as expected"
        } else {
            "NOT as expected"
        };
        println!(
            "demo: {} steps, {} checks, {verdict}, {took:.1} s",
            self.steps, self.checks
        );
    }
}

/// The ends of all logs.
pub fn logs(mesh: &mut Mesh) {
    let dead = mesh.lab.processes.dead();
    if !dead.is_empty() {
        println!("processes that ended by themselves: {}", dead.join(", "));
    }
    for name in mesh.programs_started() {
        println!("--- end of {}", mesh.lab.processes.log(&name).display());
        println!("{}", mesh.lab.processes.tail(&name, TAIL));
    }
}
