//! Shell: what the agent adds to its namespace and leaves there: routes, the tunnel device, and the pair of devices by
//! which the node's own processes reach the clusterset.
//!
//! The pair is a veth whose one end has the node's address from the VIP pool and the routes of what is ours to
//! translate, and whose other end is a port like a pod's: the programs need not know that a node is no pod. A program at
//! the first end lets only the node's own packets out. A rule and a table that only these look at would do that too, but
//! the first rule of a namespace costs every packet in it the kernel's short way through the tables.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use causeway_proto::model::{Address, Prefix};
use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{InfoVxlan, LinkMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{
    AddressMessageBuilder, Error, Handle, LinkUnspec, LinkVeth, LinkVxlan, RouteMessageBuilder,
};

use super::PortError;
use super::link::{self, Link};
use super::tap::{self, SESSION};
use crate::compile::HostFacts;

/// The tunnel device's name.
pub const TUNNEL: &str = "cway0";
/// The device that has the node's address.
pub const HOST: &str = "cway-host";
/// Its other end, whose ingress is a port.
pub const HOST_PORT: &str = "cway-port";
/// MTU of the devices to other nodes and to the gateway: super-packets pass whole, and are cut behind them.
const TUNNEL_MTU: u32 = 65_000;
/// Marks routes as ours, beyond the numbers that routing daemons have.
const OURS: RouteProtocol = RouteProtocol::Other(241);
/// Behind any route that somebody else has for a pool.
const LAST_METRIC: u32 = u32::MAX;

/// Adds to this namespace, and takes away.
#[derive(Debug, Clone)]
pub struct Host(Handle);

/// The device of the node's own processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDevice {
    /// Of the end that has the address.
    pub index: u32,
    /// Of the other end, which is a port.
    pub facts: HostFacts,
}

/// What of ours was found.
#[derive(Debug, Clone)]
pub enum Thing {
    /// A device.
    Device(String, u32),
    /// A route.
    Route(RouteMessage),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(name, _) => write!(f, "device {name}"),
            Self::Route(route) => {
                let kind = format!("{:?}", route.header.kind).to_lowercase();
                let (to, bits) = destination(route);
                write!(f, "{kind} route to {to}/{bits}")
            }
        }
    }
}

pub(super) fn refused(what: &'static str) -> impl Fn(Error) -> PortError {
    move |error| PortError::Netlink(what, error)
}

