//! Shell: reads of the maps: their content after a start, counters, flows, probes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aya::Pod;
use aya::maps::{Array, HashMap, MapData, MapError};
use causeway_abi::{Counted, DropReason, LAYOUT_VERSION, Ring, RingRef, ServiceCounters, names};

use super::{Kernel, KernelError, Tables};
use crate::image::{MapImage, RingSlots};

/// Flows are counted up to here; a full table is known by its bound anyway.
const FLOWS_COUNTED: usize = 20_000;

fn all<K: Pod + Ord, V: Pod>(
    name: &'static str,
    map: &HashMap<MapData, K, V>,
) -> Result<BTreeMap<K, V>, KernelError> {
    map.iter()
        .collect::<Result<_, _>>()
        .map_err(|e| KernelError::Map(name, e))
}

/// The content of all maps. Nothing, where the configuration is of another layout or absent.
pub(super) fn image(tables: &Tables) -> Result<MapImage, KernelError> {
    let config = tables.config.get(&0, 0);
    let config = config.map_err(|e| KernelError::Map(names::CONFIG, e))?;
    let mut image = MapImage {
        sources: all(names::SOURCES, &tables.sources)?,
        routes: all(names::ROUTES, &tables.routes)?,
        map_in: tables.map_in.all()?,
        map_out: tables.map_out.all()?,
        reverse: tables.reverse.all()?,
        places: tables.places.all()?,
        pods: tables.pods.all()?,
        ports: all(names::PORTS, &tables.ports)?,
        backend_nodes: all(names::BACKEND_NODES, &tables.backend_nodes)?,
        local_backends: tables.local_backends.all()?,
        backends: all(names::BACKENDS, &tables.backends)?,
        members: all(names::MEMBERS, &tables.members)?,
        exported: tables.exported.all()?,
        frontends: tables.frontends.all()?,
        rings: BTreeMap::new(),
        config,
    };
    if config.layout != LAYOUT_VERSION {
        image.config = causeway_abi::Config::default();
    }
    let named: BTreeSet<RingRef> = image
        .frontends
        .values()
        .flat_map(|f| [f.stage_one, f.stage_two, f.stage_two_older])
        .filter(|at| *at != RingRef::NONE)
        .collect();
    for at in named {
        let slots = ring(tables, at).map_err(|e| KernelError::Map("rings", e))?;
        image.rings.insert(at, slots);
    }
    Ok(image)
}

fn ring(tables: &Tables, at: RingRef) -> Result<RingSlots, MapError> {
    fn get<const N: usize>(
        map: &Array<MapData, Ring<N>>,
        index: u16,
    ) -> Result<RingSlots, MapError> {
        let ring = map.get(&u32::from(index), 0)?;
        Ok(Arc::from(ring.0.as_slice()))
    }
    match at.class {
        0 => get(&tables.ring_251, at.index),
        1 => get(&tables.ring_1021, at.index),
        2 => get(&tables.ring_4093, at.index),
        3 => get(&tables.ring_16381, at.index),
        _ => get(&tables.ring_65537, at.index),
    }
}

/// What the programs have counted since the maps were made.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// By reason.
    pub drops: BTreeMap<DropReason, u64>,
    /// By what became of the packet.
    pub actions: BTreeMap<Counted, u64>,
    /// By service index, those asked for.
    pub services: BTreeMap<u32, ServiceCounters>,
    /// When a peer's probe was last heard, by peer number: CLOCK_MONOTONIC, nanoseconds.
    pub seen: BTreeMap<u32, u64>,
}

impl Kernel {
    /// Entries of the flow table and of the half-open one, counted up to a bound.
    #[must_use]
    pub fn flows(&self) -> (u64, u64) {
        let tables = &self.tables;
        (count(tables.flows.keys()), count(tables.half.keys()))
    }

    /// Reads all counters.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn counters(&self, services: impl Iterator<Item = u32>) -> Result<Counters, KernelError> {
        let tables = &self.tables;
        let mut counters = Counters {
            seen: all(names::SEEN, &tables.seen)?,
            ..Counters::default()
        };
        for reason in DropReason::ALL {
            let values = tables.drops.get(&reason.index(), 0);
            let values = values.map_err(|e| KernelError::Map(names::DROPS, e))?;
            counters.drops.insert(reason, values.iter().sum());
        }
        for action in Counted::ALL {
            let values = tables.actions.get(&action.index(), 0);
            let values = values.map_err(|e| KernelError::Map(names::ACTIONS, e))?;
            counters.actions.insert(action, values.iter().sum());
        }
        for index in services {
            let values = tables.services.get(&index, 0);
            let values = values.map_err(|e| KernelError::Map(names::SERVICES, e))?;
            counters
                .services
                .insert(index, values.iter().fold(ServiceCounters::default(), add));
        }
        Ok(counters)
    }
}

fn add(a: ServiceCounters, b: &ServiceCounters) -> ServiceCounters {
    ServiceCounters {
        sent_packets: a.sent_packets.saturating_add(b.sent_packets),
        sent_bytes: a.sent_bytes.saturating_add(b.sent_bytes),
        sent_flows: a.sent_flows.saturating_add(b.sent_flows),
        served_packets: a.served_packets.saturating_add(b.served_packets),
        served_bytes: a.served_bytes.saturating_add(b.served_bytes),
        served_flows: a.served_flows.saturating_add(b.served_flows),
        rejected: a.rejected.saturating_add(b.rejected),
    }
}

fn count<K>(keys: impl Iterator<Item = Result<K, MapError>>) -> u64 {
    let some = keys.take(FLOWS_COUNTED).filter(Result::is_ok).count();
    u64::try_from(some).unwrap_or(u64::MAX)
}
