//! Shell: before the port of the node's own processes. The route there is the host's for everybody: what came in by
//! another device and is only passed on is rejected here, lest masquerading give it the node's name.

use aya_ebpf::programs::TcContext;
use causeway_abi::DropReason;

use crate::{
    family::Family,
    maps, reject, skb,
    verdict::{self, Action},
};

/// tcx egress of the device that has the node's address. A rejection comes in again by that device: where it goes, the
/// host knows.
#[inline(always)]
pub fn egress<A: Family>(ctx: &TcContext) -> Result<Action, DropReason> {
    // SAFETY: the kernel hands out a valid `__sk_buff`.
    let came_by = unsafe { (*ctx.skb.skb).ingress_ifindex };
    if came_by == 0 {
        return Ok(Action::Pass);
    }
    let config = maps::config().ok_or(DropReason::Forwarded)?;
    reject::in_place::<A>(ctx, config, DropReason::Forwarded)?;
    verdict::reject(DropReason::Forwarded, skb::ifindex(ctx))
}
