//! Shell: the entry points, one per hook. On the host only a stub, so that the crate can be checked and its pure parts tested.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{macros::classifier, programs::TcContext};
    use causeway_ebpf::{guard, host, pod, tunnel, verdict};

    /// tcx ingress of every pod-side port.
    #[classifier]
    pub fn pod_ingress(ctx: TcContext) -> i32 {
        verdict::finish(pod::ingress(&ctx))
    }

    /// tcx ingress of the tunnel device.
    #[classifier]
    pub fn tunnel_ingress(ctx: TcContext) -> i32 {
        verdict::finish(tunnel::ingress(&ctx))
    }

    /// tcx ingress of the device to this node's gateway.
    #[classifier]
    pub fn session_ingress(ctx: TcContext) -> i32 {
        verdict::finish(tunnel::from_gateway(&ctx))
    }

    /// tcx ingress of the uplink.
    #[classifier]
    pub fn uplink_guard(ctx: TcContext) -> i32 {
        verdict::finish(guard::ingress(&ctx))
    }

    /// tcx egress of the device of the node's own processes.
    #[classifier]
    pub fn host_egress(ctx: TcContext) -> i32 {
        verdict::finish_inwards(host::egress(&ctx))
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
