use proptest::prelude::*;

use super::*;

fn token() -> JoinToken {
    JoinToken {
        gateways: vec![
            "192.0.2.1:7443".to_owned(),
            "gw.east.example:7443".to_owned(),
        ],
        cluster_set: "prod".parse().unwrap(),
        issuer: "east".parse().unwrap(),
        pin: Digest([7; 32]),
        secret: Secret::new([0xab; 32]),
        expires: Timestamp(1_000_000),
        for_cluster: Some("west".parse().unwrap()),
    }
}

#[track_caller]
fn check(text: &str, own: &str, set: &str, now: u64, expect: &str) {
    let result = JoinToken::decode(text).and_then(|token| {
        token.verify(&own.parse().unwrap(), &set.parse().unwrap(), Timestamp(now))
    });
    let got = result.map_or_else(|e| e.to_string(), |()| "ok".to_owned());
    assert_eq!(got, expect);
}

#[test]
fn what_the_user_is_told() {
    let text = token().encode();
    let damaged = "the join token is damaged, perhaps cut off or altered when it was copied; copy it whole, on one line";
    let not_one = "this is not a join token: those begin with cwj1_ and are printed by `causeway token create`";
    check(&text, "west", "prod", 999_999, "ok");
    check(&format!(" {}\n", &*text), "west", "prod", 0, "ok");
    check(
        &text,
        "west",
        "prod",
        1_060_000,
        "the join token expired 60 s ago by this cluster's clock; create another on east with `causeway token create`",
    );
    check(
        &text,
        "west",
        "test",
        0,
        "the join token is for clusterset prod, and this cluster is configured for test",
    );
    check(
        &text,
        "north",
        "prod",
        0,
        "the join token is for cluster west, and this is north",
    );
    check(
        &text,
        "east",
        "prod",
        0,
        "the join token was issued by east, which is this cluster's own id; a cluster joins another one, and ids are unique in a clusterset",
    );
    check(&text[..text.len() - 1], "west", "prod", 0, damaged);
    check(&text.replace("cwj1_", "cwj1_ "), "west", "prod", 0, damaged);
    check("cwj1_", "west", "prod", 0, damaged);
    check(
        &text.replace("cwj1_", "cwj2_"),
        "west",
        "prod",
        0,
        "this join token is of a newer format; upgrade this cluster to the version that printed it",
    );
    check("", "west", "prod", 0, not_one);
    check(&text[1..], "west", "prod", 0, not_one);
    check("eyJhbGciOiJIUzI1NiJ9.e30.x", "west", "prod", 0, not_one);
    check(
        &format!("cwj1_{}", "A".repeat(10_000)),
        "west",
        "prod",
        0,
        damaged,
    );
}

#[test]
fn one_word_of_printable_text() {
    let text = token().encode();
    assert!(text.len() < 260, "{}", text.len());
    assert!(
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    );
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?} {:?}", token(), token().secret);
    assert!(shown.contains("[secret]"), "{shown}");
    assert!(!shown.contains("171") && !shown.contains("abab"), "{shown}");
}

#[test]
fn a_name_that_is_not_valid_is_not_taken() {
    // By a writer that gets the checksum right.
    let good = URL_SAFE_NO_PAD
        .decode(token().encode().strip_prefix(PREFIX).unwrap())
        .unwrap();
    let mut bytes = good[..good.len() - CHECKSUM].to_vec();
    let at = bytes.windows(4).position(|w| w == b"east").unwrap();
    // The first occurrence is a part of a gateway's name, the second the issuer.
    let at = at
        + 4
        + bytes[at + 4..]
            .windows(4)
            .position(|w| w == b"east")
            .unwrap();
    bytes[at] = b'E';
    bytes.extend(&fingerprint(&bytes).0[..CHECKSUM]);
    let e = JoinToken::decode(&format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))).unwrap_err();
    assert!(e.to_string().contains("\"East\""), "{e}");
}

#[test]
fn the_issuer_keeps_no_secret() {
    let token = token();
    let issued = token.issued();
    assert_ne!(&issued.key, token.secret.expose());
    assert_ne!(&id(&token.secret).0, token.secret.expose());
    assert_ne!(id(&token.secret).0, issued.key);
}

#[test]
fn a_proof_holds_for_its_connection_side_and_bundles_only() {
    let key = proof_key(&Secret::new([1; 32]));
    let (a, b) = (Digest([2; 32]), Digest([3; 32]));
    let good = proof(&key, Side::Joiner, b"connection", a, b);
    let holds = |key: &Secret, side, exporter: &[u8], a, b, given: &[u8]| {
        proof_holds(key, side, exporter, a, b, given)
    };
    assert!(holds(&key, Side::Joiner, b"connection", a, b, &good));
    let other = proof_key(&Secret::new([4; 32]));
    assert!(!holds(&other, Side::Joiner, b"connection", a, b, &good));
    assert!(!holds(&key, Side::Issuer, b"connection", a, b, &good));
    assert!(!holds(&key, Side::Joiner, b"another", a, b, &good));
    assert!(!holds(&key, Side::Joiner, b"connection", b, a, &good));
    assert!(!holds(&key, Side::Joiner, b"connection", a, a, &good));
    assert!(!holds(&key, Side::Joiner, b"connection", a, b, &good[..31]));
    assert!(!holds(&key, Side::Joiner, b"connection", a, b, &[]));
}

fn any_token() -> impl Strategy<Value = JoinToken> {
    (
        prop::collection::vec("[a-z]{1,20}(\\.[a-z]{1,20})?:[1-9][0-9]{0,3}", 0..=8),
        "[a-z]{1,20}(\\.[a-z]{1,20})?",
        "[a-z]{1,20}(\\.[a-z]{1,20})?",
        prop::option::of("[a-z]{1,20}"),
        any::<([u8; 32], [u8; 32], u64)>(),
    )
        .prop_map(
            |(gateways, set, issuer, for_cluster, (pin, secret, expires))| JoinToken {
                gateways,
                cluster_set: set.parse().unwrap(),
                issuer: issuer.parse().unwrap(),
                pin: Digest(pin),
                secret: Secret::new(secret),
                expires: Timestamp(expires),
                for_cluster: for_cluster.map(|c| c.parse().unwrap()),
            },
        )
}

proptest! {
    #[test]
    fn encode_and_decode(token in any_token()) {
        prop_assert_eq!(JoinToken::decode(&token.encode()).unwrap(), token);
    }

    #[test]
    fn any_change_is_found(token in any_token(), at: prop::sample::Index, with in "[A-Za-z0-9_-]") {
        let text = token.encode();
        let at = PREFIX.len() + at.index(text.len() - PREFIX.len());
        let mut altered = text.to_string();
        altered.replace_range(at..=at, &with);
        prop_assume!(altered != *text);
        prop_assert_eq!(JoinToken::decode(&altered).unwrap_err(), TokenError::Damaged);
    }

    #[test]
    fn never_panics(text in "\\PC{0,200}") {
        let _ = JoinToken::decode(&text);
        let _ = JoinToken::decode(&format!("cwj1_{text}"));
    }
}
