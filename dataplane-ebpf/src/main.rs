//! Shell: `causeway-agent`: the command line, the log, the exit code.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use causeway_certs::health::{Probe, ask};
use causeway_dataplane::config::{Config, parse};
use causeway_dataplane::{app, bpffs, breaks, clean};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Programs this node's kernel for the clusterset.
#[derive(Debug, Parser)]
#[command(
    name = "causeway-agent",
    version,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Args)]
struct Run {
    /// Configuration file, YAML; without a command it is needed
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The eBPF object, before the one that the configuration names
    #[arg(long, value_name = "FILE", env = "CAUSEWAY_EBPF_OBJECT")]
    object: Option<PathBuf>,
    /// Take Views from this file (protobuf), not from a gateway: for labs
    #[arg(long, value_name = "FILE")]
    view: Option<PathBuf>,
    /// Write each report to this file too, as JSON: for labs
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Pieces to leave out on purpose, to show that tests notice
    #[arg(
        long,
        value_name = "NAME,...",
        env = "CAUSEWAY_BREAK",
        default_value = "",
        hide = true
    )]
    r#break: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask the running agent whether it is well
    Health {
        /// Its configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Whether it goes on, rather than whether its node is programmed
        #[arg(long, conflicts_with = "ready")]
        live: bool,
        /// Whether its node is programmed
        #[arg(long)]
        ready: bool,
    },
    /// Take away all that agents have left on this node: pins, devices, routes, rules
    Clean {
        /// The agent's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// And what is in this directory
        #[arg(long, value_name = "DIRECTORY")]
        state: Option<PathBuf>,
        /// Take nothing away: fail, naming it, if something is left
        #[arg(long, conflicts_with = "stay")]
        check: bool,
        /// Then wait for a signal
        #[arg(long)]
        stay: bool,
    },
    /// Mount a bpf file system where there is none
    MountBpffs {
        /// Where
        #[arg(default_value = "/sys/fs/bpf")]
        at: PathBuf,
    },
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let place = || format!("configuration file {}", path.display());
    let text = std::fs::read_to_string(path).with_context(place)?;
    parse(&text, |name| std::env::var(name).ok()).with_context(place)
}

fn start(run: Run) -> anyhow::Result<app::Start> {
    let path = &run
        .config
        .context("--config FILE, or a command: see --help")?;
    let config = read(path)?;
    if let Some(contradiction) = config.contradiction() {
        anyhow::bail!("{}: {contradiction}", path.display());
    }
    if config.gateways.is_empty() && run.view.is_none() {
        anyhow::bail!("{} lists no gateways", path.display());
    }
    let object = app::object(run.object, &config)?;
    Ok(app::Start {
        config,
        object,
        view: run.view,
        report: run.report,
        breaks: breaks::parse(&run.r#break)?,
    })
}

async fn carry_out(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Health { config, live, .. } => {
            let config = read(&config)?;
            let socket = config.health_socket.context("no `health_socket`")?;
            let probe = if live { Probe::Live } else { Probe::Ready };
            Ok(ask(&socket, probe).await?)
        }
        Command::Clean {
            config,
            state,
            check,
            stay,
        } => {
            let node = clean::Node::open(&read(&config)?, state)?;
            match (check, stay) {
                (true, _) => node.check().await,
                (false, true) => node.clean_and_stay().await,
                (false, false) => node.clean().await,
            }
        }
        Command::MountBpffs { at } => bpffs::mount(&at),
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.command {
        Some(command) => runtime.block_on(carry_out(command)),
        None => runtime.block_on(app::run(start(arguments.run)?)),
    }
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