impl Host {
    /// A connection of its own: one socket does one dump at a time, and the kernel refuses a second.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn open() -> Result<Self, PortError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(PortError::Socket)?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// A route that answers "unreachable" for each prefix: nothing of ours leaks before, beside or after
    /// the programs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn hold_back(&self, pools: &[Prefix]) -> Result<(), PortError> {
        for pool in pools {
            let route = RouteMessageBuilder::<IpAddr>::new()
                .destination_prefix(pool.base().ip(), pool.family_len())
                .map_err(|_| PortError::Missing("prefix of a pool"))?
                .kind(RouteType::Unreachable)
                .protocol(OURS)
                .priority(LAST_METRIC)
                .build();
            match self.0.route().add(route).replace().execute().await {
                // A node without IPv6 has no way for it to leak.
                Err(Error::NetlinkError(error)) if lacks_family(error.raw_code(), pool) => {}
                added => added.map_err(refused("unreachable route"))?,
            }
        }
        Ok(())
    }

    pub(super) fn handle(&self) -> Handle {
        self.0.clone()
    }

    async fn find(&self, name: &str) -> Result<Option<Link>, Error> {
        let links = link::all(&self.0).await?;
        Ok(links.into_iter().find(|l| l.name == name))
    }

    /// Whether packets pass the device of this index.
    pub async fn passes(&self, index: u32) -> bool {
        let links = link::all(&self.0).await.unwrap_or_default();
        link::passes(&links, index)
    }

    /// Makes the tunnel device if it is not there with this port, sets it up, and gives its index.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn tunnel(&self, port: u16) -> Result<u32, PortError> {
        let handle = &self.0;
        let refused = refused("tunnel device");
        let mut found = self.find(TUNNEL).await.map_err(&refused)?;
        if let Some(other) = found.take_if(|link| link.vxlan_port != Some(port)) {
            let deleted = handle.link().del(other.index).execute().await;
            deleted.map_err(&refused)?;
        }
        if found.is_none() {
            let made = handle.link().add(tunnel_device(port)).execute().await;
            made.map_err(&refused)?;
            found = self.find(TUNNEL).await.map_err(&refused)?;
        }
        let link = found.ok_or(PortError::Missing(TUNNEL))?;
        // Also one that was there: whoever made it may have been ended before this.
        let up = LinkUnspec::new_with_index(link.index).up().build();
        handle.link().set(up).execute().await.map_err(&refused)?;
        Ok(link.index)
    }

    /// Makes the device to this node's gateway if it is not there, sets it up, and gives its index.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn session(&self) -> Result<u32, PortError> {
        let refused = refused("device to the gateway");
        let mut found = self.find(SESSION).await.map_err(&refused)?;
        if found.is_none() {
            tap::open().map_err(PortError::Session)?;
            found = self.find(SESSION).await.map_err(&refused)?;
        }
        let link = found.ok_or(PortError::Missing(SESSION))?;
        let up = LinkUnspec::new_with_index(link.index).mtu(TUNNEL_MTU);
        let up = self.0.link().set(up.up().build()).execute().await;
        up.map_err(&refused)?;
        Ok(link.index)
    }

    /// Whether the device to the gateway is there, of an agent before this one.
    pub async fn has_session(&self) -> bool {
        matches!(self.find(SESSION).await, Ok(Some(_)))
    }

    /// Gives the node's own processes their address. Nothing goes out by it before [`Self::ways`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn node(&self, address: Address, mtu: u32) -> Result<OwnDevice, PortError> {
        let refused = refused("device of the node's own address");
        let Some(own) = address.v4() else {
            return Err(PortError::Missing("IPv4 address of the node"));
        };
        if self.find(HOST).await.map_err(&refused)?.is_none() {
            let pair = LinkVeth::new(HOST, HOST_PORT).build();
            let made = self.0.link().add(pair).execute().await;
            made.map_err(&refused)?;
        }
        let mut ends = Vec::with_capacity(2);
        for name in [HOST, HOST_PORT] {
            let link = self.find(name).await.map_err(&refused)?;
            let link = link.ok_or(PortError::Missing(name))?;
            // Nobody answers ARP there: all goes to the other end.
            let set = LinkUnspec::new_with_index(link.index).arp(false).mtu(mtu);
            let set = self.0.link().set(set.up().build()).execute().await;
            set.map_err(&refused)?;
            ends.push(link);
        }
        let [host, port] = ends.as_slice() else {
            return Err(PortError::Missing(HOST));
        };
        self.address(host.index, own).await.map_err(&refused)?;
        Ok(OwnDevice {
            index: host.index,
            facts: HostFacts {
                ifindex: port.index,
                address,
                mac: host.mac,
                port_mac: port.mac,
            },
        })
    }

    /// Exactly this address on the device.
    async fn address(&self, index: u32, own: Ipv4Addr) -> Result<(), Error> {
        let wanted = AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(own, 32)
            .build();
        let there: Vec<_> = self
            .0
            .address()
            .get()
            .set_link_index_filter(index)
            .execute()
            .try_collect()
            .await?;
        let add = self.0.address().add(index, own.into(), 32).replace();
        add.execute().await?;
        for old in there {
            let v4 = old.header.family == AddressFamily::Inet;
            if v4
                && old
                    .attributes
                    .iter()
                    .all(|a| !wanted.attributes.contains(a))
            {
                self.0.address().del(old).execute().await?;
            }
        }
        Ok(())
    }

    /// The way to these prefixes for the node's own processes, and to nothing else. The program that keeps others off it
    /// must be there. A route that somebody else has for one of them stays theirs.
    ///
    /// # Errors
    /// When the kernel refuses, or a prefix is taken; the others have their routes then.
    pub async fn ways(&self, device: &OwnDevice, prefixes: &[Prefix]) -> Result<(), PortError> {
        let refused = refused("routes of the node's own address");
        let Some(own) = device.facts.address.v4() else {
            return Ok(());
        };
        let by = RouteAttribute::Oif(device.index);
        let mut there = self.routes().await.map_err(&refused)?;
        there.retain(|route| route.attributes.contains(&by));
        let ours: Vec<_> = there.iter().map(destination).collect();
        let wanted: Vec<_> = prefixes.iter().filter_map(v4).collect();
        let is_wanted = |to: &(IpAddr, u8)| {
            wanted
                .iter()
                .any(|(base, bits)| *to == (IpAddr::V4(*base), *bits))
        };
        let mut taken = None;
        for (base, bits) in &wanted {
            let route = RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(*base, *bits)
                .output_interface(device.index)
                .pref_source(own)
                .scope(RouteScope::Link)
                .protocol(OURS)
                .build();
            let add = self.0.route().add(route);
            let added = if ours.contains(&(IpAddr::V4(*base), *bits)) {
                add.replace().execute().await
            } else {
                add.execute().await
            };
            match added {
                Err(Error::NetlinkError(error)) if is_there(error.raw_code()) => {
                    taken = taken.or(Some(PortError::Taken(*base, *bits)));
                }
                added => added.map_err(&refused)?,
            }
        }
        for old in there {
            if !is_wanted(&destination(&old)) {
                self.0.route().del(old).execute().await.map_err(&refused)?;
            }
        }
        taken.map_or(Ok(()), Err)
    }

    async fn routes(&self) -> Result<Vec<RouteMessage>, Error> {
        let four = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let six = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let mut ours = Vec::new();
        for wanted in [four, six] {
            let routes = self.0.route().get(wanted).execute();
            let routes: Vec<RouteMessage> = routes.try_collect().await?;
            ours.extend(routes.into_iter().filter(|r| r.header.protocol == OURS));
        }
        Ok(ours)
    }

    /// All that an agent has added here, by any start.
    ///
    /// # Errors
    /// When something cannot be listed.
    pub async fn remains(&self) -> Result<Vec<Thing>, PortError> {
        let refused = refused("list of what is ours");
        let routes = self.routes().await.map_err(&refused)?;
        let links = link::all(&self.0).await.map_err(&refused)?;
        let devices = links
            .into_iter()
            .filter(|l| [TUNNEL, SESSION, HOST, HOST_PORT].contains(&l.name.as_str()));
        let devices = devices.map(|l| Thing::Device(l.name, l.index));
        Ok(routes
            .into_iter()
            .map(Thing::Route)
            .chain(devices)
            .collect())
    }

    /// Takes one away. What went with something else is as good.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove(&self, thing: &Thing) -> Result<(), PortError> {
        let handle = &self.0;
        let done = match thing.clone() {
            Thing::Device(_, index) => handle.link().del(index).execute().await,
            Thing::Route(route) => handle.route().del(route).execute().await,
        };
        match done {
            Err(Error::NetlinkError(error)) if is_absent(error.raw_code()) => Ok(()),
            done => done.map_err(refused("removal")),
        }
    }
}

