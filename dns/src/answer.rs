//! Pure: what one question gets from the zone. In: a `DnsZone` and a `Question`. Out: an `Answer`.
//!
//! Never panics, whatever the name. A name that is not known is denied (NXDOMAIN) only when every cluster
//! that could have it has told what it exports, or when its namespace does not exist here, so that it
//! could not be imported; otherwise the answer is SERVFAIL. What is known is answered, whoever is missing.

use std::fmt;

use causeway_proto::model::{Address, ClusterId, Namespace, Protocol, ServiceName};

use crate::zone::{DnsZone, Entry, EntryKind, Host, ORIGIN};

/// Seconds that an answer may be kept, positive or negative: as CoreDNS `multicluster` and Lighthouse.
pub const TTL: u32 = 5;
/// Endpoints in one answer of addresses: 28 bytes each at most, so half of what TCP can carry.
pub const HOSTS_PER_ANSWER: usize = 1000;
/// SRV records in one answer: with the longest names and both families 40 KiB, so all fit TCP.
pub const SRV_PER_ANSWER: usize = 128;
/// Version of the schema that the names follow.
const DNS_VERSION: &str = "1.0.0";

/// What kind of record is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Ports and targets.
    Srv,
    /// Text.
    Txt,
    /// Start of authority.
    Soa,
    /// Anything: one set of records is enough (RFC 8482).
    Any,
    /// A kind that no name here has.
    Other,
}

/// A question, its name as labels in lower case without the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    labels: Vec<String>,
    kind: Kind,
    /// The same for one client at all times: chooses its subset where an answer is limited, so that its A
    /// and AAAA are of the same endpoints.
    client: u64,
    /// Counts questions: the order of records turns with it.
    turn: u64,
}

impl Question {
    /// A question by a client; bytes that are no text match no name.
    pub fn new<'a>(
        labels: impl IntoIterator<Item = &'a [u8]>,
        kind: Kind,
        client: u64,
        turn: u64,
    ) -> Self {
        let text = |label: &[u8]| String::from_utf8_lossy(label).to_ascii_lowercase();
        Self {
            labels: labels.into_iter().map(text).collect(),
            kind,
            client,
            turn,
        }
    }
}

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The name exists; no records: not of this kind.
    NoError,
    /// The name is known not to exist.
    NxDomain,
    /// Not known yet, or it has no address to give.
    ServFail,
    /// Another zone.
    Refused,
}

/// Reply before its wire form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub code: Code,
    /// Under the name that was asked for.
    pub records: Vec<Data>,
    /// Addresses of the targets, under their own names.
    pub additional: Vec<(String, Address)>,
    /// Whether the SOA goes along: negative answers of this zone.
    pub soa: bool,
    /// Seconds, of all records.
    pub ttl: u32,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// A or AAAA by the address's family.
    Address(Address),
    /// Priority and weight are the same for all.
    Srv {
        /// What to dial.
        port: u16,
        /// Whole name.
        target: String,
    },
    /// One string.
    Txt(String),
    /// The zone's SOA.
    Soa,
}

impl Answer {
    fn negative(code: Code) -> Self {
        Self {
            code,
            records: Vec::new(),
            additional: Vec::new(),
            soa: matches!(code, Code::NoError | Code::NxDomain),
            ttl: TTL,
        }
    }

    fn of(records: Vec<Data>, additional: Vec<(String, Address)>) -> Self {
        Self {
            code: Code::NoError,
            soa: records.is_empty(),
            records,
            additional,
            ttl: TTL,
        }
    }
}

