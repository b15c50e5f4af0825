//! Pure: the pieces that can be taken out, one at a time, to show that the demo would notice.
//! Our programs read the name from the environment variable [`VARIABLE`].

/// Read by the programs when they start.
pub const VARIABLE: &str = "CAUSEWAY_BREAK";

/// Name, and what is missing then.
pub const BREAKS: &[(&str, &str)] = &[
    (
        "dsr",
        "replies are not rewritten from the backend to the service's address",
    ),
    ("mapping", "addresses of peers are not mapped into ours"),
    (
        "mss-clamp",
        "TCP connections are not told of the tunnel's overhead",
    ),
    (
        "tunnel-source-check",
        "tunnel packets are taken from any source",
    ),
    ("pod-tunnel-check", "pods may send to the tunnel port"),
    ("source-check", "a pod may use any source address"),
    ("local-first", "clients are spread over all clusters"),
    (
        "passing-on",
        "packets of older flows are not passed on to the endpoint that they had",
    ),
    (
        "rejection",
        "connections that nobody can take are dropped, not rejected",
    ),
    (
        "unreachable-routes",
        "packets to our pools leave a node that has no program for them",
    ),
];

/// Whether there is such a piece.
#[must_use]
pub fn is_known(name: &str) -> bool {
    BREAKS.iter().any(|(known, _)| *known == name)
}
