//! What changes something.

use expect_test::expect;

use crate::fake::Gateway;
use crate::{causeway, check, told};

#[test]
fn token_create() {
    check(
        &["token", "create"],
        expect![[r#"
        causeway1.for-any
        --- stderr
        causeway: good until 2026-09-21T14:28:20Z, once: run `causeway join TOKEN` in the other cluster
    "#]],
    );
}

#[test]
fn token_create_for_one_cluster() {
    check(
        &[
            "token",
            "create",
            "--ttl",
            "1h",
            "--for-cluster",
            "east",
            "-o",
            "json",
        ],
        expect![[r#"
            {
              "token": "causeway1.for-east",
              "expires": "2026-09-21T15:13:20Z"
            }
        "#]],
    );
}

#[test]
fn join() {
    check(
        &["join", "good"],
        expect![[r#"
        peer          east in clusterset demo
        protocol      versions 1 to 1
        its clock     +3000 ms against ours
        appears here  10.244.0.0/16 as 242.1.0.0/16
        offers        shop/cart, shop/db
        note     prefixes    both clusters use 10.244.0.0/16; mappings keep them apart
        warning  encryption  both sides say off: packets are plain and not authenticated
        joined east
    "#]],
    );
}

#[test]
fn join_dry_run() {
    check(
        &["join", "good", "--dry-run"],
        expect![[r#"
        peer          east in clusterset demo
        protocol      versions 1 to 1
        its clock     +3000 ms against ours
        appears here  10.244.0.0/16 as 242.1.0.0/16
        offers        shop/cart, shop/db
        note     prefixes    both clusters use 10.244.0.0/16; mappings keep them apart
        warning  encryption  both sides say off: packets are plain and not authenticated
        dry run: nothing was changed, the token is whole
    "#]],
    );
}

#[test]
fn join_dry_run_in_json() {
    check(
        &["join", "good", "--dry-run", "-o", "json"],
        expect![[r#"
        {
          "joined": false,
          "dry_run": true,
          "peer": {
            "cluster": "east",
            "clusterset": "demo",
            "version_min": 1,
            "version_max": 1,
            "prefixes": [
              "10.244.0.0/16"
            ],
            "vips": [
              "241.0.0.0/16"
            ],
            "plain_allowed": true,
            "services": [
              "shop/cart",
              "shop/db"
            ]
          },
          "clock_skew_ms": 3000,
          "mappings": [
            {
              "theirs": "10.244.0.0/16",
              "ours": "242.1.0.0/16"
            }
          ],
          "findings": [
            {
              "severity": "note",
              "subject": "prefixes",
              "message": "both clusters use 10.244.0.0/16; mappings keep them apart"
            },
            {
              "severity": "warning",
              "subject": "encryption",
              "message": "both sides say off: packets are plain and not authenticated"
            }
          ]
        }
    "#]],
    );
}

#[test]
fn a_join_that_is_refused() {
    check(
        &["join", "clash"],
        expect![[r#"
        peer          east in clusterset demo
        protocol      versions 1 to 1
        its clock     +3000 ms against ours
        appears here  10.244.0.0/16 as 242.1.0.0/16
        offers        shop/cart, shop/db
        note     prefixes    both clusters use 10.244.0.0/16; mappings keep them apart
        warning  encryption  both sides say off: packets are plain and not authenticated
        refusal  cluster     both clusters are called east
        not joined with east: refused, see above; the token is whole
        --- stderr
        causeway: east was not joined
          check: the findings say why
        --- exit 1
    "#]],
    );
}

#[test]
fn a_token_that_is_used() {
    check(
        &["join", "used"],
        expect![[r#"
        --- stderr
        causeway: this token has been used: make a new one
        --- exit 1
    "#]],
    );
}

#[test]
fn enroll() {
    check(
        &["enroll", "agent/w1"],
        expect![[r#"
        {"for": "agent/w1 900 s"}
        --- stderr
        causeway: good until 2026-09-21T14:28:20Z, once, for agent/w1: keep it readable by that process alone
    "#]],
    );
}

#[test]
fn enroll_in_two_words_and_json() {
    check(
        &["enroll", "agent", "w1", "-o", "json"],
        expect![[r#"
        {
          "role": "agent",
          "name": "w1",
          "expires": "2026-09-21T14:28:20Z",
          "file": "{\"for\": \"agent/w1 900 s\"}"
        }
    "#]],
    );
}

#[test]
fn enroll_without_a_name() {
    check(
        &["enroll", "agent"],
        expect![[r#"
        --- stderr
        causeway: which agent? write agent/NAME
        --- exit 2
    "#]],
    );
}

#[test]
fn enroll_into_a_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let gateway = Gateway::start();
    let path = gateway.dir().join("w1.enroll");
    let output = causeway(
        &gateway.socket(),
        &["enroll", "agent/w1", "--out", path.to_str().unwrap()],
    );
    expect![[r#"
        wrote DIR/w1.enroll
        --- stderr
        causeway: good until 2026-09-21T14:28:20Z, once, for agent/w1: keep it readable by that process alone
    "#]].assert_eq(&told(&output, gateway.dir()));
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "{\"for\": \"agent/w1 900 s\"}"
    );
}

#[test]
fn leave() {
    check(
        &["leave"],
        expect![[r#"
        left the clusterset
        east was told
        north was not reached: it drops our share when the lease ends
    "#]],
    );
}

#[test]
fn revoke() {
    check(
        &["revoke", "north"],
        expect![[r#"
        north is cut off for good
    "#]],
    );
}

#[test]
fn rotate() {
    check(
        &["ca", "rotate"],
        expect![[r#"
        the CA is abababababababababababababababababababababababababababababababab
        certificates of the one before it are taken until 2024-03-25T18:06:40Z
    "#]],
    );
    check(
        &["ca", "rotate", "-o", "json"],
        expect![[r#"
        {
          "authority": "abababababababababababababababababababababababababababababababab",
          "former_until": "2024-03-25T18:06:40Z"
        }
    "#]],
    );
}

#[test]
fn not_allowed() {
    check(
        &["revoke", "forbidden"],
        expect![[r#"
            --- stderr
            causeway: agent/w1 may not revoke
              check: this needs a kubeconfig with --context, the gateway's Unix socket, or an operator's certificate with --server and --identity
            --- exit 1
        "#]],
    );
}
