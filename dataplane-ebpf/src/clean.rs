//! Shell: a node as it was before the first agent: pins, devices, routes and rules go. Packets that are under way
//! to the clusterset are rejected by the routes until these go last.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use causeway_certs::health::{Probe, ask};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::ports::Host;

/// Between attempts, while something is in the way.
const AGAIN: Duration = Duration::from_secs(1);

/// What agents may have left something on.
pub struct Node {
    host: Host,
    pins: PathBuf,
    state: Option<PathBuf>,
    health: Option<PathBuf>,
}

impl Node {
    /// By an agent's configuration; `state` is emptied too.
    ///
    /// # Errors
    /// When there is no netlink.
    pub fn open(config: &Config, state: Option<PathBuf>) -> anyhow::Result<Self> {
        Ok(Self {
            host: Host::open().context("needs CAP_NET_ADMIN")?,
            pins: config.pin_dir.clone(),
            state,
            health: config.health_socket.clone(),
        })
    }

    /// Fails if something is left, naming it.
    ///
    /// # Errors
    /// That, or when it cannot be told.
    pub async fn check(&self) -> anyhow::Result<()> {
        let mut left: Vec<String> = self
            .host
            .remains()
            .await?
            .iter()
            .map(ToString::to_string)
            .collect();
        let directories = [Some(&self.pins), self.state.as_ref()];
        for directory in directories.into_iter().flatten() {
            left.extend(
                children(directory)?
                    .iter()
                    .map(|path| path.display().to_string()),
            );
        }
        if !left.is_empty() {
            bail!("left on this node: {}", left.join(", "));
        }
        tracing::info!("nothing is left on this node");
        Ok(())
    }

    /// Takes all away, and says what.
    ///
    /// # Errors
    /// When an agent runs, which would make it all again, or something cannot be removed.
    pub async fn clean(&self) -> anyhow::Result<()> {
        if let Some(socket) = &self.health
            && ask(socket, Probe::Live).await.is_ok()
        {
            bail!("an agent is running on this node: stop it first");
        }
        // Links first: with them the programs leave their hooks.
        for part in [self.pins.join("links"), self.pins.clone()] {
            remove(&part)?;
        }
        for thing in self.host.remains().await? {
            self.host
                .remove(&thing)
                .await
                .with_context(|| thing.to_string())?;
            tracing::info!("removed {thing}");
        }
        for path in self
            .state
            .iter()
            .map(|state| children(state))
            .collect::<Result<Vec<_>, _>>()?
            .iter()
            .flatten()
        {
            remove(path)?;
        }
        self.check().await
    }

    /// Until it is done, then until a signal.
    ///
    /// # Errors
    /// When signals cannot be had.
    pub async fn clean_and_stay(&self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let work = async {
            while let Err(error) = self.clean().await {
                tracing::warn!("{error:#}");
                tokio::time::sleep(AGAIN).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = work => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }
}

/// What is in a directory; nothing, if it is not there.
fn children(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| directory.display().to_string()),
    };
    let paths = entries.map(|entry| Ok(entry?.path()));
    paths
        .collect::<std::io::Result<_>>()
        .with_context(|| directory.display().to_string())
}

/// A file, or a directory with all in it; none is fine.
fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.with_context(|| format!("removing {}", path.display()))?;
    tracing::info!("removed {}", path.display());
    Ok(())
}
