//! Shell: cargo: where its target directory is, and the build of all that the lab runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::step::{self, Outcome, step};
use crate::{bpf, say};

/// The programs that the lab starts.
const PROGRAMS: &[&str] = &[
    "causeway-gateway",
    "causeway-agent",
    "causeway-controller",
    "causeway-cli",
    "causeway-integration",
];

/// What was built and where it is.
pub struct Built {
    /// Directory of the host programs
    pub programs: PathBuf,
    /// The eBPF object
    pub object: PathBuf,
}

impl Built {
    /// Tells a program that we run where the rest is.
    pub fn tell(&self, command: &mut Command) {
        command
            .env("CAUSEWAY_BIN_DIR", &self.programs)
            .env(bpf::OBJECT_VARIABLE, &self.object);
    }
}

/// What `cargo metadata` says of this workspace alone.
pub fn metadata(root: &Path) -> anyhow::Result<Value> {
    let args = ["metadata", "--no-deps", "--format-version", "1"];
    let text = step::output(&mut step::program("cargo", &args, root))
        .context("`cargo metadata` failed")?;
    serde_json::from_str(&text).context("`cargo metadata` printed no JSON")
}

/// Names of all packages that a build of the workspace takes on this machine, tests included.
pub fn packages_built(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let args = [
        "tree",
        "--workspace",
        "--edges",
        "normal,build,dev",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let text =
        step::output(&mut step::program("cargo", &args, root)).context("`cargo tree` failed")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

/// The target directory that cargo would use here.
pub fn target(root: &Path) -> anyhow::Result<PathBuf> {
    match metadata(root)?
        .get("target_directory")
        .and_then(Value::as_str)
    {
        Some(directory) => Ok(PathBuf::from(directory)),
        None => bail!("`cargo metadata` names no target directory"),
    }
}

/// Host programs by the dev profile, and the eBPF object.
pub fn build_all(root: &Path) -> anyhow::Result<Built> {
    say::line("build");
    let target = target(root)?;
    let mut object = PathBuf::new();
    step("eBPF object", || {
        let (built, outcome) = bpf::build(root, &target)?;
        object = built;
        Ok(outcome)
    })?;
    step("host programs", || {
        let mut command = step::program("cargo", &["build", "--bins"], root);
        for package in packages() {
            command.args(["--package", package]);
        }
        step::run(&mut command)?;
        Ok(Outcome::Done(target.join("debug").display().to_string()))
    })?;
    Ok(Built {
        programs: target.join("debug"),
        object,
    })
}

/// What users run, optimised and stripped, and the eBPF object. No path of this machine stays inside, so
/// that two checkouts give the same programs.
pub fn build_optimised(root: &Path) -> anyhow::Result<Built> {
    say::line("build");
    let target = target(root)?;
    let programs = target.join("image");
    let mut object = PathBuf::new();
    step("eBPF object", || {
        let (built, outcome) = bpf::build(root, &target)?;
        object = built;
        Ok(outcome)
    })?;
    step("optimised programs", || {
        let args = ["build", "--bins", "--locked", "--profile", "image"];
        let mut command = step::program("cargo", &args, root);
        for package in packages().filter(|name| *name != "causeway-integration") {
            command.args(["--package", package]);
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", encoded(without_paths(root)?));
        step::run(&mut command)?;
        Ok(Outcome::Done(programs.display().to_string()))
    })?;
    Ok(Built { programs, object })
}

/// Compiler flags that write `.` for the checkout and `cargo` for cargo's own directory, so that what is built does not
/// tell where.
pub fn without_paths(root: &Path) -> anyhow::Result<[String; 2]> {
    let home = std::env::var("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|_| std::env::var("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let home = home.context("neither CARGO_HOME nor HOME is set")?;
    let flag = |from: &Path, to| format!("--remap-path-prefix={}={to}", from.display());
    Ok([flag(&home, "cargo"), flag(root, ".")])
}

/// Flags as `CARGO_ENCODED_RUSTFLAGS` takes them: a path may hold a space.
pub fn encoded(flags: impl IntoIterator<Item = String>) -> String {
    flags.into_iter().collect::<Vec<_>>().join("\u{1f}")
}

/// The version of all that we build.
pub fn version(root: &Path) -> anyhow::Result<String> {
    let metadata = metadata(root)?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let own = packages
        .into_iter()
        .flatten()
        .find(|package| package.get("name").and_then(Value::as_str) == Some("causeway-gateway"));
    let version = own
        .and_then(|package| package.get("version"))
        .and_then(Value::as_str);
    version
        .map(str::to_owned)
        .context("`cargo metadata` tells no version")
}

/// The packages of [`PROGRAMS`]; the agent's is named after its library.
fn packages() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|name| {
        if *name == "causeway-agent" {
            "causeway-dataplane"
        } else {
            name
        }
    })
}
