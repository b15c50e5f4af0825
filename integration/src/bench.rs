//! Shell: ns per packet of each program, by test runs in the kernel.
//!
//! Each repetition writes a fresh packet of the next flow and runs the program's own logic on it (a test run does not
//! reset the packet). The writing is measured alone, right before, and subtracted: figures are of the program with its
//! counters and verdict, without the device around it. Figures drift with the machine: compare within one run.

mod bed;
mod load;
mod paired;
mod passing;
mod point;
mod troubles;
mod tunnel;
mod wireguard;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use crate::packet::{Frame, Transport, flags};
use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod as Plain,
    maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, lpm_trie::Key},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use causeway_abi::{Counted, MAC_NONE, Vni, names};

pub use point::{Gate, Point, Promise};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the programs cost the packets of the clusterset.
    Walk,
    /// What they cost all other packets.
    Passing,
    /// What a node's own traffic gains or loses by an agent.
    Paired,
    /// What goes between clusters encrypted, against WireGuard.
    Tunnel,
}

/// Rounds per figure; each is a pair: packets alone, packets and program.
const ROUNDS: usize = 9;
/// Packets per round.
const PACKETS: u32 = 200_000;
/// Flows of the large cases: what a port can number.
const MANY: u32 = 65_536;

const C: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 6);
const B: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 7);
const IMPORTED: Ipv4Addr = Ipv4Addr::new(241, 0, 0, 1);
const THEIR_VIP: Ipv4Addr = Ipv4Addr::new(241, 0, 0, 9);
const EXPORTED: Ipv4Addr = Ipv4Addr::new(241, 0, 0, 2);
const MAPPED: Ipv4Addr = Ipv4Addr::new(242, 1, 0, 6);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NODE_2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PEER: u16 = 5;
const NAME: [u8; 6] = [2, 0xb1, 0, 0, 0, 1];
/// Test runs happen on the loopback device.
const LOOPBACK: u32 = 1;
/// Offsets of the two ports in a frame without options.
const SOURCE_PORT: u32 = 34;
const DESTINATION_PORT: u32 = 36;

/// As the harness has it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Metadata {
    present: u32,
    vni: u32,
    node: u32,
    identity: u32,
    ifindex: u32,
}

// SAFETY: plain integers.
unsafe impl Plain for Metadata {}

/// As the harness has it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Making {
    flows: u32,
    next: u32,
    port_at: u32,
    hashed: u32,
    frame: [u8; 54],
    reserved: [u8; 2],
}

// SAFETY: plain integers, no padding.
unsafe impl Plain for Making {}

/// A case: which program, from which packets, to which end.
struct Case {
    name: &'static str,
    program: &'static str,
    frame: Frame,
    port_at: u32,
    hashed: bool,
    tunnel: Option<(Vni, Ipv4Addr)>,
    /// What becomes of every packet: asserted, as a wrong path is a fast one.
    counted: Counted,
    /// Whether the number of flows can matter.
    flows: bool,
}

/// Measures the parts that were asked for, with a built object and what lies beside it; tells each figure at once.
///
/// # Errors
/// Where the kernel refuses, or a packet takes another path than the case is about.
pub fn run(object: &Path, parts: &[Part], tell: &mut dyn FnMut(Point)) -> Result<()> {
    if parts.contains(&Part::Walk) || parts.contains(&Part::Passing) {
        let mut bed = Bed::new(object)?;
        bed.fill()?;
        if parts.contains(&Part::Walk) {
            walk(&mut bed, tell)?;
        }
        if parts.contains(&Part::Passing) {
            passing::run(&mut bed, object, tell)?;
        }
    }
    if parts.contains(&Part::Paired) {
        paired::run(object, tell)?;
    }
    if parts.contains(&Part::Tunnel) {
        tunnel::run(tell)?;
    }
    Ok(())
}

