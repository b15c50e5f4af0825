//! Pure: addresses of both families in 16 bytes, prefixes, and one-to-one mappings between prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IP address as 16 bytes in network order; IPv4 in its mapped form (::ffff:a.b.c.d).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address([u8; 16]);

/// Text that is no IP address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IP address")]
pub struct AddressError(pub String);

impl Address {
    /// From its 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes in network order.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// The IPv4 address, if it is one.
    #[must_use]
    pub fn v4(self) -> Option<Ipv4Addr> {
        Ipv6Addr::from(self.0).to_ipv4_mapped()
    }

    /// Whether this is an IPv4 address.
    #[must_use]
    pub fn is_v4(self) -> bool {
        self.v4().is_some()
    }

    /// The standard library's form.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.v4()
            .map_or_else(|| IpAddr::V6(Ipv6Addr::from(self.0)), IpAddr::V4)
    }

    /// The form that headless names use: `10-244-0-6`.
    #[must_use]
    pub fn dashed(self) -> String {
        self.to_string().replace(['.', ':'], "-")
    }

    fn to_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// The address `n` further on, if there is one.
    #[must_use]
    pub fn offset(self, n: u128) -> Option<Self> {
        self.to_u128().checked_add(n).map(|v| Self(v.to_be_bytes()))
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::from(v4),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(v4: Ipv4Addr) -> Self {
        Self(v4.to_ipv6_mapped().octets())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(s: &str) -> Result<Self, AddressError> {
        s.parse::<IpAddr>()
            .map(Self::from)
            .map_err(|_| AddressError(s.to_owned()))
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(s: String) -> Result<Self, AddressError> {
        s.parse()
    }
}

impl From<Address> for String {
    fn from(a: Address) -> String {
        a.to_string()
    }
}

/// A prefix with no bit set behind its length; the length counts in 128 bits (10.0.0.0/8 has 104).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    base: Address,
    len: u8,
}

/// Text or numbers that are no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not of the form ADDRESS/LENGTH, or the length is too great.
    #[error("{0:?} is not a prefix ADDRESS/LENGTH")]
    Form(String),
    /// Bits behind the length.
    #[error("{0:?} has bits set behind its length; did you mean {1}?")]
    HostBits(String, String),
}

fn mask(len: u8) -> u128 {
    if len == 0 {
        0
    } else {
        u128::MAX << (128 - u32::from(len.min(128)))
    }
}

impl Prefix {
    /// From a base address and a length of 0 to 128 bits.
    ///
    /// # Errors
    /// When the length is too great or the base has bits behind it.
    pub fn new(base: Address, len: u8) -> Result<Self, PrefixError> {
        if len > 128 || (base.is_v4() && len < 96) {
            return Err(PrefixError::Form(format!("{base}/{len}")));
        }
        let clean = Self {
            base: Address((base.to_u128() & mask(len)).to_be_bytes()),
            len,
        };
        if clean.base == base {
            Ok(clean)
        } else {
            Err(PrefixError::HostBits(
                format!("{base}/{}", clean.family_len()),
                clean.to_string(),
            ))
        }
    }

    /// First address.
    #[must_use]
    pub fn base(self) -> Address {
        self.base
    }

    /// Length in the 128-bit form.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.len
    }

    /// Length as people write it for the family.
    #[must_use]
    pub fn family_len(self) -> u8 {
        if self.base.is_v4() {
            self.len.saturating_sub(96)
        } else {
            self.len
        }
    }

    /// How many addresses, saturating.
    #[must_use]
    pub fn size(self) -> u128 {
        1u128
            .checked_shl(128 - u32::from(self.len))
            .unwrap_or(u128::MAX)
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub fn contains(self, address: Address) -> bool {
        address.to_u128() & mask(self.len) == self.base.to_u128()
    }

    /// Whether all of `other` lies inside.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.len <= other.len && self.contains(other.base)
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// The prefix of at most this length, in the 128-bit form and within its family, that contains this one.
    #[must_use]
    pub fn widened(self, bits: u8) -> Self {
        let shortest = self.len.saturating_sub(self.family_len());
        let len = bits.clamp(shortest, self.len);
        let base = Address((self.base.to_u128() & mask(len)).to_be_bytes());
        Self { base, len }
    }

    /// The `n`th address, if inside.
    #[must_use]
    pub fn nth(self, n: u128) -> Option<Address> {
        if n < self.size() {
            self.base.offset(n)
        } else {
            None
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.family_len())
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;
    fn from_str(s: &str) -> Result<Self, PrefixError> {
        let form = || PrefixError::Form(s.to_owned());
        let (base, len) = s.split_once('/').ok_or_else(form)?;
        let base: Address = base.parse().map_err(|_| form())?;
        let len: u8 = len.parse().map_err(|_| form())?;
        let len = if base.is_v4() {
            len.checked_add(96).ok_or_else(form)?
        } else {
            len
        };
        Self::new(base, len)
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;
    fn try_from(s: String) -> Result<Self, PrefixError> {
        s.parse()
    }
}

impl From<Prefix> for String {
    fn from(p: Prefix) -> String {
        p.to_string()
    }
}

/// `theirs` appears here as `ours`, one to one; both have the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mapping {
    /// In the owner's numbering.
    pub theirs: Prefix,
    /// In ours.
    pub ours: Prefix,
}

impl Mapping {
    fn translate(from: Prefix, to: Prefix, address: Address) -> Option<Address> {
        if from.contains(address) && from.len == to.len {
            Some(Address(
                (to.base.to_u128() | (address.to_u128() & !mask(from.len))).to_be_bytes(),
            ))
        } else {
            None
        }
    }

    /// Our address for one of theirs.
    #[must_use]
    pub fn to_ours(&self, theirs: Address) -> Option<Address> {
        Self::translate(self.theirs, self.ours, theirs)
    }

    /// Their address for one of ours.
    #[must_use]
    pub fn to_theirs(&self, ours: Address) -> Option<Address> {
        Self::translate(self.ours, self.theirs, ours)
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.theirs, self.ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(s: &str) -> Address {
        s.parse().unwrap()
    }

    fn prefix(s: &str) -> Prefix {
        s.parse().unwrap()
    }

    #[test]
    fn prefixes() {
        let p = prefix("10.244.0.0/16");
        assert_eq!((p.bits(), p.family_len(), p.size()), (112, 16, 65536));
        assert!(p.contains(address("10.244.255.1")));
        assert!(!p.contains(address("10.245.0.1")));
        assert!("10.244.0.1/16".parse::<Prefix>().is_err());
        assert!("10.244.0.0/33".parse::<Prefix>().is_err());
        assert!("10.244.0.0".parse::<Prefix>().is_err());
        assert_eq!(prefix("fd00::/8").to_string(), "fd00::/8");
        assert!(p.overlaps(prefix("10.0.0.0/8")));
    }

    #[test]
    fn mappings_go_there_and_back() {
        let m = Mapping {
            theirs: prefix("10.244.0.0/16"),
            ours: prefix("242.1.0.0/16"),
        };
        assert_eq!(m.to_ours(address("10.244.3.9")), Some(address("242.1.3.9")));
        assert_eq!(
            m.to_theirs(address("242.1.3.9")),
            Some(address("10.244.3.9"))
        );
        assert_eq!(m.to_ours(address("10.245.3.9")), None);
        assert_eq!(address("10.244.0.6").dashed(), "10-244-0-6");
    }
}
