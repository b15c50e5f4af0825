//! The gateway: catalogs, merge, sessions with peers, DNS, local, status and admin API.
//! It knows no Kubernetes, and of eBPF only the bytes in which packets are handed over.
//!
//! What happens -> [`engine::Gateway`], which holds [`catalog`], [`allot`], [`merge`] and the peers' [`session`]s, all pure
//! -> what to store, send and show. [`app`] feeds it and does what it says; [`transport`], [`api`] and [`follow`] carry.

pub mod admin;
pub mod allot;
pub mod api;
pub mod app;
pub mod catalog;
pub mod config;
pub mod diagnose;
pub mod engine;
pub mod enroll;
pub mod follow;
pub mod introduce;
pub mod join;
pub mod lead;
pub mod merge;
pub mod metrics;
pub mod now;
pub mod session;
pub mod status;
pub mod store;
pub mod transport;
pub mod tunnel;

#[cfg(test)]
mod samples;
