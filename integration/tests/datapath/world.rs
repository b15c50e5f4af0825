//! A kernel with our maps and programs, running one packet at a time. What is in the maps: `scenario.rs`.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use aya::{
    Ebpf, EbpfLoader, Pod as Plain,
    maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, lpm_trie::Key},
    programs::{SchedClassifier, TcAttachType, TestRun as _, TestRunOptions},
};
use causeway_abi::{
    Counted, DropReason, Flow, FlowKey, Port, ServiceCounters, V4, config_flags, names,
};
use causeway_integration::packet::Frame;

use crate::family::six;
pub use crate::scenario::*;

/// As the harness has it: metadata with which a packet came or left.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata {
    present: u32,
    vni: u32,
    node: u32,
    identity: u32,
    ifindex: u32,
}

// SAFETY: plain integers.
unsafe impl Plain for Metadata {}

/// A tunnel header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    pub vni: u32,
    pub node: Ipv4Addr,
    pub identity: u16,
}

/// What a program did with a packet.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub verdict: i32,
    pub bytes: Vec<u8>,
    /// Set by the program.
    pub tunnel: Option<Tunnel>,
    /// Where it was redirected to.
    pub ifindex: u32,
    pub dropped: Option<DropReason>,
    pub counted: Vec<Counted>,
    six: bool,
}

impl Outcome {
    /// The packet that came out, checksums verified.
    pub fn frame(&self) -> Frame {
        if self.six {
            assert_eq!(Frame::verify6(&self.bytes), Ok(()), "{self:?}");
            return Frame::parse6(&self.bytes).unwrap();
        }
        assert_eq!(Frame::verify(&self.bytes), Ok(()), "{self:?}");
        Frame::parse(&self.bytes).unwrap()
    }

    /// Asserts that it went into the tunnel, and how.
    pub fn tunnelled(&self) -> (Frame, Tunnel) {
        assert_eq!(
            (self.verdict, self.ifindex, self.dropped),
            (7, TUNNEL, None),
            "{self:?}"
        );
        (self.frame(), self.tunnel.unwrap())
    }

    /// Asserts that it went into a pod's port.
    pub fn delivered(&self, ifindex: u32) -> Frame {
        assert_eq!(
            (self.verdict, self.ifindex, self.dropped),
            (7, ifindex, None),
            "{self:?}"
        );
        assert_eq!(self.counted, [Counted::Deliver]);
        let frame = self.frame();
        assert_eq!(
            (frame.destination_mac, frame.source_mac),
            (POD_MAC, HOST_MAC)
        );
        frame
    }
}

/// The kernel with our maps. Dropped, it leaves nothing behind.
pub struct World {
    ebpf: Ebpf,
    pins: PathBuf,
    /// Inner packets are of IPv6: what tests say of IPv4 is translated (`packet::six`).
    pub six: bool,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.pins);
    }
}

/// The object to test, or why it cannot be: a failure where root is required.
pub fn object() -> Option<PathBuf> {
    let missing = if std::fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0)
    {
        "packet tests need root"
    } else if let Some(path) = std::env::var_os("CAUSEWAY_EBPF_OBJECT") {
        let path = PathBuf::from(path);
        let mut name = path.file_name().unwrap().to_owned();
        name.push("-harness");
        return Some(path.with_file_name(name));
    } else {
        "packet tests need CAUSEWAY_EBPF_OBJECT, the path of the built programs"
    };
    assert!(
        std::env::var_os("REQUIRE_ROOT").is_none_or(|value| value != "1"),
        "{missing}"
    );
    eprintln!("SKIPPED: {missing}");
    None
}

/// Runs a test in a world of its own, in one of each family.
pub fn with_world(test: impl Fn(&mut World)) {
    let Some(path) = object() else { return };
    for six in [false, true] {
        eprintln!("{}", if six { "IPv6" } else { "IPv4" });
        test(&mut World::new(&path, six));
    }
}

