//! Shell: what the agent keeps in its namespace: the tunnel device, the node's own address, routes.

use causeway_proto::model::{Address, Encryption, PeerView, Prefix, View};

use super::Agent;
use crate::compile::{self, OVERHEAD};
use crate::kernel::Hook;
use crate::ports::{OwnDevice, Seen};

/// The MTU of an uplink that netlink has not told yet.
const MTU: u16 = 1500;

/// The device of the node's own processes, as it was made.
pub(super) struct Own {
    pub device: OwnDevice,
    made_for: (Address, u32),
    /// Where its routes lead; none before the program that guards them is there.
    ways: Option<Vec<Prefix>>,
}

/// It was told as a failure; it is tried again.
pub(super) struct Failed;

impl Agent {
    /// Whether something has to be made again since somebody took it away or set it down. A look may be older than what
    /// was made, so the kernel is asked.
    pub(super) async fn miss_devices(&mut self) -> bool {
        let seen = |find: fn(&Seen) -> Option<u32>| self.seen.as_ref().and_then(find);
        let (tunnel, port) = (seen(|s| s.tunnel), seen(|s| s.host));
        if let Some((index, _)) = self.tunnel
            && tunnel != Some(index)
            && !self.host.passes(index).await
        {
            self.tunnel = None;
        }
        if let Some(index) = self.session
            && seen(|s| s.session) != Some(index)
            && !self.host.passes(index).await
        {
            self.session = None;
        }
        if let Some(own) = &self.own
            && port != Some(own.device.facts.ifindex)
            && !self.host.passes(own.device.facts.ifindex).await
        {
            self.own = None;
        }
        let view = self.view.as_ref();
        self.lacks_devices() || view.is_some_and(|view| self.lacks_session(view))
    }

    /// Whether the View wants devices that are not there.
    pub(super) fn lacks_devices(&self) -> bool {
        let node = &self.start.config.node;
        self.view.as_ref().is_some_and(|view| {
            let own = view.node_addresses.contains_key(node);
            self.tunnel.is_none() || own && self.own.is_none()
        })
    }

    /// Whether a gateway of this node is to have a device that is not there. Everything else goes on without.
    fn lacks_session(&self, view: &View) -> bool {
        let node = &self.start.config.node;
        let encrypted = |peer: &PeerView| peer.encryption == Encryption::Encrypted;
        self.session.is_none()
            && view.gateways.values().any(|n| n == node)
            && view.peers.values().any(encrypted)
    }

    /// Brings devices and routes to where the View wants them.
    pub(super) async fn devices(&mut self, view: &View) -> Result<(), Failed> {
        if self.tunnel.map(|(_, port)| port) != Some(view.tunnel_port) {
            match self.host.tunnel(view.tunnel_port).await {
                Ok(index) => {
                    self.tunnel = Some((index, view.tunnel_port));
                    self.hook();
                }
                Err(error) => {
                    self.fail("tunnel device", &error);
                    return Err(Failed);
                }
            }
            self.failures.remove("tunnel device");
        }
        if self.lacks_session(view) {
            match self.host.session().await {
                Ok(index) => {
                    self.session = Some(index);
                    self.handover.begin();
                    self.failures.remove("device to the gateway");
                    self.hook();
                }
                Err(error) => self.fail("device to the gateway", &error),
            }
        }
        if !self.start.breaks.routes {
            self.hold_back(view).await;
        }
        self.own_address(view).await;
        Ok(())
    }

    /// The View's pools, where the configuration did not name them.
    async fn hold_back(&mut self, view: &View) {
        let known = &self.held_back;
        let pools = view.vip_pool.iter().chain(&view.mapping_pool);
        let new: Vec<Prefix> = pools
            .filter(|p| !known.iter().any(|k| k.covers(**p)))
            .copied()
            .collect();
        match self.host.hold_back(&new).await {
            Ok(()) => {
                self.held_back.extend(new);
                self.failures.remove("routes");
            }
            Err(error) => self.fail("routes", &error),
        }
    }

    /// The address by which the node's own processes are clients. Pods do without it.
    async fn own_address(&mut self, view: &View) {
        let Some(address) = view.node_addresses.get(&self.start.config.node) else {
            return;
        };
        let mtu = u32::from(self.mtu().saturating_sub(OVERHEAD));
        let wanted = (*address, mtu);
        if self.own.as_ref().is_none_or(|own| own.made_for != wanted) {
            match self.host.node(*address, mtu).await {
                Ok(device) => {
                    tracing::info!(%address, "the node's own address");
                    self.own = Some(Own {
                        device,
                        made_for: wanted,
                        ways: None,
                    });
                    self.failures.remove("own address");
                    self.hook();
                }
                Err(error) => return self.fail("own address", &error),
            }
        }
        self.own_ways(view).await;
    }

    async fn own_ways(&mut self, view: &View) {
        let ways = compile::ways(view);
        let Some(own) = self.own.as_mut() else { return };
        let guarded = self.hooked.contains_key(&(Hook::Host, own.device.index));
        if !guarded || own.ways.as_ref() == Some(&ways) {
            return;
        }
        match self.host.ways(&own.device, &ways).await {
            Ok(()) => {
                own.ways = Some(ways);
                self.failures.remove("own routes");
            }
            Err(error) => self.fail("own routes", &error),
        }
    }

    pub(super) fn mtu(&self) -> u16 {
        let uplink = self.uplink().map(|uplink| uplink.mtu);
        let uplink = uplink.and_then(|mtu| u16::try_from(mtu).ok());
        self.start.config.mtu.or(uplink).unwrap_or(MTU)
    }
}
