//! The backend's end: which endpoint takes a packet, its entry, and its answers.

use causeway_abi::{
    Counted, DropReason, FlowKey, FlowKind, MAC_NONE, V4, Vni, flow_flags, protocol, route_flags,
};
use causeway_integration::packet::{Frame, Transport, flags};

use crate::world::{
    B1, B1_PORT, C, EXPORTED, GATEWAY, HAIRPIN, IDENTITY, LOOPBACK, MAPPED, NAME_1, NAME_2, NODE_2,
    OWN_GATEWAY, Outcome, PEER, SELF_MAPPED, THEIR_NUMBER, TWIN, Tunnel, World, with_world,
};

fn to_end(first: bool, passed_on: bool) -> Tunnel {
    let vni = Vni {
        number: PEER,
        from: true,
        first,
        passed_on,
        ..Vni::default()
    }
    .encode();
    Tunnel {
        vni,
        node: NODE_2,
        identity: 8,
    }
}

fn request(port: u16, flags: u8) -> Frame {
    named(
        Frame::new(MAPPED, EXPORTED, Transport::tcp(port, 80, flags)),
        NAME_1,
        MAC_NONE,
    )
}

fn named(frame: Frame, current: [u8; 6], previous: [u8; 6]) -> Frame {
    Frame {
        destination_mac: current,
        source_mac: previous,
        ..frame
    }
}

fn entry(port: u16) -> FlowKey<V4> {
    FlowKey {
        local: B1.octets(),
        remote: MAPPED.octets(),
        local_port: 8080_u16.to_be_bytes(),
        remote_port: port.to_be_bytes(),
        protocol: protocol::TCP,
        kind: FlowKind::Backend as u8,
        reserved: [0; 2],
    }
}

/// SYN, SYN-ACK, ACK.
fn establish(world: &mut World, port: u16) {
    world
        .tunnel(to_end(true, false), &request(port, flags::SYN))
        .delivered(B1_PORT);
    answer(world, port, flags::SYN | flags::ACK).tunnelled();
    world
        .tunnel(to_end(false, false), &request(port, flags::ACK))
        .delivered(B1_PORT);
    assert!(world.flow(entry(port)).is_some());
}

fn answer(world: &mut World, port: u16, flags: u8) -> Outcome {
    world.pod_as(
        B1,
        &Frame::new(B1, MAPPED, Transport::tcp(8080, port, flags)),
    )
}

#[test]
fn a_first_packet_is_taken_and_answered_directly() {
    with_world(|world| {
        let frame = world
            .tunnel(to_end(true, false), &request(40_000, flags::SYN))
            .delivered(B1_PORT);
        assert_eq!(
            (frame.source, frame.destination, frame.ttl),
            (MAPPED, B1, 63)
        );
        assert_eq!(frame.transport, Transport::tcp(40_000, 8080, flags::SYN));
        let half = world.half(entry(40_000)).unwrap();
        assert_eq!(
            (half.peer, half.identity, half.address, half.port),
            (PEER, 8, world.inner(EXPORTED), [0, 80])
        );

        let (back, tunnel) = answer(world, 40_000, flags::SYN | flags::ACK).tunnelled();
        assert_eq!(
            (back.source, back.destination),
            (EXPORTED, C),
            "the client by its own address"
        );
        assert_eq!(
            back.transport,
            Transport::tcp(80, 40_000, flags::SYN | flags::ACK)
        );
        let towards = Vni {
            number: PEER,
            reply: true,
            ..Vni::default()
        }
        .encode();
        assert_eq!(
            tunnel,
            Tunnel {
                vni: towards,
                node: OWN_GATEWAY,
                identity: IDENTITY
            }
        );

        world.route(route_flags::DIRECT_REPLY);
        let (_, tunnel) = answer(world, 40_000, flags::SYN | flags::ACK).tunnelled();
        let straight = Vni {
            number: THEIR_NUMBER,
            from: true,
            reply: true,
            ..Vni::default()
        }
        .encode();
        assert_eq!(
            tunnel,
            Tunnel {
                vni: straight,
                node: GATEWAY,
                identity: IDENTITY
            }
        );

        world
            .tunnel(to_end(false, false), &request(40_000, flags::ACK))
            .delivered(B1_PORT);
        assert_eq!(
            world.flow(entry(40_000)).unwrap().flags,
            flow_flags::REPLIED
        );
        let counters = world.service_counters(2);
        assert_eq!((counters.served_packets, counters.served_flows), (2, 1));
    });
}

