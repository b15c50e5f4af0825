//! Shell: what the agent keeps in its namespace: the tunnel device, the node's own address, routes.

use causeway_proto::model::{Address, Prefix, View};

use super::Agent;
use crate::compile::{HostFacts, OVERHEAD};
use crate::ports::Seen;

/// The MTU of an uplink that netlink has not told yet.
const MTU: u16 = 1500;

/// The device of the node's own processes, as it was made.
pub(super) struct Own {
    pub facts: HostFacts,
    made_for: (Address, u32, Vec<Prefix>),
}

/// It was told as a failure; it is tried again.
pub(super) struct Failed;

impl Agent {
    /// What somebody took away or set down is made again. A look may be older than what was made, so the kernel is asked.
    pub(super) async fn miss_devices(&mut self) {
        let seen = |find: fn(&Seen) -> Option<u32>| self.seen.as_ref().and_then(find);
        let (tunnel, port) = (seen(|s| s.tunnel), seen(|s| s.host));
        if let Some((index, _)) = self.tunnel
            && tunnel != Some(index)
            && !self.host.passes(index).await
        {
            self.tunnel = None;
        }
        if let Some(own) = &self.own
            && port != Some(own.facts.ifindex)
            && !self.host.passes(own.facts.ifindex).await
        {
            self.own = None;
        }
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
            .filter(|p| {
                !known
                    .iter()
                    .any(|k| k.contains(p.base()) && k.bits() <= p.bits())
            })
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
        let pools = view.vip_pool.iter().chain(&view.mapping_pool);
        let wanted = (*address, mtu, pools.copied().collect::<Vec<_>>());
        if self.own.as_ref().is_some_and(|own| own.made_for == wanted) {
            return;
        }
        match self.host.node(*address, mtu, &wanted.2).await {
            Ok(facts) => {
                tracing::info!(%address, "the node's own address");
                self.own = Some(Own {
                    facts,
                    made_for: wanted,
                });
                self.failures.remove("own address");
                self.hook();
            }
            Err(error) => self.fail("own address", &error),
        }
    }

    pub(super) fn mtu(&self) -> u16 {
        let uplink = self.uplink().map(|uplink| uplink.mtu);
        let uplink = uplink.and_then(|mtu| u16::try_from(mtu).ok());
        self.start.config.mtu.or(uplink).unwrap_or(MTU)
    }
}
