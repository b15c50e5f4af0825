//! Shell: the kernel's side: loads the programs, pins maps and links, makes writes, reads counters.
//! Nothing else in the agent knows aya.
//!
//! Maps are pinned under `<pin dir>/v<layout>/` and found again by the next start, flows and all. Links
//! are pinned under `<pin dir>/links/` and get the new programs by link update: at no moment is a
//! hook without a program.

/// Takes a map out of the object in the type that is wanted.
macro_rules! take {
    ($ebpf:expr, $name:expr) => {
        $ebpf
            .take_map($name)
            .ok_or(KernelError::Missing($name))?
            .try_into()
            .map_err(|error| KernelError::Map($name, error))?
    };
}

mod family;
mod hooks;
mod read;

pub use hooks::Hook;
pub use read::Counters;

use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray};
use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfLoader};
use causeway_abi::{
    Backend, Config, Flow, FlowKey, Frontend, LAYOUT_VERSION, LocalBackend, MapIn, MapOut, Member,
    NodePlace, OrdinalKey, Pod, Port, Reverse, Ring, RingRef, Route, ServiceCounters, Source,
    SourceKey4, V6, names,
};
use family::{Hashes, Tries};

use crate::execute::Maps;
use crate::image::{
    Entry, FrontendKey, Gone, LocalBackendKey, MapImage, MapInKey, MapOp, ReverseKey,
};

