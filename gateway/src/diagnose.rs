//! Pure: what this gateway knows of its ways to peers, as checks that say what to do. In: View, facts, what its probes have
//! found. Out: one check for each thing that was looked at.

use std::time::Duration;

use causeway_certs::grant::{BACKDATE_MS, LEAF_MS};
use causeway_proto::model::{
    Check, CheckKind, ClusterId, ConditionStatus, Encryption, GatewayName, Liveness, Outcome,
    Report, SessionStatus, Timestamp, Transport, View,
};

use crate::status::{Facts, PeerFacts, conditions};

/// Clocks this far apart are told of: times in logs and status begin to mislead.
const CLOCK_MS: u64 = 2_000;
/// An agent reports every second.
const REPORT_MS: u64 = 10_000;
/// Subject of the check that an agent is there.
const REPORT: &str = "report";
/// What is left of a leaf that was not renewed in time.
const LEAF_EARLY_MS: u64 = LEAF_MS / 4;

/// One address of a peer, and what dialling it brought: how long the answer took, or why there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// `HOST:PORT`.
    pub address: String,
    /// Whose it is, where its catalog says so.
    pub gateway: Option<GatewayName>,
    /// By QUIC.
    pub udp: Result<Duration, String>,
    /// By TCP and TLS.
    pub tcp: Result<Duration, String>,
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

/// How one peer is reached from here, in both directions.
#[must_use]
pub fn peer(
    id: &ClusterId,
    view: &View,
    facts: &PeerFacts,
    reached: &[Reached],
    now: Timestamp,
) -> Vec<Check> {
    let mut checks = vec![stands(id, view, facts, now)];
    for at in reached {
        let session = at.gateway.as_ref().and_then(|name| {
            let mut sessions = facts.sessions.iter();
            sessions.find(|session| session.gateway == *name)
        });
        let who = match &at.gateway {
            Some(name) => format!("{id}/{name} at {}", at.address),
            None => format!("{id} at {}", at.address),
        };
        checks.extend(dialled(&who, at, session.is_some()));
    }
    for session in &facts.sessions {
        checks.extend(of_session(id, session, now));
    }
    checks
}

/// The peer as a whole.
fn stands(id: &ClusterId, view: &View, facts: &PeerFacts, now: Timestamp) -> Check {
    let heard = facts.heard.map(|heard| now.since(heard));
    let check = |message: String| Check::passed(CheckKind::Session, id.to_string(), message);
    let error = facts.last_error.as_ref();
    let error = error.map_or(String::new(), |(_, why)| format!("; last error: {why}"));
    let Some(peer) = view.peers.get(id) else {
        return check(format!("its catalog is not held yet{error}")).but(
            Outcome::Failed,
            "the checks below say which way to it is closed",
        );
    };
    match (peer.encryption, peer.liveness) {
        (Encryption::Unavailable, _) => {
            check("packets must be encrypted, and it cannot take them so".to_owned()).but(
                Outcome::Failed,
                "upgrade it, or set `encryption: off` in both clusters",
            )
        }
        (_, Liveness::Live) if facts.sessions.is_empty() => check(format!(
            "no session with this gateway{error}"
        ))
        .but(
            Outcome::Warned,
            "another gateway of this cluster has one; the checks below say why this one has not",
        ),
        (_, Liveness::Live) => {
            let heard = heard.map_or(String::new(), |ms| format!(", heard {ms} ms ago"));
            check(format!("live{heard}"))
        }
        (_, other) => check(format!("{other:?}{error}").to_lowercase()).but(
            Outcome::Failed,
            "nothing is heard of it: are its gateways up, and is any way below open?",
        ),
    }
}

fn dialled(who: &str, at: &Reached, has_session: bool) -> [Check; 2] {
    let address = &at.address;
    let check = |kind, done: &Result<Duration, String>| match done {
        Ok(time) => Check::passed(kind, who, format!("answers in {}", ms(*time))),
        Err(why) => Check::passed(kind, who, why.clone()),
    };
    let udp = check(CheckKind::Udp, &at.udp);
    let tcp = check(CheckKind::Tcp, &at.tcp);
    match (at.udp.is_ok(), at.tcp.is_ok()) {
        (true, true) => [udp, tcp],
        (false, true) => [
            udp.but(
                Outcome::Warned,
                format!("let UDP through to {address}; packets go by TCP meanwhile, slower"),
            ),
            tcp,
        ],
        (true, false) => [
            udp,
            tcp.but(
                Outcome::Warned,
                format!("let TCP through to {address}: sessions could go on by it where UDP fails"),
            ),
        ],
        // It has dialled us.
        (false, false) if has_session => {
            let advice = "nothing, if it is behind a translator of addresses: the session that it has opened serves both ways";
            [udp, tcp].map(|check| check.but(Outcome::Warned, advice))
        }
        (false, false) => {
            let advice = format!(
                "is that gateway up, and is {address} where it is reached from here (`advertise.session`, chart value gateway.nodes)? Let UDP or TCP through to it"
            );
            [udp, tcp].map(|check| check.but(Outcome::Failed, advice.clone()))
        }
    }
}

