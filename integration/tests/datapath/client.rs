//! The client's end: dialling, its entry, replies coming home.

use causeway_abi::{
    Counted, DropReason, FlowKey, FlowKind, FlowTuple, MAC_NONE, Mac, V4, Vni, config_flags,
    flow_flags, names, protocol,
};
use causeway_integration::packet::{Frame, Transport, flags};

use crate::world::{
    C, EXPORTED, GATEWAY, IDENTITY, IMPORTED, LOOPBACK, MAPPED, NODE_2, OWN_GATEWAY, PEER,
    PEER_NODE, REMOTE, SELF_MAPPED, THEIR_NUMBER, THEIR_VIP, Tunnel, World, ip, with_world,
};

pub const REPLY: u32 = Vni {
    number: PEER,
    from: true,
    first: false,
    reply: true,
    passed_on: false,
    probe: false,
}
.encode();

fn vni(number: u16, from: bool, first: bool) -> u32 {
    Vni {
        number,
        from,
        first,
        ..Vni::default()
    }
    .encode()
}

fn client_key(remote: std::net::Ipv4Addr, port: u16, dialled: u16, protocol: u8) -> FlowKey<V4> {
    FlowKey {
        local: C.octets(),
        remote: remote.octets(),
        local_port: port.to_be_bytes(),
        remote_port: dialled.to_be_bytes(),
        protocol,
        kind: FlowKind::Client as u8,
        reserved: [0; 2],
    }
}

fn dial(port: u16, flags: u8) -> Frame {
    Frame::new(C, IMPORTED, Transport::tcp(port, 80, flags))
}

fn reply(world: &mut World, port: u16, flags: u8) -> crate::world::Outcome {
    let frame = Frame::new(THEIR_VIP, C, Transport::tcp(80, port, flags));
    world.tunnel(
        Tunnel {
            vni: REPLY,
            node: GATEWAY,
            identity: 1,
        },
        &frame,
    )
}

#[test]
fn syn_goes_to_an_own_gateway_with_the_owners_vip() {
    with_world(|world| {
        let (frame, tunnel) = world.pod(&dial(40_000, flags::SYN)).tunnelled();
        assert_eq!(
            (frame.source, frame.destination, frame.ttl),
            (C, THEIR_VIP, 63)
        );
        assert_eq!(
            tunnel,
            Tunnel {
                vni: vni(PEER, false, true),
                node: OWN_GATEWAY,
                identity: IDENTITY
            }
        );
        let tuple = FlowTuple {
            source: C.octets(),
            destination: THEIR_VIP.octets(),
            source_port: 40_000_u16.to_be_bytes(),
            destination_port: 80_u16.to_be_bytes(),
            protocol: protocol::TCP,
        };
        assert_eq!(frame.destination_mac, Mac::of_hash(world.hash(&tuple)));
        assert_eq!(frame.source_mac, MAC_NONE);
    });
}

#[test]
fn a_gateway_node_goes_straight_to_the_peer() {
    with_world(|world| {
        world.gateway();
        let (_, tunnel) = world.pod(&dial(40_000, flags::SYN)).tunnelled();
        assert_eq!(
            tunnel,
            Tunnel {
                vni: vni(THEIR_NUMBER, true, true),
                node: GATEWAY,
                identity: IDENTITY
            }
        );
    });
}

#[test]
fn an_entry_is_half_open_until_both_directions_were_seen() {
    with_world(|world| {
        let key = client_key(IMPORTED, 40_000, 80, protocol::TCP);
        world.pod(&dial(40_000, flags::SYN)).tunnelled();
        let half = world.half(key).unwrap();
        assert_eq!(
            (half.peer, half.address, half.flags),
            (PEER, world.inner(THEIR_VIP), flow_flags::HALF)
        );
        let home = reply(world, 40_000, flags::SYN | flags::ACK).delivered(LOOPBACK);
        assert_eq!((home.source, home.destination, home.ttl), (IMPORTED, C, 63));
        assert_eq!(
            world.half(key).unwrap().flags,
            flow_flags::HALF | flow_flags::REPLIED
        );
        let (_, tunnel) = world.pod(&dial(40_000, flags::ACK)).tunnelled();
        assert_eq!(tunnel.vni, vni(PEER, false, false), "no longer the first");
        assert!(world.half(key).is_none());
        assert_eq!(world.flow(key).unwrap().flags, flow_flags::REPLIED);
        let counters = world.service_counters(1);
        assert_eq!((counters.sent_packets, counters.sent_flows), (2, 1));
    });
}