#[test]
fn a_syn_ack_is_clamped_too() {
    with_world(|world| {
        world
            .tunnel(to_end(true, false), &request(40_000, flags::SYN))
            .delivered(B1_PORT);
        let mut transport = Transport::tcp(8080, 40_000, flags::SYN | flags::ACK);
        if let Transport::Tcp { options, .. } = &mut transport {
            *options = vec![2, 4, 0x05, 0xb4];
        }
        let (frame, _) = world
            .pod_as(B1, &Frame::new(B1, MAPPED, transport))
            .tunnelled();
        let Transport::Tcp { options, .. } = frame.transport else {
            panic!("TCP")
        };
        assert_eq!(options[..2], [2, 4]);
        assert_eq!(options[2..], world.mss().to_be_bytes());
    });
}

#[test]
fn the_previous_endpoint_keeps_what_it_knows() {
    with_world(|world| {
        establish(world, 40_000);
        // The slot has passed to B2; packets come to its node first, which passes them on.
        let frame = named(request(40_000, flags::ACK), NAME_2, NAME_1);
        world.tunnel(to_end(false, true), &frame).delivered(B1_PORT);
        // Both names on this node's side: known to the previous one.
        world
            .tunnel(to_end(false, false), &frame)
            .delivered(B1_PORT);
    });
}

#[test]
fn what_the_current_endpoint_does_not_know_is_passed_on_once() {
    with_world(|world| {
        let frame = named(request(40_000, flags::ACK), NAME_1, NAME_2);
        let out = world.tunnel(to_end(false, false), &frame);
        assert_eq!(out.counted, [Counted::PassOn]);
        let (on, tunnel) = out.tunnelled();
        assert_eq!((on.destination_mac, on.source_mac), (NAME_1, NAME_2));
        assert_eq!((on.source, on.destination), (MAPPED, EXPORTED));
        let expected = Vni {
            number: PEER,
            from: true,
            passed_on: true,
            ..Vni::default()
        }
        .encode();
        assert_eq!(
            tunnel,
            Tunnel {
                vni: expected,
                node: NODE_2,
                identity: 8
            }
        );

        let new = named(request(40_001, flags::SYN), NAME_1, NAME_2);
        world.tunnel(to_end(true, false), &new).delivered(B1_PORT);
        establish(world, 40_002);
        let known = named(request(40_002, flags::ACK), NAME_1, NAME_2);
        world
            .tunnel(to_end(false, false), &known)
            .delivered(B1_PORT);
    });
}

#[test]
fn what_nobody_knows_is_taken_by_the_last_node() {
    with_world(|world| {
        let frame = named(request(40_000, flags::ACK), NAME_2, NAME_1);
        world.tunnel(to_end(false, true), &frame).delivered(B1_PORT);
        assert!(world.half(entry(40_000)).is_some(), "its socket answers");
        let alone = request(40_001, flags::ACK);
        world
            .tunnel(to_end(false, false), &alone)
            .delivered(B1_PORT);
    });
}

#[test]
fn two_vips_on_one_client_port_are_refused() {
    with_world(|world| {
        establish(world, 40_000);
        let twin = |port| {
            named(
                Frame::new(MAPPED, TWIN, Transport::tcp(port, 80, flags::SYN)),
                NAME_1,
                MAC_NONE,
            )
        };
        assert_eq!(
            world.tunnel(to_end(true, false), &twin(40_000)).dropped,
            Some(DropReason::VipCollision)
        );
        world
            .tunnel(to_end(true, false), &twin(40_001))
            .delivered(B1_PORT);
        // The first one closes: its place is free.
        world
            .tunnel(
                to_end(false, false),
                &request(40_000, flags::FIN | flags::ACK),
            )
            .delivered(B1_PORT);
        world
            .tunnel(to_end(true, false), &twin(40_000))
            .delivered(B1_PORT);
    });
}

