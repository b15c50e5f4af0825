//! Shell: `check`: what must hold for every commit, in under a minute when warm.

use std::path::Path;

use anyhow::bail;

use crate::step::{self, Outcome, step};
use crate::{generate, say, tidy};

/// fmt, clippy, tidy, generated files; each runs whatever the others said, so that one look shows all.
pub fn run(root: &Path) -> anyhow::Result<()> {
    say::line("check");
    let parts = [fmt(root), clippy(root), tidy(root), generate::check(root)];
    let failed: Vec<_> = parts.into_iter().filter_map(Result::err).collect();
    for error in &failed {
        say::problem(&format!("{error:#}"));
    }
    if !failed.is_empty() {
        bail!("{} of 4 parts failed", failed.len());
    }
    Ok(())
}

fn fmt(root: &Path) -> anyhow::Result<()> {
    step("fmt", || {
        let args = ["fmt", "--all", "--check"];
        step::run(&mut step::program("cargo", &args, root))?;
        Ok(Outcome::Done("formatted".to_owned()))
    })
}

fn clippy(root: &Path) -> anyhow::Result<()> {
    step("clippy", || {
        let args = [
            "clippy",
            "--quiet",
            "--keep-going",
            "--workspace",
            "--all-targets",
            "--",
        ];
        let mut command = step::program("cargo", &args, root);
        command.args(["-D", "warnings", "-D", "clippy::too_many_lines"]);
        step::run(&mut command)?;
        Ok(Outcome::Done("no warning".to_owned()))
    })
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
