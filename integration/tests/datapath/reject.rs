//! Rejections: at once, right, and translated on their way home.

use causeway_abi::{Counted, DropReason, Vni};
use causeway_integration::packet::{Frame, Transport, flags};

use crate::{
    client::REPLY,
    gateway::{from_peer, hashed},
    world::{
        C, EMPTY, GATEWAY, IMPORTED, LOOPBACK, THEIR_NUMBER, THEIR_VIP, TUNNEL, Tunnel, ip,
        with_world,
    },
};

#[test]
fn a_syn_to_nobody_is_reset() {
    with_world(|world| {
        let mut frame = Frame::new(C, EMPTY, Transport::tcp(40_000, 80, flags::SYN));
        if let Transport::Tcp { options, .. } = &mut frame.transport {
            *options = vec![2, 4, 0x05, 0xb4];
        }
        let out = world.pod(&frame);
        assert_eq!(
            (out.verdict, out.ifindex, out.dropped),
            (7, LOOPBACK, Some(DropReason::NobodyReady))
        );
        assert_eq!(out.counted, [Counted::Reject]);
        assert_eq!(world.service_counters(6).rejected, 1);
        let back = out.frame();
        assert_eq!((back.source, back.destination, back.ttl), (EMPTY, C, 64));
        assert_eq!(
            (back.source_mac, back.destination_mac),
            (frame.destination_mac, frame.source_mac)
        );
        let expected = Transport::Tcp {
            source: 80,
            destination: 40_000,
            sequence: 0,
            acknowledgement: 1001,
            flags: flags::RST | flags::ACK,
            options: vec![],
            data: vec![],
        };
        assert_eq!(back.transport, expected);
    });
}

#[test]
fn a_later_segment_is_reset_by_its_acknowledgement() {
    with_world(|world| {
        let mut transport = Transport::tcp(40_000, 80, flags::ACK | flags::PSH);
        if let Transport::Tcp { data, .. } = &mut transport {
            *data = vec![7; 3000];
        }
        let out = world.pod(&Frame::new(C, EMPTY, transport));
        let Transport::Tcp {
            sequence,
            flags: set,
            ..
        } = out.frame().transport
        else {
            panic!("TCP")
        };
        assert_eq!((sequence, set), (2000, flags::RST));
        let reset = world.pod(&Frame::new(
            C,
            EMPTY,
            Transport::tcp(40_000, 80, flags::RST),
        ));
        assert_eq!(
            (reset.verdict, &reset.counted[..]),
            (2, &[][..]),
            "never an RST for an RST"
        );
    });
}

#[test]
fn a_datagram_to_nobody_gets_port_unreachable() {
    with_world(|world| {
        let frame = Frame::new(
            C,
            EMPTY,
            Transport::udp(5000, 53, b"a question of some length"),
        );
        let back = world.pod(&frame).frame();
        assert_eq!((back.source, back.destination), (EMPTY, C));
        let expected = Transport::Icmp {
            kind: 3,
            code: 3,
            rest: [0; 4],
            data: world.quoted(&frame),
        };
        assert_eq!(back.transport, expected);
        let short = world
            .pod(&Frame::new(C, EMPTY, Transport::udp(5000, 53, b"")))
            .frame();
        assert!(matches!(
            short.transport,
            Transport::Icmp {
                kind: 3,
                code: 3,
                ..
            }
        ));
    });
}

#[test]
fn an_unknown_port_is_rejected_too() {
    with_world(|world| {
        let out = world.pod(&Frame::new(
            C,
            IMPORTED,
            Transport::tcp(40_000, 81, flags::SYN),
        ));
        assert_eq!(
            (out.dropped, &out.counted[..]),
            (Some(DropReason::NoFrontend), &[Counted::Reject][..])
        );
    });
}

