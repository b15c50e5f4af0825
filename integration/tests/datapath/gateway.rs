//! A gateway's part: from a peer to endpoints, from own nodes to a peer, probes, and the uplink's guard.

use causeway_abi::{Counted, DropReason, FlowTuple, MAC_NONE, Mac, Vni, flow_hash, names};
use causeway_integration::packet::{Frame, Transport, flags};

use crate::world::{
    B1, B1_PORT, B2, C, EXPORTED, GATEWAY, IMPORTED, MAPPED, NAME_1, NAME_2, NODE, NODE_2, PEER,
    REMOTE, SEED, THEIR_NUMBER, THEIR_VIP, TUNNEL, Tunnel, ip, with_world,
};

pub fn from_peer(first: bool) -> Tunnel {
    let vni = Vni {
        number: PEER,
        from: true,
        first,
        ..Vni::default()
    }
    .encode();
    Tunnel {
        vni,
        node: GATEWAY,
        identity: 300,
    }
}

/// With the flow hash that the client's node would send.
pub fn hashed(frame: Frame) -> Frame {
    let hash = flow_hash(
        &SEED,
        &FlowTuple {
            source: frame.source.octets(),
            ..FlowTuple::default()
        },
    );
    Frame {
        destination_mac: Mac::of_hash(hash),
        source_mac: MAC_NONE,
        ..frame
    }
}

#[test]
fn a_request_goes_to_the_endpoints_node_with_both_names() {
    with_world(|world| {
        let frame = hashed(Frame::new(
            C,
            REMOTE,
            Transport::tcp(40_000, 80, flags::SYN),
        ));
        let (out, tunnel) = world.tunnel(from_peer(true), &frame).tunnelled();
        assert_eq!((out.source, out.destination, out.ttl), (MAPPED, REMOTE, 63));
        assert_eq!((out.destination_mac, out.source_mac), (NAME_2, NAME_1));
        assert_eq!(
            tunnel,
            Tunnel {
                vni: from_peer(true).vni,
                node: NODE_2,
                identity: 300
            }
        );
    });
}

#[test]
fn a_request_for_an_endpoint_here_is_delivered_at_once() {
    with_world(|world| {
        let frame = hashed(Frame::new(
            C,
            EXPORTED,
            Transport::tcp(40_000, 80, flags::SYN),
        ));
        let out = world.tunnel(from_peer(true), &frame).delivered(B1_PORT);
        assert_eq!((out.source, out.destination), (MAPPED, B1));
    });
}

#[test]
fn every_flow_hash_finds_its_slot() {
    with_world(|world| {
        for hash in [0, 1, 250, 251, 252, u32::MAX] {
            let frame = Frame::new(C, REMOTE, Transport::tcp(hash as u16, 80, flags::ACK));
            let frame = Frame {
                destination_mac: Mac::of_hash(hash),
                source_mac: MAC_NONE,
                ..frame
            };
            assert_eq!(
                world
                    .tunnel(from_peer(false), &frame)
                    .tunnelled()
                    .0
                    .destination_mac,
                NAME_2
            );
        }
    });
}

#[test]
fn an_older_ring_of_another_size_names_the_previous_owner() {
    with_world(|world| {
        let newest = world.ring(8, 1, 0xffff);
        let older = world.ring(9, 1, 0);
        world.frontend(REMOTE, |frontend| {
            (frontend.stage_two, frontend.stage_two_older) = (newest, older)
        });
        let frame = hashed(Frame::new(
            C,
            REMOTE,
            Transport::tcp(40_000, 80, flags::ACK),
        ));
        let (out, _) = world.tunnel(from_peer(false), &frame).tunnelled();
        assert_eq!(
            (out.destination_mac, out.source_mac),
            (NAME_2, NAME_1),
            "the first that is not the current one"
        );
    });
}

#[test]
fn a_slot_that_only_drains_takes_nothing_new() {
    with_world(|world| {
        let draining = world.ring(8, 0xffff, 1);
        world.frontend(REMOTE, |frontend| frontend.stage_two = draining);
        let frame = |flags| hashed(Frame::new(C, REMOTE, Transport::tcp(40_000, 80, flags)));
        let (out, _) = world
            .tunnel(from_peer(false), &frame(flags::ACK))
            .tunnelled();
        assert_eq!((out.destination_mac, out.source_mac), (NAME_2, MAC_NONE));
        let refused = world.tunnel(from_peer(true), &frame(flags::SYN));
        assert_eq!(refused.dropped, Some(DropReason::NobodyReady));
    });
}

#[test]
fn a_slot_that_only_drains_names_both_of_its_last_owners() {
    with_world(|world| {
        let draining = world.ring(8, 0xffff, 1);
        let older = world.ring(9, 1, 0);
        world.frontend(REMOTE, |frontend| {
            (frontend.stage_two, frontend.stage_two_older) = (draining, older)
        });
        let frame = hashed(Frame::new(
            C,
            REMOTE,
            Transport::tcp(40_000, 80, flags::ACK),
        ));
        let (out, _) = world.tunnel(from_peer(false), &frame).tunnelled();
        assert_eq!((out.destination_mac, out.source_mac), (NAME_2, NAME_1));
    });
}

#[test]
fn affinity_is_by_client_alone() {
    with_world(|world| {
        world.frontend(IMPORTED, |frontend| frontend.affinity_secs = 10_800);
        let mut macs = [40_000, 40_001, 50_000].map(|port| {
            let frame = Frame::new(C, IMPORTED, Transport::tcp(port, 80, flags::SYN));
            world.pod(&frame).tunnelled().0.destination_mac
        });
        macs.sort_unstable();
        assert_eq!(macs.first(), macs.last());
    });
}

