//! Every drop reason, reached by at least one packet.

use causeway_abi::{DropReason, FlowKey, FlowKind, MAC_NONE, Vni, names, protocol, route_flags};
use causeway_integration::packet::{Frame, Transport, flags};

use crate::{
    client::REPLY,
    gateway::{from_peer, hashed},
    world::{
        B1, B1_PORT, C, DANGLING, EMPTY, EXPORTED, GATEWAY, IMPORTED, LOOPBACK, LOST, MAPPED,
        NAME_1, NAME_2, NODE, NODE_2, Outcome, PEER, PEER_NODE, THEIR_VIP, TWIN, Tunnel, World, ip,
        with_world,
    },
};

fn syn(to: std::net::Ipv4Addr) -> Frame {
    Frame::new(C, to, Transport::tcp(40_000, 80, flags::SYN))
}

fn own(vni: Vni) -> Tunnel {
    Tunnel {
        vni: vni.encode(),
        node: NODE_2,
        identity: 0,
    }
}

/// No single packet reaches these: only a kernel out of memory refuses what the programs ask of it, and only a host that
/// forwards says by which device a packet came (the agent's walk has one).
const ELSEWHERE: [DropReason; 2] = [DropReason::KernelRefused, DropReason::Forwarded];

/// A way to reach this reason; `None` where a single packet cannot.
fn reach(world: &mut World, reason: DropReason) -> Option<Vec<Outcome>> {
    if ELSEWHERE.contains(&reason) {
        return None;
    }
    let packets = of_pods(world, reason)
        .or_else(|| of_services(world, reason))
        .or_else(|| of_the_tunnel(world, reason))
        .or_else(|| of_endpoints(world, reason));
    Some(packets.unwrap_or_default())
}

fn of_pods(world: &mut World, reason: DropReason) -> Option<Vec<Outcome>> {
    Some(match reason {
        DropReason::NotConfigured => {
            world.configure(|config| config.layout = 0);
            vec![world.tunnel(from_peer(true), &syn(EXPORTED))]
        }
        DropReason::PodToTunnelPort => {
            let frame = Frame::new(C, ip(8, 8, 8, 8), Transport::udp(1, 7472, b"forged"));
            let options = vec![1; 8];
            let behind_options = Frame {
                options,
                ..frame.clone()
            };
            vec![world.pod(&frame), world.pod(&behind_options)]
        }
        DropReason::UnknownPort => {
            world.remove::<u32, causeway_abi::Port>(names::PORTS, LOOPBACK);
            vec![world.pod(&syn(IMPORTED))]
        }
        DropReason::SpoofedSource => {
            vec![world.pod(&Frame::new(B1, IMPORTED, Transport::tcp(1, 80, flags::SYN)))]
        }
        DropReason::TooBig => {
            world.route_of(route_flags::DIRECT_REPLY, 700);
            let large = Transport::udp(5000, 53, &[0; 1500]);
            vec![world.pod(&Frame::new(C, IMPORTED, large))]
        }
        DropReason::Fragment => [0x2000, 0x0001, 0x2001]
            .map(|fragment| {
                world.pod(&Frame {
                    fragment,
                    ..syn(IMPORTED)
                })
            })
            .into_iter()
            .chain([world.tunnel(
                from_peer(true),
                &Frame {
                    fragment: 0x2000,
                    ..syn(EXPORTED)
                },
            )])
            .collect(),
        DropReason::TtlExpired => vec![
            world.pod(&Frame {
                ttl: 1,
                ..syn(IMPORTED)
            }),
            world.tunnel(
                from_peer(true),
                &Frame {
                    ttl: 0,
                    ..syn(EXPORTED)
                },
            ),
        ],
        DropReason::NoRoute => vec![world.pod(&syn(LOST))],
        DropReason::NoMapping => vec![world.pod(&syn(ip(243, 0, 0, 1)))],
        DropReason::BadIpHeader => bad_headers(world),
        DropReason::BadTransport => bad_transports(world),
        DropReason::UnsupportedProtocol => unsupported(world),
        _ => return None,
    })
}