/// The answer to one question.
#[must_use]
pub fn answer(zone: &DnsZone, question: &Question) -> Answer {
    let labels: Vec<&str> = question.labels.iter().map(String::as_str).collect();
    let nodata = || Answer::negative(Code::NoError);
    let denied = || Answer::negative(Code::NxDomain);
    let Some(name) = labels.strip_suffix(&["clusterset", "local"]) else {
        return Answer::negative(Code::Refused);
    };
    match name {
        [] if matches!(question.kind, Kind::Soa | Kind::Any) => {
            Answer::of(vec![Data::Soa], Vec::new())
        }
        ["dns-version"] if matches!(question.kind, Kind::Txt | Kind::Any) => {
            Answer::of(vec![Data::Txt(DNS_VERSION.to_owned())], Vec::new())
        }
        [] | ["dns-version"] | ["svc"] => nodata(),
        [namespace, "svc"] => match namespace.parse::<Namespace>() {
            Ok(namespace) if zone.has_namespace(&namespace) => nodata(),
            Ok(namespace) => unknown(zone.may_grow(&namespace)),
            Err(_) => denied(),
        },
        [inner @ .., service, namespace, "svc"] => {
            let name = namespace
                .parse::<Namespace>()
                .and_then(|namespace| ServiceName::new(namespace, service));
            name.map_or_else(|_| denied(), |name| below(zone, question, &name, inner))
        }
        _ => denied(),
    }
}

/// A name that nobody known has.
fn unknown(may_come: bool) -> Answer {
    Answer::negative(if may_come {
        Code::ServFail
    } else {
        Code::NxDomain
    })
}

/// The service's own name and those under it: `inner` stands left of it.
fn below(zone: &DnsZone, question: &Question, service: &ServiceName, inner: &[&str]) -> Answer {
    let entry = zone.entry(service);
    let namespace = &service.namespace;
    let unknown_here = || unknown(zone.may_grow(namespace));
    match inner {
        [] => entry
            .and_then(|entry| own_name(question, entry))
            .unwrap_or_else(unknown_here),
        [.., protocol] if protocol.starts_with('_') => {
            let (Some(protocol), true) = (protocol_of(protocol), inner.len() <= 2) else {
                return Answer::negative(Code::NxDomain);
            };
            let port = match inner {
                [port, _] => port.strip_prefix('_'),
                _ => Some(""),
            };
            entry
                .zip(port)
                .and_then(|(entry, port)| port_name(question, entry, protocol, port))
                .unwrap_or_else(unknown_here)
        }
        [hostname, cluster @ ..] if matches!(cluster.len(), 1 | 2) => {
            let Ok(cluster) = cluster.join(".").parse::<ClusterId>() else {
                return Answer::negative(Code::NxDomain);
            };
            entry
                .and_then(|entry| host_name(question, entry, hostname, &cluster))
                .unwrap_or_else(|| unknown(zone.may_grow_by(namespace, &cluster)))
        }
        // `<clusterid>.<svc>.<ns>.svc` is reserved and must not exist, though names stand below it; one
        // label is also all that any other name here could have.
        _ => Answer::negative(Code::NxDomain),
    }
}

fn protocol_of(label: &str) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .find(|protocol| label.strip_prefix('_') == Some(protocol.label()))
}

/// `None` from here on: there is no such name.
fn own_name(question: &Question, entry: &Entry) -> Option<Answer> {
    Some(match &entry.kind {
        EntryKind::ClusterSetIp(None) => Answer::negative(Code::ServFail),
        // The schema: NXDOMAIN when none is ready.
        EntryKind::Headless(hosts) if hosts.is_empty() => return None,
        EntryKind::ClusterSetIp(Some(vip)) if question.kind != Kind::Srv => {
            addresses(question.kind, [*vip].into_iter())
        }
        EntryKind::Headless(hosts) if question.kind != Kind::Srv => {
            let hosts = window(hosts, HOSTS_PER_ANSWER, question);
            let found = hosts.iter().flat_map(|host| host.addresses.iter().copied());
            addresses(question.kind, found)
        }
        _ => srv(question, entry, |_| true),
    })
}

/// `_port._proto` under a service; with an empty `port` the empty name in between.
fn port_name(question: &Question, entry: &Entry, protocol: Protocol, port: &str) -> Option<Answer> {
    if matches!(&entry.kind, EntryKind::Headless(hosts) if hosts.is_empty()) {
        return None;
    }
    let served = entry.ports.iter().filter(|p| p.protocol == protocol);
    let mut named = served.filter_map(|p| Some((p.name.as_deref()?, p.port)));
    if port.is_empty() {
        return named.next().map(|_| Answer::negative(Code::NoError));
    }
    let (_, number) = named.find(|(name, _)| *name == port)?;
    Some(match (&entry.kind, question.kind) {
        (EntryKind::ClusterSetIp(None), _) => Answer::negative(Code::ServFail),
        (_, Kind::Srv | Kind::Any) => srv(question, entry, |p| *p == (protocol, number)),
        _ => Answer::negative(Code::NoError),
    })
}