#[test]
fn a_missing_way_does_not_kill_what_lives() {
    with_world(|world| {
        world
            .pod(&Frame::new(
                C,
                IMPORTED,
                Transport::tcp(40_000, 80, flags::SYN),
            ))
            .tunnelled();
        world.remove::<u32, causeway_abi::Route>(
            causeway_abi::names::ROUTES,
            crate::world::PEER.into(),
        );
        let out = world.pod(&Frame::new(
            C,
            IMPORTED,
            Transport::tcp(40_000, 80, flags::ACK),
        ));
        assert_eq!((out.verdict, out.dropped), (2, Some(DropReason::NoRoute)));
        let out = world.pod(&Frame::new(
            C,
            IMPORTED,
            Transport::tcp(40_001, 80, flags::SYN),
        ));
        assert_eq!((out.verdict, &out.counted[..]), (7, &[Counted::Reject][..]));
    });
}

#[test]
fn the_far_gateway_rejects_to_the_peer() {
    with_world(|world| {
        let frame = hashed(Frame::new(C, EMPTY, Transport::tcp(40_000, 80, flags::SYN)));
        let out = world.tunnel(from_peer(true), &frame);
        assert_eq!(
            (out.verdict, out.ifindex, out.dropped),
            (7, TUNNEL, Some(DropReason::NobodyReady))
        );
        let back = out.frame();
        assert_eq!(
            (back.source, back.destination),
            (EMPTY, C),
            "in its owner's numbering"
        );
        assert_eq!(back.destination_mac, frame.destination_mac);
        let vni = Vni {
            number: THEIR_NUMBER,
            from: true,
            reply: true,
            ..Vni::default()
        }
        .encode();
        assert_eq!(
            out.tunnel,
            Some(Tunnel {
                vni,
                node: GATEWAY,
                identity: 0
            })
        );
    });
}

#[test]
fn a_rejection_comes_home() {
    with_world(|world| {
        let header = Tunnel {
            vni: REPLY,
            node: GATEWAY,
            identity: 0,
        };
        world
            .pod(&Frame::new(
                C,
                IMPORTED,
                Transport::tcp(40_000, 80, flags::SYN),
            ))
            .tunnelled();
        let reset = Frame::new(
            THEIR_VIP,
            C,
            Transport::tcp(80, 40_000, flags::RST | flags::ACK),
        );
        assert_eq!(
            world.tunnel(header, &reset).delivered(LOOPBACK).source,
            IMPORTED
        );

        let (sent, _) = world
            .pod(&Frame::new(C, IMPORTED, Transport::udp(5000, 53, b"q")))
            .tunnelled();
        let quote = sent.build()[14..42].to_vec();
        let error = Transport::Icmp {
            kind: 3,
            code: 3,
            rest: [0; 4],
            data: quote,
        };
        let home = world
            .tunnel(header, &Frame::new(THEIR_VIP, C, error.clone()))
            .delivered(LOOPBACK);
        assert_eq!((home.source, home.destination), (IMPORTED, C));
        let Transport::Icmp { data, .. } = home.transport else {
            panic!("ICMP")
        };
        assert_eq!(data[12..20], [C.octets(), IMPORTED.octets()].concat());
        let elsewhere = world
            .tunnel(header, &Frame::new(ip(172, 16, 0, 1), C, error))
            .delivered(LOOPBACK);
        assert_eq!(
            elsewhere.source, IMPORTED,
            "a hop of theirs speaks as the service"
        );
    });
}

#[test]
fn an_error_about_no_flow_goes_nowhere() {
    with_world(|world| {
        let quoted =
            Frame::new(C, THEIR_VIP, Transport::udp(5000, 53, b"q")).build()[14..42].to_vec();
        let error = Transport::Icmp {
            kind: 3,
            code: 3,
            rest: [0; 4],
            data: quoted,
        };
        let header = Tunnel {
            vni: REPLY,
            node: GATEWAY,
            identity: 0,
        };
        let out = world.tunnel(header, &Frame::new(THEIR_VIP, C, error));
        assert_eq!(out.dropped, Some(DropReason::NoFlow));
    });
}
