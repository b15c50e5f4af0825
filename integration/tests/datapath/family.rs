//! One test is of both families: what it says of IPv4 is translated to IPv6 (`packet::six`), keys of maps and frames alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod as Plain;
use causeway_abi::{
    FlowKey, FlowTuple, FrontendKey, LocalBackendKey, MapInKey, ReverseKey, V4, V6, flow_hash,
    names::ByFamily,
};
use causeway_integration::packet::{self, Frame};

use crate::world::{MSS, SEED, World, wide};

/// A key with an IPv4 address, and what stands for it in IPv6.
pub trait Keyed: Plain {
    type Six: Plain;

    fn six(self) -> Self::Six;
}

/// An address as IPv6.
pub fn six(address: V4) -> V6 {
    V6::new(packet::six::wide(address.into()))
}

impl Keyed for V4 {
    type Six = V6;

    fn six(self) -> V6 {
        six(self)
    }
}

impl Keyed for FrontendKey<V4> {
    type Six = FrontendKey<V6>;

    fn six(self) -> FrontendKey<V6> {
        let key = self.with(six(self.address));
        let protocol = packet::six::protocol(self.protocol);
        FrontendKey { protocol, ..key }
    }
}

impl Keyed for LocalBackendKey<V4> {
    type Six = LocalBackendKey<V6>;

    fn six(self) -> LocalBackendKey<V6> {
        self.with(six(self.address))
    }
}

impl Keyed for MapInKey<V4> {
    type Six = MapInKey<V6>;

    fn six(self) -> MapInKey<V6> {
        self.with(six(self.address))
    }
}

impl Keyed for ReverseKey<V4> {
    type Six = ReverseKey<V6>;

    fn six(self) -> ReverseKey<V6> {
        self.with(six(self.vip))
    }
}

impl Keyed for FlowKey<V4> {
    type Six = FlowKey<V6>;

    fn six(self) -> FlowKey<V6> {
        let key = self.with(six(self.local), six(self.remote));
        let protocol = packet::six::protocol(self.protocol);
        FlowKey { protocol, ..key }
    }
}

impl World {
    /// The map, or the program, of this world's family.
    pub fn name(&self, names: ByFamily) -> &'static str {
        if self.six { names.six } else { names.four }
    }

    /// See [`World::put`], of this world's family.
    pub fn put_of<K: Keyed, V: Plain>(&mut self, names: ByFamily, key: K, value: V) {
        if self.six {
            self.put(names.six, key.six(), value);
        } else {
            self.put(names.four, key, value);
        }
    }

    /// See [`World::put_of`].
    pub fn read_of<K: Keyed, V: Plain>(&mut self, names: ByFamily, key: K) -> Option<V> {
        if self.six {
            self.read(names.six, key.six())
        } else {
            self.read(names.four, key)
        }
    }

    /// See [`World::put_of`]; bits as of IPv4.
    pub fn put_prefix_of<K: Keyed, V: Plain>(
        &mut self,
        names: ByFamily,
        bits: u32,
        data: K,
        value: V,
    ) {
        if self.six {
            self.put_prefix(names.six, bits + 96, data.six(), value);
        } else {
            self.put_prefix(names.four, bits, data, value);
        }
    }

    /// See [`World::put_of`].
    pub fn remove_of<K: Keyed, V: Plain>(&mut self, names: ByFamily, key: K) {
        if self.six {
            self.remove::<_, V>(names.six, key.six());
        } else {
            self.remove::<_, V>(names.four, key);
        }
    }

    /// What an ICMP error has of this packet.
    pub fn quoted(&self, frame: &Frame) -> Vec<u8> {
        let bytes = self.build(frame);
        let quote = &bytes[14..14 + usize::from(self.header()) + 8];
        if self.six {
            return packet::six::quote4(quote).unwrap();
        }
        quote.to_vec()
    }

    /// An inner address as values have it.
    pub fn inner(&self, address: Ipv4Addr) -> V6 {
        if self.six {
            six(address.octets())
        } else {
            wide(address)
        }
    }

    /// An inner address as sockets have it.
    pub fn address(&self, address: Ipv4Addr) -> IpAddr {
        if self.six {
            Ipv6Addr::from(packet::six::wide(address)).into()
        } else {
            address.into()
        }
    }

    /// Bits of a prefix as values have them.
    pub fn bits(&self, four: u32) -> u32 {
        if self.six { four + 96 } else { four }
    }

    /// Bytes of a family's IP header without options.
    pub fn header(&self) -> u16 {
        if self.six { 40 } else { 20 }
    }

    /// What the tunnel takes of TCP.
    pub fn mss(&self) -> u16 {
        MSS + 20 - self.header()
    }

    /// The flow hash of what a tuple stands for.
    pub fn hash(&self, tuple: &FlowTuple<V4>) -> u32 {
        if !self.six {
            return flow_hash(&SEED, tuple);
        }
        let tuple = FlowTuple {
            source: six(tuple.source),
            destination: six(tuple.destination),
            source_port: tuple.source_port,
            destination_port: tuple.destination_port,
            protocol: packet::six::protocol(tuple.protocol),
        };
        flow_hash(&SEED, &tuple)
    }

    /// A frame taken apart.
    pub fn parse(&self, bytes: &[u8]) -> Frame {
        let parse = if self.six {
            Frame::parse6
        } else {
            Frame::parse
        };
        parse(bytes).unwrap()
    }

    /// Whether a frame's checksums are right.
    pub fn is_right(&self, bytes: &[u8]) -> bool {
        let verify = if self.six {
            Frame::verify6
        } else {
            Frame::verify
        };
        verify(bytes).is_ok()
    }

    /// The frame's bytes.
    pub fn build(&self, frame: &Frame) -> Vec<u8> {
        if self.six {
            frame.build6()
        } else {
            frame.build()
        }
    }
}
