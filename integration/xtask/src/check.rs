//! Shell: `check`: what must hold for every commit, in under a minute when warm.

use std::path::Path;

use anyhow::bail;

use crate::step::{self, Outcome, step};
use crate::{say, tidy};

/// fmt, clippy, tidy.
pub fn run(root: &Path) -> anyhow::Result<()> {
    say::line("check");
    step("fmt", || {
        step::run(&mut step::program(
            "cargo",
            &["fmt", "--all", "--check"],
            root,
        ))?;
        Ok(Outcome::Done("formatted".to_owned()))
    })?;
    step("clippy", || {
        let args = ["clippy", "--quiet", "--workspace", "--all-targets", "--"];
        let mut command = step::program("cargo", &args, root);
        command.args(["-D", "warnings", "-D", "clippy::too_many_lines"]);
        step::run(&mut command)?;
        Ok(Outcome::Done("no warning".to_owned()))
    })?;
    tidy(root)
}

/// The rules that no compiler knows.
pub fn tidy(root: &Path) -> anyhow::Result<()> {
    step("tidy", || {
        let tree = tidy::Tree::read(root)?;
        let problems = tidy::problems(&tree);
        for problem in &problems {
            say::line(&format!("    {problem}"));
        }
        if !problems.is_empty() {
            bail!("{} problems", problems.len());
        }
        Ok(Outcome::Done(format!(
            "{} files keep the rules",
            tree.files.len()
        )))
    })
}
