//! Pure: the wanted content of all maps as one value, and single writes to it. Value 5 of the five.
//!
//! What the programs write themselves (flows, counters, `seen`) is not part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use causeway_abi::{
    Backend, Config, Frontend, LocalBackend, MapIn, MapOut, Member, NodePlace, OrdinalKey, Pod,
    Port, Reverse, RingRef, Route, Source, SourceKey4, V6, limits, names,
};

/// As [`causeway_abi::FrontendKey`], of either family.
pub type FrontendKey = causeway_abi::FrontendKey<V6>;
/// As [`causeway_abi::LocalBackendKey`], of either family.
pub type LocalBackendKey = causeway_abi::LocalBackendKey<V6>;
/// As [`causeway_abi::MapInKey`], of either family.
pub type MapInKey = causeway_abi::MapInKey<V6>;
/// As [`causeway_abi::ReverseKey`], of either family.
pub type ReverseKey = causeway_abi::ReverseKey<V6>;

/// A key of a map that finds the longest prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lpm<K> {
    /// How many bits of `data` count; of an IPv4 address in its mapped form.
    pub bits: u32,
    /// In network order; bits behind the length are zero.
    pub data: K,
}

/// Slots of one ring, each an encoded [`causeway_abi::Slot`]; as many as its class says.
pub type RingSlots = Arc<[u32]>;

/// Declares the tables, in an order in which what is referred to stands before what refers to it.
macro_rules! tables {
    ($($(#[$doc:meta])* $field:ident $table:ident: $key:ty => $value:ty, $name:expr, $limit:expr;)*) => {
        /// Wanted content of all maps.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct MapImage {
            $($(#[$doc])* pub $field: BTreeMap<$key, $value>,)*
            /// Rings that some frontend names.
            pub rings: BTreeMap<RingRef, RingSlots>,
            /// `layout` 0 means that nothing was ever written.
            pub config: Config,
        }

        /// A map, by what it holds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Table { $($(#[$doc])* $table,)* }

        impl Table {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$table,)*];

            /// Its name in the kernel.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$table => $name,)* }
            }

            /// How many entries it takes.
            #[must_use]
            pub fn limit(self) -> usize {
                usize::try_from(match self { $(Self::$table => $limit,)* }).unwrap_or(usize::MAX)
            }
        }

        /// What a write puts.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Entry {
            $($(#[$doc])* $table($key, $value),)*
            /// A whole ring.
            Ring(RingRef, RingSlots),
            /// The one configuration.
            Config(Config),
        }

        /// What a write takes away. Rings are not: one that nobody names is free.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Gone { $($(#[$doc])* $table($key),)* }

        impl Entry {
            /// The table, if it is in one.
            #[must_use]
            pub fn table(&self) -> Option<Table> {
                match self {
                    $(Self::$table(..) => Some(Table::$table),)*
                    Self::Ring(..) | Self::Config(_) => None,
                }
            }
        }

        impl Gone {
            /// The table.
            #[must_use]
            pub fn table(&self) -> Table {
                match self { $(Self::$table(_) => Table::$table,)* }
            }
        }

        impl MapImage {
            /// Makes one write.
            pub fn apply(&mut self, op: &MapOp) {
                match op {
                    $(MapOp::Put(Entry::$table(key, value)) => {
                        self.$field.insert(*key, *value);
                    })*
                    $(MapOp::Delete(Gone::$table(key)) => {
                        self.$field.remove(key);
                    })*
                    MapOp::Put(Entry::Ring(at, slots)) => {
                        self.rings.insert(*at, slots.clone());
                    }
                    MapOp::Put(Entry::Config(config)) => self.config = *config,
                }
            }

            /// Entries of a table.
            #[must_use]
            pub fn len(&self, table: Table) -> usize {
                match table { $(Table::$table => self.$field.len(),)* }
            }

            /// What `self` has and `old` has not, or differently.
            pub(crate) fn puts(&self, old: &Self) -> Vec<Entry> {
                let mut puts = Vec::new();
                $(for (key, value) in &self.$field {
                    if old.$field.get(key) != Some(value) {
                        puts.push(Entry::$table(*key, *value));
                    }
                })*
                puts
            }

            /// What `old` has and `self` has not.
            pub(crate) fn gone(&self, old: &Self) -> Vec<Gone> {
                let mut gone = Vec::new();
                $(for key in old.$field.keys() {
                    if !self.$field.contains_key(key) {
                        gone.push(Gone::$table(*key));
                    }
                })*
                gone
            }
        }
    };
}

tables! {
    /// Who sits at an outer address.
    sources Sources: SourceKey4 => Source, names::SOURCES, limits::SOURCES;
    /// How to reach a peer.
    routes Routes: u32 => Route, names::ROUTES, limits::PEERS;
    /// Our prefix for theirs.
    map_in MapIn: Lpm<MapInKey> => MapIn, names::MAP_IN.name, limits::MAPPINGS;
    /// Their prefix for ours.
    map_out MapOut: Lpm<V6> => MapOut, names::MAP_OUT.name, limits::MAPPINGS;
    /// Our VIP for a peer's.
    reverse Reverse: ReverseKey => Reverse, names::REVERSE.name, limits::REVERSE;
    /// The node of a pod prefix.
    places Places: Lpm<V6> => NodePlace, names::PLACES.name, limits::PLACES;
    /// The port of a local pod.
    pods Pods: V6 => Pod, names::PODS.name, limits::PODS;
    /// The pod behind a port.
    ports Ports: u32 => Port, names::PORTS, limits::PORTS;
    /// The node of an own endpoint.
    backend_nodes BackendNodes: [u8; 6] => NodePlace, names::BACKEND_NODES, limits::BACKEND_NODES;
    /// An endpoint of this node.
    local_backends LocalBackends: LocalBackendKey => LocalBackend, names::LOCAL_BACKENDS.name, limits::LOCAL_BACKENDS;
    /// What an ordinal of a stage-two ring stands for.
    backends Backends: OrdinalKey => Backend, names::BACKENDS, limits::BACKENDS;
    /// What an ordinal of a stage-one ring stands for.
    members Members: OrdinalKey => Member, names::MEMBERS, limits::MEMBERS;
    /// An own headless endpoint that may be dialled.
    exported Exported: FrontendKey => Backend, names::EXPORTED.name, limits::EXPORTED;
    /// What a VIP, port and protocol stand for.
    frontends Frontends: FrontendKey => Frontend, names::FRONTENDS.name, limits::FRONTENDS;
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapOp {
    /// Insert or replace.
    Put(Entry),
    /// Remove.
    Delete(Gone),
}

impl MapImage {
    /// Forgets rings that no frontend names: their places are free.
    pub fn forget_unnamed_rings(&mut self) {
        let frontends = self.frontends.values();
        let named: BTreeSet<RingRef> = frontends
            .flat_map(|f| [f.stage_one, f.stage_two, f.stage_two_older])
            .collect();
        self.rings.retain(|at, _| named.contains(at));
    }
}

impl fmt::Display for MapOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(Entry::Ring(at, slots)) => {
                write!(f, "put ring {} of {} slots", at.index, slots.len())
            }
            Self::Put(entry) => write!(f, "put {entry:?}"),
            Self::Delete(gone) => write!(f, "delete {gone:?}"),
        }
    }
}

impl fmt::Display for MapImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in Table::ALL {
            writeln!(f, "{} {}", table.name(), self.len(*table))?;
        }
        writeln!(f, "rings {}", self.rings.len())
    }
}
