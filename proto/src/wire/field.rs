//! Pure: reading one field of a message: what is wrong is said with the path to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::pb::model as pb;
use crate::limits;
use crate::model::{Address, Digest, IdentityNumber, InvalidName, PeerNumber, PrefixError};

/// A message that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidWire {
    /// Names of fields from the outside in, with positions in lists: `services[3].ports[0].port`.
    pub path: String,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Absent.
    #[error("is missing")]
    Missing,
    /// Not a message of this kind.
    #[error("cannot be decoded: {0}")]
    Undecodable(String),
    /// A fixed length is not kept.
    #[error("has {got} bytes, not {want}")]
    Length {
        /// As given.
        got: usize,
        /// As it must be.
        want: usize,
    },
    /// A bound of `limits` is passed.
    #[error("has {got}, more than {max}")]
    TooMany {
        /// As given.
        got: usize,
        /// The bound.
        max: usize,
    },
    /// A number outside its range.
    #[error("is {got}, not {rule}")]
    Range {
        /// As given.
        got: u64,
        /// What it must be.
        rule: &'static str,
    },
    /// A name, address or prefix that nobody may have.
    #[error("{0}")]
    Name(#[from] InvalidName),
    /// A prefix that is none.
    #[error("{0}")]
    Prefix(#[from] PrefixError),
    /// Two fields contradict each other, a key comes twice, or an order is not kept.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl fmt::Display for InvalidWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "the message {}", self.fault)
        } else {
            write!(f, "{} {}", self.path, self.fault)
        }
    }
}

impl From<Fault> for InvalidWire {
    fn from(fault: Fault) -> Self {
        Self {
            path: String::new(),
            fault,
        }
    }
}

impl InvalidWire {
    /// The same fault, seen from the message that has this field.
    #[must_use]
    pub fn within(mut self, segment: &str) -> Self {
        if self.path.is_empty() {
            segment.clone_into(&mut self.path);
        } else {
            self.path = format!("{segment}.{}", self.path);
        }
        self
    }
}

pub(super) type Read<T> = Result<T, InvalidWire>;

pub(super) fn one<P, T>(field: &str, value: P, read: impl FnOnce(P) -> Read<T>) -> Read<T> {
    read(value).map_err(|e| e.within(field))
}

pub(super) fn need<P, T>(
    field: &str,
    value: Option<P>,
    read: impl FnOnce(P) -> Read<T>,
) -> Read<T> {
    let value = value.ok_or_else(|| InvalidWire::from(Fault::Missing).within(field))?;
    one(field, value, read)
}

pub(super) fn maybe<P, T>(
    field: &str,
    value: Option<P>,
    read: impl FnOnce(P) -> Read<T>,
) -> Read<Option<T>> {
    value.map(|v| one(field, v, read)).transpose()
}

pub(super) fn at_most(field: &str, got: usize, max: usize) -> Read<()> {
    if got > max {
        return Err(InvalidWire::from(Fault::TooMany { got, max }).within(field));
    }
    Ok(())
}

pub(super) fn list<P, T>(
    field: &str,
    max: usize,
    items: Vec<P>,
    read: impl Fn(P) -> Read<T>,
) -> Read<Vec<T>> {
    at_most(field, items.len(), max)?;
    items
        .into_iter()
        .enumerate()
        .map(|(i, item)| read(item).map_err(|e| e.within(&format!("{field}[{i}]"))))
        .collect()
}

pub(super) fn map<P, K: Ord, V>(
    field: &str,
    max: usize,
    items: Vec<P>,
    read: impl Fn(P) -> Read<(K, V)>,
) -> Read<BTreeMap<K, V>> {
    let read = list(field, max, items, read)?;
    let mut out = BTreeMap::new();
    for (i, (key, value)) in read.into_iter().enumerate() {
        if out.insert(key, value).is_some() {
            return Err(contradiction("repeats a key").within(&format!("{field}[{i}]")));
        }
    }
    Ok(out)
}

pub(super) fn set<P, T: Ord>(
    field: &str,
    max: usize,
    items: Vec<P>,
    read: impl Fn(P) -> Read<T>,
) -> Read<BTreeSet<T>> {
    let read = list(field, max, items, read)?;
    let mut out = BTreeSet::new();
    for (i, value) in read.into_iter().enumerate() {
        if !out.insert(value) {
            return Err(contradiction("repeats a value").within(&format!("{field}[{i}]")));
        }
    }
    Ok(out)
}

pub(super) fn contradiction(rule: &'static str) -> InvalidWire {
    Fault::Contradiction(rule).into()
}

/// Refuses a list whose keys do not rise.
pub(super) fn rising<T, K: Ord>(field: &str, items: &[T], key: impl Fn(&T) -> K) -> Read<()> {
    if items.is_sorted_by(|a, b| key(a) < key(b)) {
        Ok(())
    } else {
        Err(contradiction("is not sorted, or repeats a key").within(field))
    }
}

pub(super) fn name<T: TryFrom<String, Error = InvalidName>>(value: String) -> Read<T> {
    T::try_from(value).map_err(|e| Fault::Name(e).into())
}

pub(super) fn array<const N: usize>(bytes: Vec<u8>) -> Read<[u8; N]> {
    let got = bytes.len();
    bytes
        .try_into()
        .map_err(|_| Fault::Length { got, want: N }.into())
}

pub(super) fn address(bytes: Vec<u8>) -> Read<Address> {
    array(bytes).map(Address::from_bytes)
}

pub(super) fn digest(bytes: Vec<u8>) -> Read<Digest> {
    array(bytes).map(Digest)
}

