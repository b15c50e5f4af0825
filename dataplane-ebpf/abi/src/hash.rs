//! Pure: the keyed flow hash, the same in programs and in user space's models.

use crate::address::Address;

/// What a flow's hash is of. ICMP echo: the id is `source_port`, `destination_port` is 0. ClientIP affinity: both
/// ports and the protocol are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowTuple<A> {
    /// The client's own address.
    pub source: A,
    /// The destination in its owner's numbering (stage one: the VIP as dialled).
    pub destination: A,
    /// Network order.
    pub source_port: [u8; 2],
    /// Network order.
    pub destination_port: [u8; 2],
    /// As in the IP header.
    pub protocol: u8,
}

/// The hash that travels with the packets and picks gateways and endpoints.
#[inline(always)]
#[must_use]
pub fn flow_hash<A: Address>(seed: &[u8; 16], tuple: &FlowTuple<A>) -> u32 {
    keyed(seed, tuple, 0)
}

/// The hash by which stage one picks a cluster: independent of the other, or one cluster's share of the flows would
/// fall on few of its endpoints.
#[inline(always)]
#[must_use]
pub fn stage_one_hash<A: Address>(seed: &[u8; 16], tuple: &FlowTuple<A>) -> u32 {
    keyed(seed, tuple, 1)
}

/// SipHash-1-3's rounds over as many words as the family has (fixed, so without its length block).
#[inline(always)]
fn keyed<A: Address>(seed: &[u8; 16], t: &FlowTuple<A>, domain: u8) -> u32 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *seed;
    let k0 = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let k1 = u64::from_le_bytes([i, j, k, l, m, n, o, p]);
    let [sp0, sp1] = t.source_port;
    let [dp0, dp1] = t.destination_port;
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    for word in A::words(t.source, t.destination).as_ref() {
        v = absorbed(v, *word);
    }
    v = absorbed(
        v,
        u64::from_le_bytes([sp0, sp1, dp0, dp1, t.protocol, domain, 0, 0]),
    );
    v[2] ^= 0xff;
    v = round(round(round(v)));
    let sum = v[0] ^ v[1] ^ v[2] ^ v[3];
    (sum ^ (sum >> 32)) as u32
}

#[inline(always)]
const fn absorbed(mut v: [u64; 4], word: u64) -> [u64; 4] {
    v[3] ^= word;
    v = round(v);
    v[0] ^= word;
    v
}

#[inline(always)]
const fn round(v: [u64; 4]) -> [u64; 4] {
    let [mut a, mut b, mut c, mut d] = v;
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::address::V6;

    fn tuple(port: u16) -> FlowTuple<[u8; 4]> {
        FlowTuple {
            source: [10, 244, 0, 6],
            destination: [241, 0, 0, 9],
            source_port: port.to_be_bytes(),
            destination_port: [0, 80],
            protocol: 6,
        }
    }

    #[test]
    fn spreads_evenly_over_small_rings() {
        for modulus in [2_u32, 3, 8, 251] {
            let mut counts = std::vec![0_u32; modulus as usize];
            for port in 0..50_000_u16 {
                counts[(flow_hash(&[7; 16], &tuple(port)) % modulus) as usize] += 1;
            }
            let expected = f64::from(50_000) / f64::from(modulus);
            let chi: f64 = counts
                .iter()
                .map(|c| (f64::from(*c) - expected).powi(2) / expected)
                .sum();
            let degrees = f64::from(modulus - 1);
            assert!(
                chi < degrees + 5.0 * (2.0 * degrees).sqrt(),
                "modulus {modulus}: chi {chi}"
            );
        }
    }

    #[test]
    fn stages_are_independent() {
        let mut both = [[0_u32; 4]; 4];
        for port in 0..40_000_u16 {
            let (one, two) = (
                stage_one_hash(&[1; 16], &tuple(port)) % 4,
                flow_hash(&[1; 16], &tuple(port)) % 4,
            );
            both[one as usize][two as usize] += 1;
        }
        assert!(
            both.iter().flatten().all(|n| (2300..2700).contains(n)),
            "{both:?}"
        );
    }

    #[test]
    fn every_byte_of_an_ipv6_address_counts() {
        let of = |source, destination| {
            let tuple = FlowTuple {
                source: V6::new(source),
                destination: V6::new(destination),
                ..FlowTuple::default()
            };
            flow_hash(&[1; 16], &tuple)
        };
        let base = of([0; 16], [0; 16]);
        for at in 0..16 {
            let mut other = [0; 16];
            other[at] = 1;
            assert_ne!(of(other, [0; 16]), base, "source, {at}");
            assert_ne!(of([0; 16], other), base, "destination, {at}");
        }
    }

    #[test]
    fn depends_on_seed_and_every_field() {
        let base = flow_hash(&[1; 16], &tuple(1));
        assert_ne!(base, flow_hash(&[2; 16], &tuple(1)));
        assert_ne!(
            base,
            flow_hash(
                &[1; 16],
                &FlowTuple {
                    protocol: 17,
                    ..tuple(1)
                }
            )
        );
        assert_ne!(
            base,
            flow_hash(
                &[1; 16],
                &FlowTuple {
                    source: [1; 4],
                    ..tuple(1)
                }
            )
        );
        assert_ne!(
            base,
            flow_hash(
                &[1; 16],
                &FlowTuple {
                    destination: [1; 4],
                    ..tuple(1)
                }
            )
        );
        assert_ne!(
            base,
            flow_hash(
                &[1; 16],
                &FlowTuple {
                    destination_port: [1; 2],
                    ..tuple(1)
                }
            )
        );
    }
}
