//! Shell: netlink. Which devices may be pod-side ports and which addresses sit behind them; the uplink; what
//! the agent adds to its namespace.
//!
//! A port's address is read inside the pod's namespace and nowhere else: not from ARP, not from the
//! bridge's table, not from traffic, all of which a pod can write. `compile` takes it only where the View
//! confirms it.

mod host;
mod inside;
mod link;
mod tap;
mod uplink;
pub mod ways;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::InfoKind;
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::watch;

use crate::compile::PortFacts;
use crate::config::PortRule;
pub use host::{HOST, HOST_PORT, Host, OwnDevice, TUNNEL, Thing};
use inside::{Inside, Reader};
use link::Link;
pub use tap::{SESSION, open as open_session};
pub use uplink::{Asked, NoUplink, Uplink};

/// How long changes of links are collected before a look.
const SETTLE: Duration = Duration::from_millis(30);
/// A look without an event: addresses inside pods change without one here.
const LOOK: Duration = Duration::from_secs(1);
/// A look while a new port has no address yet: what makes pods gives it in the next moments.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// How long a port counts as new.
const NEW_LOOKS: u32 = 100;
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
    /// The device to the gateway cannot be made.
    #[error("device cway-session: is there a /dev/net/tun?")]
    Session(#[source] std::io::Error),
    /// Somebody else's route is there.
    #[error(
        "{0}/{1} has a route here that is not ours; processes of this node reach no peer there: should it be `native`?"
    )]
    Taken(Ipv4Addr, u8),
    /// The device was made and is not there.
    #[error("no {0}")]
    Missing(&'static str),
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Which devices are pod-side ports; `None`: each veth whose other end is in another namespace may be one.
    pub ports: Option<PortRule>,
    /// The uplink.
    pub uplink: Asked,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What may be pod-side ports, by index.
    pub ports: BTreeMap<u32, PortFacts>,
    /// The uplink.
    pub uplink: Result<Uplink, NoUplink>,
    /// The index of the tunnel device, if packets pass it.
    pub tunnel: Option<u32>,
    /// The index of the device to this node's gateway, if packets pass it.
    pub session: Option<u32>,
    /// The index of the port of the node's own processes, if packets pass it.
    pub host: Option<u32>,
}

/// A connection to netlink in this namespace.
pub struct Ports {
    handle: Handle,
    reader: Reader,
    events: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    known: BTreeMap<u32, Known>,
}

/// A port as read before.
struct Known {
    link: Link,
    facts: PortFacts,
    /// Since it was read.
    looks: u32,
    /// Since it was first seen, or changed.
    age: u32,
}

impl Ports {
    /// Opens netlink and asks for events of links and routes: some networks tell of a new pod by its route.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn open() -> Result<Self, PortError> {
        let (connection, handle, events) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
        ])
        .map_err(PortError::Socket)?;
        tokio::spawn(connection);
        Ok(Self {
            handle,
            reader: Reader::open()?,
            events,
            known: BTreeMap::new(),
        })
    }

    /// Looks once.
    ///
    /// # Errors
    /// When links cannot be listed.
    pub async fn look(&mut self, wanted: &Wanted) -> Result<Seen, PortError> {
        let links = link::all(&self.handle).await;
        let links = links.map_err(|e| PortError::Netlink("list of links", e))?;
        let names: BTreeMap<u32, (&str, [u8; 6])> = links
            .iter()
            .map(|l| (l.index, (l.name.as_str(), l.mac)))
            .collect();
        let ports: Vec<&Link> = links
            .iter()
            .filter(|l| l.kind == Some(InfoKind::Veth) && l.namespace.is_some())
            .filter(|l| {
                let master = l.master.and_then(|m| names.get(&m)).map(|(name, _)| *name);
                let rule = wanted.ports.as_ref();
                rule.is_none_or(|rule| rule.takes(&l.name, master))
            })
            .collect();
        self.known
            .retain(|index, _| ports.iter().any(|l| l.index == *index));
        let stale: Vec<&Link> = ports.into_iter().filter(|l| self.is_stale(l)).collect();
        let inside = self.reader.read(&stale).await;
        for link in stale {
            let bridge = link.master.and_then(|m| names.get(&m)).map(|(_, mac)| *mac);
            let host_mac = bridge.unwrap_or(link.mac);
            self.learn(link, inside.get(&link.index).cloned(), host_mac);
        }
        let by_name = |name: &str| {
            let found = links.iter().find(|l| l.name == name).map(|l| l.index);
            found.filter(|index| link::passes(&links, *index))
        };
        Ok(Seen {
            ports: self
                .known
                .iter()
                .map(|(i, k)| (*i, k.facts.clone()))
                .collect(),
            uplink: self.uplink(&wanted.uplink, &links).await?,
            tunnel: by_name(TUNNEL),
            session: by_name(SESSION),
            host: by_name(HOST_PORT),
        })
    }

    async fn uplink(
        &self,
        asked: &Asked,
        links: &[Link],
    ) -> Result<Result<Uplink, NoUplink>, PortError> {
        let addresses = link::addresses(&self.handle).await;
        let addresses = addresses.map_err(|e| PortError::Netlink("list of addresses", e))?;
        match uplink::choose(asked, links, &addresses, &[]) {
            // Only now: where every pod is a route there are many.
            Err(NoUplink::NoDefault | NoUplink::NoHolder(_)) => {
                let defaults = link::defaults(&self.handle).await;
                let defaults = defaults.map_err(|e| PortError::Netlink("list of routes", e))?;
                Ok(uplink::choose(asked, links, &addresses, &defaults))
            }
            chosen => Ok(chosen),
        }
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
    fn learn(&mut self, link: &Link, inside: Option<Inside>, host_mac: [u8; 6]) {
        let before = self.known.remove(&link.index);
        let age = before
            .as_ref()
            .filter(|known| known.link == *link)
            .map_or(0, |known| known.age.saturating_add(1));
        let before = before
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
            age,
        };
        self.known.insert(link.index, known);
    }

    /// Whether somebody is about to give a new port its address.
    fn expects(&self) -> bool {
        let mut known = self.known.values();
        known.any(|known| known.facts.addresses.is_empty() && known.age < NEW_LOOKS)
    }

    /// Looks whenever something changes, and from time to time, and tells what is new. Ends when nobody
    /// listens.
    pub async fn follow(mut self, wanted: Wanted, tell: watch::Sender<Option<Seen>>) {
        loop {
            match self.look(&wanted).await {
                Ok(seen) => {
                    tell.send_if_modified(|old| {
                        let new = old.as_ref() != Some(&seen);
                        *old = Some(seen);
                        new
                    });
                }
                Err(error) => tracing::warn!(error = ?error, "ports could not be read"),
            }
            let pause = if self.expects() { LOOK_SOON } else { LOOK };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
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
