//! A peer whose packets are encrypted: they go to this node's gateway and come from it, or by a gateway's node, and never
//! by the tunnel between clusters.

use causeway_abi::{
    Counted, DropReason, MAC_NONE, Mac, Source, SourceKey4, Vni, config_flags, names, route_flags,
};
use causeway_integration::packet::{Frame, Transport, flags};

use crate::{
    client::REPLY,
    gateway::{from_peer, hashed},
    world::{
        B1, B1_PORT, B2, C, EMPTY, EXPORTED, GATEWAY, IDENTITY, IMPORTED, LOOPBACK, MAPPED, NAME_1,
        NAME_2, NODE_2, OWN_GATEWAY, Outcome, PEER, REMOTE, SESSION, THEIR_VIP, Tunnel, World, ip,
        with_world,
    },
};

/// The workload that the peer's gateway names.
const THEIRS: u16 = 300;

fn towards(first: bool, reply: bool) -> Vni {
    Vni {
        number: PEER,
        first,
        reply,
        ..Vni::default()
    }
}

fn from(first: bool, reply: bool) -> Vni {
    Vni {
        from: true,
        ..towards(first, reply)
    }
}

/// A gateway's node, and all of the peer's packets encrypted.
fn with_session(test: impl Fn(&mut World)) {
    with_world(|world| {
        world.configure(|config| {
            config.flags = config_flags::GATEWAY;
            config.session_ifindex = SESSION;
        });
        world.route(route_flags::SESSION | route_flags::HERE | route_flags::DIRECT_REPLY);
        test(world);
    });
}

fn arrives(world: &mut World, vni: Vni, frame: &Frame) -> Outcome {
    world.session(&Frame {
        source_mac: Mac::of_header(vni, THEIRS),
        ..hashed(frame.clone())
    })
}

/// Asserts that it went to the gateway, and gives what it is told.
fn sent(out: &Outcome) -> (Frame, (Vni, u16)) {
    let left = (out.verdict, out.ifindex, out.tunnel);
    assert_eq!(left, (7, SESSION, None), "{out:?}");
    let frame = out.frame();
    let header = Mac::header(frame.source_mac).unwrap();
    (frame, header)
}

#[test]
fn a_client_on_a_gateways_node_goes_to_the_gateway() {
    with_session(|world| {
        let dialled = Frame::new(C, IMPORTED, Transport::tcp(40_000, 80, flags::SYN));
        let out = world.pod(&dialled);
        assert_eq!(
            (out.dropped, &out.counted[..]),
            (None, &[Counted::Tunnel][..])
        );
        let (frame, header) = sent(&out);
        assert_eq!((frame.source, frame.destination), (C, THEIR_VIP));
        assert_eq!(header, (towards(true, false), IDENTITY));
        let first = frame.destination_mac;
        // The whole flow has one hash, by which it keeps to one session.
        let next = Frame::new(C, IMPORTED, Transport::tcp(40_000, 80, flags::ACK));
        assert_eq!(sent(&world.pod(&next)).0.destination_mac, first);
    });
}

#[test]
fn on_another_node_requests_and_replies_go_by_a_gateway_of_ours() {
    with_world(|world| {
        world.route(route_flags::SESSION | route_flags::DIRECT_REPLY);
        let dialled = Frame::new(C, IMPORTED, Transport::tcp(40_000, 80, flags::SYN));
        let (_, tunnel) = world.pod(&dialled).tunnelled();
        let to_gateway = |vni: Vni, identity| Tunnel {
            vni: vni.encode(),
            node: OWN_GATEWAY,
            identity,
        };
        assert_eq!(tunnel, to_gateway(towards(true, false), IDENTITY));
        let arrived = Frame {
            destination_mac: NAME_1,
            source_mac: MAC_NONE,
            ..Frame::new(MAPPED, EXPORTED, Transport::tcp(40_000, 80, flags::SYN))
        };
        let by_gateway = Tunnel {
            node: NODE_2,
            ..to_gateway(from(true, false), THEIRS)
        };
        world.tunnel(by_gateway, &arrived).delivered(B1_PORT);
        let reply = Transport::tcp(8080, 40_000, flags::SYN | flags::ACK);
        let (_, tunnel) = world.pod_as(B1, &Frame::new(B1, MAPPED, reply)).tunnelled();
        assert_eq!(tunnel.node, OWN_GATEWAY, "no direct reply");
        assert_eq!(tunnel.vni, towards(false, true).encode());
    });
}

