//! Shell: the programs' logic, in the kernel; only [`ip`] and [`parse`] are pure. Entry points are in `main.rs`; each calls a
//! function returning `Result<Action, DropReason>`, which [`verdict::finish`] alone turns into a TC code and counts.
//!
//! Walk (numbers as in the README's picture): [`pod::ingress`] takes what a pod sends; [`tunnel::ingress`] what the
//! tunnel device brings; [`walk`] is the order of their steps; [`backend::choose`], [`backend::take`] and
//! [`client::arrive`] are the end-node steps; [`guard::ingress`]
//! stands at the uplink, [`host::egress`] where the node's own processes begin.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[macro_use]
pub mod outcome;

pub mod backend;
pub mod client;
pub mod complain;
pub mod family;
pub mod flow;
pub mod guard;
pub mod host;
pub mod icmp;
pub mod ip;
pub mod lookup;
pub mod maps;
pub mod mtu;
pub mod parse;
pub mod pod;
pub mod reject;
pub mod rewrite;
pub mod send;
pub mod skb;
pub mod tunnel;
pub mod verdict;
pub mod walk;