impl World {
    fn new(path: &Path, six: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let pins = PathBuf::from(format!(
            "/sys/fs/bpf/causeway-packets-{}-{number}",
            std::process::id()
        ));
        std::fs::create_dir(&pins).expect("a mounted bpffs");
        let bytes =
            std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut loader = EbpfLoader::new();
        loader.default_map_pin_directory(&pins);
        for (name, size) in [
            (names::FLOWS.four, 4096),
            (names::HALF.four, 1024),
            (names::FLOWS.six, 4096),
            (names::HALF.six, 1024),
            (names::SERVICES, 64),
        ] {
            loader.map_max_entries(name, size);
        }
        for name in names::RINGS {
            loader.map_max_entries(name, 16);
        }
        let mut world = Self {
            ebpf: loader.load(&bytes).unwrap(),
            pins,
            six,
        };
        world.fill();
        world
    }

    /// A program, loaded when first asked for.
    fn program(&mut self, name: &str) -> &mut SchedClassifier {
        let program: &mut SchedClassifier =
            self.ebpf.program_mut(name).unwrap().try_into().unwrap();
        if program.fd().is_err() {
            program
                .load()
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        program
    }

    pub fn put<K: Plain, V: Plain>(&mut self, map: &str, key: K, value: V) {
        let mut map =
            HashMap::<&mut MapData, K, V>::try_from(self.ebpf.map_mut(map).unwrap()).unwrap();
        map.insert(key, value, 0).unwrap();
    }

    pub fn read<K: Plain, V: Plain>(&mut self, map: &str, key: K) -> Option<V> {
        HashMap::<&MapData, K, V>::try_from(self.ebpf.map(map).unwrap())
            .unwrap()
            .get(&key, 0)
            .ok()
    }

    pub fn remove<K: Plain, V: Plain>(&mut self, map: &str, key: K) {
        let mut map =
            HashMap::<&mut MapData, K, V>::try_from(self.ebpf.map_mut(map).unwrap()).unwrap();
        map.remove(&key).unwrap();
    }

    pub fn put_prefix<K: Plain, V: Plain>(&mut self, map: &str, bits: u32, data: K, value: V) {
        let mut map =
            LpmTrie::<&mut MapData, K, V>::try_from(self.ebpf.map_mut(map).unwrap()).unwrap();
        map.insert(&Key::new(bits, data), value, 0).unwrap();
    }

    pub fn set<V: Plain>(&mut self, map: &str, index: u32, value: V) {
        let mut map = Array::<&mut MapData, V>::try_from(self.ebpf.map_mut(map).unwrap()).unwrap();
        map.set(index, value, 0).unwrap();
    }

    pub fn flow(&mut self, key: FlowKey<V4>) -> Option<Flow> {
        self.read_of(names::FLOWS, key)
    }

    pub fn half(&mut self, key: FlowKey<V4>) -> Option<Flow> {
        self.read_of(names::HALF, key)
    }

    fn counters(&mut self, map: &str, count: u32) -> Vec<u64> {
        let map = PerCpuArray::<&MapData, u64>::try_from(self.ebpf.map(map).unwrap()).unwrap();
        (0..count)
            .map(|index| map.get(&index, 0).unwrap().iter().sum())
            .collect()
    }

    /// The counters of a service.
    pub fn service_counters(&mut self, index: u32) -> ServiceCounters {
        let map = PerCpuArray::<&MapData, ServiceCounters>::try_from(
            self.ebpf.map(names::SERVICES).unwrap(),
        )
        .unwrap();
        map.get(&index, 0)
            .unwrap()
            .iter()
            .fold(ServiceCounters::default(), |sum, one| ServiceCounters {
                sent_packets: sum.sent_packets + one.sent_packets,
                sent_bytes: sum.sent_bytes + one.sent_bytes,
                sent_flows: sum.sent_flows + one.sent_flows,
                served_packets: sum.served_packets + one.served_packets,
                served_bytes: sum.served_bytes + one.served_bytes,
                served_flows: sum.served_flows + one.served_flows,
                rejected: sum.rejected + one.rejected,
            })
    }

    fn run(&mut self, program: &str, input: Metadata, frame: &[u8]) -> Outcome {
        self.set("harness_in", 0, input);
        self.set("harness_out", 0, Metadata::default());
        let drops = self.counters(names::DROPS, DropReason::COUNT);
        let actions = self.counters(names::ACTIONS, Counted::COUNT);
        let mut out = vec![0; 70_000];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut out);
        let result = self.program(program).test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        let differs = |before: &[u64], after: &[u64]| -> BTreeMap<usize, u64> {
            let changed = before
                .iter()
                .zip(after)
                .enumerate()
                .filter(|(_, (before, after))| before != after);
            changed
                .map(|(index, (before, after))| (index, after - before))
                .collect()
        };
        let drops = differs(&drops, &self.counters(names::DROPS, DropReason::COUNT));
        let actions = differs(&actions, &self.counters(names::ACTIONS, Counted::COUNT));
        assert!(
            drops
                .values()
                .chain(actions.values())
                .all(|step| *step == 1),
            "counted more than once"
        );
        assert!(drops.len() <= 1, "more than one reason");
        let left: Array<&MapData, Metadata> =
            Array::try_from(self.ebpf.map("harness_out").unwrap()).unwrap();
        let left = left.get(&0, 0).unwrap();
        Outcome {
            verdict: result.return_value as i32,
            bytes: out,
            tunnel: (left.present != 0).then_some(Tunnel {
                vni: left.vni,
                node: Ipv4Addr::from(left.node),
                identity: left.identity as u16,
            }),
            ifindex: left.ifindex,
            dropped: drops.keys().next().map(|index| DropReason::ALL[*index]),
            counted: actions.keys().map(|index| Counted::ALL[*index]).collect(),
            six: self.six,
        }
    }

