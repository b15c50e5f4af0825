//! Shell: for packet tests and benches: the programs' own logic, between setting the tunnel metadata that a test run cannot
//! give and reading back what a test run cannot show. Not loaded by the agent.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        bindings::bpf_tunnel_key,
        helpers::{
            bpf_skb_get_tunnel_key, bpf_skb_get_tunnel_opt, bpf_skb_set_tunnel_key,
            bpf_skb_set_tunnel_opt,
        },
        macros::{classifier, map},
        maps::Array,
        programs::TcContext,
    };
    use causeway_abi::{DropReason, V4, V6};
    use causeway_ebpf::{guard, maps, pod, tunnel, verdict, verdict::Action};

    /// In: the metadata with which a packet came. Out: what it left with, and the interface.
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct Metadata {
        /// 0 = none.
        present: u32,
        vni: u32,
        /// In: outer source. Out: outer destination. Host order.
        node: u32,
        identity: u32,
        /// Out: where it was redirected to, 0 = nowhere.
        ifindex: u32,
    }

    #[map(name = "harness_in")]
    static INPUT: Array<Metadata> = Array::with_max_entries(1, 0);
    #[map(name = "harness_out")]
    static OUTPUT: Array<Metadata> = Array::with_max_entries(1, 0);

    #[inline(never)]
    fn prime(ctx: &TcContext) -> bool {
        let Some(input) = INPUT.get(0) else {
            return false;
        };
        if input.present == 0 {
            return false;
        }
        // SAFETY: plain integers; buffers live here.
        unsafe {
            let mut key: bpf_tunnel_key = core::mem::zeroed();
            let mut gbp = input.identity;
            key.tunnel_id = input.vni;
            // Read back as the remote address: a source, as on the receiving side.
            key.__bindgen_anon_3.local_ipv4 = input.node;
            let size = size_of::<bpf_tunnel_key>() as u32;
            bpf_skb_set_tunnel_key(ctx.skb.skb, &raw mut key, size, 0) == 0
                && bpf_skb_set_tunnel_opt(ctx.skb.skb, (&raw mut gbp).cast(), 4) == 0
        }
    }

    #[inline(never)]
    fn record(ctx: &TcContext, outcome: Result<Action, DropReason>) -> i32 {
        let Some(output) = OUTPUT.get_ptr_mut(0) else {
            return 2;
        };
        // SAFETY: one test runs at a time; buffers live here.
        unsafe {
            let mut key: bpf_tunnel_key = core::mem::zeroed();
            let mut gbp = 0_u32;
            let got = bpf_skb_get_tunnel_key(
                ctx.skb.skb,
                &raw mut key,
                size_of::<bpf_tunnel_key>() as u32,
                0,
            );
            bpf_skb_get_tunnel_opt(ctx.skb.skb, (&raw mut gbp).cast(), 4);
            // A key of ours to send with names no source.
            (*output).present = u32::from(got == 0 && key.__bindgen_anon_1.remote_ipv4 == 0);
            (*output).vni = key.tunnel_id;
            (*output).node = key.__bindgen_anon_3.local_ipv4;
            (*output).identity = gbp;
            (*output).ifindex = match outcome {
                Ok(Action::Pass | Action::Consume) | Err(_) => 0,
                Ok(_) => maps::scratch().map_or(0, |scratch| scratch.target),
            };
        }
        verdict::finish(outcome)
    }

    #[classifier]
    pub fn pod_ingress4(ctx: TcContext) -> i32 {
        let outcome = pod::ingress::<V4>(&ctx);
        record(&ctx, outcome)
    }

    #[classifier]
    pub fn pod_ingress6(ctx: TcContext) -> i32 {
        let outcome = pod::ingress::<V6>(&ctx);
        record(&ctx, outcome)
    }

    #[classifier]
    pub fn tunnel_ingress4(ctx: TcContext) -> i32 {
        prime(&ctx);
        let outcome = tunnel::ingress::<V4>(&ctx);
        record(&ctx, outcome)
    }

    #[classifier]
    pub fn tunnel_ingress6(ctx: TcContext) -> i32 {
        prime(&ctx);
        let outcome = tunnel::ingress::<V6>(&ctx);
        record(&ctx, outcome)
    }

    #[classifier]
    pub fn session_ingress4(ctx: TcContext) -> i32 {
        prime(&ctx);
        let outcome = tunnel::from_gateway::<V4>(&ctx);
        record(&ctx, outcome)
    }

    #[classifier]
    pub fn session_ingress6(ctx: TcContext) -> i32 {
        prime(&ctx);
        let outcome = tunnel::from_gateway::<V6>(&ctx);
        record(&ctx, outcome)
    }

    #[classifier]
    pub fn uplink_guard(ctx: TcContext) -> i32 {
        let outcome = guard::ingress(&ctx);
        record(&ctx, outcome)
    }

    /// Does nothing: what a hook costs whatever is on it.
    #[classifier]
    pub fn bench_empty(_ctx: TcContext) -> i32 {
        -1
    }

    /// How a bench makes its packets: the head of a frame, written anew each time, and what differs by flow.
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct Bench {
        /// How many flows take turns.
        flows: u32,
        /// The next one. Counted up here.
        next: u32,
        /// Offset of the port that tells flows apart.
        port_at: u32,
        /// 1 = the destination MAC carries a flow hash, another for each flow.
        hashed: u32,
        /// Ethernet, IPv4 and the first 20 bytes after.
        frame: [u8; 54],
        reserved: [u8; 2],
    }

    #[map(name = "bench")]
    static BENCH: Array<Bench> = Array::with_max_entries(1, 0);

    /// A fresh packet of the next flow, over whatever the program made of the one before.
    #[inline(never)]
    fn renew(ctx: &TcContext) -> Option<()> {
        let bench = BENCH.get_ptr_mut(0)?;
        // SAFETY: one bench runs at a time.
        unsafe {
            let flow = (*bench).next;
            (*bench).next = if flow.wrapping_add(1) >= (*bench).flows {
                0
            } else {
                flow.wrapping_add(1)
            };
            ctx.store(0, &(*bench).frame, 0).ok()?;
            let port = (flow as u16).to_be_bytes();
            ctx.store((*bench).port_at as usize, &port, 0).ok()?;
            if (*bench).hashed != 0 {
                ctx.store(2, &flow.wrapping_mul(0x9e37_79b1).to_be_bytes(), 0)
                    .ok()?;
            }
        }
        prime(ctx);
        Some(())
    }

    /// The making of packets alone, to be subtracted.
    #[classifier]
    pub fn bench_nothing(ctx: TcContext) -> i32 {
        renew(&ctx).map_or(2, |()| 0)
    }

    #[classifier]
    pub fn bench_pod(ctx: TcContext) -> i32 {
        renew(&ctx).map_or(2, |()| verdict::finish(pod::ingress::<V4>(&ctx)))
    }

    #[classifier]
    pub fn bench_tunnel(ctx: TcContext) -> i32 {
        renew(&ctx).map_or(2, |()| verdict::finish(tunnel::ingress::<V4>(&ctx)))
    }

    #[classifier]
    pub fn bench_guard(ctx: TcContext) -> i32 {
        renew(&ctx).map_or(2, |()| verdict::finish(guard::ingress(&ctx)))
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
