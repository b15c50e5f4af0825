//! Pure: peers.

use std::collections::BTreeMap;

use causeway_proto::model::{
    ClusterId, Encryption, Liveness, Mapping, PeerStatus, SessionStatus, Timestamp, Transport,
};
use serde::Serialize;

use super::Show;
use crate::text::{ago, appears, joined, number, or_dash, skew, table, when};

/// All peers.
#[derive(Debug, Serialize)]
pub struct PeersForm {
    /// By name.
    pub peers: Vec<PeerForm>,
}

/// One peer.
#[derive(Debug, Serialize)]
pub struct PeerForm {
    cluster: String,
    number: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    our_number_there: Option<u16>,
    liveness: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<String>,
    encryption: &'static str,
    packets: &'static str,
    services: u32,
    mappings: Vec<MappingForm>,
    gateways: Vec<String>,
    sessions: Vec<SessionForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<ErrorForm>,
}

/// A prefix and how it appears here.
#[derive(Debug, Serialize)]
pub struct MappingForm {
    theirs: String,
    ours: String,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
struct SessionForm {
    gateway: String,
    transport: &'static str,
    address: String,
    dialled_by_us: bool,
    since: String,
    version: u16,
    clock_skew_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathForm>,
}

/// The way to a gateway, as the session's connection has found it.
#[derive(Debug, Serialize)]
struct PathForm {
    rtt_us: u64,
    sent: u64,
    lost: u64,
    mtu: u16,
    link_mtu: u16,
    connections: u16,
}

#[derive(Debug, Serialize)]
struct ErrorForm {
    time: String,
    message: String,
}

/// Its word in the forms.
pub fn liveness(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Live => "live",
        Liveness::Suspect => "suspect",
        Liveness::Withdrawn => "withdrawn",
    }
}

fn encryption(encryption: Encryption) -> (&'static str, &'static str) {
    match encryption {
        Encryption::Plain => ("plain", "plain, packets not authenticated"),
        Encryption::Encrypted => ("encrypted", "encrypted and authenticated"),
        Encryption::Unavailable => (
            "unavailable",
            "none pass: they must be encrypted, and the peer cannot",
        ),
    }
}

impl MappingForm {
    /// Of one mapping.
    pub fn of(mapping: &Mapping) -> Self {
        Self {
            theirs: mapping.theirs.to_string(),
            ours: mapping.ours.to_string(),
            text: appears(mapping.theirs, mapping.ours),
        }
    }

    /// For a person.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl SessionForm {
    fn of(s: &SessionStatus) -> Self {
        Self {
            gateway: s.gateway.to_string(),
            transport: match s.transport {
                Transport::Quic => "quic",
                Transport::Tcp => "tcp",
            },
            address: s.address.clone(),
            dialled_by_us: s.dialled,
            since: when(s.since),
            version: s.version,
            clock_skew_ms: s.clock_skew_ms,
            certificate_expires: s.certificate_expires.map(when),
            path: s.path.map(|path| PathForm {
                rtt_us: path.rtt_us,
                sent: path.sent,
                lost: path.lost,
                mtu: path.mtu,
                link_mtu: path.link_mtu,
                connections: path.connections,
            }),
        }
    }

    /// After its peer.
    fn row(&self, peer: &str) -> Vec<String> {
        let path = |text: fn(&PathForm) -> String| or_dash(self.path.as_ref().map(text).as_ref());
        vec![
            peer.to_owned(),
            self.gateway.clone(),
            self.transport.to_owned(),
            self.address.clone(),
            path(|path| format!("{:.1} ms", path.rtt_us as f64 / 1_000.0)),
            path(|path| {
                let share = 100.0 * path.lost as f64 / path.sent.max(1) as f64;
                format!("{share:.1} %")
            }),
            path(|path| match path.mtu < path.link_mtu {
                true => format!("{} of {}", path.mtu, path.link_mtu),
                false => path.mtu.to_string(),
            }),
            self.since.clone(),
            or_dash(self.certificate_expires.as_ref()),
        ]
    }

    fn text(&self) -> String {
        // A clock that is off by more than this makes certificates and leases look wrong.
        let skewed = self.clock_skew_ms.unsigned_abs() > 2_000;
        let clock = if skewed {
            format!(" (clock {})", skew(self.clock_skew_ms))
        } else {
            String::new()
        };
        format!("{} {}{clock}", self.gateway, self.transport)
    }
}

impl PeerForm {
    /// Of one peer.
    pub fn of(cluster: &ClusterId, p: &PeerStatus) -> Self {
        let (encryption, packets) = encryption(p.encryption);
        let error = |(time, message): &(Timestamp, String)| ErrorForm {
            time: when(*time),
            message: message.clone(),
        };
        Self {
            cluster: cluster.to_string(),
            number: p.number.number(),
            our_number_there: number(p.our_number_there),
            liveness: liveness(p.liveness),
            age_ms: p.age_ms,
            held: p.held.map(|r| r.to_string()),
            acknowledged: p.acknowledged.map(|r| r.to_string()),
            encryption,
            packets,
            services: p.services,
            mappings: p.mappings.iter().map(MappingForm::of).collect(),
            gateways: p.gateways.iter().map(ToString::to_string).collect(),
            sessions: p.sessions.iter().map(SessionForm::of).collect(),
            certificate_expires: p.certificate_expires.map(when),
            last_error: p.last_error.as_ref().map(error),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.cluster.clone(),
            self.liveness.to_owned(),
            ago(self.age_ms),
            or_dash(self.held.as_ref()),
            or_dash(self.acknowledged.as_ref()),
            joined(self.sessions.iter().map(SessionForm::text), ", "),
            self.services.to_string(),
            joined(self.mappings.iter().map(MappingForm::text), ", "),
            self.packets.to_owned(),
        ]
    }
}

/// A table, and under it what went wrong last.
pub fn peers_text(peers: &[PeerForm]) -> String {
    let head = [
        "PEER",
        "LIVENESS",
        "HEARD",
        "HELD",
        "ACKNOWLEDGED",
        "SESSIONS",
        "SERVICES",
        "APPEARS HERE",
        "PACKETS",
    ];
    let mut out = table(&head, peers.iter().map(PeerForm::row).collect());
    for peer in peers {
        if let Some(error) = &peer.last_error {
            out.push_str(&format!(
                "{}: last error at {}: {}\n",
                peer.cluster, error.time, error.message
            ));
        }
    }
    out
}

/// A table of all sessions, with what each has found of its path.
fn sessions_text(peers: &[PeerForm]) -> String {
    let head = [
        "PEER",
        "GATEWAY",
        "BY",
        "ADDRESS",
        "ROUND TRIP",
        "LOST",
        "MTU",
        "SINCE",
        "CERTIFICATE ENDS",
    ];
    let sessions = |peer: &PeerForm| -> Vec<Vec<String>> {
        let each = peer.sessions.iter();
        each.map(|session| session.row(&peer.cluster)).collect()
    };
    let rows: Vec<_> = peers.iter().flat_map(sessions).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}", table(&head, rows))
}

impl PeersForm {
    /// Of all peers.
    pub fn of(peers: &BTreeMap<ClusterId, PeerStatus>) -> Self {
        Self {
            peers: peers.iter().map(|(id, p)| PeerForm::of(id, p)).collect(),
        }
    }
}

impl Show for PeersForm {
    fn text(&self) -> String {
        if self.peers.is_empty() {
            return "no peers; `causeway token create` here and `causeway join TOKEN` in another cluster pair the two\n"
                .to_owned();
        }
        peers_text(&self.peers) + &sessions_text(&self.peers)
    }
}