fn of_services(world: &mut World, reason: DropReason) -> Option<Vec<Outcome>> {
    Some(match reason {
        DropReason::NoFrontend => {
            let nobody = Frame::new(C, ip(241, 0, 9, 9), Transport::echo(false, 1));
            vec![
                world.pod(&syn(ip(241, 0, 9, 9))),
                world.pod(&nobody),
                world.tunnel(from_peer(true), &syn(ip(241, 0, 9, 9))),
            ]
        }
        DropReason::NobodyReady => vec![
            world.pod(&syn(EMPTY)),
            world.tunnel(from_peer(true), &hashed(syn(EMPTY))),
        ],
        DropReason::DanglingId => {
            vec![
                world.pod(&syn(DANGLING)),
                world.tunnel(from_peer(true), &hashed(syn(DANGLING))),
            ]
        }
        DropReason::NotExported => {
            let pod = Frame::new(C, B1, Transport::tcp(1, 8080, flags::SYN));
            vec![
                world.tunnel(from_peer(true), &syn(IMPORTED)),
                world.tunnel(from_peer(true), &pod),
            ]
        }
        _ => return None,
    })
}

fn of_endpoints(world: &mut World, reason: DropReason) -> Option<Vec<Outcome>> {
    let from = Vni {
        number: PEER,
        from: true,
        ..Vni::default()
    };
    Some(match reason {
        DropReason::NoBackend => {
            let request = Frame::new(MAPPED, EXPORTED, Transport::tcp(1, 80, flags::SYN));
            let named = |name| Frame {
                destination_mac: name,
                source_mac: MAC_NONE,
                ..request.clone()
            };
            let other_port = Frame {
                transport: Transport::tcp(1, 81, flags::SYN),
                ..named(NAME_1)
            };
            vec![
                world.tunnel(
                    own(Vni {
                        first: true,
                        ..from
                    }),
                    &named(NAME_2),
                ),
                world.tunnel(
                    own(Vni {
                        first: true,
                        ..from
                    }),
                    &other_port,
                ),
            ]
        }
        DropReason::VipCollision => {
            let to = |vip| Frame {
                destination_mac: NAME_1,
                source_mac: MAC_NONE,
                ..Frame::new(MAPPED, vip, Transport::tcp(1, 80, flags::SYN))
            };
            world
                .tunnel(
                    own(Vni {
                        first: true,
                        ..from
                    }),
                    &to(EXPORTED),
                )
                .delivered(B1_PORT);
            vec![world.tunnel(
                own(Vni {
                    first: true,
                    ..from
                }),
                &to(TWIN),
            )]
        }
        _ => return None,
    })
}

fn bad_inner_sources(world: &mut World) -> Vec<Outcome> {
    let foreign = Frame::new(
        ip(172, 16, 0, 1),
        EXPORTED,
        Transport::tcp(1, 80, flags::SYN),
    );
    let forged = Frame::new(ip(172, 16, 0, 1), C, Transport::tcp(80, 1, flags::ACK));
    vec![
        world.tunnel(from_peer(true), &foreign),
        world.tunnel(
            Tunnel {
                vni: REPLY,
                node: PEER_NODE,
                identity: 0,
            },
            &forged,
        ),
    ]
}

