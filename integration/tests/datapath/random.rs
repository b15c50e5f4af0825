//! Random packets: whatever comes out has right checksums, and no bytes make a program do something else than pass,
//! redirect or drop with one reason. The same packets each time: a failure is found again.

use std::net::Ipv4Addr;

use causeway_abi::{MAC_NONE, Mac, Vni, config_flags, route_flags};
use causeway_integration::packet::{Frame, Transport};

use crate::world::{
    B1, C, EMPTY, EXPORTED, GATEWAY, HAIRPIN, IMPORTED, MAPPED, NAME_1, NAME_2, NODE_2, Outcome,
    PEER, REMOTE, SELF_MAPPED, SESSION, THEIR_VIP, Tunnel, ip, with_world,
};

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next(of.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.next(most + 1))
            .map(|_| self.next(256) as u8)
            .collect()
    }

    fn transport(&mut self) -> Transport {
        let ports = [80, 53, 5432, 8080, 40_000, 40_001, 0];
        let (source, destination) = (self.one(&ports), self.one(&ports));
        let data = self.bytes(300);
        match self.next(8) {
            0..4 => {
                let mut options = self.bytes(40);
                options.resize(options.len() / 4 * 4, 1);
                let (sequence, acknowledgement) =
                    (self.next(1 << 32) as u32, self.next(1 << 32) as u32);
                let flags = self.next(64) as u8;
                Transport::Tcp {
                    source,
                    destination,
                    sequence,
                    acknowledgement,
                    flags,
                    options,
                    data,
                }
            }
            4 | 5 => Transport::Udp {
                source,
                destination,
                checksum: self.next(4) != 0,
                data,
            },
            6 => {
                let kind = self.one(&[0, 3, 5, 8, 8, 11]);
                Transport::Icmp {
                    kind,
                    code: self.one(&[0, 0, 3]),
                    rest: [0, 5, 0, 1],
                    data,
                }
            }
            _ => Transport::Raw {
                protocol: self.one(&[132, 47, 6, 17, 1]),
                data,
            },
        }
    }

    fn frame(&mut self, sources: &[Ipv4Addr], destinations: &[Ipv4Addr]) -> Frame {
        let mut options = if self.next(4) == 0 {
            self.bytes(40)
        } else {
            Vec::new()
        };
        options.resize(options.len() / 4 * 4, 1);
        let transport = self.transport();
        Frame {
            destination_mac: self.one(&[NAME_1, NAME_2, MAC_NONE]),
            source_mac: self.one(&[NAME_1, NAME_2, MAC_NONE]),
            tos: self.next(256) as u8,
            ttl: self.one(&[64, 64, 64, 2, 1]),
            fragment: self.one(&[0x4000, 0x4000, 0x4000, 0, 0x2000]),
            options,
            padding: self.one(&[0, 0, 6]),
            ..Frame::new(self.one(sources), self.one(destinations), transport)
        }
    }

    fn header(&mut self) -> Tunnel {
        let mut bit = || self.next(3) == 0;
        let vni = Vni {
            number: PEER,
            from: !bit(),
            first: bit(),
            reply: bit(),
            passed_on: bit(),
            probe: false,
        };
        let vni = Vni {
            number: if self.next(4) == 0 { 0 } else { PEER },
            ..vni
        };
        Tunnel {
            vni: vni.encode(),
            node: self.one(&[GATEWAY, NODE_2]),
            identity: 7,
        }
    }

    /// A header as the gateway writes it.
    fn session(&mut self) -> [u8; 6] {
        let header = self.header();
        Vni::decode(header.vni).map_or(NAME_1, |vni| Mac::of_header(vni, header.identity))
    }
}

fn sane(outcome: &Outcome, verified: bool) {
    match outcome.verdict {
        -1 => assert_eq!(outcome.dropped, None, "{outcome:?}"),
        2 => assert!(outcome.dropped.is_some(), "{outcome:?}"),
        7 if verified => drop(outcome.frame()),
        7 => (),
        other => panic!("verdict {other}: {outcome:?}"),
    }
}

const SOURCES: [Ipv4Addr; 6] = [C, C, B1, MAPPED, THEIR_VIP, SELF_MAPPED];
const DESTINATIONS: [Ipv4Addr; 10] = [
    IMPORTED,
    EXPORTED,
    REMOTE,
    HAIRPIN,
    EMPTY,
    MAPPED,
    SELF_MAPPED,
    C,
    B1,
    ip(243, 1, 1, 1),
];

#[test]
fn checksums_are_right_whatever_comes() {
    with_world(|world| {
        world.configure(|config| {
            config.flags = config_flags::GATEWAY;
            config.session_ifindex = SESSION;
        });
        let mut random = Random(0x5eed);
        let mut redirected = 0;
        for round in 0..8000 {
            let encrypted = round >= 4000;
            if round == 4000 {
                world.route(route_flags::SESSION | route_flags::HERE);
            }
            let frame = random.frame(&SOURCES, &DESTINATIONS);
            let outcome = match random.next(3) {
                0 => world.pod(&frame),
                1 => world.pod_as(frame.source, &frame),
                _ if encrypted && random.next(2) == 0 => {
                    let source_mac = random.session();
                    world.session(&Frame {
                        source_mac,
                        ..frame.clone()
                    })
                }
                _ => world.tunnel(random.header(), &frame),
            };
            // Garbage under a protocol's number had no right checksum before either.
            sane(&outcome, world.is_right(&world.build(&frame)));
            redirected += usize::from(outcome.verdict == 7);
        }
        assert!(redirected > 800, "only {redirected} went anywhere");
    });
}

#[test]
fn any_bytes_are_taken() {
    with_world(|world| {
        world.gateway();
        let mut random = Random(0xb17e5);
        for _ in 0..3000 {
            let mut bytes = world.build(&random.frame(&SOURCES, &DESTINATIONS));
            for _ in 0..=random.next(4) {
                let at = 14 + random.next(bytes.len() - 14);
                bytes[at] = random.next(256) as u8;
            }
            bytes.truncate((bytes.len() - random.next(40)).max(54));
            let outcome = if random.next(2) == 0 {
                world.pod_bytes(&bytes)
            } else {
                world.tunnel_bytes(random.header(), &bytes)
            };
            sane(&outcome, false);
        }
    });
}
