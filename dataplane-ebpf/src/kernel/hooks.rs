//! Shell: programs on hooks, by pinned links.

use std::collections::BTreeSet;
use std::path::Path;

use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{SchedClassifier, TcAttachType};
use causeway_abi::names;

use super::{Kernel, KernelError, program};

/// Which program goes where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Ingress of a pod-side port.
    Pod,
    /// Ingress of the tunnel device.
    Tunnel,
    /// Ingress of the device to this node's gateway.
    Session,
    /// Ingress of the uplink.
    Uplink,
    /// Egress of the device of the node's own processes.
    Host,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pod,
        Self::Tunnel,
        Self::Session,
        Self::Uplink,
        Self::Host,
    ];

    /// The programs' names in the order in which they are put there: the last one stands first, and leaves to the others
    /// what is of their family, so those are there before.
    pub fn programs(self) -> impl Iterator<Item = &'static str> {
        let both = |names: names::ByFamily| [Some(names.six), Some(names.four)];
        let programs = match self {
            Self::Pod => both(names::POD_INGRESS),
            Self::Tunnel => both(names::TUNNEL_INGRESS),
            Self::Session => both(names::SESSION_INGRESS),
            Self::Uplink => [Some(names::UPLINK_GUARD), None],
            Self::Host => both(names::HOST_EGRESS),
        };
        programs.into_iter().flatten()
    }

    /// Its name in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => names::POD_INGRESS.name,
            Self::Tunnel => names::TUNNEL_INGRESS.name,
            Self::Session => names::SESSION_INGRESS.name,
            Self::Uplink => names::UPLINK_GUARD,
            Self::Host => names::HOST_EGRESS.name,
        }
    }

    fn direction(self) -> TcAttachType {
        match self {
            Self::Pod | Self::Tunnel | Self::Session | Self::Uplink => TcAttachType::Ingress,
            Self::Host => TcAttachType::Egress,
        }
    }
}

impl Kernel {
    /// Puts the hook's programs on the device. A link that is pinned from before gets the new program in one step;
    /// one whose device is gone is made anew. They run before other people's programs on the hook and
    /// leave to them what is not ours.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&mut self, hook: Hook, device: &str, ifindex: u32) -> Result<(), KernelError> {
        for name in hook.programs() {
            self.attach_one(hook, name, device, ifindex)?;
        }
        Ok(())
    }

    fn attach_one(
        &mut self,
        hook: Hook,
        name: &'static str,
        device: &str,
        ifindex: u32,
    ) -> Result<(), KernelError> {
        let pin = self.links.join(format!("{name}-{ifindex}"));
        let program = program(&mut self.ebpf, name)?;
        if pin.exists() {
            match swap(program, &pin) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(device, error, "pinned link is of no use"),
            }
            std::fs::remove_file(&pin).map_err(|e| KernelError::File(pin.clone(), e))?;
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let refused =
            |e: &dyn std::fmt::Display| KernelError::Hook(device.to_owned(), e.to_string());
        let id = program
            .attach_with_options(device, hook.direction(), options)
            .map_err(|e| refused(&chain(&e)))?;
        let link = program.take_link(id).map_err(|e| refused(&chain(&e)))?;
        let link: FdLink = link.try_into().map_err(|e| refused(&chain(&e)))?;
        link.pin(&pin).map_err(|e| refused(&chain(&e)))?;
        Ok(())
    }

    /// Forgets the links of devices that are gone, and takes programs off those that are no ports any more.
    ///
    /// # Errors
    /// When the pin directory cannot be read.
    pub fn forget_others(&self, wanted: &BTreeSet<(Hook, u32)>) -> Result<(), KernelError> {
        let file = |e| KernelError::File(self.links.clone(), e);
        let names: BTreeSet<String> = wanted
            .iter()
            .flat_map(|(hook, ifindex)| {
                hook.programs().map(move |name| format!("{name}-{ifindex}"))
            })
            .collect();
        for entry in std::fs::read_dir(&self.links).map_err(file)? {
            let entry = entry.map_err(file)?;
            if !names.contains(entry.file_name().to_string_lossy().as_ref()) {
                std::fs::remove_file(entry.path()).map_err(file)?;
            }
        }
        Ok(())
    }
}

fn swap(program: &mut SchedClassifier, pin: &Path) -> Result<(), String> {
    let pinned = PinnedLink::from_pin(pin).map_err(|e| chain(&e))?;
    let link: SchedClassifierLink = FdLink::from(pinned).try_into().map_err(|e| chain(&e))?;
    let id = program.attach_to_link(link).map_err(|e| chain(&e))?;
    // The pin holds the link; our descriptor of it may go.
    drop(program.take_link(id).map_err(|e| chain(&e))?);
    Ok(())
}

/// An error with its causes: aya's own texts leave out the kernel's answer.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
