//! Shell: the uplink's guard. Tunnel packets from sources that nobody listed end here; all else passes.

use aya_ebpf::programs::TcContext;
use causeway_abi::{DropReason, SourceKey4, faults, protocol};

use crate::{maps, parse::ETHERNET, skb, verdict::Action};

/// tcx ingress of the uplink.
#[inline(always)]
pub fn ingress(ctx: &TcContext) -> Result<Action, DropReason> {
    if !skb::is_ipv4(ctx) {
        return Ok(Action::Pass);
    }
    let (Some(config), Some(ip)) = (maps::config(), skb::header(ctx)) else {
        return Ok(Action::Pass);
    };
    if ip.protocol != protocol::UDP {
        return Ok(Action::Pass);
    }
    let at = ETHERNET + ip.header_length() + 2;
    let Ok(port) = ctx.load::<[u8; 2]>(at as usize) else {
        return Ok(Action::Pass);
    };
    // A later fragment has payload where the port would be; without its first one it goes nowhere.
    if port != config.tunnel_port || u16::from_be_bytes(ip.fragment) & 0x1fff != 0 {
        return Ok(Action::Pass);
    }
    let listed = maps::source(&SourceKey4 { address: ip.source }).is_some();
    if listed || config.faults & faults::SOURCE_CHECK != 0 {
        Ok(Action::Pass)
    } else {
        Err(DropReason::UnlistedSource)
    }
}
