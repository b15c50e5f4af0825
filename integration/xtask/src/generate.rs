//! Shell: `gen`: the files that are made of others. The chart's table of values comes from its comments, the
//! definitions of custom resources from their Rust types.

mod values;

use std::path::Path;

use anyhow::{Context, bail};

use crate::step::{self, Outcome, step};
use crate::{cargo, say};

const VALUES: &str = "helm/values.yaml";
const README: &str = "helm/README.md";
const CHART: &str = "helm/Chart.yaml";
const DEFINITIONS: &str = "helm/files/crds.yaml";

/// Writes all of them.
pub fn run(root: &Path) -> anyhow::Result<()> {
    say::line("gen");
    step(README, || {
        let (held, wanted) = readme(root)?;
        write(root, README, &held, &wanted)
    })?;
    step(DEFINITIONS, || {
        let args = [
            "run",
            "--quiet",
            "--package",
            "causeway-controller",
            "--",
            "crds",
        ];
        let wanted = step::output(&mut step::program("cargo", &args, root))
            .context("`causeway-controller crds` failed; `cargo build` says why")?;
        let held = std::fs::read_to_string(root.join(DEFINITIONS)).unwrap_or_default();
        write(root, DEFINITIONS, &held, &format!("{wanted}\n"))
    })
}

/// Those that can be looked at without a build; a test of the controller looks at its definitions.
pub fn check(root: &Path) -> anyhow::Result<()> {
    step("generated files", || {
        let (held, wanted) = readme(root)?;
        if held != wanted {
            bail!("{README} is not what {VALUES} says; run `cargo xtask gen`");
        }
        let version = cargo::version(root)?;
        let chart = read(root, CHART)?;
        for key in ["version", "appVersion"] {
            let line = format!("{key}: {version}");
            if !chart.lines().any(|l| l == line) {
                bail!("{CHART} must say `{line}`, as Cargo.toml does");
            }
        }
        Ok(Outcome::Done("fresh".to_owned()))
    })
}

/// The page as it is, and as it should be.
fn readme(root: &Path) -> anyhow::Result<(String, String)> {
    let held = read(root, README)?;
    let table = values::table(&read(root, VALUES)?);
    let wanted = values::put(&held, &table).with_context(|| {
        format!(
            "{README} lacks the lines {:?} and {:?}",
            values::BEGIN,
            values::END
        )
    })?;
    Ok((held, wanted))
}

fn read(root: &Path, path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(root.join(path)).with_context(|| format!("reading {path}"))
}

fn write(root: &Path, path: &str, held: &str, wanted: &str) -> anyhow::Result<Outcome> {
    if held == wanted {
        return Ok(Outcome::Already("fresh".to_owned()));
    }
    std::fs::write(root.join(path), wanted).with_context(|| format!("writing {path}"))?;
    Ok(Outcome::Done("written".to_owned()))
}