#[test]
fn an_own_nodes_packet_goes_on_to_the_gateway() {
    with_session(|world| {
        for reply in [false, true] {
            let vni = towards(!reply, reply);
            let header = Tunnel {
                vni: vni.encode(),
                node: NODE_2,
                identity: 12,
            };
            let dialled = Transport::tcp(40_000, 80, flags::SYN);
            let frame = hashed(Frame::new(B2, THEIR_VIP, dialled));
            let (out, told) = sent(&world.tunnel(header, &frame));
            assert_eq!((out.source, out.destination, out.ttl), (B2, THEIR_VIP, 63));
            assert_eq!(out.destination_mac, frame.destination_mac);
            assert_eq!(told, (vni, 12));
        }
    });
}

#[test]
fn a_peers_request_is_balanced_as_one_of_the_tunnel() {
    with_session(|world| {
        let dialled = |to| Frame::new(C, to, Transport::tcp(40_000, 80, flags::SYN));
        let here = arrives(world, from(true, false), &dialled(EXPORTED)).delivered(B1_PORT);
        assert_eq!((here.source, here.destination), (MAPPED, B1));
        let (there, tunnel) = arrives(world, from(true, false), &dialled(REMOTE)).tunnelled();
        assert_eq!((there.source, there.destination), (MAPPED, REMOTE));
        assert_eq!((there.destination_mac, there.source_mac), (NAME_2, NAME_1));
        assert_eq!((tunnel.node, tunnel.identity), (NODE_2, THEIRS));
        assert_eq!(tunnel.vni, from(true, false).encode());
        let answer = Transport::tcp(8080, 40_000, flags::SYN | flags::ACK);
        let (_, told) = sent(&world.pod_as(B1, &Frame::new(B1, MAPPED, answer)));
        assert_eq!(told.0, towards(false, true));
    });
}

#[test]
fn a_peers_reply_comes_home() {
    with_session(|world| {
        let dialled = Frame::new(C, IMPORTED, Transport::tcp(40_000, 80, flags::SYN));
        world.pod(&dialled);
        let answer = Transport::tcp(80, 40_000, flags::SYN | flags::ACK);
        let answer = Frame::new(THEIR_VIP, C, answer);
        let home = arrives(world, from(false, true), &answer).delivered(LOOPBACK);
        assert_eq!((home.source, home.destination), (IMPORTED, C));
    });
}

#[test]
fn what_is_answered_or_rejected_here_goes_back_by_the_session() {
    with_session(|world| {
        let echo = Frame::new(C, EXPORTED, Transport::echo(false, 6));
        let out = arrives(world, from(true, false), &echo);
        assert_eq!(out.counted, [Counted::Answer]);
        let (frame, told) = sent(&out);
        assert_eq!(frame.transport, Transport::echo(true, 6));
        assert_eq!(told, (towards(false, true), 0));

        let dialled = Frame::new(C, EMPTY, Transport::tcp(40_000, 80, flags::SYN));
        let out = arrives(world, from(true, false), &dialled);
        assert_eq!(out.counted, [Counted::Reject]);
        let (frame, told) = sent(&out);
        assert_eq!((frame.source, frame.destination), (EMPTY, C));
        assert!(
            matches!(frame.transport, Transport::Tcp { flags: set, .. } if set & flags::RST != 0)
        );
        assert_eq!(told, (towards(false, true), 0));
    });
}

