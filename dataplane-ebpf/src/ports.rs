//! Shell: netlink. Which devices are pod-side ports and which addresses sit behind them; the tunnel
//! device; the routes that keep both pools off the underlay.
//!
//! A port's address is read inside the pod's namespace and nowhere else: not from ARP, not from the
//! bridge's table, not from traffic, all of which a pod can write. `compile` takes it only where the View
//! confirms it.

mod link;
mod namespace;

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_proto::model::{Address, Prefix};
use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoKind, InfoVxlan, LinkMessage};
use rtnetlink::packet_route::route::RouteType;
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, LinkUnspec, LinkVxlan, MulticastGroup, RouteMessageBuilder};
use tokio::sync::watch;

use crate::compile::PortFacts;
use crate::config::PortRule;
use link::Link;

/// The tunnel device's name.
pub const TUNNEL: &str = "cway0";
/// Its MTU: super-packets pass whole, the uplink cuts them.
const TUNNEL_MTU: u32 = 65_000;
/// How long changes of links are collected before a look.
const SETTLE: Duration = Duration::from_millis(30);
/// A look without an event: addresses inside pods change without one here.
const LOOK: Duration = Duration::from_secs(1);
/// Looks after which a known port's address is read again.
const TRUSTED_LOOKS: u32 = 10;