/// Bytes of one certificate, request or key.
pub(super) fn der(bytes: Vec<u8>) -> Read<Vec<u8>> {
    at_most("", bytes.len(), limits::CERTIFICATE_BYTES)
        .map_err(|e| InvalidWire::from(e.fault))
        .map(|()| bytes)
}

pub(super) fn text(text: String) -> Read<String> {
    if text.len() > limits::TEXT_BYTES {
        let (got, max) = (text.len(), limits::TEXT_BYTES);
        return Err(Fault::TooMany { got, max }.into());
    }
    Ok(text)
}

pub(super) fn port(number: u32) -> Read<u16> {
    small(number, "a port of 1 to 65535").and_then(|n| {
        if n == 0 {
            let (got, rule) = (0, "a port of 1 to 65535");
            return Err(Fault::Range { got, rule }.into());
        }
        Ok(n)
    })
}

pub(super) fn mtu(bytes: u32) -> Read<u16> {
    small(bytes, "bytes of an IP packet, at most 65535")
}

pub(super) fn small(number: u32, rule: &'static str) -> Read<u16> {
    let got = number.into();
    u16::try_from(number).map_err(|_| Fault::Range { got, rule }.into())
}

pub(super) fn positive(number: u32) -> Read<u32> {
    if number == 0 {
        let (got, rule) = (0, "above 0");
        return Err(Fault::Range { got, rule }.into());
    }
    Ok(number)
}

pub(super) fn peer_number(number: u32) -> Read<PeerNumber> {
    PeerNumber::try_from(small(number, "a peer number of 0 to 4095")?)
        .map_err(|e| Fault::Name(e).into())
}

/// A peer's, never our own.
pub(super) fn other_number(number: u32) -> Read<PeerNumber> {
    positive(number).and_then(peer_number)
}

pub(super) fn identity_number(number: u32) -> Read<IdentityNumber> {
    small(number, "an identity number of 0 to 65535").map(IdentityNumber)
}

pub(super) fn labels(labels: BTreeMap<String, String>) -> Read<BTreeMap<String, String>> {
    at_most("count", labels.len(), limits::LABELS)?;
    let size = labels.iter().map(|(k, v)| k.len() + v.len()).sum();
    at_most("bytes", size, limits::LABEL_BYTES)?;
    Ok(labels)
}

/// An enumeration of the model and its number on the wire.
pub(super) trait Code: Sized {
    fn code(self) -> i32;
    fn of(code: i32) -> Option<Self>;
}

pub(super) fn code<T: Code>(code: i32) -> Read<T> {
    let got = u64::try_from(code).unwrap_or(u64::MAX);
    let rule = "one of the known values";
    T::of(code).ok_or_else(|| Fault::Range { got, rule }.into())
}

macro_rules! codes {
    ($($model:ident = $wire:path { $($variant:ident = $value:ident),* $(,)? })*) => {
        $(impl $crate::wire::field::Code for $crate::model::$model {
            fn code(self) -> i32 {
                use $wire as W;
                match self {
                    $(Self::$variant => W::$value as i32,)*
                }
            }
            fn of(code: i32) -> Option<Self> {
                use $wire as W;
                match W::try_from(code) {
                    $(Ok(W::$value) => Some(Self::$variant),)*
                    _ => None,
                }
            }
        })*
    };
}
pub(super) use codes;

codes! {
    Protocol = pb::Protocol { Tcp = Tcp, Udp = Udp, Sctp = Sctp }
    EndpointState = pb::EndpointState { Ready = Ready, Draining = Draining, NotReady = NotReady }
    InternalTrafficPolicy = pb::InternalTrafficPolicy { Cluster = Cluster, Local = Local }
    IpFamily = pb::IpFamily { IPv4 = Ipv4, IPv6 = Ipv6 }
    Locality = pb::Locality { LocalFirst = LocalFirst, Spread = Spread }
    LossPolicy = pb::LossPolicy { Withdraw = Withdraw, Keep = Keep, FailoverOnly = FailoverOnly }
    Encryption = pb::Encryption { Plain = Plain, Encrypted = Encrypted, Unavailable = Unavailable }
    Liveness = pb::Liveness { Live = Live, Suspect = Suspect, Withdrawn = Withdrawn }
    CheckKind = pb::CheckKind {
        Udp = Udp, Tcp = Tcp, Session = Session, Mtu = Mtu, Clock = Clock,
        Certificate = Certificate, Route = Route, ReversePath = ReversePath, Dns = Dns,
        Agent = Agent,
    }
    Outcome = pb::Outcome { Passed = Passed, Warned = Warned, Failed = Failed, Skipped = Skipped }
    ConditionStatus = pb::ConditionStatus { True = True, False = False, Unknown = Unknown }
    ProblemKind = pb::ProblemKind {
        BadManifest = BadManifest, BadObject = BadObject, PoolFull = PoolFull,
        LimitReached = LimitReached, PeerFault = PeerFault, PeerDisagrees = PeerDisagrees,
        OutsidePrefix = OutsidePrefix, ClockJumped = ClockJumped, Frozen = Frozen,
        NotWritten = NotWritten,
    }
    ConflictField = pb::ConflictField {
        Port = Port, Type = Type, SessionAffinity = SessionAffinity,
        SessionAffinityConfig = SessionAffinityConfig, Annotations = Annotations, Labels = Labels,
        InternalTrafficPolicy = InternalTrafficPolicy, TrafficDistribution = TrafficDistribution,
        IpFamily = IpFamily,
    }
}