fn of_the_tunnel(world: &mut World, reason: DropReason) -> Option<Vec<Outcome>> {
    let from = Vni {
        number: PEER,
        from: true,
        ..Vni::default()
    };
    Some(match reason {
        DropReason::NoPlace => {
            let frame = Frame::new(
                THEIR_VIP,
                ip(10, 244, 9, 9),
                Transport::tcp(80, 1, flags::ACK),
            );
            vec![
                world.tunnel(
                    Tunnel {
                        vni: REPLY,
                        node: GATEWAY,
                        identity: 0,
                    },
                    &frame,
                ),
                world.tunnel(
                    own(Vni {
                        reply: true,
                        ..from
                    }),
                    &frame,
                ),
            ]
        }
        DropReason::UnlistedSource => {
            let tunnel = Frame::new(ip(6, 6, 6, 6), NODE, Transport::udp(1, 7472, b"vxlan"));
            let stranger = Tunnel {
                node: ip(6, 6, 6, 6),
                ..from_peer(true)
            };
            vec![
                world.uplink(&tunnel),
                world.tunnel(stranger, &syn(EXPORTED)),
            ]
        }
        DropReason::BadTunnelHeader => bad_tunnel_headers(world),
        DropReason::BadInnerSource => bad_inner_sources(world),
        DropReason::NotGateway => vec![world.tunnel(
            own(Vni {
                from: false,
                ..from
            }),
            &syn(THEIR_VIP),
        )],
        DropReason::NoFlow => no_flows(world),
        _ => return None,
    })
}

fn bad_headers(world: &mut World) -> Vec<Outcome> {
    if world.six {
        return bad_headers6(world);
    }
    let good = syn(IMPORTED).build();
    let change = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    // Header too short, version 6, longer than the frame, shorter than its header, options beyond the packet.
    let mut out: Vec<_> = [(14, 0x44), (14, 0x65), (16, 0x40), (17, 19)]
        .map(|(at, value)| world.pod_bytes(&change(at, value)))
        .into();
    let cut = good[..34 + 19].to_vec();
    out.push(world.pod_bytes(&cut));
    let mut inner = hashed(syn(EXPORTED)).build();
    inner[14] = 0x41;
    out.push(world.tunnel_bytes(from_peer(true), &inner));
    let mut arp = vec![2; 12];
    arp.extend([8, 6]);
    arp.resize(60, 0);
    out.push(world.tunnel_bytes(from_peer(true), &arp));
    out
}

/// Another version, longer than the frame, cut off.
fn bad_headers6(world: &mut World) -> Vec<Outcome> {
    let good = world.build(&syn(IMPORTED));
    let change = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let mut out: Vec<_> = [(14, 0x50), (14, 0x45), (18, 0x40)]
        .map(|(at, value)| world.pod_bytes(&change(at, value)))
        .into();
    out.push(world.pod_bytes(&good[..54 + 19]));
    let mut inner = world.build(&hashed(syn(EXPORTED)));
    inner[14] = 0x41;
    out.push(world.tunnel_bytes(from_peer(true), &inner));
    out
}

fn bad_transports(world: &mut World) -> Vec<Outcome> {
    let mut short_tcp = Vec::new();
    let l4 = 14 + usize::from(world.header());
    for words in [0x40, 0x60] {
        let mut bytes = world.build(&syn(IMPORTED));
        bytes[l4 + 12] = words;
        short_tcp.push(world.pod_bytes(&bytes));
    }
    for length in [7_u8, 10] {
        let datagram = Frame::new(C, IMPORTED, Transport::udp(1, 53, b"x"));
        let mut bytes = world.build(&datagram);
        bytes[l4 + 5] = length;
        short_tcp.push(world.pod_bytes(&bytes));
    }
    for (protocol, length) in [(6, 19), (17, 7), (1, 7), (6, 0)] {
        let transport = Transport::Raw {
            protocol,
            data: vec![0; length],
        };
        short_tcp.push(world.pod(&Frame::new(C, IMPORTED, transport)));
    }
    let quote = Transport::Icmp {
        kind: 3,
        code: 3,
        rest: [0; 4],
        data: vec![0x45; 20],
    };
    short_tcp.push(world.pod(&Frame::new(C, MAPPED, quote)));
    short_tcp
}