#[test]
fn echo_to_an_own_vip_is_answered_to_the_peer() {
    with_world(|world| {
        let out = world.tunnel(
            from_peer(true),
            &hashed(Frame::new(C, EXPORTED, Transport::echo(false, 6))),
        );
        assert_eq!(out.counted, [Counted::Answer]);
        let (frame, tunnel) = out.tunnelled();
        assert_eq!(
            (frame.source, frame.destination, frame.transport),
            (EXPORTED, C, Transport::echo(true, 6))
        );
        let back = Vni {
            number: THEIR_NUMBER,
            from: true,
            reply: true,
            ..Vni::default()
        }
        .encode();
        assert_eq!(
            tunnel,
            Tunnel {
                vni: back,
                node: GATEWAY,
                identity: 0
            }
        );
    });
}

#[test]
fn a_headless_endpoint_is_found_by_its_own_address() {
    with_world(|world| {
        let frame = hashed(Frame::new(C, B1, Transport::tcp(40_000, 5432, flags::SYN)));
        let out = world.tunnel(from_peer(true), &frame).delivered(B1_PORT);
        assert_eq!((out.source, out.destination), (MAPPED, B1));
        let answer = Frame::new(
            B1,
            MAPPED,
            Transport::tcp(5432, 40_000, flags::SYN | flags::ACK),
        );
        let (back, _) = world.pod_as(B1, &answer).tunnelled();
        assert_eq!((back.source, back.destination), (B1, C));

        let frame = hashed(Frame::new(C, B2, Transport::tcp(40_000, 5432, flags::SYN)));
        let (out, tunnel) = world.tunnel(from_peer(true), &frame).tunnelled();
        assert_eq!(
            (out.destination_mac, out.source_mac, tunnel.node),
            (NAME_2, MAC_NONE, NODE_2)
        );
    });
}

#[test]
fn own_nodes_packets_go_on_to_the_peer() {
    with_world(|world| {
        world.gateway();
        for reply in [false, true] {
            let vni = Vni {
                number: PEER,
                first: !reply,
                reply,
                ..Vni::default()
            };
            let header = Tunnel {
                vni: vni.encode(),
                node: NODE_2,
                identity: 12,
            };
            let frame = hashed(Frame::new(
                B2,
                THEIR_VIP,
                Transport::tcp(40_000, 80, flags::SYN),
            ));
            let (out, tunnel) = world.tunnel(header, &frame).tunnelled();
            assert_eq!((out.source, out.destination, out.ttl), (B2, THEIR_VIP, 63));
            assert_eq!(
                (out.destination_mac, out.source_mac),
                (frame.destination_mac, MAC_NONE)
            );
            let on = Vni {
                number: THEIR_NUMBER,
                from: true,
                ..vni
            }
            .encode();
            assert_eq!(
                tunnel,
                Tunnel {
                    vni: on,
                    node: GATEWAY,
                    identity: 12
                }
            );
        }
    });
}

#[test]
fn probes_are_noted_and_answered() {
    with_world(|world| {
        let probe = Vni {
            number: PEER,
            from: true,
            probe: true,
            ..Vni::default()
        };
        let frame = Frame::new(
            ip(0, 0, 0, 0),
            ip(0, 0, 0, 0),
            Transport::Raw {
                protocol: 0,
                data: vec![],
            },
        );
        assert_eq!(world.read::<u32, u64>(names::SEEN, PEER.into()), None);
        let out = world.tunnel(
            Tunnel {
                vni: probe.encode(),
                node: GATEWAY,
                identity: 0,
            },
            &frame,
        );
        assert_eq!(
            (out.verdict, out.ifindex, &out.counted[..]),
            (7, TUNNEL, &[Counted::Answer][..])
        );
        let back = Vni {
            number: THEIR_NUMBER,
            reply: true,
            ..probe
        };
        assert_eq!(
            out.tunnel,
            Some(Tunnel {
                vni: back.encode(),
                node: GATEWAY,
                identity: 0
            })
        );
        let heard = world.read::<u32, u64>(names::SEEN, PEER.into()).unwrap();
        assert!(heard > 0);
        let answer = Vni {
            reply: true,
            ..probe
        };
        let out = world.tunnel(
            Tunnel {
                vni: answer.encode(),
                node: GATEWAY,
                identity: 0,
            },
            &frame,
        );
        assert_eq!(
            (out.verdict, &out.counted[..]),
            (2, &[Counted::Consume][..])
        );
        assert!(world.read::<u32, u64>(names::SEEN, PEER.into()).unwrap() >= heard);
    });
}

#[test]
fn the_guard_lets_pass_what_is_listed_or_not_ours() {
    with_world(|world| {
        let tunnel = |from| Frame::new(from, NODE, Transport::udp(50_000, 7472, b"vxlan"));
        for frame in [
            tunnel(GATEWAY),
            tunnel(NODE_2),
            Frame::new(
                ip(1, 2, 3, 4),
                NODE,
                Transport::udp(50_000, 4789, b"another's"),
            ),
            Frame::new(
                ip(1, 2, 3, 4),
                NODE,
                Transport::tcp(50_000, 7472, flags::SYN),
            ),
            Frame {
                fragment: 100,
                ..tunnel(ip(1, 2, 3, 4))
            },
        ] {
            assert_eq!(
                (world.uplink(&frame).verdict, world.uplink(&frame).dropped),
                (-1, None)
            );
        }
    });
}
