//! Pure: a View and this node's facts to the wanted content of all maps.
//!
//! An id that stays keeps its number: `Held` is what the maps hold now, and it is all the memory
//! there is, so that an agent that restarts and reads its maps goes on as if it had not. A freed id is
//! not given out again in the same step. What does not fit a map is left out and named.
//!
//! Inner packets are of either family, outer ones of IPv4 only.

mod backend;
mod ids;
pub mod name;
mod node;
mod peers;
mod port;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use causeway_abi::V6;
use causeway_proto::model::{
    Address, BackendPort, ClusterId, Liveness, NodeName, PeerView, Prefix, Problem, ProblemKind,
    ServiceName, View,
};

pub use node::{OVERHEAD, ways};
pub use port::is_pod_side;

use crate::image::{FrontendKey, Lpm, MapImage, Table};
use crate::maglev::{NoMember, Ring};

/// What the agent knows about its own node, and no View says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// This node.
    pub node: NodeName,
    /// Outer source of its tunnel packets.
    pub outer: Address,
    /// Index of the tunnel device.
    pub tunnel: u32,
    /// Index of the device to this node's gateway; 0: there is none.
    pub session: u32,
    /// What the gateway at its other end does.
    pub gateway: Gateway,
    /// Largest packet of the underlay in bytes, IP header included.
    pub mtu: u16,
    /// Pieces switched off on purpose, see [`causeway_abi::faults`].
    pub faults: u32,
    /// Whether TCP's segment size is limited to what fits the tunnel; off on purpose only.
    pub clamp: bool,
    /// Whether clusters are taken alike, wherever the client is; on purpose only.
    pub spread: bool,
    /// Pod-side ports by index.
    pub ports: BTreeMap<u32, PortFacts>,
    /// How the node's own processes are reached, once they have an address.
    pub host: Option<HostFacts>,
}

/// This node's gateway, as far as packets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gateway {
    /// There is none.
    Absent,
    /// It has just gone, and others do when they are upgraded: what has no other way waits in the device.
    Away,
    /// It carries packets to the peers of these numbers.
    Carries(BTreeSet<u16>),
}

/// The port of the node's own processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Index of the port.
    pub ifindex: u32,
    /// Their address from the VIP pool.
    pub address: Address,
    /// Hardware address of the device that has it.
    pub mac: [u8; 6],
    /// Hardware address of the port.
    pub port_mac: [u8; 6],
}

/// One pod-side port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortFacts {
    /// The device's name.
    pub name: String,
    /// Addresses of the interface at its other end, as read there.
    pub addresses: Vec<Address>,
    /// Hardware address of that interface.
    pub pod_mac: [u8; 6],
    /// What the pod is to see as sender.
    pub host_mac: [u8; 6],
}

/// What is held from one step to the next.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// What the maps hold now.
    pub image: MapImage,
    /// Rings by what they were made of; saves time, changes nothing.
    rings: BTreeMap<FrontendKey, (BackendPort, Result<Arc<Ring>, NoMember>)>,
}

impl Held {
    /// After a start: from what the maps hold.
    #[must_use]
    pub fn from_image(image: MapImage) -> Self {
        Self {
            image,
            rings: BTreeMap::new(),
        }
    }
}

/// What [`compile`] gives.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Wanted content of all maps.
    pub image: MapImage,
    /// For the next step, once `image` is written.
    pub held: Held,
    /// Services by their index in the counters.
    pub services: BTreeMap<u32, ServiceName>,
    /// What did not fit or is wrong on this node.
    pub problems: Vec<Problem>,
}

