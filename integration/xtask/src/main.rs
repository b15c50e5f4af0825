//! Shell: the one door. `cargo xtask setup | build | check | tidy | test | demo | bench | image | gen`.
//!
//! It depends on none of our crates: it builds them and runs what was built, so that it works
//! while they do not compile.

mod bpf;
mod cargo;
mod check;
mod e2e;
mod generate;
mod host;
mod image;
mod kubernetes;
mod levels;
mod say;
mod setup;
mod step;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a caller may do, and nothing else.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Sets up, builds, checks, tests and shows Causeway"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what this machine lacks; each step looks first
    Setup,
    /// Build the host binaries and the eBPF object
    Build,
    /// fmt, clippy, tidy, freshness of generated files
    Check,
    /// Rules of the code that the compiler does not know
    Tidy,
    /// Levels 1 to 6; levels 5 and 6 need root and fail without it when REQUIRE_ROOT=1
    Test {
        /// Fail, instead of saying so, where root is needed and absent
        #[arg(long)]
        root: bool,
        /// Passed on to `cargo test`
        filter: Vec<String>,
    },
    /// Two clusters, one service, real packets
    Demo {
        #[command(subcommand)]
        command: Option<DemoCommand>,
        /// Take one piece out; the demo must then fail (`help` lists the pieces)
        #[arg(long = "break", value_name = "NAME")]
        without: Option<String>,
        /// Leave the lab up at the end and say how to enter it
        #[arg(long)]
        keep: bool,
    },
    /// Three clusters under load while things go wrong: processes die and freeze, links break, disks are full
    Chaos {
        /// No trouble begins after so many minutes
        #[arg(long, default_value_t = 1.0)]
        minutes: f64,
        /// Draws the troubles: a run that failed says it
        #[arg(long)]
        seed: Option<u64>,
    },
    /// What the programs cost: nanoseconds per packet, a node's traffic with and without an agent; limits are checked
    Bench {
        /// `walk`, `passing`, `paired`; all when none is named
        parts: Vec<String>,
        /// `text` or `json`
        #[arg(short, long, default_value = "text")]
        output: String,
    },
    /// Write the files that are made of others: the chart's table of values, definitions of custom resources
    Gen,
    /// The container image, as an OCI archive that nodes and registries take
    Image {
        /// The archive; below the target directory when absent
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Put the files into this directory, in place of an archive
        #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["out", "name"])]
        unpacked: Option<PathBuf>,
        /// What the programs are built for
        #[arg(long, value_enum, default_value = "image")]
        profile: image::Profile,
        /// Repository and tag
        #[arg(long, value_name = "NAME:TAG")]
        name: Option<String>,
    },
    /// Two real Kubernetes clusters: up, test, load, status, enter, down, or --ci; `e2e --help` tells all
    #[command(disable_help_flag = true)]
    E2e {
        /// What the clusters' own program takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

#[derive(Subcommand)]
enum DemoCommand {
    /// Remove every namespace, pin and process of a demo, however it ended
    Down,
}

/// A machine that cannot run this at all, as opposed to a run that failed.
pub const EXIT_UNSUPPORTED: u8 = 2;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            say::problem(&format!("{error:#}"));
            match error.downcast_ref::<host::Unsupported>() {
                Some(_) => ExitCode::from(EXIT_UNSUPPORTED),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    let root = repository();
    match args.command {
        Command::Setup => setup::everything(&root).map(|()| ExitCode::SUCCESS),
        Command::Build => {
            setup::for_build(&root)?;
            cargo::build_all(&root).map(|_| ExitCode::SUCCESS)
        }
        Command::Check => check::run(&root).map(|()| ExitCode::SUCCESS),
        Command::Tidy => check::tidy(&root).map(|()| ExitCode::SUCCESS),
        Command::Test {
            root: require,
            filter,
        } => levels::test(&root, require, &filter),
        Command::Demo {
            command,
            without,
            keep,
        } => {
            let down = matches!(command, Some(DemoCommand::Down));
            levels::demo(&root, down, without.as_deref(), keep)
        }
        Command::Chaos { minutes, seed } => levels::chaos(&root, minutes, seed),
        Command::Bench { parts, output } => levels::bench(&root, &parts, &output),
        Command::E2e { args } => e2e::run(&root, &args),
        Command::Gen => generate::run(&root).map(|()| ExitCode::SUCCESS),
        Command::Image {
            out,
            unpacked,
            profile,
            name,
        } => match unpacked {
            Some(directory) => image::unpack(&root, profile, &directory),
            None => image::pack(&root, profile, name, out).map(|_| ()),
        }
        .map(|()| ExitCode::SUCCESS),
    }
}

/// The root of the checkout that this program was built from, two directories up from its crate.
fn repository() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).map(PathBuf::from).unwrap_or(own)
}
