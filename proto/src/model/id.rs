//! Pure: names and numbers of things. Each is parsed once and cannot be wrong afterwards.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// A name that Kubernetes or this project would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct InvalidName {
    /// Which kind of name, in words.
    pub what: &'static str,
    /// What was given.
    pub value: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

fn is_label(s: &str) -> bool {
    !s.is_empty()
        && s.len() <= 63
        && s.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !s.starts_with('-')
        && !s.ends_with('-')
}

fn is_subdomain(s: &str) -> bool {
    s.len() <= 253 && s.split('.').all(is_label)
}

fn is_cluster_id(s: &str) -> bool {
    s.len() < 128 && s.split('.').count() <= 2 && is_subdomain(s)
}

fn is_port_name(s: &str) -> bool {
    s.len() <= 63 && is_label(s)
}

fn is_zone(s: &str) -> bool {
    !s.is_empty() && s.len() <= 63 && s.bytes().all(|b| b.is_ascii_graphic())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(value: String) -> Result<Self, InvalidName> {
                if $check(&value) {
                    Ok(Self(value))
                } else {
                    Err(InvalidName { what: $what, value, rule: $rule })
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, InvalidName> {
                Self::try_from(s.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A cluster's stable name in the clusterset: one RFC 1123 label, or two joined by a dot (KEP-2149).
    ClusterId, "cluster id", is_cluster_id, "one or two RFC 1123 labels joined by a dot, under 128 characters"
);
name!(
    /// The trust group that clusters join.
    ClusterSet, "clusterset name", is_subdomain, "an RFC 1123 subdomain"
);
name!(
    /// A Kubernetes namespace.
    Namespace, "namespace", is_label, "an RFC 1123 label"
);
name!(
    /// A node's name.
    NodeName, "node name", is_subdomain, "an RFC 1123 subdomain"
);
name!(
    /// A gateway's name, unique in its cluster.
    GatewayName, "gateway name", is_subdomain, "an RFC 1123 subdomain"
);
name!(
    /// A controller's or an operator's name, unique in its cluster.
    ProcessName, "process name", is_subdomain, "an RFC 1123 subdomain"
);
name!(
    /// A Service port's name.
    PortName, "port name", is_port_name, "an RFC 1123 label"
);
name!(
    /// A topology zone.
    Zone, "zone", is_zone, "1 to 63 printable characters"
);

/// A Service's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName {
    /// The namespace.
    pub namespace: Namespace,
    name: String,
}

impl ServiceName {
    /// From both halves.
    ///
    /// # Errors
    /// When `name` is not an RFC 1123 label.
    pub fn new(namespace: Namespace, name: &str) -> Result<Self, InvalidName> {
        if is_label(name) {
            Ok(Self {
                namespace,
                name: name.to_owned(),
            })
        } else {
            Err(InvalidName {
                what: "service name",
                value: name.to_owned(),
                rule: "an RFC 1123 label",
            })
        }
    }

    /// The name without its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ServiceName {
    type Err = InvalidName;
    fn from_str(s: &str) -> Result<Self, InvalidName> {
        let (namespace, name) = s.split_once('/').ok_or(InvalidName {
            what: "service",
            value: s.to_owned(),
            rule: "NAMESPACE/NAME",
        })?;
        Self::new(namespace.parse()?, name)
    }
}

impl TryFrom<String> for ServiceName {
    type Error = InvalidName;
    fn try_from(s: String) -> Result<Self, InvalidName> {
        s.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> String {
        name.to_string()
    }
}

/// A transport protocol that a Service port may have; the number is IANA's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP, 6.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP, 17.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP, 132.
    #[serde(rename = "SCTP")]
    Sctp,
}

impl Protocol {
    /// The protocol's number in an IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The label in SRV names.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

impl FromStr for Protocol {
    type Err = InvalidName;
    fn from_str(s: &str) -> Result<Self, InvalidName> {
        match s {
            "TCP" => Ok(Self::Tcp),
            "UDP" => Ok(Self::Udp),
            "SCTP" => Ok(Self::Sctp),
            _ => Err(InvalidName {
                what: "protocol",
                value: s.to_owned(),
                rule: "TCP, UDP or SCTP",
            }),
        }
    }
}

/// How one cluster numbers another in packets: 12 bits; 0 is always the own cluster. The leader's, persistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PeerNumber(u16);

impl PeerNumber {
    /// The own cluster.
    pub const OWN: Self = Self(0);
    /// The greatest that fits the 12 bits of a tunnel header.
    pub const MAX: u16 = 0xfff;

    /// The plain number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for PeerNumber {
    type Error = InvalidName;
    fn try_from(n: u16) -> Result<Self, InvalidName> {
        if n <= Self::MAX {
            Ok(Self(n))
        } else {
            Err(InvalidName {
                what: "peer number",
                value: n.to_string(),
                rule: "0 to 4095",
            })
        }
    }
}

impl From<PeerNumber> for u16 {
    fn from(n: PeerNumber) -> u16 {
        n.0
    }
}

impl fmt::Display for PeerNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A workload identity's number in its owner's numbering; 0 is unknown. The leader's, persistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdentityNumber(pub u16);

impl IdentityNumber {
    /// Nobody that the leader knows.
    pub const UNKNOWN: Self = Self(0);
    /// Processes of a node itself; in every cluster.
    pub const HOST: Self = Self(u16::MAX);
    /// The greatest that a workload gets.
    pub const MAX: u16 = u16::MAX - 1;
}

impl fmt::Display for IdentityNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a cluster's catalog stands. Orders by epoch, then number; neither ever falls back.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Revision {
    /// One per leadership.
    pub epoch: u64,
    /// One per change of content.
    pub number: u64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// Wall-clock time in milliseconds since the Unix epoch; always an argument, never read in a pure module.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds from `earlier` to `self`; 0 when the clock went backwards.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Times before 1970 become 0.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        Self(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!("east".parse::<ClusterId>().is_ok());
        assert!("east.example".parse::<ClusterId>().is_ok());
        assert!("a.b.c".parse::<ClusterId>().is_err());
        assert!("East".parse::<ClusterId>().is_err());
        assert!("".parse::<ClusterId>().is_err());
        assert!("-a".parse::<Namespace>().is_err());
        assert_eq!(
            "shop/cart".parse::<ServiceName>().unwrap().to_string(),
            "shop/cart"
        );
        assert!("cart".parse::<ServiceName>().is_err());
        assert!(PeerNumber::try_from(4096).is_err());
    }
}
