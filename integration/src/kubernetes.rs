//! Shell: two real Kubernetes clusters on this machine: API servers, kubelets, containers, kube-proxy, CoreDNS and a
//! CNI, built from Debian's packages and from the Go module in `integration/kubernetes`. One pair at a time: a
//! [`bed::Bed`], brought up by one process and used by any.
//!
//! Every control plane and every node is a [`host::Host`]: namespaces held by one process of ours, so that killing
//! that process takes all of the host away. Not here: Causeway itself and the cases; see `suite`.

pub mod access;
pub mod bed;
pub mod config;
pub mod control;
pub mod ground;
pub mod host;
pub mod kubectl;
mod mounts;
pub mod node;
pub mod shape;
pub mod steps;
pub mod supervisor;
pub mod tools;
mod ways;
