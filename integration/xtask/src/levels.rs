//! Shell: tests, demo and benches: sets up, builds, runs, and passes the exit status on.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::cargo::{self, Built};
use crate::step::{self, minutes, timed};
use crate::{host, say, setup};

/// Where the root levels are; everything else runs without root.
const ROOT_PACKAGE: &str = "causeway-integration";

/// Levels 1 to 4 of every crate, then what needs root.
pub fn test(root: &Path, require_root: bool, filter: &[String]) -> anyhow::Result<ExitCode> {
    let require_root =
        require_root || std::env::var("REQUIRE_ROOT").is_ok_and(|value| value == "1");
    let mut times = Vec::new();
    let (prepared, took) = timed(|| prepare(root, require_root));
    times.push(("setup and build", took));
    let built = prepared?;
    let parts: [(&str, &[&str]); 2] = [
        (
            "each crate by itself",
            &["--workspace", "--exclude", ROOT_PACKAGE],
        ),
        (
            "simulation, packets, namespaces",
            &["--package", ROOT_PACKAGE],
        ),
    ];
    let mut failed = false;
    for (name, args) in parts {
        say::line(&format!("test: {name}"));
        let mut command = step::program("cargo", &["test", "--no-fail-fast"], root);
        command.args(args).args(filter);
        if require_root {
            command.env("REQUIRE_ROOT", "1");
        }
        if let Some(built) = &built {
            built.tell(&mut command);
        }
        let (result, took) = timed(|| step::run(&mut command));
        times.push((name, took));
        if let Err(error) = result {
            say::problem(&format!("{error:#}"));
            failed = true;
        }
    }
    for (name, took) in times {
        say::line(&format!("test: {name}: {}", minutes(took)));
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Without root the packet levels say that they cannot run; then nothing needs to be installed.
fn prepare(root: &Path, require_root: bool) -> anyhow::Result<Option<Built>> {
    if !require_root && host::can_run_packets().is_err() {
        say::line("setup: no root, so levels 5 and 6 will say that they did not run");
        return Ok(None);
    }
    setup::for_packets(root)?;
    cargo::build_all(root).map(Some)
}

/// The demo, or the removal of all that one left behind.
pub fn demo(
    root: &Path,
    down: bool,
    without: Option<&str>,
    keep: bool,
) -> anyhow::Result<ExitCode> {
    if without == Some("help") {
        let built = cargo::build_all(root)?;
        return pass_on(demo_command(&built).args(["--break", "help"]));
    }
    setup::for_packets(root)?;
    let built = cargo::build_all(root)?;
    let mut command = demo_command(&built);
    if down {
        command.arg("down");
    }
    if let Some(name) = without {
        command.args(["--break", name]);
    }
    if keep {
        command.arg("--keep");
    }
    let (code, took) = timed(|| pass_on(&mut command));
    say::line(&format!("demo: {}", step::seconds(took)));
    code
}

fn demo_command(built: &Built) -> Command {
    let mut command = Command::new(built.programs.join("causeway-demo"));
    built.tell(&mut command);
    command
}

/// A random sequence of troubles; a seed repeats one.
pub fn chaos(root: &Path, minutes: f64, seed: Option<u64>) -> anyhow::Result<ExitCode> {
    setup::for_packets(root)?;
    let built = cargo::build_all(root)?;
    let mut command = Command::new(built.programs.join("causeway-chaos"));
    built.tell(&mut command);
    command.args(["--minutes", &minutes.to_string()]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    let (code, took) = timed(|| pass_on(&mut command));
    say::line(&format!("chaos: {}", step::seconds(took)));
    code
}

/// The benches run optimised, and so does what they measure: as it ships.
pub fn bench(root: &Path, parts: &[String], output: &str) -> anyhow::Result<ExitCode> {
    setup::for_packets(root)?;
    if parts.is_empty() || parts.iter().any(|part| part == "tunnel") {
        setup::for_tunnels(root)?;
    }
    let built = cargo::build_optimised(root)?;
    let args = [
        "build",
        "--release",
        "--package",
        ROOT_PACKAGE,
        "--bin",
        "causeway-bench",
        "--bin",
        "causeway-lab",
    ];
    step::run(&mut step::program("cargo", &args, root))?;
    let mut command = Command::new(cargo::target(root)?.join("release/causeway-bench"));
    command.args(["-o", output]).args(parts);
    command.env("PATH", setup::path_with_tools()?);
    built.tell(&mut command);
    pass_on(&mut command)
}

/// Runs a command and gives its exit status as ours.
pub fn pass_on(command: &mut Command) -> anyhow::Result<ExitCode> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot run {name}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
