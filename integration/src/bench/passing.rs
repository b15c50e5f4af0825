//! Shell: what the shipped programs cost the packets that are not theirs: pods among themselves, probes and their
//! answers, services of the own cluster, what else the uplink sees.
//!
//! Such a packet is left as it is, so one test run repeats it. The same packet goes to an empty program right before,
//! and the difference counts: the rest is what any program on the hook would cost.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aya::{Ebpf, EbpfLoader, maps::Array, maps::MapData};
use causeway_abi::{Config, Counted, MapOut, V6, config_flags, names};

use super::{Bed, NODE, NODE_2, Point, Promise, time};
use crate::packet::{Frame, Transport, flags};

/// What is promised of each.
const LIMIT: f64 = 40.0;
/// Rounds for each figure.
const ROUNDS: usize = 11;
/// Packets of a round.
const PACKETS: u32 = 250_000;
/// Prefixes of peers whose addresses are used as they are, where there are any.
const NATIVE: u8 = 16;

const POD: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 6);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 7);
const BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

struct Case {
    name: &'static str,
    hook: Hook,
    frame: Vec<u8>,
}

/// A hook by its name, and its programs, which all see each packet.
type Hook = (&'static str, &'static [&'static str]);

const POD_SIDE: Hook = (
    names::POD_INGRESS.name,
    &[names::POD_INGRESS.four, names::POD_INGRESS.six],
);
const UPLINK: Hook = (names::UPLINK_GUARD, &[names::UPLINK_GUARD]);

/// Measures all of them, without and with native peers.
pub(super) fn run(bed: &mut Bed, object: &Path, tell: &mut dyn FnMut(Point)) -> Result<()> {
    // The maps of the bed: same names, same pins.
    let mut shipped = EbpfLoader::new()
        .default_map_pin_directory(&bed.pins)
        .load_file(object)
        .with_context(|| object.display().to_string())?;
    for case in cases() {
        tell(measure(bed, &mut shipped, &case, "")?);
    }
    be_native(bed)?;
    for case in cases().iter().filter(|case| case.hook == POD_SIDE) {
        tell(measure(bed, &mut shipped, case, ", native peers")?);
    }
    Ok(())
}

fn measure(bed: &mut Bed, shipped: &mut Ebpf, case: &Case, with: &str) -> Result<Point> {
    let before = bed.counted(Counted::Pass)?;
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        let mut cost = 0.0;
        for program in case.hook.1 {
            let empty = time(&mut bed.ebpf, "bench_empty", &case.frame, PACKETS)?;
            cost += time(shipped, program, &case.frame, PACKETS)? - empty;
        }
        costs.push(cost);
    }
    let passed = bed.counted(Counted::Pass)?.saturating_sub(before);
    let all = ROUNDS as u64 * u64::from(PACKETS);
    ensure!(passed == all, "{}: {passed} of {all} passed", case.name);
    let name = format!(
        "{}, {}{with} (test run, over an empty program)",
        case.hook.0, case.name
    );
    let mut point = Point::of(name, "ns/packet", costs);
    point.promise = Some(Promise {
        text: format!("at most {LIMIT}"),
        kept: point.median <= LIMIT,
    });
    Ok(point)
}

/// Peers' addresses are used as they are: each destination is looked up then.
fn be_native(bed: &mut Bed) -> Result<()> {
    for third in 0..NATIVE {
        let base = Ipv4Addr::new(172, 16 + third, 0, 0);
        let out = MapOut {
            base: V6::mapped(base.octets()),
            bits: 16,
            peer: super::PEER,
            reserved: 0,
        };
        bed.put_prefix(names::MAP_OUT.four, 16, base.octets(), out)?;
    }
    let map = bed
        .ebpf
        .map_mut(names::CONFIG)
        .context("no configuration")?;
    let mut map = Array::<&mut MapData, Config>::try_from(map)?;
    let mut config = map.get(&0, 0)?;
    config.flags |= config_flags::NATIVE;
    Ok(map.set(0, config, 0)?)
}

fn cases() -> Vec<Case> {
    let case = |name, hook, frame| Case { name, hook, frame };
    let pod = |name, to, transport| case(name, POD_SIDE, Frame::new(POD, to, transport).build());
    let uplink = |name, transport| case(name, UPLINK, Frame::new(NODE_2, NODE, transport).build());
    let ack = |from, to| Transport::tcp(from, to, flags::ACK);
    let ping = Transport::Icmp {
        kind: 8,
        code: 0,
        rest: [0, 1, 0, 1],
        data: vec![0; 32],
    };
    vec![
        pod("TCP to a pod", NEIGHBOUR, ack(40_000, 8080)),
        pod(
            "UDP to a pod",
            NEIGHBOUR,
            Transport::udp(40_000, 7007, &[0; 64]),
        ),
        pod("TCP to a ClusterIP", CLUSTER_IP, ack(40_000, 443)),
        pod(
            "DNS to a ClusterIP",
            CLUSTER_IP,
            Transport::udp(40_000, 53, &[0; 32]),
        ),
        case(
            "TCP with IP options",
            POD_SIDE,
            with_options(ack(40_000, 8080)),
        ),
        pod("answer to a probe", BRIDGE, ack(8080, 40_000)),
        pod("ping to the node", BRIDGE, ping.clone()),
        case("ARP", POD_SIDE, other(0x0806, 28)),
        case(
            "TCP to a pod, IPv6",
            POD_SIDE,
            Frame::new(POD, NEIGHBOUR, ack(40_000, 8080)).build6(),
        ),
        case("IPv6 without a transport", POD_SIDE, other(0x86dd, 60)),
        uplink("TCP between nodes", ack(40_000, 10_250)),
        uplink("UDP between nodes", Transport::udp(40_000, 53, &[0; 64])),
        uplink(
            "another network's VXLAN",
            Transport::udp(40_000, 4789, &[0; 64]),
        ),
        uplink("ping between nodes", ping),
    ]
}

/// What the programs do not read in place.
fn with_options(transport: Transport) -> Vec<u8> {
    let frame = Frame::new(POD, NEIGHBOUR, transport);
    let options = vec![1; 4];
    Frame { options, ..frame }.build()
}

/// A frame of something else than IPv4.
fn other(kind: u16, length: usize) -> Vec<u8> {
    let mut frame = vec![0x0a, 0, 0, 0, 0, 1, 0x0a, 0, 0, 0, 0, 2];
    frame.extend(kind.to_be_bytes());
    frame.resize(frame.len() + length, 0);
    if kind == 0x86dd {
        frame.splice(14..22, [0x60, 0, 0, 0, 0, 20, 59, 64]);
    }
    frame
}
