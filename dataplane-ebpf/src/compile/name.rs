//! Pure: the 48-bit names of endpoints. Every node of a cluster computes them alike, nobody else can.

use std::hash::Hasher;

use causeway_abi::Mac;
use causeway_proto::model::Address;
use siphasher::sip::SipHasher24;

/// The name of (address, protocol, port); ICMP has port 0.
#[must_use]
pub fn name(seed: &[u8; 16], address: Address, protocol: u8, port: u16) -> [u8; 6] {
    let mut hasher = SipHasher24::new_with_key(seed);
    hasher.write(&address.bytes());
    hasher.write(&[protocol]);
    hasher.write(&port.to_be_bytes());
    Mac::of_name(hasher.finish())
}

/// Tells one pod from another that has the same address later: the index of a port is not used twice.
#[must_use]
pub fn pod_generation(ifindex: u32, pod_mac: [u8; 6]) -> u32 {
    let mut hasher = SipHasher24::new();
    hasher.write(&ifindex.to_be_bytes());
    hasher.write(&pod_mac);
    u32::try_from(hasher.finish() >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_counts() {
        let address = |s: &str| s.parse::<Address>().unwrap();
        let base = name(&[1; 16], address("10.244.0.6"), 6, 8080);
        assert_eq!(base, name(&[1; 16], address("10.244.0.6"), 6, 8080));
        assert_eq!(base[0] & 3, 2, "locally administered, not multicast");
        assert_ne!(base, name(&[2; 16], address("10.244.0.6"), 6, 8080));
        assert_ne!(base, name(&[1; 16], address("10.244.0.7"), 6, 8080));
        assert_ne!(base, name(&[1; 16], address("10.244.0.6"), 17, 8080));
        assert_ne!(base, name(&[1; 16], address("10.244.0.6"), 6, 8081));
    }
}
