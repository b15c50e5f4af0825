//! Packet tests: the programs' logic by test runs, byte for byte. Needs root and the built programs
//! (`CAUSEWAY_EBPF_OBJECT`, its harness beside it).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod backend;
mod client;
mod cluster;
mod drops;
mod extensions;
mod family;
mod gateway;
mod mtu;
mod passing;
mod random;
mod reject;
mod scenario;
mod session;
mod veth;
mod world;