fn walk(bed: &mut Bed, tell: &mut dyn FnMut(Point)) -> Result<()> {
    for case in cases() {
        let counts: &[u32] = if case.flows { &[1, MANY] } else { &[1] };
        for flows in counts {
            tell(bed.measure(&case, *flows)?);
        }
    }
    Ok(())
}

/// A case whose flows can matter, without a tunnel header.
const fn case(
    name: &'static str,
    program: &'static str,
    frame: Frame,
    port_at: u32,
    counted: Counted,
) -> Case {
    Case {
        name,
        program,
        frame,
        port_at,
        hashed: false,
        tunnel: None,
        counted,
        flows: true,
    }
}

fn cases() -> Vec<Case> {
    let mut cases = pod_cases();
    cases.extend(tunnel_cases());
    let outer = Frame::new(GATEWAY, NODE, Transport::udp(0, 7472, b"twelve bytes"));
    let guard = case(
        "uplink_guard, listed",
        "bench_guard",
        outer,
        SOURCE_PORT,
        Counted::Pass,
    );
    cases.push(Case {
        flows: false,
        ..guard
    });
    cases
}

fn ack(source: u16, destination: u16) -> Transport {
    Transport::tcp(source, destination, flags::ACK)
}

fn pod_cases() -> Vec<Case> {
    let elsewhere = Frame::new(C, Ipv4Addr::new(10, 96, 0, 1), ack(0, 80));
    let pass = case(
        "pod_ingress, not ours",
        "bench_pod",
        elsewhere,
        SOURCE_PORT,
        Counted::Pass,
    );
    let to_vip = Frame::new(C, IMPORTED, ack(0, 80));
    let answer = Frame::new(B, MAPPED, ack(8080, 0));
    vec![
        Case {
            flows: false,
            ..pass
        },
        case(
            "pod_ingress, request",
            "bench_pod",
            to_vip,
            SOURCE_PORT,
            Counted::Tunnel,
        ),
        case(
            "pod_ingress, answer",
            "bench_pod",
            answer,
            DESTINATION_PORT,
            Counted::Tunnel,
        ),
    ]
}

fn tunnel_cases() -> Vec<Case> {
    let peer = Vni {
        number: PEER,
        from: true,
        ..Vni::default()
    };
    let reply = Vni {
        reply: true,
        ..peer
    };
    let request = Frame::new(C, EXPORTED, ack(0, 80));
    let arriving = Frame::new(MAPPED, EXPORTED, ack(0, 80));
    let arriving = Frame {
        destination_mac: NAME,
        source_mac: MAC_NONE,
        ..arriving
    };
    let home = Frame::new(THEIR_VIP, C, ack(80, 0));
    let of = |name, frame, port_at, counted| case(name, "bench_tunnel", frame, port_at, counted);
    let balances = of(
        "tunnel_ingress, gateway balances",
        request,
        SOURCE_PORT,
        Counted::Tunnel,
    );
    let to_backend = of(
        "tunnel_ingress, to its backend",
        arriving,
        SOURCE_PORT,
        Counted::Deliver,
    );
    let to_client = of(
        "tunnel_ingress, home to its client",
        home,
        DESTINATION_PORT,
        Counted::Deliver,
    );
    vec![
        Case {
            hashed: true,
            tunnel: Some((peer, GATEWAY)),
            ..balances
        },
        Case {
            tunnel: Some((peer, NODE_2)),
            ..to_backend
        },
        Case {
            tunnel: Some((reply, GATEWAY)),
            ..to_client
        },
    ]
}

/// The kernel with our maps. Dropped, it leaves nothing behind.
struct Bed {
    ebpf: Ebpf,
    pins: PathBuf,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.pins);
    }
}

