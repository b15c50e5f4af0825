//! Shell: programs are put where they belong.

use std::collections::{BTreeMap, BTreeSet};

use super::Agent;
use crate::compile::is_pod_side;
use crate::kernel::Hook;
use crate::ports::{HOST, HOST_PORT, SESSION, TUNNEL};

impl Agent {
    /// Puts programs where they belong and are not yet.
    pub(super) fn hook(&mut self) {
        let Some(wanted) = self.wanted_hooks() else {
            return;
        };
        self.hooked.retain(|hook, _| wanted.contains_key(hook));
        self.failures.remove("hooks");
        for ((hook, index), device) in &wanted {
            if self.hooked.contains_key(&(*hook, *index)) {
                continue;
            }
            match self.kernel.attach(*hook, device, *index) {
                Ok(()) => {
                    tracing::debug!(device, program = hook.name(), "hooked");
                    self.hooked.insert((*hook, *index), device.clone());
                }
                Err(error) => self.fail("hooks", &error),
            }
        }
    }

    /// Takes programs off what is no port any more. Only once all that the View wants is there: until then the links of an
    /// earlier start serve on.
    pub(super) fn unhook(&mut self) {
        if self.lacks_devices() {
            return;
        }
        if let Some(wanted) = self.wanted_hooks() {
            let keep: BTreeSet<(Hook, u32)> = wanted.into_keys().collect();
            if let Err(error) = self.kernel.forget_others(&keep) {
                self.fail("hooks", &error);
            }
        }
    }

    /// Programs by device. Without a View only the ports that the configuration names are known as such.
    fn wanted_hooks(&self) -> Option<BTreeMap<(Hook, u32), String>> {
        let seen = self.seen.as_ref()?;
        let mut wanted: BTreeMap<(Hook, u32), String> = BTreeMap::new();
        let named = self.start.config.ports.is_some();
        for (index, port) in &seen.ports {
            let view = self.view.as_ref();
            if named || view.is_some_and(|view| is_pod_side(view, &self.start.config.node, port)) {
                wanted.insert((Hook::Pod, *index), port.name.clone());
            }
        }
        if let Some(own) = &self.own {
            wanted.insert((Hook::Pod, own.device.facts.ifindex), HOST_PORT.to_owned());
            wanted.insert((Hook::Host, own.device.index), HOST.to_owned());
        }
        if let Ok(uplink) = &seen.uplink {
            wanted.insert((Hook::Uplink, uplink.index), uplink.name.clone());
        }
        if let Some((index, _)) = self.tunnel {
            wanted.insert((Hook::Tunnel, index), TUNNEL.to_owned());
        }
        if let Some(index) = self.session {
            wanted.insert((Hook::Session, index), SESSION.to_owned());
        }
        Some(wanted)
    }
}