#[test]
fn the_entry_pins_the_cluster() {
    with_world(|world| {
        world.pod(&dial(40_000, flags::SYN)).tunnelled();
        reply(world, 40_000, flags::SYN | flags::ACK).delivered(LOOPBACK);
        world.ring(0, 0xffff, 0xffff);
        world.pod(&dial(40_000, flags::ACK)).tunnelled();
        world.pod(&dial(40_000, flags::ACK)).tunnelled();
        let fresh = world.pod(&dial(40_000, flags::SYN));
        assert_eq!(
            fresh.dropped,
            Some(DropReason::NobodyReady),
            "a new connection is a new choice"
        );
    });
}

#[test]
fn udp_and_echo_are_promoted_by_their_answer() {
    with_world(|world| {
        let key = client_key(IMPORTED, 5000, 53, protocol::UDP);
        world
            .pod(&Frame::new(
                C,
                IMPORTED,
                Transport::udp(5000, 53, b"question"),
            ))
            .tunnelled();
        assert!(world.half(key).is_some());
        let answer = Frame::new(THEIR_VIP, C, Transport::udp(53, 5000, b"answer!"));
        let header = Tunnel {
            vni: REPLY,
            node: PEER_NODE,
            identity: 1,
        };
        assert_eq!(
            world.tunnel(header, &answer).delivered(LOOPBACK).source,
            IMPORTED
        );
        assert!(world.flow(key).is_some());

        let (frame, _) = world
            .pod(&Frame::new(C, IMPORTED, Transport::echo(false, 77)))
            .tunnelled();
        assert_eq!(
            (frame.destination, frame.transport),
            (THEIR_VIP, Transport::echo(false, 77))
        );
        let answer = Frame::new(THEIR_VIP, C, Transport::echo(true, 77));
        assert_eq!(
            world.tunnel(header, &answer).delivered(LOOPBACK).source,
            IMPORTED
        );
        assert!(
            world
                .flow(client_key(IMPORTED, 77, 0, protocol::ICMP))
                .is_some()
        );
    });
}

#[test]
fn udp_without_a_checksum_stays_without() {
    with_world(|world| {
        let data = b"plain".to_vec();
        let bare = Transport::Udp {
            source: 5000,
            destination: 53,
            checksum: false,
            data,
        };
        let (frame, _) = world
            .pod(&Frame::new(C, IMPORTED, bare.clone()))
            .tunnelled();
        assert_eq!(frame.transport, bare);
    });
}

/// Test runs take a page at most; super-packets are shown in namespaces.
#[test]
fn a_large_packet_is_translated_whole() {
    with_world(|world| {
        let mut transport = Transport::tcp(40_000, 80, flags::ACK);
        if let Transport::Tcp { data, .. } = &mut transport {
            *data = (0..3_000_u32).map(|n| n as u8).collect();
        }
        let (frame, _) = world
            .pod(&Frame::new(C, IMPORTED, transport.clone()))
            .tunnelled();
        assert_eq!(frame.transport, transport);
    });
}

