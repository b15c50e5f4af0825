//! Shell: what the run prints: each case as it ends, what a failed one saw, and the sum.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::case::{Absent, Case};
use crate::lab::wait;

/// How figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Form {
    /// For a person
    #[default]
    Text,
    /// One document at the end, on the standard output; progress goes to the standard error
    Json,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As expected
    Passed,
    /// Otherwise
    Failed,
    /// Should have run and could not
    Skipped,
    /// Another combination shows it
    Absent,
}

/// One case's end.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Its name
    pub name: &'static str,
    /// What it shows
    pub what: &'static str,
    /// Numbers of the standard's specs
    pub specs: &'static [u8],
    /// How it ended
    pub verdict: Verdict,
    /// How long it took
    pub seconds: f64,
    /// Why, unless it passed
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

#[derive(Serialize)]
struct Document<'a> {
    passed: usize,
    failed: usize,
    skipped: usize,
    absent: usize,
    seconds: f64,
    cases: &'a [Outcome],
}

/// All ends so far.
pub struct Report {
    form: Form,
    start: Instant,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Report {
    /// None yet.
    #[must_use]
    pub fn new(form: Form) -> Report {
        Report {
            form,
            start: wait::now(),
            outcomes: Mutex::default(),
        }
    }

    /// A line of progress.
    pub fn say(&self, text: &str) {
        match self.form {
            Form::Text => print(text),
            Form::Json => eprintln!("{text}"),
        }
    }

    /// A case ended well.
    pub fn passed(&self, case: &Case, took: Duration) {
        self.end(case, Verdict::Passed, took, String::new());
    }

    /// A case saw something else; `record` is all that helps to find out why.
    pub fn failed(&self, case: &Case, took: Duration, why: String, record: &str) {
        self.end(case, Verdict::Failed, took, why);
        for line in record.lines() {
            self.say(&format!("         {line}"));
        }
    }

    /// A case did not run.
    pub fn absent(&self, case: &Case, why: Absent) {
        let verdict = match why {
            Absent::ByNature(_) => Verdict::Absent,
            Absent::Skipped(_) => Verdict::Skipped,
        };
        self.end(case, verdict, Duration::ZERO, why.to_string());
    }

    fn end(&self, case: &Case, verdict: Verdict, took: Duration, why: String) {
        let mark = match verdict {
            Verdict::Passed => "ok  ",
            Verdict::Failed => "FAIL",
            Verdict::Skipped => "skip",
            Verdict::Absent => "n/a ",
        };
        let specs: Vec<_> = case.specs.iter().map(|n| format!("#{n}")).collect();
        let seconds = took.as_secs_f64();
        let (name, specs) = (case.name, specs.join(" "));
        self.say(&format!("  {mark} {seconds:6.1} s  {name} {specs}"));
        for line in why.lines() {
            self.say(&format!("       {line}"));
        }
        if let Ok(mut outcomes) = self.outcomes.lock() {
            outcomes.push(Outcome {
                name: case.name,
                what: case.what,
                specs: case.specs,
                verdict,
                seconds,
                why,
            });
        }
    }

    /// The last lines; true if all that had to run ended well.
    pub fn finish(&self, ci: bool) -> anyhow::Result<bool> {
        let outcomes = match self.outcomes.lock() {
            Ok(outcomes) => outcomes.clone(),
            Err(_) => anyhow::bail!("a case fell over the report"),
        };
        let count = |verdict| outcomes.iter().filter(|o| o.verdict == verdict).count();
        let document = Document {
            passed: count(Verdict::Passed),
            failed: count(Verdict::Failed),
            skipped: count(Verdict::Skipped),
            absent: count(Verdict::Absent),
            seconds: self.start.elapsed().as_secs_f64(),
            cases: &outcomes,
        };
        for outcome in outcomes.iter().filter(|o| o.verdict == Verdict::Failed) {
            let first = outcome.why.lines().next().unwrap_or_default();
            self.say(&format!("failed: {}: {first}", outcome.name));
        }
        let Document {
            passed,
            failed,
            skipped,
            absent,
            seconds,
            ..
        } = document;
        self.say(&format!(
            "e2e: {passed} passed, {failed} failed, {skipped} skipped, {absent} for another combination, {seconds:.0} s"
        ));
        if self.form == Form::Json {
            print(&serde_json::to_string_pretty(&document)?);
        }
        Ok(failed == 0 && passed > 0 && (skipped == 0 || !ci))
    }
}

/// A line for whoever reads this program's output; whoever does not read on is no failure of a case.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
