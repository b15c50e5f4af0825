//! Shell: what the agent says when it is asked whether it is well.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use causeway_certs::health::Probe;
use tokio::time::Instant;

use super::Agent;
use crate::kernel::Hook;

/// The loop ticks each second; one that has not for so long hangs. The longest step, a start over maps that are
/// full, takes a few seconds.
const HANGS: Duration = Duration::from_secs(30);

/// The newest word of the agent's loop.
#[derive(Debug, Clone)]
pub(super) struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    ticked: Instant,
    ready: Result<(), String>,
}

impl Health {
    /// Of an agent that has just started.
    pub(super) fn starting() -> Self {
        Self(Arc::new(Mutex::new(State {
            ticked: now(),
            ready: Err("the programs are being loaded".to_owned()),
        })))
    }

    pub(super) fn tick(&self, ready: Result<(), String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            ticked: now(),
            ready,
        };
    }

    pub(super) fn answer(&self, probe: Probe) -> Result<(), String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now().saturating_duration_since(state.ticked);
        match probe {
            _ if age > HANGS => Err(format!("the agent hangs since {} s", age.as_secs())),
            Probe::Live => Ok(()),
            Probe::Ready => state.ready.clone(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell's clock")]
fn now() -> Instant {
    Instant::now()
}

impl Agent {
    /// Whether this node's pods and others' packets are served as the newest View says. A gateway that is away
    /// is no reason: what is programmed serves on.
    pub(super) fn ready(&self) -> Result<(), String> {
        if let Some((what, error)) = self.failures.first_key_value() {
            return Err(format!("{what}: {error}"));
        }
        let Some(view) = &self.view else {
            return Err("no View from a gateway yet".to_owned());
        };
        let hooked = |hook: Hook| self.hooked.keys().any(|(at, _)| *at == hook);
        for hook in [Hook::Tunnel, Hook::Uplink] {
            if !hooked(hook) {
                return Err(format!("program {} is on no device yet", hook.name()));
            }
        }
        if self.programmed != Some(view.revision) {
            return Err("the newest View is not in force yet".to_owned());
        }
        Ok(())
    }
}
