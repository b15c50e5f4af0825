//! Shell: maps whose keys hold an address. User space has one table with 16-byte addresses; the kernel has a map for each
//! family.

use std::collections::BTreeMap;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, MapData, MapError};
use aya::{Ebpf, Pod};
use causeway_abi::names::ByFamily;
use causeway_abi::{Address, FlowKey, FrontendKey, LocalBackendKey, MapInKey, ReverseKey, V4, V6};

use super::KernelError;
use crate::image::Lpm;

/// The first bits of an IPv4 address in its mapped form.
const MAPPED: u32 = 96;

/// A key with a 16-byte address.
pub(super) trait Keyed: Pod + Ord {
    /// The same with an IPv4 address.
    type Four: Pod;

    /// With the IPv4 address, if it is one.
    fn four(&self) -> Option<Self::Four>;

    /// The 16-byte form.
    fn of_four(four: Self::Four) -> Self;
}

impl Keyed for V6 {
    type Four = V4;

    fn four(&self) -> Option<V4> {
        let four = V4::of(self);
        (four.wide() == *self).then_some(four)
    }

    fn of_four(four: V4) -> Self {
        four.wide()
    }
}

/// Keys of more than an address.
macro_rules! keyed {
    ($($name:ident: $address:ident;)*) => {
        $(
            impl Keyed for $name<V6> {
                type Four = $name<V4>;

                fn four(&self) -> Option<$name<V4>> {
                    Some(self.with(self.$address.four()?))
                }

                fn of_four(four: $name<V4>) -> Self {
                    four.with(four.$address.wide())
                }
            }
        )*
    };
}

keyed! {
    FrontendKey: address;
    LocalBackendKey: address;
    MapInKey: address;
    ReverseKey: vip;
}

impl Keyed for FlowKey<V6> {
    type Four = FlowKey<V4>;

    fn four(&self) -> Option<FlowKey<V4>> {
        Some(self.with(self.local.four()?, self.remote.four()?))
    }

    fn of_four(four: FlowKey<V4>) -> Self {
        four.with(four.local.wide(), four.remote.wide())
    }
}

/// A hash map of each family.
pub(super) struct Hashes<K: Keyed, V: Pod> {
    names: ByFamily,
    four: HashMap<MapData, K::Four, V>,
    six: HashMap<MapData, K, V>,
}

impl<K: Keyed, V: Pod> Hashes<K, V> {
    pub fn open(ebpf: &mut Ebpf, names: ByFamily) -> Result<Self, KernelError> {
        Ok(Self {
            names,
            four: take!(ebpf, names.four),
            six: take!(ebpf, names.six),
        })
    }

    pub fn insert(&mut self, key: &K, value: &V) -> Result<(), MapError> {
        match key.four() {
            Some(four) => self.four.insert(four, value, 0),
            None => self.six.insert(key, value, 0),
        }
    }

    pub fn remove(&mut self, key: &K) -> Result<(), MapError> {
        match key.four() {
            Some(four) => self.four.remove(&four),
            None => self.six.remove(key),
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = Result<K, MapError>> {
        let four = self.four.keys().map(|key| key.map(K::of_four));
        four.chain(self.six.keys())
    }

    pub fn all(&self) -> Result<BTreeMap<K, V>, KernelError> {
        let four = self.four.iter().map(|entry| {
            let (key, value) = entry?;
            Ok((K::of_four(key), value))
        });
        let four: Result<BTreeMap<K, V>, MapError> = four.collect();
        let six: Result<BTreeMap<K, V>, MapError> = self.six.iter().collect();
        let mut all = four.map_err(|e| KernelError::Map(self.names.four, e))?;
        all.extend(six.map_err(|e| KernelError::Map(self.names.six, e))?);
        Ok(all)
    }
}

/// A map of each family that finds the longest prefix.
pub(super) struct Tries<K: Keyed, V: Pod> {
    names: ByFamily,
    four: LpmTrie<MapData, K::Four, V>,
    six: LpmTrie<MapData, K, V>,
}

impl<K: Keyed, V: Pod> Tries<K, V> {
    pub fn open(ebpf: &mut Ebpf, names: ByFamily) -> Result<Self, KernelError> {
        Ok(Self {
            names,
            four: take!(ebpf, names.four),
            six: take!(ebpf, names.six),
        })
    }

    pub fn insert(&mut self, key: &Lpm<K>, value: &V) -> Result<(), MapError> {
        match four(key) {
            Some(four) => self.four.insert(&four, value, 0),
            None => self.six.insert(&Key::new(key.bits, key.data), value, 0),
        }
    }

    pub fn remove(&mut self, key: &Lpm<K>) -> Result<(), MapError> {
        match four(key) {
            Some(four) => self.four.remove(&four),
            None => self.six.remove(&Key::new(key.bits, key.data)),
        }
    }

    pub fn all(&self) -> Result<BTreeMap<Lpm<K>, V>, KernelError> {
        let four = self.four.iter().map(|entry| {
            let (key, value) = entry?;
            let bits = key.prefix_len().saturating_add(MAPPED);
            let data = K::of_four(key.data());
            Ok((Lpm { bits, data }, value))
        });
        let six = self.six.iter().map(|entry| {
            let (key, value) = entry?;
            let (bits, data) = (key.prefix_len(), key.data());
            Ok((Lpm { bits, data }, value))
        });
        let four: Result<BTreeMap<Lpm<K>, V>, MapError> = four.collect();
        let six: Result<BTreeMap<Lpm<K>, V>, MapError> = six.collect();
        let mut all = four.map_err(|e| KernelError::Map(self.names.four, e))?;
        all.extend(six.map_err(|e| KernelError::Map(self.names.six, e))?);
        Ok(all)
    }
}

fn four<K: Keyed>(key: &Lpm<K>) -> Option<Key<K::Four>> {
    Some(Key::new(key.bits.checked_sub(MAPPED)?, key.data.four()?))
}