/// What did not fit, by table.
#[derive(Debug, Default)]
struct Overflow(BTreeMap<&'static str, (usize, usize, BTreeSet<String>)>);

/// Names of what did not fit that a problem lists; the rest is counted.
const NAMED: usize = 3;

impl Overflow {
    fn note(&mut self, map: &'static str, limit: usize, what: &dyn fmt::Display) {
        let (count, _, names) = self.0.entry(map).or_insert((0, limit, BTreeSet::new()));
        *count = count.saturating_add(1);
        if names.len() < NAMED {
            names.insert(what.to_string());
        }
    }

    /// Inserts unless the table is full.
    fn put<K: Ord, V>(
        &mut self,
        table: Table,
        map: &mut BTreeMap<K, V>,
        (key, value): (K, V),
        what: &dyn fmt::Display,
    ) -> bool {
        if map.len() >= table.limit() && !map.contains_key(&key) {
            self.note(table.name(), table.limit(), what);
            return false;
        }
        map.insert(key, value);
        true
    }

    fn problems(self) -> impl Iterator<Item = Problem> {
        self.0
            .into_iter()
            .map(|(map, (count, limit, names))| Problem {
                kind: ProblemKind::LimitReached,
                subject: format!("map {map}"),
                message: format!(
                    "{count} entries did not fit its {limit}: {} and so on",
                    names.into_iter().collect::<Vec<_>>().join(", ")
                ),
            })
    }
}

/// One run of [`compile`].
struct Compiler<'a> {
    view: &'a View,
    facts: &'a NodeFacts,
    held: &'a Held,
    image: MapImage,
    overflow: Overflow,
    problems: Vec<Problem>,
    services: BTreeMap<u32, ServiceName>,
    rings: BTreeMap<FrontendKey, (BackendPort, Result<Arc<Ring>, NoMember>)>,
    /// Confirmed pods of this node by address: the index of their port.
    pods: BTreeMap<Address, u32>,
}

/// The wanted content of all maps.
#[must_use]
pub fn compile(view: &View, facts: &NodeFacts, held: &Held) -> Compiled {
    let mut compiler = Compiler {
        view,
        facts,
        held,
        image: MapImage::default(),
        overflow: Overflow::default(),
        problems: Vec::new(),
        services: BTreeMap::new(),
        rings: BTreeMap::new(),
        pods: BTreeMap::new(),
    };
    compiler.config();
    compiler.ports();
    compiler.host();
    compiler.nodes();
    compiler.peers();
    compiler.services();
    let Compiler {
        image,
        overflow,
        mut problems,
        services,
        rings,
        ..
    } = compiler;
    problems.extend(overflow.problems());
    problems.sort();
    problems.dedup();
    Compiled {
        held: Held {
            image: image.clone(),
            rings,
        },
        image,
        services,
        problems,
    }
}

/// Whether two Views give the same maps, but for their number: what a gateway hears each second changes
/// Views, not packets.
#[must_use]
pub fn same_maps(a: &View, b: &View) -> bool {
    let peer = |p: &PeerView| PeerView {
        heard: None,
        liveness: Liveness::Live,
        ..p.clone()
    };
    let peers = |view: &View| -> Vec<(ClusterId, PeerView)> {
        let peers = view.peers.iter();
        peers.map(|(id, p)| (id.clone(), peer(p))).collect()
    };
    a.imports == b.imports
        && a.exports == b.exports
        && (&a.nodes, &a.node_addresses) == (&b.nodes, &b.node_addresses)
        && a.gateways == b.gateways
        && a.workloads == b.workloads
        && a.self_map == b.self_map
        && (&a.vip_pool, &a.mapping_pool) == (&b.vip_pool, &b.mapping_pool)
        && (a.seed, a.tunnel_port) == (b.seed, b.tunnel_port)
        && peers(a) == peers(b)
}

impl Compiler<'_> {
    fn problem(&mut self, kind: ProblemKind, subject: String, message: String) {
        self.problems.push(Problem {
            kind,
            subject,
            message,
        });
    }

    /// The outer address of a node, if the View has it.
    fn outer(&self, node: &NodeName) -> Option<Address> {
        let node = self.view.nodes.get(node)?;
        node.addresses.iter().copied().find(|a| a.is_v4())
    }
}

/// As map values have it.
fn wide(address: Address) -> V6 {
    V6::new(address.bytes())
}

/// What finds this prefix.
fn longest(prefix: Prefix) -> Lpm<V6> {
    Lpm {
        bits: u32::from(prefix.bits()),
        data: wide(prefix.base()),
    }
}

#[cfg(test)]
mod tests;
