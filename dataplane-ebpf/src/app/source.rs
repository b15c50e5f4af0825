//! Shell: where Views come from: a gateway, or a file that somebody made by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use causeway_certs::name::NameError;
use causeway_proto::model::{Report, View};
use causeway_proto::wire::Encoded;
use siphasher::sip::SipHasher;
use tokio::sync::watch;

use super::Start;
use crate::link;

/// How often a file is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Starts the source.
///
/// # Errors
/// When the node's name cannot stand in a certificate.
pub fn spawn(
    start: &Start,
    views: watch::Sender<Option<Arc<View>>>,
    reports: watch::Receiver<Option<Report>>,
) -> Result<(), NameError> {
    if let Some(path) = start.view.clone() {
        tokio::spawn(file(path, views));
        return Ok(());
    }
    let dialer = Arc::new(link::dialer(&start.config, &start.config.node)?);
    let node = start.config.node.clone();
    let keeper = dialer.clone();
    // So that the nodes of a cluster do not all come at once.
    let jitter = SipHasher::new().hash(node.as_str().as_bytes());
    tokio::spawn(async move { keeper.keep_certificate(jitter).await });
    tokio::spawn(async move { link::run(&dialer, &node, jitter, views, reports).await });
    Ok(())
}

async fn file(path: PathBuf, views: watch::Sender<Option<Arc<View>>>) {
    let mut read: Option<SystemTime> = None;
    while !views.is_closed() {
        let changed = std::fs::metadata(&path)
            .and_then(|meta| meta.modified())
            .ok();
        if changed.is_some() && changed != read {
            match view(&path) {
                Ok(view) => {
                    read = changed;
                    views.send_replace(Some(Arc::new(view)));
                }
                Err(error) => tracing::warn!(path = %path.display(), error, "no View"),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn view(path: &Path) -> Result<View, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    View::from_bytes(&bytes).map_err(|e| e.to_string())
}

/// The newest report as JSON, replaced whole.
pub fn write(path: &Path, report: &Report) {
    let new = path.with_extension("new");
    let written = serde_json::to_vec_pretty(report)
        .map_err(std::io::Error::from)
        .and_then(|bytes| std::fs::write(&new, bytes))
        .and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = written {
        tracing::debug!(path = %path.display(), %error, "report not written");
    }
}