fn host_name(
    question: &Question,
    entry: &Entry,
    hostname: &str,
    cluster: &ClusterId,
) -> Option<Answer> {
    let EntryKind::Headless(hosts) = &entry.kind else {
        return None;
    };
    let host = hosts
        .iter()
        .find(|h| h.cluster == *cluster && h.hostname == hostname)?;
    host.name.as_ref()?;
    Some(addresses(question.kind, host.addresses.iter().copied()))
}

fn addresses(kind: Kind, found: impl Iterator<Item = Address> + Clone) -> Answer {
    let family = |v4: bool| found.clone().filter(move |a| a.is_v4() == v4);
    let list: Vec<Address> = match kind {
        Kind::A => family(true).collect(),
        Kind::Aaaa => family(false).collect(),
        Kind::Any if family(true).next().is_some() => family(true).collect(),
        Kind::Any => family(false).collect(),
        _ => Vec::new(),
    };
    Answer::of(list.into_iter().map(Data::Address).collect(), Vec::new())
}

/// SRV records of the ports that `wanted` takes, equal ones once.
fn srv(question: &Question, entry: &Entry, wanted: impl Fn(&(Protocol, u16)) -> bool) -> Answer {
    let mut records = Vec::new();
    let mut additional = Vec::new();
    let mut add = |target: &str, mut ports: Vec<u16>, found: &mut dyn Iterator<Item = Address>| {
        ports.sort_unstable();
        ports.dedup();
        if ports.is_empty() || records.len().saturating_add(ports.len()) > SRV_PER_ANSWER {
            return;
        }
        records.extend(ports.into_iter().map(|port| Data::Srv {
            port,
            target: target.to_owned(),
        }));
        additional.extend(found.map(|address| (target.to_owned(), address)));
    };
    match &entry.kind {
        EntryKind::ClusterSetIp(vip) => {
            let ports = entry.ports.iter().map(|p| (p.protocol, p.port));
            let ports = ports.filter(&wanted).map(|(_, port)| port).collect();
            add(&entry.name, ports, &mut vip.iter().copied());
        }
        EntryKind::Headless(hosts) => {
            for host in window(hosts, SRV_PER_ANSWER, question) {
                let ports = host.targets.iter().filter(|(key, _)| wanted(key));
                let ports = ports.map(|(_, target)| *target).collect();
                if let Some(name) = &host.name {
                    add(name, ports, &mut host.addresses.iter().copied());
                }
            }
        }
    }
    Answer::of(records, additional)
}

/// At most `limit` hosts: which ones depends on the client alone, their order on the turn.
fn window<'a>(hosts: &'a [Host], limit: usize, question: &Question) -> Vec<&'a Host> {
    let place = |n: u64, of: usize| -> usize {
        let of = u64::try_from(of).unwrap_or(u64::MAX).max(1);
        usize::try_from(n % of).unwrap_or(0)
    };
    let start = if hosts.len() > limit {
        place(question.client, hosts.len())
    } else {
        0
    };
    let mut chosen: Vec<&Host> = hosts
        .iter()
        .cycle()
        .skip(start)
        .take(limit.min(hosts.len()))
        .collect();
    let turn = place(question.turn, chosen.len());
    if turn < chosen.len() {
        chosen.rotate_left(turn);
    }
    chosen
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(a) if a.is_v4() => write!(f, "A {a}"),
            Self::Address(a) => write!(f, "AAAA {a}"),
            Self::Srv { port, target } => write!(f, "SRV {port} {target}"),
            Self::Txt(text) => write!(f, "TXT {text:?}"),
            Self::Soa => write!(f, "SOA {ORIGIN}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.code)?;
        for record in &self.records {
            write!(f, "\n  {record}")?;
        }
        for (name, address) in &self.additional {
            write!(f, "\n  with {name} {}", Data::Address(*address))?;
        }
        if self.soa {
            write!(f, " +SOA")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