fn tunnel_device(port: u16) -> LinkMessage {
    LinkVxlan::new(TUNNEL, 0)
        .append_info_data(InfoVxlan::CollectMetadata(true))
        .append_info_data(InfoVxlan::Gbp)
        .append_info_data(InfoVxlan::Learning(false))
        .append_info_data(InfoVxlan::UDPCsum(false))
        .port(port)
        .mtu(TUNNEL_MTU)
        .build()
}

fn destination(route: &RouteMessage) -> (IpAddr, u8) {
    let to = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(RouteAddress::Inet(to)) => Some(IpAddr::V4(*to)),
        RouteAttribute::Destination(RouteAddress::Inet6(to)) => Some(IpAddr::V6(*to)),
        _ => None,
    });
    let bits = route.header.destination_prefix_length;
    (to.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), bits)
}

/// Whether the kernel knows no such family.
fn lacks_family(code: i32, prefix: &Prefix) -> bool {
    let lacks = [libc::EAFNOSUPPORT, libc::EOPNOTSUPP].contains(&code.saturating_neg());
    lacks && !prefix.base().is_v4()
}

fn is_absent(code: i32) -> bool {
    [libc::ENODEV, libc::ESRCH, libc::ENOENT].contains(&code.saturating_neg())
}

fn is_there(code: i32) -> bool {
    code.saturating_neg() == libc::EEXIST
}

fn v4(prefix: &Prefix) -> Option<(Ipv4Addr, u8)> {
    prefix.base().v4().map(|base| (base, prefix.family_len()))
}
