//! Pairing: waiting for the other cluster, and the same as objects.

use causeway_certs::Secret;
use causeway_certs::token::JoinToken;
use causeway_proto::model::{Digest, Timestamp};
use expect_test::{Expect, expect};

use crate::cluster::timeless;
use crate::fake::Gateway;
use crate::{causeway, samples, told};

fn check(args: &[&str], expected: Expect) {
    let gateway = Gateway::start();
    let output = causeway(&gateway.socket(), args);
    expected.assert_eq(&timeless(&told(&output, gateway.dir())));
}

#[test]
fn a_peer_that_comes() {
    check(
        &["join", "good", "--wait", "-o", "json"],
        expect![[r#"
        {
          "joined": true,
          "dry_run": false,
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
        --- stderr
        causeway: TIME  joined east
        causeway: TIME  session with e1 at 192.0.2.1:7443 over QUIC
        causeway: TIME  east is heard and its catalog is held, 2 services
    "#]],
    );
}

#[test]
fn a_peer_that_does_not_come() {
    check(
        &["join", "silent", "--wait=1s"],
        expect![[r#"
        peer          north in clusterset demo
        protocol      versions 1 to 1
        its clock     +3000 ms against ours
        appears here  10.244.0.0/16 as 242.1.0.0/16
        offers        shop/cart, shop/db
        note     prefixes    both clusters use 10.244.0.0/16; mappings keep them apart
        warning  encryption  both sides say off: packets are plain and not authenticated
        joined north
        --- stderr
        causeway: TIME  joined north
        causeway: TIME  north: dialling 192.0.2.7:7443: no answer in 5 s
        causeway: joined, but north was not heard within 1 s
          check: dialling 192.0.2.7:7443: no answer in 5 s
        --- exit 5
    "#]],
    );
}

#[test]
fn peers_and_their_end_under_one_word() {
    let gateway = Gateway::start();
    let said = |args: &[&str]| told(&causeway(&gateway.socket(), args), gateway.dir());
    assert_eq!(said(&["peer", "list"]), said(&["peers"]));
    assert_eq!(said(&["peer", "revoke", "east"]), said(&["revoke", "east"]));
}

fn token() -> String {
    let token = JoinToken {
        gateways: vec!["192.0.2.1:7443".into()],
        cluster_set: "demo".parse().unwrap(),
        issuer: "east".parse().unwrap(),
        pin: Digest::default(),
        secret: Secret::new([7; 32]),
        expires: Timestamp(samples::NOW + 900_000),
        for_cluster: None,
    };
    token.encode().to_string()
}

#[test]
fn objects_of_a_token() {
    check(
        &["join", &token(), "--manifests"],
        expect![[r#"
        apiVersion: v1
        kind: Secret
        metadata:
          name: causeway-join-east
          namespace: causeway-system
        type: Opaque
        stringData:
          token: >-
            cwj1_AQ4xOTIuMC4yLjE6NzQ0MwRkZW1vBGVhc3QAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwAAAaDEXiegxzFxMg
        ---
        apiVersion: causeway.dev/v1alpha1
        kind: ClusterPeer
        metadata:
          name: east
        spec:
          joinTokenSecretRef:
            name: causeway-join-east
            key: token
        --- stderr
        causeway: apply these in the cluster that joins east, before 2026-09-21T14:28:20Z; who reads them can join in its place, so encrypt them where they are kept
    "#]],
    );
    check(
        &["join", &token(), "--manifests", "-o", "json", "-n", "mesh"],
        expect![[r#"
            {
              "apiVersion": "v1",
              "kind": "List",
              "items": [
                {
                  "apiVersion": "v1",
                  "kind": "Secret",
                  "metadata": {
                    "name": "causeway-join-east",
                    "namespace": "mesh"
                  },
                  "type": "Opaque",
                  "stringData": {
                    "token": "cwj1_AQ4xOTIuMC4yLjE6NzQ0MwRkZW1vBGVhc3QAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwAAAaDEXiegxzFxMg"
                  }
                },
                {
                  "apiVersion": "causeway.dev/v1alpha1",
                  "kind": "ClusterPeer",
                  "metadata": {
                    "name": "east"
                  },
                  "spec": {
                    "joinTokenSecretRef": {
                      "name": "causeway-join-east",
                      "key": "token"
                    }
                  }
                }
              ]
            }
            --- stderr
            causeway: apply these in the cluster that joins east, before 2026-09-21T14:28:20Z; who reads them can join in its place, so encrypt them where they are kept
        "#]],
    );
}

#[test]
fn objects_of_what_is_no_token() {
    check(
        &["join", "good", "--manifests"],
        expect![[r#"
        --- stderr
        causeway: this is not a join token: those begin with cwj1_ and are printed by `causeway token create`
        --- exit 1
    "#]],
    );
}
