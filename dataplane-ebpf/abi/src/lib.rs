//! Pure: what the agent and the eBPF programs share. Keys and values of every map as plain bytes, drop reasons,
//! the forms of VNI and MAC bytes, the flow hash, and every map's bound.
//!
//! Network-order things (addresses, ports) are byte arrays, local numbers are native integers. Addresses in values
//! are 16 bytes (IPv4 in its mapped form); keys that hold an address come by family, with 4 or 16 bytes, each family's in
//! maps of their own. No implicit padding: every type's size is asserted, and reserved bytes are zero.
#![no_std]

/// Changes with any change of a key, a value, a map's name, type or meaning. Pins live under `v<LAYOUT_VERSION>`.
pub const LAYOUT_VERSION: u32 = 5;

/// Declares plain map types: layout in C order, size asserted, readable by user space as bytes. Aligned to words, as
/// map memory is: programs then read addresses in one go, not byte by byte.
macro_rules! plain {
    ($($(#[$meta:meta])* $name:ident[$size:literal] { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[repr(C, align(4))]
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
            pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

            // The sum of the fields equals the size: no implicit padding, so no unset bytes in keys.
            const _: () = assert!(core::mem::size_of::<$name>() == $size);
            const _: () = assert!(0 $(+ core::mem::size_of::<$type>())* == $size);

            // SAFETY: C layout without padding (asserted above), every bit pattern valid.
            #[cfg(feature = "user")]
            unsafe impl aya::Pod for $name {}
        )*
    };
}

/// Declares keys that hold an address `A`, [`V4`] or [`V6`], with their size in bytes for either: as [`plain`].
macro_rules! keys {
    ($($(#[$meta:meta])* $name:ident[$four:literal, $six:literal] { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[repr(C, align(4))]
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
            pub struct $name<A> { $($(#[$field_meta])* pub $field: $type,)* }

            impl<A> $name<A> {
                const FIELDS: usize = 0 $(+ core::mem::size_of::<$type>())*;
            }

            const _: () = assert!(core::mem::size_of::<$name<V4>>() == $four && $name::<V4>::FIELDS == $four);
            const _: () = assert!(core::mem::size_of::<$name<V6>>() == $six && $name::<V6>::FIELDS == $six);

            // SAFETY: C layout without padding (asserted above), every bit pattern valid.
            #[cfg(feature = "user")]
            unsafe impl aya::Pod for $name<V4> {}
            // SAFETY: as above.
            #[cfg(feature = "user")]
            unsafe impl aya::Pod for $name<V6> {}
        )*
    };
}

mod address;
mod drop;
mod hash;
mod keys;
pub mod limits;
pub mod names;
mod ring;
mod values;
mod vni;

pub use address::{Address, V4, V6};
pub use drop::{Counted, DropReason};
pub use hash::{FlowTuple, flow_hash, stage_one_hash};
pub use keys::{
    FlowKey, FlowKind, FrontendKey, LocalBackendKey, MapInKey, OrdinalKey, ReverseKey, SourceKey4,
    map_in_prefix,
};
pub use ring::{NO_ORDINAL, Ring, RingRef, Slot};
pub use values::{
    Backend, Config, Flow, Frontend, LocalBackend, MapIn, MapOut, Member, NodePlace, Pod, Port,
    Reverse, Route, ServiceCounters, Source, backend_flags, config_flags, faults, flow_flags,
    frontend_flags, port_flags, route_flags, source_kind,
};
pub use vni::{MAC_NONE, Mac, Vni};

/// Protocol numbers as in the IP header.
pub mod protocol {
    /// ICMP; frontends and exported endpoints that answer echo are keyed with port 0.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6; as [`ICMP`].
    pub const ICMP6: u8 = 58;
}
