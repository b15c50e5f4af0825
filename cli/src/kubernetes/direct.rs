//! Pure: which API servers are reached without the proxy that the environment names, as `kubectl` has it.

use causeway_proto::model::{Address, Prefix};

/// By the content of `NO_PROXY`: names with all below them (with a leading dot only those), addresses, prefixes, or `*`.
/// This machine's own never need a proxy.
pub fn is_direct(host: &str, except: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<Address>().ok();
    let own = "127.0.0.0/8".parse::<Prefix>().ok();
    let is_own = address.zip(own).is_some_and(|(a, own)| own.contains(a));
    if host == "localhost" || host == "::1" || is_own {
        return true;
    }
    let mut entries = except.split(',').map(str::trim).filter(|e| !e.is_empty());
    entries.any(|entry| match address {
        _ if entry == "*" => true,
        Some(address) => {
            let prefix = entry.parse::<Prefix>().ok();
            entry == host || prefix.is_some_and(|prefix| prefix.contains(address))
        }
        None => {
            let (host, entry) = (host.to_ascii_lowercase(), entry.to_ascii_lowercase());
            let below = entry.trim_start_matches('.');
            let is_below = host.strip_suffix(below).is_some_and(|h| h.ends_with('.'));
            host == entry || is_below
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions() {
        for (host, except, expected) in [
            ("127.0.0.1", "", true),
            ("localhost", "", true),
            ("[::1]", "", true),
            ("10.0.0.1", "", false),
            ("10.0.0.1", "x, 10.0.0.0/8", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("11.0.0.1", "10.0.0.0/8", false),
            ("k8s.example", "*", true),
            ("a.k8s.example", "k8s.example", true),
            ("K8s.example", "k8s.example", true),
            ("k8s.example", ".k8s.example", false),
            ("a.k8s.example", ".k8s.example", true),
            ("ak8s.example", "k8s.example", false),
        ] {
            assert_eq!(is_direct(host, except), expected, "{host} {except}");
        }
    }
}
