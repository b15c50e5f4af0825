//! Shell: by which device this node reaches an address, and whether it would take that address' packets by another one.

use std::fs;
use std::net::IpAddr;

use futures::StreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteAttribute;

use super::PortError;
use super::host::{Host, refused};

/// Bits of a whole address.
const V4_BITS: u8 = 32;
const V6_BITS: u8 = 128;
/// `rp_filter` of ip-sysctl: only by the device that leads back; 2 is any that does.
const STRICT: u32 = 1;

impl Host {
    /// Index of the device that the kernel would send to that address by; `None`: it has no route, or one that refuses.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn device_to(&self, to: IpAddr) -> Result<Option<u32>, PortError> {
        let bits = if to.is_ipv4() { V4_BITS } else { V6_BITS };
        let Ok(builder) = RouteMessageBuilder::<IpAddr>::new().destination_prefix(to, bits) else {
            return Ok(None);
        };
        let asked = RouteNetlinkMessage::GetRoute(builder.build());
        let mut request = NetlinkMessage::from(asked);
        // Without the flag for a dump: this is a lookup, by rules and metrics as for a packet.
        request.header.flags = NLM_F_REQUEST;
        let mut handle = self.handle();
        let mut replies = handle
            .request(request)
            .map_err(refused("lookup of a route"))?;
        while let Some(reply) = replies.next().await {
            match reply.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                    return Ok(route
                        .attributes
                        .iter()
                        .find_map(|attribute| match attribute {
                            RouteAttribute::Oif(index) => Some(*index),
                            _ => None,
                        }));
                }
                NetlinkPayload::Error(_) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Whether the kernel drops what comes by this device from an address that another one leads back to (RFC 3704, strict).
/// The greater of the device's setting and that of all counts.
pub fn is_strict(device: &str) -> bool {
    let setting = |of: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{of}/rp_filter");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.trim().parse::<u32>().unwrap_or(0)
    };
    setting(device).max(setting("all")) == STRICT
}
