//! Shell: `e2e`: prepares what the arguments need, and hands them on to the program that runs the clusters.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::cargo::{self, Built};
use crate::image::{self, Profile};
use crate::step::{self, Outcome, step};
use crate::{host, kubernetes, levels, say, setup};

/// The program.
const PROGRAM: &str = "causeway-e2e";

/// What the arguments are about.
#[derive(Debug, PartialEq, Eq)]
enum About {
    /// Help, or clusters that are up: the program alone
    What,
    /// Clusters without Causeway
    Clusters,
    /// Cases on clusters that have Causeway
    Cases,
    /// Causeway brought onto clusters
    Causeway,
}

impl About {
    fn of(args: &[String]) -> About {
        let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
        if has("--help") || has("-h") {
            return About::What;
        }
        match args.first().map(String::as_str) {
            Some("up") if has("--bare") => About::Clusters,
            Some("up" | "--ci" | "--all") => About::Causeway,
            Some("test") => About::Cases,
            _ => About::What,
        }
    }
}

/// Runs it with these arguments.
pub fn run(root: &Path, args: &[String]) -> anyhow::Result<ExitCode> {
    let mut command = match About::of(args) {
        About::What => program(root)?,
        About::Clusters => {
            say::line("setup");
            step("machine", || Ok(Outcome::Already(host::can_run_packets()?)))?;
            let tools = kubernetes::prepare(root)?;
            let mut command = program(root)?;
            tell(&mut command, &[tools])?;
            command
        }
        about => {
            setup::for_packets(root)?;
            let tools = kubernetes::prepare(root)?;
            let target = cargo::target(root)?;
            let image = target.join("e2e").join("causeway-image.tar");
            let built = match about {
                About::Causeway => {
                    std::fs::create_dir_all(target.join("e2e"))?;
                    image::pack(root, Profile::Dev, None, Some(image.clone()))?
                }
                _ => cargo::build_all(root)?,
            };
            with_causeway(root, &built, &tools, &image)?
        }
    };
    levels::pass_on(command.args(args))
}

/// The program, told of everything.
fn with_causeway(
    root: &Path,
    built: &Built,
    tools: &Path,
    image: &Path,
) -> anyhow::Result<Command> {
    let mut command = Command::new(built.programs.join(PROGRAM));
    built.tell(&mut command);
    command
        .env("CAUSEWAY_CHART", root.join("helm"))
        .env("CAUSEWAY_IMAGE", image);
    tell(&mut command, &[tools.to_owned(), built.programs.clone()])?;
    Ok(command)
}

/// The program alone, built if need be.
fn program(root: &Path) -> anyhow::Result<Command> {
    let mut build = step::program("cargo", &["build", "--quiet", "--bin", PROGRAM], root);
    step::run(build.args(["--package", "causeway-integration"]))?;
    Ok(Command::new(
        cargo::target(root)?.join("debug").join(PROGRAM),
    ))
}

/// Tells where the components are, the first of these, and puts all of these into the search path.
fn tell(command: &mut Command, places: &[PathBuf]) -> anyhow::Result<()> {
    if let Some(tools) = places.first() {
        command.env("CAUSEWAY_KUBERNETES_TOOLS", tools);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = places.iter().cloned().chain(std::env::split_paths(&path));
    let joined: OsString = std::env::join_paths(all)?;
    command.env("PATH", joined);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(words: &str) -> About {
        About::of(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_is_needed_is_prepared() {
        assert_eq!(about("up --nodes 1 --bare"), About::Clusters);
        assert_eq!(about("up --nodes 1"), About::Causeway);
        assert_eq!(about("--ci"), About::Causeway);
        assert_eq!(about("test headless"), About::Cases);
        assert_eq!(about("down"), About::What);
        assert_eq!(about("up --help"), About::What);
    }
}
