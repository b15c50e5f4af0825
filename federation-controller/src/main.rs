//! Shell: `causeway-controller`: arguments to tasks to an exit status.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use causeway_controller::app;
use causeway_controller::config::{Config, OnKubernetes};
use causeway_controller::crd;
use causeway_controller::hook::{self, Hook};
use causeway_controller::kubernetes;
use causeway_controller::manifests::Directory;
use clap::{Parser, Subcommand};

/// Publishes what a directory of Kubernetes manifests offers to the clusterset.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// YAML: cluster, gateways, state_dir; not needed with --print
    #[arg(long, required_unless_present = "print")]
    config: Option<PathBuf>,
    /// Directory of *.yaml and *.yml in place of an API server's objects
    #[arg(long)]
    manifests: Option<PathBuf>,
    /// Stop after the first look (with --print: the only way it works)
    #[arg(long, requires = "print")]
    once: bool,
    /// Print exports, conditions and problems instead of publishing them
    #[arg(long)]
    print: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the CustomResourceDefinitions for `kubectl apply -f -`
    Crds,
    /// Steps of installing, upgrading and uninstalling, as the chart runs them
    #[command(subcommand)]
    Hook(Hook),
    /// Asks the controller of this configuration how it is; when it is not well, says why and exits with 2
    Health {
        /// YAML, as the controller has it
        #[arg(long)]
        config: PathBuf,
        /// Whether it should be given work; so it is asked unless told otherwise
        #[arg(long, conflicts_with = "live")]
        ready: bool,
        /// Whether it should go on living
        #[arg(long)]
        live: bool,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match start(&args) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn on_kubernetes(path: &Path) -> anyhow::Result<OnKubernetes> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
    Ok(OnKubernetes::parse(&name, &text, |name| {
        std::env::var(name).ok()
    })?)
}

fn start(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(Command::Crds) => {
            #[expect(clippy::print_stdout, reason = "the output that was asked for")]
            {
                print!("{}", crd::yaml()?);
            }
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Hook(which)) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(hook::run(which))?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Health { config, live, .. }) => {
            kubernetes::health(&on_kubernetes(config)?.health_socket, *live)?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let Some(manifests) = &args.manifests else {
        let path = args.config.as_ref().context("--config is missing")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        return runtime.block_on(kubernetes::run(on_kubernetes(path)?));
    };
    let config = match &args.config {
        None => None,
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
            Some(Config::parse(&name, &text)?)
        }
    };
    let memory = config.as_ref().filter(|_| !args.print);
    if let Some(config) = memory {
        causeway_certs::files::private_dir(&config.state_dir)?;
    }
    let memory = memory.map(|config| config.state_dir.join("manifests.json"));
    let directory = Directory::open(manifests, memory).context("reading the manifests")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match config {
        Some(config) if !args.print => runtime.block_on(app::publish(config, directory)),
        _ => runtime.block_on(app::print(directory, args.once)),
    }
}
