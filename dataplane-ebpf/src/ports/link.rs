//! Shell: links, addresses and default routes as netlink lists them.

use std::net::{IpAddr, Ipv4Addr};

use causeway_proto::model::Address;
use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteType,
};
use rtnetlink::{Error, Handle, RouteMessageBuilder};

use super::uplink::Default4;

/// What of a link matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `veth`, `vxlan`, ...
    pub kind: Option<InfoKind>,
    /// Index of the bridge that it is enslaved to.
    pub master: Option<u32>,
    /// The other end's index, in the other end's namespace.
    pub peer: Option<u32>,
    /// That namespace, by its number here; none if it is this one.
    pub namespace: Option<i32>,
    /// Hardware address.
    pub mac: [u8; 6],
    /// MTU.
    pub mtu: u32,
    /// Whether it is `lo`.
    pub loopback: bool,
    /// Whether it was set up, not whether it has a carrier.
    pub up: bool,
    /// UDP port of a collect-metadata VXLAN-GBP device.
    pub vxlan_port: Option<u16>,
}

/// All links of this namespace.
pub async fn all(handle: &Handle) -> Result<Vec<Link>, Error> {
    let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
    Ok(links.iter().map(read).collect())
}

/// IPv4 addresses of this namespace by the index of their device.
pub async fn addresses(handle: &Handle) -> Result<Vec<(u32, Address)>, Error> {
    let all: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
    let mut found: Vec<(u32, Address)> = Vec::new();
    for message in all
        .iter()
        .filter(|m| m.header.family == AddressFamily::Inet)
    {
        found.extend(own(message).map(|address| (message.header.index, address)));
    }
    Ok(found)
}

/// The interface's own address. With `IFA_LOCAL` the other attribute is that of the other end; IPv6 has the other alone.
#[must_use]
pub fn own(message: &AddressMessage) -> Option<Address> {
    let find = |of: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(of);
    let local = find(|a| match a {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let address = || {
        find(|a| match a {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    };
    local.or_else(address).map(Address::from)
}

/// IPv4 default routes of the main table.
pub async fn defaults(handle: &Handle) -> Result<Vec<Default4>, Error> {
    let wanted = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let routes: Vec<RouteMessage> = handle.route().get(wanted).execute().try_collect().await?;
    Ok(routes.iter().flat_map(default_of).collect())
}

/// Whether packets pass this device: it is up, and its other end too, if that is here.
#[must_use]
pub fn passes(links: &[Link], index: u32) -> bool {
    let find = |index: u32| links.iter().find(|l| l.index == index);
    let passes = |link: &Link| {
        let here = link.peer.filter(|_| link.namespace.is_none());
        link.up && here.and_then(find).is_none_or(|peer| peer.up)
    };
    find(index).is_some_and(passes)
}

fn default_of(route: &RouteMessage) -> Vec<Default4> {
    let header = &route.header;
    let main = header.table == RouteHeader::RT_TABLE_MAIN && header.kind == RouteType::Unicast;
    if !main || header.destination_prefix_length != 0 {
        return Vec::new();
    }
    let mut metric = 0;
    let mut devices = Vec::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Oif(index) => devices.push(*index),
            RouteAttribute::MultiPath(hops) => {
                devices.extend(hops.iter().map(|hop: &RouteNextHop| hop.interface_index));
            }
            _ => {}
        }
    }
    devices.into_iter().map(|index| (index, metric)).collect()
}

/// A link out of netlink's message.
#[must_use]
pub fn read(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        up: message.header.flags.contains(LinkFlags::Up),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::Link(index) => link.peer = Some(*index),
            LinkAttribute::LinkNetNsId(id) => link.namespace = Some(*id),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(mac) => {
                link.mac = mac.as_slice().try_into().unwrap_or_default();
            }
            LinkAttribute::LinkInfo(info) => describe(&mut link, info),
            _ => {}
        }
    }
    link
}

fn describe(link: &mut Link, info: &[LinkInfo]) {
    for info in info {
        match info {
            LinkInfo::Kind(kind) => link.kind = Some(kind.clone()),
            LinkInfo::Data(InfoData::Vxlan(vxlan)) => {
                let ours = vxlan.contains(&InfoVxlan::CollectMetadata(true))
                    && vxlan.contains(&InfoVxlan::Gbp);
                link.vxlan_port = vxlan.iter().find_map(|info| match info {
                    InfoVxlan::Port(port) if ours => Some(*port),
                    _ => None,
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_address_is_the_local_one_where_there_are_two() {
        let told = |attributes: &[AddressAttribute]| {
            let mut message = AddressMessage::default();
            message.attributes.extend_from_slice(attributes);
            own(&message)
        };
        let (own_end, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let both = [
            AddressAttribute::Address(other),
            AddressAttribute::Local(own_end),
        ];
        assert_eq!(told(&both), Some(own_end.into()));
        let six: IpAddr = "fd00::6".parse().unwrap();
        assert_eq!(told(&[AddressAttribute::Address(six)]), Some(six.into()));
        assert_eq!(told(&[]), None);
    }
}
