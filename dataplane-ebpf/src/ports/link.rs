//! Shell: links as netlink lists them.

use futures::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage,
};

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
    /// UDP port of a collect-metadata VXLAN-GBP device.
    pub vxlan_port: Option<u16>,
}

/// All links of this namespace.
pub async fn all(handle: &Handle) -> Result<Vec<Link>, rtnetlink::Error> {
    let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
    Ok(links.iter().map(link).collect())
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
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
