//! Shell: the uplink's guard. Tunnel packets from sources that nobody listed end here; all else passes.

use aya_ebpf::programs::TcContext;
use causeway_abi::{DropReason, SourceKey4, V4, faults, protocol};

use crate::{maps, skb, verdict::Action};

/// tcx ingress of the uplink.
#[inline(always)]
pub fn ingress(ctx: &TcContext) -> Result<Action, DropReason> {
    let (Some(config), Some(glance)) = (maps::config(), skb::glance::<V4>(ctx)) else {
        return Ok(Action::Pass);
    };
    // A later fragment shows no port; without its first one it goes nowhere.
    if glance.protocol != protocol::UDP || glance.destination_port != config.tunnel_port {
        return Ok(Action::Pass);
    }
    let listed = maps::source(&SourceKey4 {
        address: glance.source,
    })
    .is_some();
    if listed || config.faults & faults::SOURCE_CHECK != 0 {
        Ok(Action::Pass)
    } else {
        Err(DropReason::UnlistedSource)
    }
}