#[test]
fn mss_is_lowered_wherever_it_stands_and_never_raised() {
    with_world(|world| {
        let mss = |value: u16| [vec![2, 4], value.to_be_bytes().to_vec()].concat();
        let most = world.mss();
        let cases = [
            (mss(1460), mss(most)),
            (mss(most - 1), mss(most - 1)),
            (
                [vec![1], mss(8960), vec![1, 1, 1]].concat(),
                [vec![1], mss(most), vec![1, 1, 1]].concat(),
            ),
            (
                [vec![3, 3, 7], mss(1460), vec![0]].concat(),
                [vec![3, 3, 7], mss(most), vec![0]].concat(),
            ),
            (
                [vec![1; 36], mss(1460)].concat(),
                [vec![1; 36], mss(most)].concat(),
            ),
            (vec![4, 2, 1, 1], vec![4, 2, 1, 1]),
            (vec![9, 0, 0, 0], vec![9, 0, 0, 0]),
            (
                [vec![0, 0, 0, 0], mss(1460)].concat(),
                [vec![0, 0, 0, 0], mss(1460)].concat(),
            ),
            (vec![1, 1, 2, 4], vec![1, 1, 2, 4]),
        ];
        for (number, (given, expected)) in cases.into_iter().enumerate() {
            let mut frame = dial(41_000 + number as u16, flags::SYN);
            if let Transport::Tcp { options, .. } = &mut frame.transport {
                *options = given;
            }
            let (out, _) = world.pod(&frame).tunnelled();
            let Transport::Tcp { options, .. } = out.transport else {
                panic!("TCP")
            };
            assert_eq!(options, expected);
        }
    });
}

#[test]
fn ip_options_are_stepped_over() {
    with_world(|world| {
        let frame = Frame {
            options: vec![1, 1, 1, 0],
            ..dial(40_000, flags::SYN)
        };
        let (out, _) = world.pod(&frame).tunnelled();
        let sent = world.parse(&world.build(&frame));
        assert_eq!((out.destination, out.options), (THEIR_VIP, sent.options));
    });
}

#[test]
fn the_own_cluster_is_reached_under_the_self_map() {
    with_world(|world| {
        let frame = Frame::new(C, REMOTE, Transport::tcp(40_000, 80, flags::SYN));
        let (out, tunnel) = world.pod(&frame).tunnelled();
        assert_eq!((out.source, out.destination), (SELF_MAPPED, REMOTE));
        assert_eq!(
            (out.destination_mac, out.source_mac),
            (crate::world::NAME_2, crate::world::NAME_1)
        );
        assert_eq!(
            tunnel,
            Tunnel {
                vni: vni(0, true, true),
                node: NODE_2,
                identity: IDENTITY
            }
        );
        let back = Frame::new(
            REMOTE,
            C,
            Transport::tcp(80, 40_000, flags::SYN | flags::ACK),
        );
        let header = Vni {
            from: true,
            reply: true,
            ..Vni::default()
        }
        .encode();
        let home = world
            .tunnel(
                Tunnel {
                    vni: header,
                    node: NODE_2,
                    identity: 1,
                },
                &back,
            )
            .delivered(LOOPBACK);
        assert_eq!(home.source, REMOTE);
    });
}

#[test]
fn echo_to_an_own_vip_is_answered_here() {
    with_world(|world| {
        let out = world.pod(&Frame::new(C, EXPORTED, Transport::echo(false, 5)));
        assert_eq!(
            (out.verdict, out.ifindex, &out.counted[..]),
            (7, LOOPBACK, &[Counted::Answer][..])
        );
        let frame = out.frame();
        assert_eq!(
            (frame.source, frame.destination, frame.ttl),
            (EXPORTED, C, 64)
        );
        assert_eq!(frame.transport, Transport::echo(true, 5));
    });
}

#[test]
fn a_headless_endpoint_is_dialled_by_its_mapped_address() {
    with_world(|world| {
        let (frame, tunnel) = world
            .pod(&Frame::new(
                C,
                MAPPED,
                Transport::tcp(40_000, 5432, flags::SYN),
            ))
            .tunnelled();
        assert_eq!(
            (frame.source, frame.destination),
            (C, C),
            "the same address in both clusters"
        );
        assert_eq!(tunnel.vni, vni(PEER, false, true));
        let back = Frame::new(C, C, Transport::tcp(5432, 40_000, flags::SYN | flags::ACK));
        let home = world
            .tunnel(
                Tunnel {
                    vni: REPLY,
                    node: GATEWAY,
                    identity: 1,
                },
                &back,
            )
            .delivered(LOOPBACK);
        assert_eq!((home.source, home.destination), (MAPPED, C));
    });
}

