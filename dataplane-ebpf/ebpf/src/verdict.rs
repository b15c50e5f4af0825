//! Shell: the one place where what was decided becomes a TC code and is counted.

use aya_ebpf::{bindings::BPF_F_INGRESS, helpers::bpf_redirect, programs::TcContext};
use causeway_abi::{Counted, DropReason, V6};

use crate::{family::Family, maps, skb};

/// `TCX_NEXT`: not ours, other programs on the hook go on.
const NEXT: i32 = -1;
/// `TCX_DROP`.
const DROP: i32 = 2;

/// What a program decided, in the form in which it is counted. Where the packet leaves by an interface, that stands
/// in the scratch room: a value with fields that only some variants have would be undefined in part, and the
/// verifier refuses to see such a value moved.
pub type Action = Counted;

/// `action`, leaving by the interface `target`.
#[inline(always)]
pub fn leave(action: Action, target: u32) -> Result<Action, DropReason> {
    maps::scratch()?.target = target;
    Ok(action)
}

/// Rejected for `reason`; the rejection leaves by the interface `target`.
#[inline(always)]
pub fn reject(reason: DropReason, target: u32) -> Result<Action, DropReason> {
    leave(rejected(reason), target)
}

/// Rejected for `reason`; the rejection leaves by the interface that was chosen for it.
#[inline(always)]
pub fn rejected(reason: DropReason) -> Action {
    maps::count_drop(reason);
    Action::Reject
}

/// Whether somebody waits for an answer that will never come: reject instead of dropping.
#[inline(always)]
#[must_use]
pub const fn rejects(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::NoFrontend
            | DropReason::NobodyReady
            | DropReason::NoRoute
            | DropReason::NotExported
            | DropReason::NoMapping
            | DropReason::DanglingId
            | DropReason::Forwarded
            | DropReason::TooBig
    )
}

/// Runs one family's program of a hook. Both stand one behind the other: the first leaves to the second what is IPv6,
/// uncounted, and nothing else (probes, say, are of neither family); the second takes nothing else.
#[inline(always)]
pub fn of_family<A: Family>(ctx: &TcContext, program: impl FnOnce(&TcContext) -> i32) -> i32 {
    let six = V6::ETHERTYPE;
    if (skb::ethertype(ctx) == six) == (A::ETHERTYPE == six) {
        program(ctx)
    } else {
        NEXT
    }
}

/// Counts, and answers the kernel: what leaves by an interface goes out there.
#[inline(always)]
pub fn finish(outcome: Result<Action, DropReason>) -> i32 {
    settle(outcome, 0)
}

/// The same, but what leaves by an interface comes in there.
#[inline(always)]
pub fn finish_inwards(outcome: Result<Action, DropReason>) -> i32 {
    settle(outcome, u64::from(BPF_F_INGRESS))
}

#[inline(always)]
fn settle(outcome: Result<Action, DropReason>, direction: u64) -> i32 {
    let action = match outcome {
        Ok(action) => action,
        Err(reason) => {
            maps::count_drop(reason);
            return DROP;
        }
    };
    maps::count_action(action);
    match action {
        Action::Pass => NEXT,
        Action::Consume => DROP,
        Action::Deliver | Action::Tunnel | Action::Answer | Action::Reject | Action::PassOn => {
            let Ok(scratch) = maps::scratch() else {
                return DROP;
            };
            // SAFETY: only records the target.
            unsafe { bpf_redirect(scratch.target, direction) as i32 }
        }
    }
}
