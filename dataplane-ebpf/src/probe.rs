//! Shell: a probe of the data path to each gateway of each peer, once a second from gateway nodes: the
//! second evidence of life. The programs note what they hear and answer what they are asked.

use std::net::SocketAddrV4;

use causeway_abi::{MAC_NONE, Vni};
use causeway_proto::model::{Address, Encryption, NodeName, View};
use tokio::net::UdpSocket;

/// "The I bit is set": there is a VNI (RFC 7348, section 5).
const HAS_VNI: u8 = 0x08;
/// For local experiments (IEEE 802): nobody takes the inner frame for traffic.
const INNER_TYPE: [u8; 2] = [0x88, 0xb5];
/// Of the inner frame: what Ethernet carries at least.
const PADDING: usize = 46;

/// The UDP payload of a probe: VXLAN header and an inner frame of nothing.
#[must_use]
pub fn packet(number: u16) -> Vec<u8> {
    let vni = Vni {
        number,
        from: true,
        probe: true,
        ..Vni::default()
    };
    let [_, high, middle, low] = vni.encode().to_be_bytes();
    let mut packet = vec![HAS_VNI, 0, 0, 0, high, middle, low, 0];
    packet.extend(MAC_NONE);
    packet.extend(MAC_NONE);
    packet.extend(INNER_TYPE);
    packet.resize(packet.len().saturating_add(PADDING), 0);
    packet
}

/// Sends from one address.
#[derive(Debug, Default)]
pub struct Prober {
    /// What the peer has listed, and a socket that has it.
    socket: Option<(Address, UdpSocket)>,
}

impl Prober {
    /// One probe to each gateway of each peer that takes plain packets, if `node` runs a gateway.
    pub async fn send(&mut self, view: &View, node: &NodeName, outer: Address) {
        if !view.gateways.values().any(|n| n == node) {
            return;
        }
        if self.socket.as_ref().is_none_or(|(own, _)| *own != outer) {
            let bound = UdpSocket::bind((outer.ip(), 0)).await.ok();
            self.socket = bound.map(|socket| (outer, socket));
        }
        let Some((_, socket)) = &self.socket else {
            return;
        };
        let plain = view
            .peers
            .values()
            .filter(|p| p.encryption == Encryption::Plain);
        for peer in plain {
            let Some(number) = peer.our_number_there else {
                continue;
            };
            for gateway in peer.gateways.iter().filter_map(|a| a.v4()) {
                let to = SocketAddrV4::new(gateway, view.tunnel_port);
                let packet = packet(number.number());
                // A gateway that is away gives errors here; its silence is what tells.
                if let Err(error) = socket.send_to(&packet, to).await {
                    tracing::trace!(%gateway, %error, "probe");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_vxlan() {
        let packet = packet(7);
        assert_eq!(packet[..4], [0x08, 0, 0, 0]);
        let id = u32::from_be_bytes([0, packet[4], packet[5], packet[6]]);
        let vni = Vni::decode(id).unwrap();
        assert_eq!(
            (vni.number, vni.from, vni.probe, vni.reply),
            (7, true, true, false)
        );
        assert_eq!(packet.len(), 8 + 14 + 46);
    }
}
