//! Shell: `causeway-agent`: the command line, the log, the exit code.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use causeway_dataplane::{app, breaks, config};
use causeway_proto::model::{Address, NodeName};
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Programs this node's kernel for the clusterset.
#[derive(Debug, Parser)]
#[command(name = "causeway-agent", version)]
struct Arguments {
    /// Configuration file, YAML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// This node, before the one that the configuration names
    #[arg(long, value_name = "NAME")]
    node: Option<NodeName>,
    /// This node's address for tunnel packets, before the one of the configuration
    #[arg(long, value_name = "ADDRESS")]
    outer_address: Option<Address>,
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

fn start(arguments: Arguments) -> anyhow::Result<app::Start> {
    let path = &arguments.config;
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("configuration file {}", path.display()))?;
    let config =
        config::parse(&text).with_context(|| format!("configuration file {}", path.display()))?;
    if let Some(contradiction) = config.contradiction() {
        anyhow::bail!("{}: {contradiction}", path.display());
    }
    if config.gateways.is_empty() && arguments.view.is_none() {
        anyhow::bail!("{} lists no gateways", path.display());
    }
    let node = arguments.node.or_else(|| config.node.clone());
    let node = node.with_context(|| format!("{}: no `node`, nor --node", path.display()))?;
    let outer = arguments.outer_address.or(config.outer_address);
    let object = app::object(arguments.object, &config)?;
    Ok(app::Start {
        config,
        node,
        outer,
        object,
        view: arguments.view,
        report: arguments.report,
        breaks: breaks::parse(&arguments.r#break)?,
    })
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = start(Arguments::parse()).and_then(|start| {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(app::run(start))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
