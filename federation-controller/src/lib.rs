//! Kubernetes objects, or manifests of them, to Exports.
//!
//! Directory of YAML -> `Objects` -> `derive` -> `Exports`, conditions and problems -> the leader's
//! `Publish`. This crate knows no QUIC and no eBPF.

pub mod app;
pub mod clock;
pub mod cluster;
pub mod conditions;
pub mod config;
pub mod crd;
pub mod dial;
pub mod election;
pub mod enrolment;
pub mod export;
pub mod fields;
pub mod hook;
pub mod import;
pub mod kubernetes;
pub mod lead;
pub mod link;
pub mod manifests;
pub mod member;
pub mod mirror;
pub mod objects;
pub mod peer;
pub mod plan;
pub mod publication;
pub mod recovery;
pub mod review;
pub mod seen;
pub mod stored;
pub mod want;

pub use cluster::authority;
pub use export::derive;
pub use objects::Objects;
