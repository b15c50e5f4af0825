//! One cluster's address for a service: its VIP as it appears here. It reaches that cluster and no other.

use std::net::Ipv4Addr;

use causeway_abi::{DropReason, MapIn, MapInKey, MapOut, Vni, map_in_prefix, names};
use causeway_integration::packet::{Frame, Transport, flags};

use crate::{
    client::REPLY,
    world::{
        B1, B1_PORT, C, GATEWAY, IMPORTED, LOOPBACK, PEER, SELF_MAPPED, THEIR_VIP, Tunnel, World,
        ip, with_world,
    },
};

/// [`THEIR_VIP`] as it appears here.
const THEIRS_HERE: Ipv4Addr = ip(242, 2, 0, 9);
/// The VIP that is exported with B1 behind it, under the self-map.
const OURS_HERE: Ipv4Addr = ip(242, 3, 0, 2);

/// The pools of VIPs, which are equal in both clusters, under mappings of their own.
fn map_vips(world: &mut World) {
    for (peer, base) in [(PEER, ip(242, 2, 0, 0)), (0, ip(242, 3, 0, 0))] {
        let pool = ip(241, 0, 0, 0);
        let key = MapInKey {
            peer: u32::from(peer).to_be_bytes(),
            address: pool.octets(),
        };
        let inward = MapIn {
            base: world.inner(base),
            bits: world.bits(16),
        };
        world.put_prefix_of(names::MAP_IN, map_in_prefix(16), key, inward);
        let outward = MapOut {
            base: world.inner(pool),
            bits: world.bits(16),
            peer,
            reserved: 0,
        };
        world.put_prefix_of(names::MAP_OUT, 16, base.octets(), outward);
    }
}

fn with_mapped_vips(test: impl Fn(&mut World)) {
    with_world(|world| {
        map_vips(world);
        test(world);
    });
}

fn dial(to: Ipv4Addr, port: u16, flags: u8) -> Frame {
    Frame::new(C, to, Transport::tcp(port, 80, flags))
}

fn reply(world: &mut World, port: u16) -> Frame {
    let transport = Transport::tcp(80, port, flags::SYN | flags::ACK);
    let header = Tunnel {
        vni: REPLY,
        node: GATEWAY,
        identity: 1,
    };
    let frame = Frame::new(THEIR_VIP, C, transport);
    world.tunnel(header, &frame).delivered(LOOPBACK)
}

#[test]
fn it_reaches_that_cluster_and_answers_as_dialled() {
    with_mapped_vips(|world| {
        // Whatever the ring over clusters says.
        world.ring(0, 0xffff, 0xffff);
        let (frame, tunnel) = world
            .pod(&dial(THEIRS_HERE, 40_000, flags::SYN))
            .tunnelled();
        assert_eq!((frame.source, frame.destination), (C, THEIR_VIP));
        let vni = Vni::decode(tunnel.vni).unwrap();
        assert_eq!((vni.number, vni.first), (PEER, true));
        let home = reply(world, 40_000);
        assert_eq!((home.source, home.destination), (THEIRS_HERE, C));
        world
            .pod(&dial(THEIRS_HERE, 40_000, flags::ACK))
            .tunnelled();
        let counters = world.service_counters(1);
        assert_eq!((counters.sent_packets, counters.sent_flows), (2, 1));
    });
}

#[test]
fn beside_it_the_services_address_works_on() {
    with_mapped_vips(|world| {
        world
            .pod(&dial(THEIRS_HERE, 40_000, flags::SYN))
            .tunnelled();
        world.pod(&dial(IMPORTED, 40_001, flags::SYN)).tunnelled();
        assert_eq!(reply(world, 40_001).source, IMPORTED);
        assert_eq!(reply(world, 40_000).source, THEIRS_HERE);
    });
}

#[test]
fn both_from_one_port_would_be_one_connection() {
    for (first, second) in [(IMPORTED, THEIRS_HERE), (THEIRS_HERE, IMPORTED)] {
        with_mapped_vips(|world| {
            world.pod(&dial(first, 40_000, flags::SYN)).tunnelled();
            let out = world.pod(&dial(second, 40_000, flags::SYN));
            assert_eq!(out.dropped, Some(DropReason::VipCollision));
            // The first one is not disturbed.
            assert_eq!(reply(world, 40_000).source, first);
        });
    }
}

#[test]
fn a_port_that_is_no_services_is_refused_here() {
    with_mapped_vips(|world| {
        let frame = Frame::new(C, THEIRS_HERE, Transport::tcp(40_000, 81, flags::SYN));
        let out = world.pod(&frame);
        assert_eq!(out.dropped, Some(DropReason::NoFrontend));
        assert_eq!((out.frame().source, out.ifindex), (THEIRS_HERE, LOOPBACK));
    });
}

#[test]
fn the_own_clusters_endpoints_have_one_too() {
    with_mapped_vips(|world| {
        let there = world
            .pod(&dial(OURS_HERE, 40_000, flags::SYN))
            .delivered(B1_PORT);
        assert_eq!((there.source, there.destination), (SELF_MAPPED, B1));
    });
}
