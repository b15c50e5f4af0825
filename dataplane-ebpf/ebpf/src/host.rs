//! Shell: before the port of the node's own processes. The route there is the host's for everybody: what came in by
//! another device and is only passed on ends here, before masquerading gives it the node's name.

use aya_ebpf::programs::TcContext;
use causeway_abi::DropReason;

use crate::verdict::Action;

/// tcx egress of the device that has the node's address.
#[inline(always)]
pub fn egress(ctx: &TcContext) -> Result<Action, DropReason> {
    // SAFETY: the kernel hands out a valid `__sk_buff`.
    let came_by = unsafe { (*ctx.skb.skb).ingress_ifindex };
    if came_by == 0 {
        Ok(Action::Pass)
    } else {
        Err(DropReason::Forwarded)
    }
}
