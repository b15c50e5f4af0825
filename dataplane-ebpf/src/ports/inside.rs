//! Shell: the other ends of veths, read in their namespaces by netlink alone.
//!
//! Netlink names the namespace of a veth's other end by a number, and answers questions about a namespace of
//! that number to whoever may administer networks (`IFLA_TARGET_NETNSID`, `IFA_TARGET_NETNSID`). So no
//! namespace is entered, no process is looked at, and neither CAP_SYS_ADMIN nor the host's /proc is needed.

use std::collections::BTreeMap;

use causeway_proto::model::Address;
use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{Error, Handle};

use super::PortError;
use super::link::{self, Link};

/// Hardware address and addresses of an interface.
pub type Inside = ([u8; 6], Vec<Address>);

/// Asks about other namespaces. On a connection of its own: only with strict checks does the kernel look at
/// the namespace that a request for addresses names.
#[derive(Debug, Clone)]
pub struct Reader(Handle);

impl Reader {
    /// Opens the connection.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn open() -> Result<Self, PortError> {
        let opened = rtnetlink::new_connection_with_strict_check();
        let (connection, handle, _) = opened.map_err(PortError::Socket)?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// What sits at the other end of each link, by the link's index. One that cannot be read is left out: its
    /// pod may be going this moment.
    pub async fn read(&self, links: &[&Link]) -> BTreeMap<u32, Inside> {
        let mut found = BTreeMap::new();
        for link in links {
            let (Some(namespace), Some(peer)) = (link.namespace, link.peer) else {
                continue;
            };
            match self.interface(namespace, peer).await {
                Ok(Some(inside)) => {
                    found.insert(link.index, inside);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(link = link.name, ?error, "the other end could not be read");
                }
            }
        }
        found
    }

    async fn interface(&self, namespace: i32, index: u32) -> Result<Option<Inside>, Error> {
        let Some(mac) = self.mac(namespace, index).await? else {
            return Ok(None);
        };
        let mut request = self.0.address().get();
        let message = request.message_mut();
        message.header.index = index;
        let target = AddressAttribute::TargetNetNsId(namespace);
        message.attributes.push(target);
        let mut addresses = Vec::new();
        let mut answers = request.execute();
        while let Some(answer) = answers.try_next().await? {
            // A kernel that does not filter tells of all interfaces there.
            if answer.header.index == index {
                addresses.extend(link::own(&answer));
            }
        }
        Ok(Some((mac, addresses)))
    }

    /// The hardware address; `None` if there is no such interface.
    async fn mac(&self, namespace: i32, index: u32) -> Result<Option<[u8; 6]>, Error> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let target = LinkAttribute::IfNetnsId(namespace);
        message.attributes.push(target);
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(message));
        request.header.flags = NLM_F_REQUEST;
        let mut answers = self.0.clone().request(request)?;
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                    return Ok(Some(link::read(&message).mac));
                }
                NetlinkPayload::Error(error) => return Err(Error::NetlinkError(error)),
                _ => {}
            }
        }
        Ok(None)
    }
}