/// What the kernel or the object refused.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The object cannot be read, or its maps not be made.
    #[error("the eBPF object {0} cannot be loaded")]
    Load(PathBuf, #[source] aya::EbpfError),
    /// The verifier's or the hook's answer.
    #[error("program {0}")]
    Program(&'static str, #[source] ProgramError),
    /// The object has no such map or program, so it is of another version.
    #[error("the eBPF object has no {0}; is it of this version?")]
    Missing(&'static str),
    /// A map's answer.
    #[error("map {0}")]
    Map(&'static str, #[source] MapError),
    /// A ring of a size that no map has.
    #[error("a ring of {0} slots at {1:?}")]
    Ring(usize, RingRef),
    /// A file of the pin directory.
    #[error("{0}")]
    File(PathBuf, #[source] std::io::Error),
    /// A link's answer.
    #[error("hook on {0}: {1}")]
    Hook(String, String),
}

type Hash<K, V> = HashMap<MapData, K, V>;

/// The maps, opened.
struct Tables {
    config: Array<MapData, Config>,
    sources: Hash<SourceKey4, Source>,
    routes: Hash<u32, Route>,
    map_in: Tries<MapInKey, MapIn>,
    map_out: Tries<V6, MapOut>,
    reverse: Hashes<ReverseKey, Reverse>,
    places: Tries<V6, NodePlace>,
    pods: Hashes<V6, Pod>,
    ports: Hash<u32, Port>,
    backend_nodes: Hash<[u8; 6], NodePlace>,
    local_backends: Hashes<LocalBackendKey, LocalBackend>,
    backends: Hash<OrdinalKey, Backend>,
    members: Hash<OrdinalKey, Member>,
    exported: Hashes<FrontendKey, Backend>,
    frontends: Hashes<FrontendKey, Frontend>,
    ring_251: Array<MapData, Ring<251>>,
    ring_1021: Array<MapData, Ring<1021>>,
    ring_4093: Array<MapData, Ring<4093>>,
    ring_16381: Array<MapData, Ring<16381>>,
    ring_65537: Array<MapData, Ring<65537>>,
    flows: Hashes<FlowKey<V6>, Flow>,
    half: Hashes<FlowKey<V6>, Flow>,
    seen: Hash<u32, u64>,
    drops: PerCpuArray<MapData, u64>,
    actions: PerCpuArray<MapData, u64>,
    services: PerCpuArray<MapData, ServiceCounters>,
}

/// Programs loaded, maps open.
pub struct Kernel {
    ebpf: Ebpf,
    tables: Tables,
    links: PathBuf,
}

impl Kernel {
    /// Loads the object; maps that are pinned already are used as they are.
    ///
    /// # Errors
    /// When the object does not fit the kernel or the pins.
    pub fn load(object: &Path, pin_dir: &Path) -> Result<Self, KernelError> {
        let pins = pin_dir.join(format!("v{LAYOUT_VERSION}"));
        let links = pin_dir.join("links");
        for dir in [&pins, &links] {
            std::fs::create_dir_all(dir).map_err(|e| KernelError::File(dir.clone(), e))?;
        }
        let mut ebpf = EbpfLoader::new()
            .default_map_pin_directory(&pins)
            .load_file(object)
            .map_err(|e| KernelError::Load(object.to_owned(), e))?;
        for name in Hook::ALL.into_iter().flat_map(Hook::programs) {
            let program = program(&mut ebpf, name)?;
            program.load().map_err(|e| KernelError::Program(name, e))?;
        }
        Ok(Self {
            tables: Tables::open(&mut ebpf)?,
            ebpf,
            links,
        })
    }
}

fn program<'e>(
    ebpf: &'e mut Ebpf,
    name: &'static str,
) -> Result<&'e mut SchedClassifier, KernelError> {
    ebpf.program_mut(name)
        .ok_or(KernelError::Missing(name))?
        .try_into()
        .map_err(|e| KernelError::Program(name, e))
}

impl Tables {
    fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let [ring_251, ring_1021, ring_4093, ring_16381, ring_65537] = names::RINGS;
        Ok(Self {
            config: take!(ebpf, names::CONFIG),
            sources: take!(ebpf, names::SOURCES),
            routes: take!(ebpf, names::ROUTES),
            map_in: Tries::open(ebpf, names::MAP_IN)?,
            map_out: Tries::open(ebpf, names::MAP_OUT)?,
            reverse: Hashes::open(ebpf, names::REVERSE)?,
            places: Tries::open(ebpf, names::PLACES)?,
            pods: Hashes::open(ebpf, names::PODS)?,
            ports: take!(ebpf, names::PORTS),
            backend_nodes: take!(ebpf, names::BACKEND_NODES),
            local_backends: Hashes::open(ebpf, names::LOCAL_BACKENDS)?,
            backends: take!(ebpf, names::BACKENDS),
            members: take!(ebpf, names::MEMBERS),
            exported: Hashes::open(ebpf, names::EXPORTED)?,
            frontends: Hashes::open(ebpf, names::FRONTENDS)?,
            ring_251: take!(ebpf, ring_251),
            ring_1021: take!(ebpf, ring_1021),
            ring_4093: take!(ebpf, ring_4093),
            ring_16381: take!(ebpf, ring_16381),
            ring_65537: take!(ebpf, ring_65537),
            flows: Hashes::open(ebpf, names::FLOWS)?,
            half: Hashes::open(ebpf, names::HALF)?,
            seen: take!(ebpf, names::SEEN),
            drops: take!(ebpf, names::DROPS),
            actions: take!(ebpf, names::ACTIONS),
            services: take!(ebpf, names::SERVICES),
        })
    }

    fn put(&mut self, entry: &Entry) -> Result<(), MapError> {
        match entry {
            Entry::Sources(k, v) => self.sources.insert(k, v, 0),
            Entry::Routes(k, v) => self.routes.insert(k, v, 0),
            Entry::MapIn(k, v) => self.map_in.insert(k, v),
            Entry::MapOut(k, v) => self.map_out.insert(k, v),
            Entry::Reverse(k, v) => self.reverse.insert(k, v),
            Entry::Places(k, v) => self.places.insert(k, v),
            Entry::Pods(k, v) => self.pods.insert(k, v),
            Entry::Ports(k, v) => self.ports.insert(k, v, 0),
            Entry::BackendNodes(k, v) => self.backend_nodes.insert(k, v, 0),
            Entry::LocalBackends(k, v) => self.local_backends.insert(k, v),
            Entry::Backends(k, v) => self.backends.insert(k, v, 0),
            Entry::Members(k, v) => self.members.insert(k, v, 0),
            Entry::Exported(k, v) => self.exported.insert(k, v),
            Entry::Frontends(k, v) => self.frontends.insert(k, v),
            Entry::Config(v) => self.config.set(0, v, 0),
            Entry::Ring(at, slots) => self.put_ring(*at, slots),
        }
    }

    fn put_ring(&mut self, at: RingRef, slots: &[u32]) -> Result<(), MapError> {
        let index = u32::from(at.index);
        let wrong = MapError::OutOfBounds {
            index,
            max_entries: 0,
        };
        match at.class {
            0 => self
                .ring_251
                .set(index, ring(slots).ok_or(wrong)?.as_ref(), 0),
            1 => self
                .ring_1021
                .set(index, ring(slots).ok_or(wrong)?.as_ref(), 0),
            2 => self
                .ring_4093
                .set(index, ring(slots).ok_or(wrong)?.as_ref(), 0),
            3 => self
                .ring_16381
                .set(index, ring(slots).ok_or(wrong)?.as_ref(), 0),
            4 => self
                .ring_65537
                .set(index, ring(slots).ok_or(wrong)?.as_ref(), 0),
            _ => Err(wrong),
        }
    }

    fn delete(&mut self, gone: &Gone) -> Result<(), MapError> {
        let done = match gone {
            Gone::Sources(k) => self.sources.remove(k),
            Gone::Routes(k) => self.routes.remove(k),
            Gone::MapIn(k) => self.map_in.remove(k),
            Gone::MapOut(k) => self.map_out.remove(k),
            Gone::Reverse(k) => self.reverse.remove(k),
            Gone::Places(k) => self.places.remove(k),
            Gone::Pods(k) => self.pods.remove(k),
            Gone::Ports(k) => self.ports.remove(k),
            Gone::BackendNodes(k) => self.backend_nodes.remove(k),
            Gone::LocalBackends(k) => self.local_backends.remove(k),
            Gone::Backends(k) => self.backends.remove(k),
            Gone::Members(k) => self.members.remove(k),
            Gone::Exported(k) => self.exported.remove(k),
            Gone::Frontends(k) => self.frontends.remove(k),
        };
        match done {
            Err(MapError::KeyNotFound) => Ok(()),
            done => done,
        }
    }
}

/// A ring of the wanted size, on the heap: the greatest is 256 KiB.
fn ring<const N: usize>(slots: &[u32]) -> Option<Box<Ring<N>>> {
    let slots: Box<[u32; N]> = slots.to_vec().into_boxed_slice().try_into().ok()?;
    Some(Box::new(Ring(*slots)))
}

impl Maps for Kernel {
    type Error = KernelError;

    fn write(&mut self, op: &MapOp) -> Result<(), KernelError> {
        let (done, name) = match op {
            MapOp::Put(entry) => (
                self.tables.put(entry),
                match entry {
                    Entry::Ring(..) => "rings",
                    Entry::Config(_) => names::CONFIG,
                    entry => entry.table().map_or("", crate::image::Table::name),
                },
            ),
            MapOp::Delete(gone) => (self.tables.delete(gone), gone.table().name()),
        };
        done.map_err(|error| KernelError::Map(name, error))
    }
}

impl Kernel {
    /// What the maps hold: all the memory that a new start has.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn image(&self) -> Result<MapImage, KernelError> {
        read::image(&self.tables)
    }
}
