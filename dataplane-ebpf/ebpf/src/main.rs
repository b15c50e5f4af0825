//! Shell: the entry points, one per hook. On the host only a stub, so that the crate can be checked and its pure parts tested.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{macros::classifier, programs::TcContext};
    use causeway_abi::{V4, V6};
    use causeway_ebpf::{guard, host, pod, tunnel, verdict};

    /// tcx ingress of every pod-side port.
    #[classifier]
    pub fn pod_ingress4(ctx: TcContext) -> i32 {
        verdict::of_family::<V4>(&ctx, |ctx| verdict::finish(pod::ingress::<V4>(ctx)))
    }

    /// The same for IPv6, as all that end in 6: they stand behind the others.
    #[classifier]
    pub fn pod_ingress6(ctx: TcContext) -> i32 {
        verdict::of_family::<V6>(&ctx, |ctx| verdict::finish(pod::ingress::<V6>(ctx)))
    }

    /// tcx ingress of the tunnel device.
    #[classifier]
    pub fn tunnel_ingress4(ctx: TcContext) -> i32 {
        verdict::of_family::<V4>(&ctx, |ctx| verdict::finish(tunnel::ingress::<V4>(ctx)))
    }

    #[classifier]
    pub fn tunnel_ingress6(ctx: TcContext) -> i32 {
        verdict::of_family::<V6>(&ctx, |ctx| verdict::finish(tunnel::ingress::<V6>(ctx)))
    }

    /// tcx ingress of the device to this node's gateway.
    #[classifier]
    pub fn session_ingress4(ctx: TcContext) -> i32 {
        verdict::of_family::<V4>(&ctx, |ctx| verdict::finish(tunnel::from_gateway::<V4>(ctx)))
    }

    #[classifier]
    pub fn session_ingress6(ctx: TcContext) -> i32 {
        verdict::of_family::<V6>(&ctx, |ctx| verdict::finish(tunnel::from_gateway::<V6>(ctx)))
    }

    /// tcx ingress of the uplink.
    #[classifier]
    pub fn uplink_guard(ctx: TcContext) -> i32 {
        verdict::finish(guard::ingress(&ctx))
    }

    /// tcx egress of the device of the node's own processes.
    #[classifier]
    pub fn host_egress4(ctx: TcContext) -> i32 {
        verdict::of_family::<V4>(&ctx, |ctx| verdict::finish_inwards(host::egress::<V4>(ctx)))
    }

    #[classifier]
    pub fn host_egress6(ctx: TcContext) -> i32 {
        verdict::of_family::<V6>(&ctx, |ctx| verdict::finish_inwards(host::egress::<V6>(ctx)))
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
