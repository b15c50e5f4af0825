//! Pure: why a packet was dropped, and what else is counted. Both are indexes into per-CPU arrays.

/// Declares a counted enum: numbers from 0, names, iteration.
macro_rules! counted {
    ($(#[$meta:meta])* $enum:ident { $($(#[$variant_meta:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[repr(u32)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum { $($(#[$variant_meta])* $variant,)* }

        impl $enum {
            /// All, in order of their numbers.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];
            /// How many there are.
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// The index of its counter.
            #[inline(always)]
            #[must_use]
            pub const fn index(self) -> u32 {
                self as u32
            }

            /// As shown to users and used as metric label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

counted! {
    /// Why a packet was dropped (or, where someone waits for an answer, rejected). Index into `drops`.
    DropReason {
        /// The agent has not filled the maps yet, or for another layout.
        NotConfigured = "not-configured",
        /// A pod sent to the tunnel port.
        PodToTunnelPort = "pod-to-tunnel-port",
        /// The port's pod is not known.
        UnknownPort = "unknown-port",
        /// The source is not the port's own address.
        SpoofedSource = "spoofed-source",
        /// IP version, header length or total length cannot be right.
        BadIpHeader = "bad-ip-header",
        /// The transport header is cut off or its lengths contradict.
        BadTransport = "bad-transport",
        /// A fragment of clusterset traffic.
        Fragment = "fragment",
        /// The path to the peer does not take it, not even in two pieces.
        TooBig = "too-big",
        /// Neither TCP, UDP, ICMP echo nor an ICMP error about a known flow.
        UnsupportedProtocol = "unsupported-protocol",
        /// The TTL ran out here.
        TtlExpired = "ttl-expired",
        /// No service has this VIP, port and protocol.
        NoFrontend = "no-frontend",
        /// The service has nobody ready.
        NobodyReady = "nobody-ready",
        /// A ring names somebody whom the table does not have.
        DanglingId = "dangling-id",
        /// No live way to that cluster.
        NoRoute = "no-route",
        /// An own address that is on no known node.
        NoPlace = "no-place",
        /// In the mapping pool, but no mapping covers it.
        NoMapping = "no-mapping",
        /// Not offered to other clusters.
        NotExported = "not-exported",
        /// The tunnel's outer source is not listed.
        UnlistedSource = "unlisted-source",
        /// Number, direction or bits do not fit the sender, or there is no tunnel header.
        BadTunnelHeader = "bad-tunnel-header",
        /// The inner source is not the sender's to use.
        BadInnerSource = "bad-inner-source",
        /// Asked to forward to a peer, but no gateway.
        NotGateway = "not-gateway",
        /// The named endpoint is not on this node.
        NoBackend = "no-backend",
        /// A reply that no entry waits for.
        NoFlow = "no-flow",
        /// Two VIPs met on one client port and backend.
        VipCollision = "vip-collision",
        /// The host would have forwarded it to the clusterset for others; that way is its own processes' alone.
        Forwarded = "forwarded",
        /// The kernel refused a helper's work.
        KernelRefused = "kernel-refused",
    }
}

counted! {
    /// What became of a packet that was not dropped. Index into `actions`.
    Counted {
        /// Not ours: left to the host.
        Pass = "pass",
        /// Into a pod.
        Deliver = "deliver",
        /// Into the tunnel.
        Tunnel = "tunnel",
        /// Answered on the spot (echo, probe).
        Answer = "answer",
        /// Rejected: TCP RST or ICMP unreachable was sent back. The reason is counted in `drops` too.
        Reject = "reject",
        /// Taken in (a probe's answer).
        Consume = "consume",
        /// Into the tunnel to the previous endpoint's node (not counted as `tunnel`).
        PassOn = "pass-on",
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn names_are_distinct_and_numbers_dense() {
        let mut names = std::collections::BTreeSet::new();
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index() as usize, index);
            assert!(names.insert(reason.name()));
        }
        assert_eq!(DropReason::COUNT as usize, names.len());
        assert_eq!(Counted::ALL.len() as u32, Counted::COUNT);
    }
}
