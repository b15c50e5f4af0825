//! Shell: what the gateway says to probes, from before it has a certificate on.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use causeway_certs::health::{Answering, Probe, answer, beside};

use super::handle::{Core, Input};

/// Answers probes while it lives.
#[derive(Debug)]
pub struct Health {
    core: Arc<OnceLock<Core>>,
    _answering: Answering,
}

impl Health {
    /// On the socket beside the gateway's own.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn serve(socket: &Path) -> io::Result<Self> {
        let core: Arc<OnceLock<Core>> = Arc::default();
        let seen = Arc::clone(&core);
        let answering = answer(&beside(socket), move |probe| {
            let core = seen.get().cloned();
            async move { well(probe, core).await }
        })
        .await?;
        Ok(Self {
            core,
            _answering: answering,
        })
    }

    /// All is bound and served.
    pub fn serves(&self, core: &Core) {
        let _ = self.core.set(core.clone());
    }
}

async fn well(probe: Probe, core: Option<Core>) -> Result<(), String> {
    let Some(core) = core else {
        // Whoever waits for a certificate would wait no less after a restart.
        return match probe {
            Probe::Live => Ok(()),
            Probe::Ready => Err("starting: waits for its certificate, see the log".to_owned()),
        };
    };
    if core.ask(Input::Alive).await.is_none() {
        return Err("the core has stopped".to_owned());
    }
    match probe {
        Probe::Live => Ok(()),
        Probe::Ready if core.leading().leader.is_none() => Err(
            "the controller has appointed no leader yet: does it run, and can it reach port 7444 here?"
                .to_owned(),
        ),
        Probe::Ready if core.view().revision.number == 0 => Err("there is no View yet".to_owned()),
        Probe::Ready => Ok(()),
    }
}
