//! Shell: `causeway-gateway --config FILE`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use causeway_gateway::app;
use causeway_gateway::config::{Config, ConfigError};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// The gateway of a Causeway cluster.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// YAML configuration.
    #[arg(long, env = "CAUSEWAY_GATEWAY_CONFIG")]
    config: PathBuf,
    /// Reads and checks the configuration, then ends.
    #[arg(long)]
    check: bool,
}

fn read(path: &std::path::Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.display().to_string(),
        source,
    })?;
    Config::parse(path, &text)
}

async fn run(config: Config) -> Result<(), anyhow::Error> {
    let mut term = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut running = app::start(config).await?;
    let at = &running.addresses;
    tracing::info!(session = %at.session, local = %at.local, socket = %at.socket.display(), "ready");
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
        why = running.failed() => anyhow::bail!("{why}; see the log above"),
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let done = read(&arguments.config)
        .map_err(anyhow::Error::from)
        .and_then(|config| {
            if arguments.check {
                return Ok(());
            }
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .context("threads")?;
            runtime.block_on(run(config))
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
