use causeway_proto::model::{
    GatewayName, PeerNumber, Revision, ServiceCounts, SessionStatus, ViewRevision,
};
use expect_test::{Expect, expect};

use super::*;

const NOW: Timestamp = Timestamp(1_767_323_045_000);

fn id(text: &str) -> ClusterId {
    text.parse().unwrap()
}

fn session(peer_gateway: &str) -> SessionStatus {
    SessionStatus {
        gateway: peer_gateway.parse().unwrap(),
        transport: Transport::Quic,
        address: "192.0.2.9:7443".into(),
        dialled: true,
        since: Timestamp(NOW.0 - 60_000),
        version: 1,
        clock_skew_ms: 3,
        certificate_expires: None,
        path: None,
    }
}

fn west(liveness: Liveness, age_ms: u64, number: u64) -> PeerStatus {
    PeerStatus {
        number: PeerNumber::OWN,
        our_number_there: None,
        liveness,
        age_ms: Some(age_ms),
        held: Some(Revision { epoch: 7, number }),
        acknowledged: None,
        sessions: vec![session("w1")],
        encryption: Encryption::Plain,
        mappings: vec![causeway_proto::model::Mapping {
            theirs: "10.244.0.0/16".parse().unwrap(),
            ours: "242.0.0.0/16".parse().unwrap(),
        }],
        gateways: vec!["192.0.2.9".parse().unwrap()],
        services: 2,
        certificate_expires: Some(Timestamp(NOW.0 + 3_600_000)),
        last_error: None,
    }
}

fn gateway(name: &str, peer: PeerStatus) -> GatewayStatus {
    GatewayStatus {
        cluster: id("east"),
        cluster_set: "fleet".parse().unwrap(),
        gateway: name.parse::<GatewayName>().unwrap(),
        version: String::new(),
        time: NOW,
        started: NOW,
        leader: None,
        epoch: 1,
        revision: None,
        view: ViewRevision::default(),
        frozen_since: None,
        certificate_expires: None,
        ca_expires: None,
        peers: [(id("west"), peer)].into(),
        nodes: BTreeMap::new(),
        services: ServiceCounts::default(),
        conflicts: BTreeMap::new(),
        conditions: Vec::new(),
        problems: Vec::new(),
        drops: BTreeMap::new(),
        policy_enforced: false,
    }
}

fn connected(status: ConditionStatus, reason: &str) -> Condition {
    Condition {
        object: "ClusterPeer west".into(),
        kind: "Connected".into(),
        status,
        reason: reason.into(),
        message: String::new(),
    }
}

/// An object as the API server shows it.
fn object(mut value: Value) -> Seen {
    value["metadata"]["name"] = json!("west");
    Seen::of(Kind::ClusterPeer, value).unwrap().1
}

struct Case {
    trusted: bool,
    gateways: Vec<GatewayStatus>,
    conditions: Vec<Condition>,
    seen: Option<Seen>,
    joining: Option<Joining>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            trusted: true,
            gateways: vec![
                gateway("e1", west(Liveness::Live, 100, 3)),
                gateway("e2", west(Liveness::Live, 300, 2)),
            ],
            conditions: vec![connected(ConditionStatus::True, "Live")],
            seen: None,
            joining: None,
        }
    }
}

impl Case {
    fn wanted(&self, now: Timestamp) -> Option<Wanted> {
        let west = id("west");
        let trusted = self.trusted.then(|| west.clone()).into_iter().collect();
        let conditions: Vec<&Condition> = self.conditions.iter().collect();
        let known = Known {
            id: &west,
            own: &id("east"),
            trusted: &trusted,
            statuses: &Statuses::of(&self.gateways),
            conditions: &conditions,
            seen: self.seen.as_ref(),
            joining: self.joining.as_ref(),
        };
        wanted(&known, now).map(|(_, wanted)| wanted)
    }

