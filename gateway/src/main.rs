//! Shell: `causeway-gateway --config FILE`, and `causeway-gateway health`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use causeway_certs::health::{Probe, ask, beside};
use causeway_gateway::app;
use causeway_gateway::config::{Config, ConfigError};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// The gateway of a Causeway cluster.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// YAML configuration.
    #[arg(long, env = "CAUSEWAY_GATEWAY_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Reads and checks the configuration, then ends.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Asks the gateway of this configuration how it is; when it is not well, says why and exits with 1
    Health {
        /// Whether it should be given work; so it is asked unless told otherwise
        #[arg(long, conflicts_with = "live")]
        ready: bool,
        /// Whether it should go on living
        #[arg(long)]
        live: bool,
    },
}

fn read(arguments: &Arguments) -> Result<Config, anyhow::Error> {
    let path = arguments.config.as_deref();
    let path = path.context("which configuration? give its file with --config")?;
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.display().to_string(),
        source,
    })?;
    Ok(Config::parse(path, &text, |name| std::env::var(name).ok())?)
}

fn health(live: bool, config: &Config) -> Result<(), anyhow::Error> {
    let probe = if live { Probe::Live } else { Probe::Ready };
    let socket = &config.listen.socket;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(ask(&beside(socket), probe))?)
}

async fn run(config: Config) -> Result<(), anyhow::Error> {
    let mut term = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    // It may have to wait long for its first certificate.
    let mut running = tokio::select! {
        running = app::start(config) => running?,
        _ = term.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let at = &running.addresses;
    tracing::info!(session = %at.session, local = %at.local, socket = %at.socket.display(), "ready");
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
        why = running.failed() => anyhow::bail!("{why}; see the log above"),
    }
    tracing::info!("stopping");
    tokio::select! {
        () = running.drain() => {}
        // Whoever asks twice wants it at once.
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.stop().await;
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let done = read(&arguments).and_then(|config| match arguments.command {
        Some(Command::Health { live, .. }) => health(live, &config),
        None if arguments.check => Ok(()),
        None => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("threads")?
            .block_on(run(config)),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