/// What netlink refused.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// No netlink socket.
    #[error("netlink socket")]
    Socket(#[source] std::io::Error),
    /// The kernel's answer.
    #[error("{0}")]
    Netlink(&'static str, #[source] rtnetlink::Error),
    /// The device was made and is not there.
    #[error("no device {0}")]
    Missing(String),
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Pod-side ports by index.
    pub ports: BTreeMap<u32, PortFacts>,
    /// The uplink's index and MTU.
    pub uplink: Option<(u32, u32)>,
    /// The tunnel device's index.
    pub tunnel: Option<u32>,
}

/// A connection to netlink in this namespace.
pub struct Ports {
    handle: Handle,
    events: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    known: BTreeMap<u32, Known>,
}

/// A port as read before.
struct Known {
    link: Link,
    facts: PortFacts,
    looks: u32,
}

impl Ports {
    /// Opens netlink and asks for events of links.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn open() -> Result<Self, PortError> {
        let (connection, handle, events) =
            rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
                .map_err(PortError::Socket)?;
        tokio::spawn(connection);
        Ok(Self {
            handle,
            events,
            known: BTreeMap::new(),
        })
    }

    /// For use beside [`Ports::follow`].
    #[must_use]
    pub fn host(&self) -> Host {
        Host(self.handle.clone())
    }

    /// Looks once.
    ///
    /// # Errors
    /// When links cannot be listed.
    pub async fn look(&mut self, rule: &PortRule, uplink: &str) -> Result<Seen, PortError> {
        let links = link::all(&self.handle).await;
        let links = links.map_err(|e| PortError::Netlink("list of links", e))?;
        let names: BTreeMap<u32, (&str, [u8; 6])> = links
            .iter()
            .map(|l| (l.index, (l.name.as_str(), l.mac)))
            .collect();
        let ports: Vec<&Link> = links
            .iter()
            .filter(|l| l.kind == Some(InfoKind::Veth))
            .filter(|l| {
                let master = l.master.and_then(|m| names.get(&m)).map(|(name, _)| *name);
                rule.takes(&l.name, master)
            })
            .collect();
        self.known
            .retain(|index, _| ports.iter().any(|l| l.index == *index));
        let stale: Vec<&Link> = ports.into_iter().filter(|l| self.is_stale(l)).collect();
        let inside = namespace::read(&self.handle, &stale).await;
        for link in stale {
            let bridge = link.master.and_then(|m| names.get(&m)).map(|(_, mac)| *mac);
            let host_mac = bridge.unwrap_or(link.mac);
            self.learn(link, inside.get(&link.index).cloned(), host_mac);
        }
        let uplink = links.iter().find(|l| l.name == uplink);
        Ok(Seen {
            ports: self
                .known
                .iter()
                .map(|(i, k)| (*i, k.facts.clone()))
                .collect(),
            uplink: uplink.map(|l| (l.index, l.mtu)),
            tunnel: links.iter().find(|l| l.name == TUNNEL).map(|l| l.index),
        })
    }

    /// Whether a port must be read: it is new, it changed, or it is a while ago.
    fn is_stale(&mut self, link: &Link) -> bool {
        self.known.get_mut(&link.index).is_none_or(|known| {
            known.looks = known.looks.saturating_add(1);
            known.link != *link || known.facts.addresses.is_empty() || known.looks > TRUSTED_LOOKS
        })
    }

    /// Notes what was read. Where nothing could be read of a veth that was read before, that stays: the
    /// other end of a veth is always the same.
    fn learn(&mut self, link: &Link, inside: Option<([u8; 6], Vec<Address>)>, host_mac: [u8; 6]) {
        let before = self
            .known
            .remove(&link.index)
            .filter(|known| known.link.peer == link.peer && known.link.namespace == link.namespace)
            .map(|known| (known.facts.pod_mac, known.facts.addresses));
        let (pod_mac, addresses) = inside.or(before).unwrap_or_default();
        let facts = PortFacts {
            name: link.name.clone(),
            addresses,
            pod_mac,
            host_mac,
        };
        let known = Known {
            link: link.clone(),
            facts,
            looks: 0,
        };
        self.known.insert(link.index, known);
    }

    /// Looks whenever a link changes, and from time to time, and tells what is new. Ends when nobody
    /// listens.
    pub async fn follow(
        mut self,
        rule: PortRule,
        uplink: String,
        tell: watch::Sender<Option<Seen>>,
    ) {
        loop {
            match self.look(&rule, &uplink).await {
                Ok(seen) => {
                    tell.send_if_modified(|old| {
                        let new = old.as_ref() != Some(&seen);
                        *old = Some(seen);
                        new
                    });
                }
                Err(error) => tracing::warn!(error = ?error, "ports could not be read"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                event = self.events.next() => {
                    if event.is_none() {
                        tracing::error!("netlink ended; ports are not followed any more");
                        return;
                    }
                    tokio::time::sleep(SETTLE).await;
                    while self.events.try_recv().is_ok() {}
                }
                () = tell.closed() => return,
            }
        }
    }
}

/// What the agent adds to this namespace and leaves there.
#[derive(Debug, Clone)]
pub struct Host(Handle);

impl Host {
    /// A route that answers "unreachable" for each prefix: nothing of ours leaks before, beside or after
    /// the programs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn hold_back(&self, pools: &[Prefix]) -> Result<(), PortError> {
        for pool in pools {
            let Some(base) = pool.base().v4() else {
                continue;
            };
            let route = RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .destination_prefix(base, pool.family_len())
                .kind(RouteType::Unreachable)
                .build();
            let added = self.0.route().add(route).replace().execute().await;
            added.map_err(|e| PortError::Netlink("unreachable route", e))?;
        }
        Ok(())
    }

    /// Makes the tunnel device if it is not there with this port, and gives its index.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn tunnel(&self, port: u16) -> Result<u32, PortError> {
        let handle = &self.0;
        let refused = |e| PortError::Netlink("tunnel device", e);
        let find = async || -> Result<Option<Link>, PortError> {
            let links = link::all(handle).await.map_err(refused)?;
            Ok(links.into_iter().find(|l| l.name == TUNNEL))
        };
        match find().await? {
            Some(link) if link.vxlan_port == Some(port) => return Ok(link.index),
            Some(link) => {
                let deleted = handle.link().del(link.index).execute().await;
                deleted.map_err(refused)?;
            }
            None => {}
        }
        let device: LinkMessage = LinkVxlan::new(TUNNEL, 0)
            .append_info_data(InfoVxlan::CollectMetadata(true))
            .append_info_data(InfoVxlan::Gbp)
            .append_info_data(InfoVxlan::Learning(false))
            .append_info_data(InfoVxlan::UDPCsum(false))
            .port(port)
            .mtu(TUNNEL_MTU)
            .build();
        let made = handle.link().add(device).execute().await;
        made.map_err(refused)?;
        let link = find().await?.ok_or(PortError::Missing(TUNNEL.to_owned()))?;
        let up = LinkUnspec::new_with_index(link.index).up().build();
        handle.link().set(up).execute().await.map_err(refused)?;
        Ok(link.index)
    }
}