impl Bed {
    fn new(object: &Path) -> Result<Self> {
        let mut name = object.file_name().context("no file name")?.to_owned();
        name.push("-harness");
        let path = object.with_file_name(name);
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let pins = PathBuf::from(format!("/sys/fs/bpf/causeway-bench-{}", std::process::id()));
        std::fs::create_dir(&pins).context("a mounted bpffs is needed")?;
        match EbpfLoader::new()
            .default_map_pin_directory(&pins)
            .load(&bytes)
        {
            Ok(ebpf) => Ok(Self { ebpf, pins }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&pins);
                Err(error.into())
            }
        }
    }

    fn put<K: Plain, V: Plain>(&mut self, map: &str, key: K, value: V) -> Result<()> {
        let map = self
            .ebpf
            .map_mut(map)
            .with_context(|| format!("map {map}"))?;
        Ok(HashMap::<&mut MapData, K, V>::try_from(map)?.insert(key, value, 0)?)
    }

    fn put_prefix<K: Plain, V: Plain>(
        &mut self,
        map: &str,
        bits: u32,
        data: K,
        value: V,
    ) -> Result<()> {
        let map = self
            .ebpf
            .map_mut(map)
            .with_context(|| format!("map {map}"))?;
        Ok(
            LpmTrie::<&mut MapData, K, V>::try_from(map)?.insert(
                &Key::new(bits, data),
                value,
                0,
            )?,
        )
    }

    fn set<V: Plain>(&mut self, map: &str, index: u32, value: V) -> Result<()> {
        let map = self
            .ebpf
            .map_mut(map)
            .with_context(|| format!("map {map}"))?;
        Ok(Array::<&mut MapData, V>::try_from(map)?.set(index, value, 0)?)
    }

    fn counted(&self, action: Counted) -> Result<u64> {
        let map = self.ebpf.map(names::ACTIONS).context("map")?;
        let counters = PerCpuArray::<&MapData, u64>::try_from(map)?;
        Ok(counters.get(&action.index(), 0)?.iter().sum())
    }

    fn measure(&mut self, case: &Case, flows: u32) -> Result<Point> {
        let mut frame = [0; 54];
        let bytes = case.frame.build();
        for (to, from) in frame.iter_mut().zip(&bytes) {
            *to = *from;
        }
        let (port_at, hashed) = (case.port_at, u32::from(case.hashed));
        let making = Making {
            flows,
            next: 0,
            port_at,
            hashed,
            frame,
            reserved: [0; 2],
        };
        let input = case
            .tunnel
            .map_or_else(Metadata::default, |(vni, node)| Metadata {
                present: 1,
                vni: vni.encode(),
                node: node.into(),
                identity: 300,
                ifindex: 0,
            });
        self.set("harness_in", 0, input)?;
        self.port(case.frame.source)?;
        let before = self.counted(case.counted)?;
        let mut nets = Vec::new();
        for _ in 0..ROUNDS {
            self.set("bench", 0, making)?;
            let alone = self.time("bench_nothing", &bytes)?;
            self.set("bench", 0, making)?;
            let both = self.time(case.program, &bytes)?;
            nets.push((both - alone).max(0.0));
        }
        let right = self.counted(case.counted)?.saturating_sub(before);
        let all = ROUNDS as u64 * u64::from(PACKETS);
        ensure!(
            right == all,
            "{}: {right} of {all} packets took the right path",
            case.name
        );
        let name = if case.flows {
            format!("{}, established, {flows} flows", case.name)
        } else {
            case.name.to_owned()
        };
        let name = format!("{name} (test run, making of packets taken off)");
        Ok(Point::of(name, "ns/packet", nets))
    }

    fn time(&mut self, program: &str, frame: &[u8]) -> Result<f64> {
        time(&mut self.ebpf, program, frame, PACKETS)
    }
}

/// The kernel's own mean over one round, in ns.
fn time(ebpf: &mut Ebpf, program: &str, frame: &[u8], packets: u32) -> Result<f64> {
    let program: &mut SchedClassifier = ebpf
        .program_mut(program)
        .with_context(|| format!("program {program}"))?
        .try_into()?;
    if program.fd().is_err() {
        program.load()?;
    }
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = packets;
    Ok(program.test_run(options)?.duration.as_nanos() as f64)
}
