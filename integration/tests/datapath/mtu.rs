//! What the path to a peer takes: TCP is told when it opens, datagrams go in two pieces, and who sends what is larger yet is
//! told so.

use causeway_abi::{Counted, DropReason, route_flags};
use causeway_integration::packet::{Frame, Transport, flags};

use crate::{
    gateway::{from_peer, hashed},
    world::{B1, B1_PORT, C, EXPORTED, IMPORTED, LOOPBACK, MAPPED, Outcome, World, with_world},
};

/// Headers of TCP, without options, and of UDP.
const TCP: u16 = 20;
const UDP: usize = 8;

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
            (0, 1460, world.mss()),
            (1200, 1460, 1200 - world.header() - TCP),
            (1200, 900, 900),
            (9000, 1460, world.mss()),
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
        assert_eq!(mss(&out), 1200 - world.header() - TCP);
    });
}

fn datagram(world: &World, bytes: usize) -> Frame {
    let data = vec![7; bytes - usize::from(world.header()) - UDP];
    Frame::new(C, IMPORTED, Transport::udp(5000, 53, &data))
}

/// Asserts that the sender is told what goes there.
fn told(world: &World, out: &Outcome, frame: &Frame, mtu: u16) {
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
        data: world.quoted(frame),
    };
    assert_eq!(back.transport, expected);
}

#[test]
fn datagrams_pass_in_two_pieces_and_larger_ones_are_refused_with_the_size_that_goes() {
    with_world(|world| {
        for (path, told_mtu) in [(700, 1280), (1400, 1400)] {
            world.route_of(route_flags::DIRECT_REPLY, path);
            let most = 2 * (usize::from(path) - 2);
            let fits = datagram(world, most);
            world.pod(&fits).tunnelled();
            let large = datagram(world, most + 1);
            let out = world.pod(&large);
            told(world, &out, &large, told_mtu);
        }
        world.route(route_flags::DIRECT_REPLY);
        let large = datagram(world, 3400);
        world.pod(&large).tunnelled();
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
        let out = world.pod(&echo);
        told(world, &out, &echo, 1280);
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