#[test]
fn native_prefixes_are_looked_up_only_where_configured() {
    with_world(|world| {
        let foreign = ip(172, 20, 0, 9);
        let frame = Frame::new(C, foreign, Transport::tcp(40_000, 80, flags::SYN));
        assert_eq!(world.pod(&frame).counted, [Counted::Pass]);
        world.configure(|config| config.flags = config_flags::NATIVE);
        assert_eq!(world.pod(&frame).counted, [Counted::Pass]);
        world.native(foreign);
        let (out, _) = world.pod(&frame).tunnelled();
        assert_eq!(out.destination, foreign);
    });
}

#[test]
fn other_traffic_passes_untouched() {
    with_world(|world| {
        let others = [
            Frame::new(C, ip(10, 96, 0, 1), Transport::tcp(40_000, 443, flags::SYN)),
            Frame::new(
                C,
                ip(8, 8, 8, 8),
                Transport::Raw {
                    protocol: 132,
                    data: vec![0; 12],
                },
            ),
            Frame {
                fragment: 0x2000,
                ..Frame::new(C, ip(8, 8, 8, 8), Transport::udp(1, 2, b"first of several"))
            },
            Frame {
                ttl: 1,
                ..Frame::new(C, ip(8, 8, 8, 8), Transport::udp(1, 2, b""))
            },
            Frame {
                options: vec![1; 8],
                ..Frame::new(C, ip(8, 8, 8, 8), Transport::udp(1, 2, b""))
            },
            Frame::new(ip(1, 2, 3, 4), ip(8, 8, 8, 8), Transport::echo(false, 1)),
        ];
        for frame in others {
            let out = world.pod(&frame);
            assert_eq!((out.verdict, &out.counted[..]), (-1, &[Counted::Pass][..]));
            assert_eq!(out.bytes, world.build(&frame));
        }
        let mut arp = vec![0xff; 12];
        arp.extend([8, 6]);
        arp.resize(60, 1);
        assert_eq!(world.pod_bytes(&arp).counted, [Counted::Pass]);
        assert_eq!(world.pod_bytes(&arp).bytes, arp);
    });
}

#[test]
fn an_answer_must_fit_the_entry() {
    with_world(|world| {
        assert_eq!(
            reply(world, 40_000, flags::ACK).dropped,
            Some(DropReason::NoFlow)
        );
        world.pod(&dial(40_000, flags::SYN)).tunnelled();
        assert_eq!(
            reply(world, 40_001, flags::ACK).dropped,
            Some(DropReason::NoFlow)
        );
        reply(world, 40_000, flags::SYN | flags::ACK).delivered(LOOPBACK);
        world.remove_of::<_, causeway_abi::Reverse>(
            names::REVERSE,
            causeway_abi::ReverseKey {
                peer: u32::from(PEER).to_be_bytes(),
                vip: THEIR_VIP.octets(),
            },
        );
        assert_eq!(
            reply(world, 40_000, flags::ACK).dropped,
            Some(DropReason::BadInnerSource)
        );
    });
}

#[test]
fn a_reply_for_another_node_goes_on() {
    with_world(|world| {
        let away = ip(10, 244, 1, 9);
        let frame = Frame::new(THEIR_VIP, away, Transport::tcp(80, 40_000, flags::ACK));
        let (out, tunnel) = world
            .tunnel(
                Tunnel {
                    vni: REPLY,
                    node: GATEWAY,
                    identity: 3,
                },
                &frame,
            )
            .tunnelled();
        assert_eq!(
            (out.source, out.destination, out.ttl),
            (THEIR_VIP, away, 63)
        );
        assert_eq!(
            tunnel,
            Tunnel {
                vni: REPLY,
                node: NODE_2,
                identity: 3
            }
        );
    });
}