fn of_session(id: &ClusterId, session: &SessionStatus, now: Timestamp) -> Vec<Check> {
    let who = format!("{id}/{} at {}", session.gateway, session.address);
    let by = match session.transport {
        Transport::Quic => "QUIC",
        Transport::Tcp => "TCP",
    };
    let seen = session.path.as_ref().map(|path| {
        let rtt = ms(Duration::from_micros(path.rtt_us));
        let (lost, sent) = (path.lost, path.sent);
        format!(", round trip {rtt}, {lost} of {sent} packets lost")
    });
    let seen = format!("by {by}{}", seen.unwrap_or_default());
    let up = Check::passed(CheckKind::Session, who.clone(), seen);
    let up = match session.transport {
        Transport::Quic => up,
        Transport::Tcp => up.but(
            Outcome::Warned,
            "let UDP through to it: QUIC is tried again within 20 s",
        ),
    };
    let mtu = session.path.as_ref().map(|path| {
        let seen = format!("packets of up to {} bytes", path.mtu);
        let mtu = Check::passed(CheckKind::Mtu, who.clone(), seen);
        if path.mtu >= path.link_mtu || session.transport == Transport::Tcp {
            return mtu;
        }
        let advice = format!(
            "something on the way takes less than the {} bytes of the first link, or drops large packets: TCP is cut to fit, so all works, slower",
            path.link_mtu
        );
        mtu.but(Outcome::Warned, advice)
    });
    let rest = [clock(&who, session), leaf(who, session, now)];
    std::iter::once(up).chain(mtu).chain(rest).collect()
}

fn clock(who: &str, session: &SessionStatus) -> Check {
    let skew = session.clock_skew_ms;
    let ahead = if skew < 0 { "behind" } else { "ahead" };
    let apart = skew.unsigned_abs();
    let seen = format!(
        "its clock is {:.1} s {ahead}",
        Duration::from_millis(apart).as_secs_f64()
    );
    let check = Check::passed(CheckKind::Clock, who, seen);
    let advice = "let both clusters' nodes take their time from NTP";
    match apart {
        BACKDATE_MS.. => check.but(
            Outcome::Failed,
            format!("{advice}: beyond five minutes new certificates are refused"),
        ),
        CLOCK_MS.. => check.but(Outcome::Warned, advice),
        _ => check,
    }
}

fn leaf(who: String, session: &SessionStatus, now: Timestamp) -> Check {
    let left = session
        .certificate_expires
        .map_or(0, |ends| ends.since(now));
    let seen = format!("its certificate holds for {} more minutes", left / 60_000);
    let check = Check::passed(CheckKind::Certificate, who, seen);
    match left {
        LEAF_EARLY_MS.. => check,
        _ => check.but(
            Outcome::Warned,
            "it was not renewed in time: see that gateway's log, and whether it reaches its leader",
        ),
    }
}

/// What is known of this cluster by itself: certificates, and what agents say. `only`: of their ways to peers those to this one.
#[must_use]
pub fn own(
    gateway: &GatewayName,
    view: &View,
    facts: &Facts,
    only: Option<&ClusterId>,
    now: Timestamp,
) -> Vec<Check> {
    let certificates = conditions(gateway, facts, now)
        .into_iter()
        .map(|condition| {
            let check = Check::passed(CheckKind::Certificate, condition.kind, condition.reason);
            match condition.status {
                ConditionStatus::True => check,
                _ => check.but(Outcome::Failed, condition.message),
            }
        });
    let mut checks: Vec<_> = certificates.collect();
    for report in facts.reports.values() {
        checks.extend(node(report, view, only, now));
    }
    checks
}

/// A peer's words, as they may stand on a terminal.
#[must_use]
pub fn printable(check: Check) -> Check {
    let clean = |text: String| text.replace(char::is_control, "?");
    Check {
        place: clean(check.place),
        subject: clean(check.subject),
        message: clean(check.message),
        advice: clean(check.advice),
        ..check
    }
}

/// Whether it says nothing of other peers, nor of this cluster's services.
#[must_use]
pub fn is_for_peers(check: &Check) -> bool {
    check.kind != CheckKind::Agent || check.subject == REPORT
}

fn node(report: &Report, view: &View, only: Option<&ClusterId>, now: Timestamp) -> Vec<Check> {
    let place = format!("node {}", report.node);
    let age = now.since(report.time);
    let alive = Check::passed(
        CheckKind::Agent,
        REPORT,
        format!("{:.1} s ago", Duration::from_millis(age).as_secs_f64()),
    );
    let alive = match age {
        REPORT_MS.. => alive.but(
            Outcome::Failed,
            "is the agent there up? What it has programmed goes on, and takes up no change",
        ),
        _ => alive,
    };
    let problems = report.problems.iter().map(|problem| {
        let subject = format!("{:?} {}", problem.kind, problem.subject);
        Check::passed(CheckKind::Agent, subject, "reported").but(Outcome::Failed, &problem.message)
    });
    let of_another = |check: &&Check| {
        let cluster = check.subject.split_once('/').map(|(cluster, _)| cluster);
        let peer = cluster.and_then(|cluster| view.peers.keys().find(|id| id.as_str() == cluster));
        only.is_none() || peer.is_none() || peer == only
    };
    let ways = report.checks.iter().filter(of_another).cloned();
    let all = std::iter::once(alive).chain(problems).chain(ways);
    all.map(|check| check.at(place.clone())).collect()
}

#[cfg(test)]
mod tests;
