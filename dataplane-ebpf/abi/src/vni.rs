//! Pure: what a tunnel packet says outside of the inner IP packet: the VNI, and the inner MAC bytes.

/// The 24-bit VNI, from the most significant bit: number (12), direction, first, reply, passed on, probe, 7 zero bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vni {
    /// The other cluster's number in the receiver's numbering, 0 = own cluster; 12 bits.
    pub number: u16,
    /// From the numbered cluster; else towards it.
    pub from: bool,
    /// The client's entry has seen no answer yet.
    pub first: bool,
    /// Made by an answering entry: skips both stages, must hit a client's entry.
    pub reply: bool,
    /// From one end node to the other, or from one gateway to another of the same cluster: not to be passed on again.
    pub passed_on: bool,
    /// Not traffic: is the data path alive?
    pub probe: bool,
}

const FROM: u32 = 1 << 11;
const FIRST: u32 = 1 << 10;
const REPLY: u32 = 1 << 9;
const PASSED_ON: u32 = 1 << 8;
const PROBE: u32 = 1 << 7;
const ZERO: u32 = 0x7f;

impl Vni {
    /// As the tunnel key's id. The number's upper four bits must be zero; they are cut off.
    #[inline(always)]
    #[must_use]
    pub const fn encode(self) -> u32 {
        ((self.number as u32 & 0xfff) << 12)
            | if self.from { FROM } else { 0 }
            | if self.first { FIRST } else { 0 }
            | if self.reply { REPLY } else { 0 }
            | if self.passed_on { PASSED_ON } else { 0 }
            | if self.probe { PROBE } else { 0 }
    }

    /// `None` where a bit that must be zero is not.
    #[inline(always)]
    #[must_use]
    pub const fn decode(id: u32) -> Option<Self> {
        if id & ZERO != 0 || id >> 24 != 0 {
            return None;
        }
        Some(Self {
            number: (id >> 12) as u16,
            from: id & FROM != 0,
            first: id & FIRST != 0,
            reply: id & REPLY != 0,
            passed_on: id & PASSED_ON != 0,
            probe: id & PROBE != 0,
        })
    }
}

/// "No name" in an inner MAC. Not all zero bytes: the kernel's VXLAN device drops frames whose source MAC is not a
/// valid one (`vxlan_set_mac`, since 6.10 and in stable branches).
pub const MAC_NONE: [u8; 6] = [0x02, 0, 0, 0, 0, 0];

/// The forms of inner MAC bytes.
pub struct Mac;

impl Mac {
    /// A flow hash, as destination between and towards gateways (source: [`MAC_NONE`]).
    #[inline(always)]
    #[must_use]
    pub const fn of_hash(hash: u32) -> [u8; 6] {
        let [a, b, c, d] = hash.to_be_bytes();
        [0x02, 0, a, b, c, d]
    }

    /// The flow hash in a destination.
    #[inline(always)]
    #[must_use]
    pub const fn hash(mac: [u8; 6]) -> u32 {
        let [_, _, a, b, c, d] = mac;
        u32::from_be_bytes([a, b, c, d])
    }

    /// What a tunnel packet's header says, as source between the programs and this node's gateway (destination:
    /// [`Mac::of_hash`]): that device has no header of its own.
    #[inline(always)]
    #[must_use]
    pub const fn of_header(vni: Vni, identity: u16) -> [u8; 6] {
        let [_, a, b, c] = vni.encode().to_be_bytes();
        let [d, e] = identity.to_be_bytes();
        [0x02, a, b, c, d, e]
    }

    /// The header in a source: VNI and identity number. `None` where it cannot be one.
    #[inline(always)]
    #[must_use]
    pub const fn header(mac: [u8; 6]) -> Option<(Vni, u16)> {
        let [form, a, b, c, d, e] = mac;
        if form != 0x02 {
            return None;
        }
        match Vni::decode(u32::from_be_bytes([0, a, b, c])) {
            Some(vni) => Some((vni, u16::from_be_bytes([d, e]))),
            None => None,
        }
    }

    /// An endpoint's name: the low 48 bits of a keyed hash, locally administered, not multicast, never [`MAC_NONE`].
    #[must_use]
    pub const fn of_name(hash: u64) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = hash.to_be_bytes();
        let mac = [(a | 0x02) & !0x01, b, c, d, e, f];
        if mac[0] == 0x02 && b == 0 && c == 0 && d == 0 && e == 0 && f == 0 {
            return [0x02, 0, 0, 0, 0, 1];
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vni_round_trip() {
        for bits in 0..32_u32 {
            for number in [0, 1, 7, 4095] {
                let vni = Vni {
                    number,
                    from: bits & 1 != 0,
                    first: bits & 2 != 0,
                    reply: bits & 4 != 0,
                    passed_on: bits & 8 != 0,
                    probe: bits & 16 != 0,
                };
                assert!(vni.encode() < 1 << 24);
                assert_eq!(Vni::decode(vni.encode()), Some(vni));
            }
        }
        assert_eq!(
            Vni {
                number: 0xabc,
                from: true,
                ..Vni::default()
            }
            .encode(),
            0xabc800
        );
    }

    #[test]
    fn vni_refuses_set_zero_bits() {
        assert_eq!(Vni::decode(1), None);
        assert_eq!(Vni::decode(0x40), None);
        assert_eq!(Vni::decode(1 << 24), None);
    }

    #[test]
    fn macs() {
        assert_eq!(Mac::hash(Mac::of_hash(0xdead_beef)), 0xdead_beef);
        assert_eq!(
            Mac::of_name(0xffff_ffff_ffff_ffff),
            [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]
        );
        assert_eq!(Mac::of_name(0x1234_0000_0000_0000), [0x02, 0, 0, 0, 0, 1]);
        assert_ne!(Mac::of_name(0), MAC_NONE);
    }

    #[test]
    fn a_header_is_a_locally_administered_mac() {
        let vni = Vni {
            number: 4095,
            from: true,
            reply: true,
            ..Vni::default()
        };
        for identity in [0, 1, u16::MAX] {
            let mac = Mac::of_header(vni, identity);
            assert_eq!(mac.first(), Some(&0x02));
            assert_eq!(Mac::header(mac), Some((vni, identity)));
        }
        assert_eq!(Mac::header([0x03, 0, 0, 0, 0, 0]), None);
        assert_eq!(Mac::header([0x02, 0, 0, 1, 0, 0]), None);
    }
}