#[test]
fn what_the_gateway_may_not_say_is_dropped() {
    with_session(|world| {
        let dialled = Frame::new(C, EXPORTED, Transport::tcp(40_000, 80, flags::SYN));
        let bad = [
            towards(true, false),
            Vni {
                probe: true,
                ..from(false, false)
            },
            Vni {
                passed_on: true,
                ..from(false, false)
            },
            from(true, true),
        ];
        for vni in bad {
            let out = arrives(world, vni, &dialled);
            assert_eq!(out.dropped, Some(DropReason::BadTunnelHeader), "{vni:?}");
        }
        let stranger = Vni {
            number: 4000,
            ..from(true, false)
        };
        let out = arrives(world, stranger, &dialled);
        assert_eq!(out.dropped, Some(DropReason::NoRoute));
        let out = world.session(&hashed(dialled.clone()));
        assert_eq!(
            out.dropped,
            Some(DropReason::NoRoute),
            "no header: own cluster"
        );
        let spoofed = Frame {
            source: ip(172, 16, 0, 1),
            ..dialled.clone()
        };
        let out = arrives(world, from(true, false), &spoofed);
        assert_eq!(out.dropped, Some(DropReason::BadInnerSource));
        // The peer's packets are plain by agreement: none of them comes by a session.
        world.route(route_flags::DIRECT_REPLY);
        let out = arrives(world, from(true, false), &dialled);
        assert_eq!(out.dropped, Some(DropReason::BadTunnelHeader));
    });
}

#[test]
fn nothing_passes_plain() {
    with_session(|world| {
        let address = GATEWAY.octets();
        world.remove::<_, Source>(names::SOURCES, SourceKey4 { address });
        let dialled = Frame::new(C, EXPORTED, Transport::tcp(40_000, 80, flags::SYN));
        let out = world.tunnel(from_peer(true), &hashed(dialled));
        assert_eq!(out.dropped, Some(DropReason::UnlistedSource));
        let reply = Tunnel {
            vni: REPLY,
            node: GATEWAY,
            identity: 1,
        };
        let answer = Frame::new(THEIR_VIP, C, Transport::tcp(80, 40_000, flags::ACK));
        let out = world.tunnel(reply, &answer);
        assert_eq!(out.dropped, Some(DropReason::UnlistedSource));
    });
}

#[test]
fn what_its_own_gateway_cannot_take_goes_by_another_once() {
    with_session(|world| {
        world.route(route_flags::SESSION | route_flags::DIRECT_REPLY);
        let dialled = Frame::new(C, IMPORTED, Transport::tcp(40_000, 80, flags::SYN));
        let (_, tunnel) = world.pod(&dialled).tunnelled();
        assert_eq!(tunnel.node, OWN_GATEWAY);
        assert_eq!(tunnel.vni, towards(true, false).encode());
        let frame = |transport| hashed(Frame::new(B2, THEIR_VIP, transport));
        let header = |vni: Vni| Tunnel {
            vni: vni.encode(),
            node: NODE_2,
            identity: 12,
        };
        for reply in [false, true] {
            let vni = towards(!reply, reply);
            let passed_on = Vni {
                passed_on: true,
                ..vni
            };
            let frame = frame(Transport::tcp(40_000, 80, flags::ACK));
            let (out, tunnel) = world.tunnel(header(vni), &frame).tunnelled();
            assert_eq!((out.source, out.destination), (B2, THEIR_VIP));
            assert_eq!(out.destination_mac, frame.destination_mac);
            let on = Tunnel {
                node: OWN_GATEWAY,
                ..header(passed_on)
            };
            assert_eq!(tunnel, on);
            // Never twice: the next one has a session, or it waits there for one.
            let (_, told) = sent(&world.tunnel(header(passed_on), &frame));
            assert_eq!(told, (vni, 12));
        }
        let passed_on = Vni {
            passed_on: true,
            ..towards(true, false)
        };
        let dialled = frame(Transport::tcp(40_000, 80, flags::SYN));
        world.configure(|config| config.flags = config_flags::GATEWAY);
        let out = world.tunnel(header(passed_on), &dialled);
        assert_eq!(out.dropped, Some(DropReason::NoRoute), "no gateway here");
        // Where packets go plain, every gateway has a way.
        world.route(route_flags::DIRECT_REPLY);
        let out = world.tunnel(header(passed_on), &dialled);
        assert_eq!(out.dropped, Some(DropReason::BadTunnelHeader));
    });
}