    fn check(&self, expected: Expect) {
        let Some(wanted) = self.wanted(NOW) else {
            expected.assert_eq("none");
            return;
        };
        let mut text = String::new();
        if let Some(body) = &wanted.body {
            text.push_str(&format!("body {body}\n"));
        }
        for (key, value) in wanted.status.as_ref().unwrap().as_object().unwrap() {
            text.push_str(&format!("{key} {value}\n"));
        }
        for c in &wanted.conditions {
            text.push_str(&format!(
                "{}={:?} {}: {}\n",
                c.kind, c.status, c.reason, c.message
            ));
        }
        expected.assert_eq(&text);
    }
}

#[test]
fn connected_by_two_gateways() {
    Case::default().check(expect![[r#"
        body {"metadata":{"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway"}}}
        certificateExpiryTime "2026-01-02T04:04:05Z"
        encryption "Plain"
        gateways ["192.0.2.9"]
        heldRevision "7.3"
        mappings [{"here":"242.0.0.0/16","theirs":"10.244.0.0/16"}]
        observedTime "2026-01-02T03:04:05Z"
        phase "Connected"
        services 2
        sessions [{"address":"192.0.2.9:7443","gateway":"e1","peerGateway":"w1","since":"2026-01-02T03:03:05Z","transport":"QUIC"},{"address":"192.0.2.9:7443","gateway":"e2","peerGateway":"w1","since":"2026-01-02T03:03:05Z","transport":"QUIC"}]
        Joined=True Trusted: The clusters trust each other's certificates.
        Connected=True Live: 
    "#]]);
}

#[test]
fn trusted_before_any_gateway_answers() {
    let case = Case {
        gateways: Vec::new(),
        conditions: Vec::new(),
        ..Case::default()
    };
    case.check(expect![[r#"
        body {"metadata":{"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway"}}}
        phase "Connecting"
        Joined=True Trusted: The clusters trust each other's certificates.
    "#]]);
}

#[test]
fn silent() {
    let case = Case {
        gateways: vec![gateway("e1", west(Liveness::Withdrawn, 15_000, 3))],
        conditions: vec![connected(ConditionStatus::False, "Silent")],
        ..Case::default()
    };
    case.check(expect![[r#"
        body {"metadata":{"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway"}}}
        certificateExpiryTime "2026-01-02T04:04:05Z"
        encryption "Plain"
        gateways ["192.0.2.9"]
        heldRevision "7.3"
        lastHeardTime "2026-01-02T03:03:50Z"
        mappings [{"here":"242.0.0.0/16","theirs":"10.244.0.0/16"}]
        observedTime "2026-01-02T03:04:05Z"
        phase "Silent"
        services 2
        sessions [{"address":"192.0.2.9:7443","gateway":"e1","peerGateway":"w1","since":"2026-01-02T03:03:05Z","transport":"QUIC"}]
        Joined=True Trusted: The clusters trust each other's certificates.
        Connected=False Silent: 
    "#]]);
}

fn with_token(joining: Option<Joining>) -> Case {
    let spec = json!({"joinTokenSecretRef": {"name": "west-token", "key": "token"}});
    Case {
        trusted: false,
        seen: Some(object(json!({"spec": spec}))),
        joining,
        ..Case::default()
    }
}

#[test]
fn joining_and_refused() {
    with_token(None).check(expect![[r#"
        phase "Joining"
        Joined=False Joining: Joining it by the token in Secret west-token.
    "#]]);
    let why = "the token is for cluster north".to_owned();
    with_token(Some(Joining::Refused("WrongCluster", why))).check(expect![[r#"
        phase "Refused"
        Joined=False WrongCluster: the token is for cluster north
    "#]]);
}

#[test]
fn made_by_somebody_without_a_token() {
    let case = Case {
        trusted: false,
        seen: Some(object(json!({"spec": {}}))),
        ..Case::default()
    };
    case.check(expect![[r#"
        phase "Refused"
        Joined=False NotTrusted: There is no trust: run `causeway token create` in that cluster, put the token into a Secret and name it in spec.joinTokenSecretRef, or run `causeway join`.
    "#]]);
}

#[test]
fn cut_off() {
    let revoked = || Some(object(json!({"spec": {"revoked": true}})));
    Case {
        seen: revoked(),
        ..Case::default()
    }
    .check(expect![[r#"
        certificateExpiryTime "2026-01-02T04:04:05Z"
        encryption "Plain"
        gateways ["192.0.2.9"]
        heldRevision "7.3"
        mappings [{"here":"242.0.0.0/16","theirs":"10.244.0.0/16"}]
        observedTime "2026-01-02T03:04:05Z"
        phase "Connected"
        services 2
        sessions [{"address":"192.0.2.9:7443","gateway":"e1","peerGateway":"w1","since":"2026-01-02T03:03:05Z","transport":"QUIC"},{"address":"192.0.2.9:7443","gateway":"e2","peerGateway":"w1","since":"2026-01-02T03:03:05Z","transport":"QUIC"}]
        Joined=True Revoking: spec.revoked is true; the leader gateway has not cut it off yet.
        Connected=True Live: 
    "#]]);
    Case {
        trusted: false,
        seen: revoked(),
        ..Case::default()
    }
    .check(expect![[r#"
        phase "Revoked"
        Joined=False Revoked: It is cut off, as spec.revoked says.
    "#]]);
}

#[test]
fn ours_of_a_cluster_that_left() {
    let labels = json!({"labels": {"causeway.dev/managed-by": "causeway"}});
    let seen = object(json!({"metadata": labels, "spec": {}}));
    Case {
        trusted: false,
        seen: Some(seen),
        ..Case::default()
    }
    .check(expect![["none"]]);
}

/// Writes what is wanted into an object.
fn written(wanted: &Wanted) -> Seen {
    object(json!({"spec": {}, "status": wanted.status}))
}

#[test]
fn counts_are_written_once_a_minute() {
    let mut case = Case::default();
    let first = case.wanted(NOW).unwrap();
    case.seen = Some(written(&first));
    case.gateways = vec![
        gateway("e1", west(Liveness::Live, 100, 9)),
        gateway("e2", west(Liveness::Live, 300, 2)),
    ];
    let soon = Timestamp(NOW.0 + 59_000);
    assert_eq!(case.wanted(soon).unwrap().status, first.status);
    let later = Timestamp(NOW.0 + 60_000);
    let status = case.wanted(later).unwrap().status.unwrap();
    assert_eq!(
        (&status["heldRevision"], &status["observedTime"]),
        (&json!("7.9"), &json!("2026-01-02T03:05:05Z"))
    );
    // And not at all while they stay.
    case.seen = Some(object(json!({"status": status})));
    let much_later = Timestamp(NOW.0 + 600_000);
    assert_eq!(case.wanted(much_later).unwrap().status, Some(status));
}

#[test]
fn what_gateways_said_stays_while_none_answers() {
    let mut case = Case::default();
    let first = case.wanted(NOW).unwrap();
    case.seen = Some(written(&first));
    case.gateways.clear();
    assert_eq!(case.wanted(NOW).unwrap().status, first.status);
}

#[test]
fn when_a_silent_peer_was_heard_does_not_waver() {
    let silent = |age| vec![gateway("e1", west(Liveness::Withdrawn, age, 3))];
    let mut case = Case {
        gateways: silent(15_000),
        ..Case::default()
    };
    let first = case.wanted(NOW).unwrap();
    case.seen = Some(written(&first));
    case.gateways = silent(16_400);
    assert_eq!(case.wanted(NOW).unwrap().status, first.status);
    case.gateways = silent(1_000);
    assert_ne!(case.wanted(NOW).unwrap().status, first.status);
}