fn unsupported(world: &mut World) -> Vec<Outcome> {
    let sctp = Transport::Raw {
        protocol: 132,
        data: vec![0; 12],
    };
    let redirect = Transport::Icmp {
        kind: 5,
        code: 0,
        rest: [0; 4],
        data: vec![0; 28],
    };
    let error = Transport::Icmp {
        kind: 3,
        code: 3,
        rest: [0; 4],
        data: vec![0x45; 28],
    };
    vec![
        world.pod(&Frame::new(C, IMPORTED, sctp.clone())),
        world.pod(&Frame::new(C, IMPORTED, redirect)),
        world.pod(&Frame::new(C, IMPORTED, error.clone())),
        world.tunnel(from_peer(true), &Frame::new(C, EXPORTED, sctp)),
        world.tunnel(from_peer(true), &Frame::new(C, EXPORTED, error)),
    ]
}

fn bad_tunnel_headers(world: &mut World) -> Vec<Outcome> {
    let frame = hashed(syn(EXPORTED));
    let peer = Vni {
        number: PEER,
        from: true,
        ..Vni::default()
    };
    let changed = |change: fn(&mut Vni)| {
        let mut vni = peer;
        change(&mut vni);
        vni.encode()
    };
    let mut out = vec![world.tunnel_bare(&frame)];
    for (vni, node) in [
        (changed(|vni| vni.number = 6), GATEWAY),
        (changed(|vni| vni.number = 0), GATEWAY),
        (changed(|vni| vni.from = false), GATEWAY),
        (changed(|vni| vni.passed_on = true), GATEWAY),
        (
            changed(|vni| (vni.first, vni.reply) = (true, true)),
            GATEWAY,
        ),
        (peer.encode() | 1, GATEWAY),
        (peer.encode(), PEER_NODE),
        (
            changed(|vni| (vni.probe, vni.reply) = (true, true)),
            PEER_NODE,
        ),
        (changed(|vni| vni.probe = true), NODE_2),
    ] {
        let header = Tunnel {
            vni,
            node,
            identity: 0,
        };
        out.push(world.tunnel(header, &frame));
    }
    out
}

fn no_flows(world: &mut World) -> Vec<Outcome> {
    let reply = Frame::new(THEIR_VIP, C, Transport::tcp(80, 1, flags::ACK));
    let mut out = vec![
        world.tunnel(
            Tunnel {
                vni: REPLY,
                node: GATEWAY,
                identity: 0,
            },
            &reply,
        ),
        world.pod(&Frame::new(C, MAPPED, Transport::echo(true, 1))),
    ];
    // The entry is of another peer than the answer's.
    world.pod(&syn(IMPORTED)).tunnelled();
    let key = FlowKey {
        local: C.octets(),
        remote: IMPORTED.octets(),
        local_port: 40_000_u16.to_be_bytes(),
        remote_port: 80_u16.to_be_bytes(),
        protocol: protocol::TCP,
        kind: FlowKind::Client as u8,
        reserved: [0; 2],
    };
    let mut entry = world.half(key).unwrap();
    entry.peer = 6;
    world.put_of(names::HALF, key, entry);
    let answer = Frame::new(
        THEIR_VIP,
        C,
        Transport::tcp(80, 40_000, flags::SYN | flags::ACK),
    );
    out.push(world.tunnel(
        Tunnel {
            vni: REPLY,
            node: GATEWAY,
            identity: 0,
        },
        &answer,
    ));
    out
}

#[test]
fn every_reason_is_reached_and_counted() {
    for reason in DropReason::ALL {
        with_world(|world| {
            let Some(outcomes) = reach(world, reason) else {
                assert!(ELSEWHERE.contains(&reason), "{}", reason.name());
                return;
            };
            assert!(!outcomes.is_empty(), "no packet reaches {}", reason.name());
            for (number, outcome) in outcomes.into_iter().enumerate() {
                assert_eq!(
                    outcome.dropped,
                    Some(reason),
                    "packet {number}: {outcome:?}"
                );
            }
        });
    }
}
