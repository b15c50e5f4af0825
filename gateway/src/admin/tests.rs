use causeway_certs::Secret;
use causeway_proto::model::{Digest, TrustBundle};

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn token(for_cluster: Option<&str>, secret: u8) -> JoinToken {
    JoinToken {
        gateways: Vec::new(),
        cluster_set: "prod".parse().unwrap(),
        issuer: "east".parse().unwrap(),
        pin: Digest::default(),
        secret: Secret::new([secret; 32]),
        expires: NOW,
        for_cluster: for_cluster.map(|c| c.parse().unwrap()),
    }
}

#[test]
fn lives() {
    let ask = |secs| expiry(secs, ENROLMENT_MS, NOW).map(|at| at.since(NOW) / 1000);
    assert_eq!(ask(None), Ok(900));
    assert_eq!(ask(Some(60)), Ok(60));
    assert_eq!(ask(Some(86_400)), Ok(86_400));
    assert_eq!(
        ask(Some(86_401)).unwrap_err().to_string(),
        "86401 s is too long: at most a day, since whoever holds it may use it"
    );
    assert!(ask(Some(u64::MAX)).is_err());
}

#[test]
fn tokens() {
    let trust = TrustState::default();
    let next = open_token(&trust, &token(Some("west"), 1), NOW).unwrap();
    let kept = next.tokens.values().next().unwrap();
    assert_eq!(kept.for_cluster, Some("west".parse().unwrap()));
    assert_ne!(kept.key, [1; 32], "the secret is not kept");
    assert_eq!(
        open_token(&trust, &token(Some("east"), 1), NOW)
            .unwrap_err()
            .to_string(),
        "east is this cluster itself"
    );
    let mut full = trust;
    for n in 0..TOKENS {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        full.tokens.insert(Digest(id), token(None, 2).issued());
    }
    assert_eq!(
        open_token(&full, &token(None, 1), NOW)
            .unwrap_err()
            .to_string(),
        "1000 join tokens are open, which is the most; wait for some to expire"
    );
}

#[test]
fn roles() {
    let says = |kind, name| role(kind, name).map_or_else(|e| e.to_string(), |r| r.to_string());
    assert_eq!(says(EnrolRole::Agent, "w1"), "agent/w1");
    assert_eq!(says(EnrolRole::Gateway, "w2"), "gateway/w2");
    assert_eq!(says(EnrolRole::Controller, "main"), "controller/main");
    assert_eq!(says(EnrolRole::Operator, "ann"), "operator/ann");
    assert_eq!(
        says(EnrolRole::Agent, "../w1"),
        "node name \"../w1\" is not valid: an RFC 1123 subdomain"
    );
}

#[test]
fn cutting_off() {
    let (east, west): (ClusterId, ClusterId) = ("east".parse().unwrap(), "west".parse().unwrap());
    let mut trust = TrustState::default();
    assert_eq!(
        revoke(&trust, &east, &west, NOW).unwrap_err().to_string(),
        "west is not a peer of east; `causeway peers` lists them"
    );
    assert!(revoke(&trust, &east, &east, NOW).is_err());
    let bundle = TrustBundle {
        cluster: west.clone(),
        authorities: vec![vec![1]],
        catalog_key: Vec::new(),
        gateways: Vec::new(),
        succession: None,
    };
    let ca = authority_digest(&bundle).unwrap();
    trust.bundles.insert(west.clone(), bundle);
    let next = revoke(&trust, &east, &west, NOW).unwrap();
    assert!(next.bundles.is_empty());
    assert_eq!(next.revocations[&west], Revocation { ca, time: NOW });
    assert_eq!(next.version, trust.version + 1);
}