    /// The pod behind the loopback device (C) sends this.
    pub fn pod(&mut self, frame: &Frame) -> Outcome {
        self.pod_bytes(&self.build(frame))
    }

    /// See [`World::pod`].
    pub fn pod_bytes(&mut self, frame: &[u8]) -> Outcome {
        self.run(self.name(names::POD_INGRESS), Metadata::default(), frame)
    }

    /// Another pod sends this.
    pub fn pod_as(&mut self, pod: Ipv4Addr, frame: &Frame) -> Outcome {
        let own: Port = self.read(names::PORTS, LOOPBACK).unwrap();
        self.put(
            names::PORTS,
            LOOPBACK,
            Port {
                address: wide(pod),
                address6: six(pod.octets()),
                ..own
            },
        );
        let outcome = self.pod(frame);
        self.put(names::PORTS, LOOPBACK, own);
        outcome
    }

    /// This comes out of the tunnel.
    pub fn tunnel(&mut self, header: Tunnel, frame: &Frame) -> Outcome {
        self.tunnel_bytes(header, &self.build(frame))
    }

    /// See [`World::tunnel`].
    pub fn tunnel_bytes(&mut self, header: Tunnel, frame: &[u8]) -> Outcome {
        let Tunnel {
            vni,
            node,
            identity,
        } = header;
        let input = Metadata {
            present: 1,
            vni,
            node: node.into(),
            identity: identity.into(),
            ifindex: 0,
        };
        self.run(self.name(names::TUNNEL_INGRESS), input, frame)
    }

    /// A packet on the tunnel device without metadata.
    pub fn tunnel_bare(&mut self, frame: &Frame) -> Outcome {
        self.run(
            self.name(names::TUNNEL_INGRESS),
            Metadata::default(),
            &self.build(frame),
        )
    }

    /// This node's gateway hands over this.
    pub fn session(&mut self, frame: &Frame) -> Outcome {
        self.run(
            self.name(names::SESSION_INGRESS),
            Metadata::default(),
            &self.build(frame),
        )
    }

    /// This arrives at the uplink.
    pub fn uplink(&mut self, frame: &Frame) -> Outcome {
        self.run(names::UPLINK_GUARD, Metadata::default(), &frame.build())
    }

    /// Attaches `pod_ingress` to a device of this thread's namespace until the world ends; gives its index.
    pub fn attach(&mut self, device: &str) -> u32 {
        let name = self.name(names::POD_INGRESS);
        let program = self.program(name);
        program.attach(device, TcAttachType::Ingress).unwrap();
        nix::net::if_::if_nametoindex(device).unwrap()
    }

    pub fn gateway(&mut self) {
        self.configure(|config| config.flags = config_flags::GATEWAY);
    }
}
