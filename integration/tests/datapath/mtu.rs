//! What the path to a peer takes: TCP is told when it opens, datagrams go in two pieces, and who sends what is larger yet is
//! told so.

use causeway_abi::{Counted, DropReason, route_flags};
use causeway_integration::packet::{Frame, Transport, flags};

use crate::{
    gateway::{from_peer, hashed},
    world::{
        B1, B1_PORT, C, EXPORTED, IMPORTED, LOOPBACK, MAPPED, MSS, Outcome, World, with_world,
    },
};

/// IPv4 and UDP header.
const UDP: usize = 28;

fn syn(mss: u16, port: u16) -> Frame {
    let mut frame = Frame::new(C, IMPORTED, Transport::tcp(port, 80, flags::SYN));
    if let Transport::Tcp { options, .. } = &mut frame.transport {
        *options = [vec![2, 4], mss.to_be_bytes().to_vec()].concat();
    }
    frame
}

fn mss(frame: &Frame) -> u16 {
    let Transport::Tcp { options, .. } = &frame.transport else {
        panic!("TCP")
    };
    u16::from_be_bytes([options[2], options[3]])
}

#[test]
fn segments_are_as_large_as_the_path_to_that_peer_takes() {
    with_world(|world| {
        for (number, (path, given, expected)) in [
            (0, 1460, MSS),
            (1200, 1460, 1160),
            (1200, 900, 900),
            (9000, 1460, MSS),
        ]
        .into_iter()
        .enumerate()
        {
            world.route_of(route_flags::DIRECT_REPLY, path);
            let (out, _) = world.pod(&syn(given, 41_000 + number as u16)).tunnelled();
            assert_eq!(mss(&out), expected, "{path}");
        }
        // The answering side is told no more than the asking one.
        world.route_of(route_flags::DIRECT_REPLY, 1200);
        let dialled = Frame::new(C, EXPORTED, Transport::tcp(40_000, 80, flags::SYN));
        world
            .tunnel(from_peer(true), &hashed(dialled))
            .delivered(B1_PORT);
        let mut answer = syn(1460, 0);
        (answer.source, answer.destination) = (B1, MAPPED);
        if let Transport::Tcp {
            source,
            destination,
            flags: set,
            ..
        } = &mut answer.transport
        {
            (*source, *destination, *set) = (8080, 40_000, flags::SYN | flags::ACK);
        }
        let (out, _) = world.pod_as(B1, &answer).tunnelled();
        assert_eq!(mss(&out), 1160);
    });
}

fn datagram(bytes: usize) -> Frame {
    let data = vec![7; bytes - UDP];
    Frame::new(C, IMPORTED, Transport::udp(5000, 53, &data))
}

/// Asserts that the sender is told what goes there.
fn told(out: &Outcome, frame: &Frame, mtu: u16) {
    assert_eq!(
        (out.verdict, out.ifindex, out.dropped),
        (7, LOOPBACK, Some(DropReason::TooBig))
    );
    assert_eq!(out.counted, [Counted::Reject]);
    let back = out.frame();
    assert_eq!(
        (back.source, back.destination),
        (frame.destination, frame.source)
    );
    let [high, low] = mtu.to_be_bytes();
    let expected = Transport::Icmp {
        kind: 3,
        code: 4,
        rest: [0, 0, high, low],
        data: frame.build()[14..42].to_vec(),
    };
    assert_eq!(back.transport, expected);
}

#[test]
fn datagrams_pass_in_two_pieces_and_larger_ones_are_refused_with_the_size_that_goes() {
    with_world(|world| {
        for (path, told_mtu) in [(700, 1280), (1400, 1400)] {
            world.route_of(route_flags::DIRECT_REPLY, path);
            let most = 2 * (usize::from(path) - 2);
            world.pod(&datagram(most)).tunnelled();
            let large = datagram(most + 1);
            told(&world.pod(&large), &large, told_mtu);
        }
        world.route(route_flags::DIRECT_REPLY);
        world.pod(&datagram(3400)).tunnelled();
    });
}

#[test]
fn pings_are_told_too_and_answers_as_requests() {
    with_world(|world| {
        world.route_of(route_flags::DIRECT_REPLY, 700);
        let echo = Transport::Icmp {
            kind: 8,
            code: 0,
            rest: [0, 6, 0, 1],
            data: vec![1; 3000],
        };
        let echo = Frame::new(C, IMPORTED, echo);
        told(&world.pod(&echo), &echo, 1280);
        answered(world);
    });
}

/// A backend's datagram to the peer's client.
fn answered(world: &mut World) {
    let asked = Frame::new(C, EXPORTED, Transport::udp(40_000, 53, b"?"));
    world
        .tunnel(from_peer(true), &hashed(asked))
        .delivered(B1_PORT);
    let answer = Frame::new(B1, MAPPED, Transport::udp(5353, 40_000, &[1; 3000]));
    let out = world.pod_as(B1, &answer);
    assert_eq!(out.dropped, Some(DropReason::TooBig), "{out:?}");
}