#[test]
fn an_entry_of_an_earlier_pod_with_the_address_counts_for_nothing() {
    with_world(|world| {
        establish(world, 40_000);
        world.local(NAME_1, EXPORTED, (80, 8080), (B1, B1_PORT), 2);
        world
            .tunnel(to_end(false, false), &request(40_000, flags::ACK))
            .delivered(B1_PORT);
        assert!(world.flow(entry(40_000)).is_none());
        assert_eq!(world.half(entry(40_000)).unwrap().generation, 2);
    });
}

#[test]
fn udp_is_promoted_by_the_answer() {
    with_world(|world| {
        let frame = named(
            Frame::new(MAPPED, EXPORTED, Transport::udp(5000, 53, b"q")),
            NAME_1,
            MAC_NONE,
        );
        let frame = world.tunnel(to_end(true, false), &frame).delivered(B1_PORT);
        assert_eq!(frame.transport, Transport::udp(5000, 5353, b"q"));
        let (back, _) = world
            .pod_as(
                B1,
                &Frame::new(B1, MAPPED, Transport::udp(5353, 5000, b"a")),
            )
            .tunnelled();
        assert_eq!(
            (back.source, back.transport),
            (EXPORTED, Transport::udp(53, 5000, b"a"))
        );
        let key = FlowKey {
            local_port: 5353_u16.to_be_bytes(),
            protocol: protocol::UDP,
            ..entry(5000)
        };
        assert!(world.flow(key).is_some());
    });
}

#[test]
fn a_local_backend_of_the_own_cluster_is_reached_at_once() {
    with_world(|world| {
        let dial = |flags| Frame::new(C, EXPORTED, Transport::tcp(40_000, 80, flags));
        let frame = world.pod(&dial(flags::SYN)).delivered(B1_PORT);
        assert_eq!((frame.source, frame.destination), (SELF_MAPPED, B1));
        let back = Frame::new(
            B1,
            SELF_MAPPED,
            Transport::tcp(8080, 40_000, flags::SYN | flags::ACK),
        );
        let home = world.pod_as(B1, &back).delivered(LOOPBACK);
        assert_eq!((home.source, home.destination), (EXPORTED, C));
        assert_eq!(
            home.transport,
            Transport::tcp(80, 40_000, flags::SYN | flags::ACK)
        );
        world.pod(&dial(flags::ACK)).delivered(B1_PORT);
        assert!(
            world
                .flow(FlowKey {
                    remote: SELF_MAPPED.octets(),
                    ..entry(40_000)
                })
                .is_some()
        );
    });
}

#[test]
fn a_backend_may_dial_its_own_vip() {
    with_world(|world| {
        let frame = world
            .pod(&Frame::new(
                C,
                HAIRPIN,
                Transport::tcp(40_000, 80, flags::SYN),
            ))
            .delivered(LOOPBACK);
        assert_eq!((frame.source, frame.destination), (SELF_MAPPED, C));
        let back = Frame::new(
            C,
            SELF_MAPPED,
            Transport::tcp(8080, 40_000, flags::SYN | flags::ACK),
        );
        let home = world.pod(&back).delivered(LOOPBACK);
        assert_eq!((home.source, home.destination), (HAIRPIN, C));
    });
}

#[test]
fn the_backends_icmp_error_reaches_the_client_translated() {
    with_world(|world| {
        let frame = named(
            Frame::new(MAPPED, EXPORTED, Transport::udp(5000, 53, b"q")),
            NAME_1,
            MAC_NONE,
        );
        let delivered = world.tunnel(to_end(true, false), &frame).delivered(B1_PORT);
        let quote = delivered.build()[14..42].to_vec();
        let error = Transport::Icmp {
            kind: 3,
            code: 3,
            rest: [0; 4],
            data: quote,
        };
        let (back, _) = world.pod_as(B1, &Frame::new(B1, MAPPED, error)).tunnelled();
        assert_eq!((back.source, back.destination), (EXPORTED, C));
        let Transport::Icmp { data, .. } = back.transport else {
            panic!("ICMP")
        };
        assert_eq!(data[12..20], [C.octets(), EXPORTED.octets()].concat());
        assert_eq!(
            data[20..24],
            [5000_u16.to_be_bytes(), 53_u16.to_be_bytes()].concat()
        );
        assert_eq!(
            causeway_integration::packet::checksum(&[&data[..20]]),
            0,
            "the quoted header's own checksum"
        );
    });
}
