//! What changes nothing.

use expect_test::{Expect, expect};

use crate::check;

#[test]
fn status() {
    check(
        &["status"],
        expect![[r#"
        cluster       west in clusterset demo
        gateway       w2, follows, version 0.1.0, up 3 h
        leader        none, last epoch 1789990001; frozen since 2026-09-21T14:09:20Z (4 min ago): what is held stays in force
        catalog       revision 1789990001.12, view 31
        certificates  ours ends in 22 h, CA ends in 3472 d
        policy        not enforced by this version
        services      2 exported, 3 imported, 1 stale

        PEER   LIVENESS   HEARD      HELD          ACKNOWLEDGED   SESSIONS  SERVICES  APPEARS HERE                   PACKETS
        east   live       0.4 s ago  1789990000.7  1789990001.12  e1 quic   2         10.244.0.0/16 as 242.1.0.0/16  plain, packets not authenticated
        north  withdrawn  4 min ago  1789000000.1  -              -         0         -                              none pass: they must be encrypted, and the peer cannot
        north: last error at 2026-09-21T14:12:50Z: dialling 192.0.2.7:7443: no answer in 5 s

        NODE  GATEWAY  REPORTED   VIEW                   PODS  FLOWS  HALF-OPEN
        w1    w1       0.9 s ago  programmed             3     12     1
        w2    w2       0.9 s ago  behind                 3     12     1
        w3    -        never      no agent has reported  0     0      0

        TROUBLE               WHERE                  WHAT
        conflict              shop/catalog           Conflicting SessionAffinity. Using "None" from oldest service export in "east". 1/2 clusters disagree.
        BadManifest           cart.yaml              line 7: unknown field `port`; the last good state stays
        LimitReached          node w2: map backends  service shop/huge did not fit: 70000 of 65536 entries
        PacketsAllowed=false  ClusterPeer north      EncryptionUnavailable: no packet passes: they must be encrypted

        NODE  DROPPED BECAUSE  PACKETS
        w1    UnlistedSource   3
        w2    NoFlow           17
    "#]],
    );
}

const STATUS: Expect = expect![[r#"
        cluster: west
        clusterset: demo
        gateway: w2
        version: "0.1.0"
        time: "2026-09-21T14:13:20Z"
        started: "2026-09-21T11:10:00Z"
        is_leader: false
        epoch: 1789990001
        revision: "1789990001.12"
        view:
          instance: 77
          number: 31
        frozen_since: "2026-09-21T14:09:20Z"
        certificate_expires: "2026-09-22T12:26:40Z"
        ca_expires: "2036-03-24T19:33:20Z"
        policy_enforced: false
        services:
          exported: 2
          imported: 3
          stale: 1
        peers:
        - cluster: east
          number: 1
          our_number_there: 4
          liveness: live
          age_ms: 400
          held: "1789990000.7"
          acknowledged: "1789990001.12"
          encryption: plain
          packets: plain, packets not authenticated
          services: 2
          mappings:
          - theirs: 10.244.0.0/16
            ours: 242.1.0.0/16
          gateways:
          - "192.0.2.1"
          sessions:
          - gateway: e1
            transport: quic
            address: 192.0.2.1:7443
            dialled_by_us: true
            since: "2026-09-21T13:13:20Z"
            version: 1
            clock_skew_ms: 12
            certificate_expires: "2026-09-22T12:26:40Z"
            path:
              rtt_us: 420
              sent: 1000
              lost: 5
              mtu: 1400
              link_mtu: 1500
              connections: 2
          certificate_expires: "2026-09-22T12:26:40Z"
        - cluster: north
          number: 2
          liveness: withdrawn
          age_ms: 240000
          held: "1789000000.1"
          encryption: unavailable
          packets: "none pass: they must be encrypted, and the peer cannot"
          services: 0
          mappings: []
          gateways:
          - "192.0.2.7"
          sessions: []
          last_error:
            time: "2026-09-21T14:12:50Z"
            message: "dialling 192.0.2.7:7443: no answer in 5 s"
        nodes:
        - node: w1
          gateway: w1
          age_ms: 900
          current: true
          pods: 3
          flows: 12
          half_open: 1
          hooks:
            cway0: tcx ingress
          problems: []
        - node: w2
          gateway: w2
          age_ms: 900
          current: false
          pods: 3
          flows: 12
          half_open: 1
          hooks:
            cway0: tcx ingress
          problems:
          - kind: LimitReached
            subject: map backends
            message: "service shop/huge did not fit: 70000 of 65536 entries"
        - node: w3
          current: false
          pods: 0
          flows: 0
          half_open: 0
          hooks: {}
          problems: []
        conflicts:
          shop/catalog:
          - reason: SessionAffinityConflict
            winner: east
            value: None
            disagree: 1
            of: 2
            message: >-
              Conflicting SessionAffinity. Using "None" from oldest service export in "east".
              1/2 clusters disagree.
        problems:
        - kind: BadManifest
          subject: cart.yaml
          message: "line 7: unknown field `port`; the last good state stays"
        conditions:
        - object: ClusterPeer north
          kind: Connected
          status: "true"
          reason: Connected
          message: one session
        - object: ClusterPeer north
          kind: PacketsAllowed
          status: "false"
          reason: EncryptionUnavailable
          message: "no packet passes: they must be encrypted"
        drops:
        - node: w1
          reason: SpoofedSource
          packets: 0
        - node: w1
          reason: UnlistedSource
          packets: 3
        - node: w2
          reason: NoFlow
          packets: 17
    "#]];

#[test]
fn status_in_yaml() {
    check(&["status", "-o", "yaml"], STATUS);
}

#[test]
fn peers() {
    check(
        &["peers"],
        expect![[r#"
        PEER   LIVENESS   HEARD      HELD          ACKNOWLEDGED   SESSIONS  SERVICES  APPEARS HERE                   PACKETS
        east   live       0.4 s ago  1789990000.7  1789990001.12  e1 quic   2         10.244.0.0/16 as 242.1.0.0/16  plain, packets not authenticated
        north  withdrawn  4 min ago  1789000000.1  -              -         0         -                              none pass: they must be encrypted, and the peer cannot
        north: last error at 2026-09-21T14:12:50Z: dialling 192.0.2.7:7443: no answer in 5 s

        PEER  GATEWAY  BY    ADDRESS         ROUND TRIP  LOST   MTU           SINCE                 CERTIFICATE ENDS
        east  e1       quic  192.0.2.1:7443  0.4 ms      0.5 %  1400 of 1500  2026-09-21T13:13:20Z  2026-09-22T12:26:40Z
    "#]],
    );
}

#[test]
fn peers_in_json() {
    check(
        &["peers", "-o", "json"],
        expect![[r#"
        {
          "peers": [
            {
              "cluster": "east",
              "number": 1,
              "our_number_there": 4,
              "liveness": "live",
              "age_ms": 400,
              "held": "1789990000.7",
              "acknowledged": "1789990001.12",
              "encryption": "plain",
              "packets": "plain, packets not authenticated",
              "services": 2,
              "mappings": [
                {
                  "theirs": "10.244.0.0/16",
                  "ours": "242.1.0.0/16"
                }
              ],
              "gateways": [
                "192.0.2.1"
              ],
              "sessions": [
                {
                  "gateway": "e1",
                  "transport": "quic",
                  "address": "192.0.2.1:7443",
                  "dialled_by_us": true,
                  "since": "2026-09-21T13:13:20Z",
                  "version": 1,
                  "clock_skew_ms": 12,
                  "certificate_expires": "2026-09-22T12:26:40Z",
                  "path": {
                    "rtt_us": 420,
                    "sent": 1000,
                    "lost": 5,
                    "mtu": 1400,
                    "link_mtu": 1500,
                    "connections": 2
                  }
                }
              ],
              "certificate_expires": "2026-09-22T12:26:40Z"
            },
            {
              "cluster": "north",
              "number": 2,
              "liveness": "withdrawn",
              "age_ms": 240000,
              "held": "1789000000.1",
              "encryption": "unavailable",
              "packets": "none pass: they must be encrypted, and the peer cannot",
              "services": 0,
              "mappings": [],
              "gateways": [
                "192.0.2.7"
              ],
              "sessions": [],
              "last_error": {
                "time": "2026-09-21T14:12:50Z",
                "message": "dialling 192.0.2.7:7443: no answer in 5 s"
              }
            }
          ]
        }
    "#]],
    );
}

#[test]
fn services() {
    check(
        &["services"],
        expect![[r#"
        SERVICE    KIND        VIP        NEW FLOWS                     OFFERED BY                                            EXPORTED HERE  FLOWS  REJECTED
        shop/cart  vip         241.0.0.5  80/TCP to east 25%, west 75%  east 1 ready; north 2 ready, withdrawn; west 3 ready  yes            300    0
        shop/db    headless    -          5432/TCP                      east 1 ready                                          no             0      0
        shop/gone  vip, stale  241.0.0.6  80/TCP to nobody              north 0 ready, withdrawn                              no             300    0
        shop/cart: Conflicting SessionAffinity. Using "None" from oldest service export in "east". 1/2 clusters disagree.
        shop/db: 10-244-0-6.east is 242.1.0.6
    "#]],
    );
}

#[test]
fn services_in_json() {
    check(
        &["services", "shop/cart", "-o", "json"],
        expect![[r#"
        {
          "services": [
            {
              "service": "shop/cart",
              "headless": false,
              "exported": true,
              "stale": false,
              "vip": "241.0.0.5",
              "ports": [
                {
                  "name": "http",
                  "protocol": "TCP",
                  "port": 80,
                  "targets": {
                    "east": 1,
                    "west": 3
                  }
                }
              ],
              "shares": [
                {
                  "cluster": "east",
                  "vip": "241.0.0.9",
                  "created": "2026-09-20T14:13:20Z",
                  "ready": 1,
                  "liveness": "live"
                },
                {
                  "cluster": "north",
                  "vip": "241.0.0.9",
                  "created": "2026-09-20T14:13:20Z",
                  "ready": 2,
                  "liveness": "withdrawn"
                },
                {
                  "cluster": "west",
                  "vip": "241.0.0.9",
                  "created": "2026-09-20T14:13:20Z",
                  "ready": 3,
                  "liveness": "live"
                }
              ],
              "endpoints": [],
              "conflicts": [
                {
                  "reason": "SessionAffinityConflict",
                  "winner": "east",
                  "value": "None",
                  "disagree": 1,
                  "of": 2,
                  "message": "Conflicting SessionAffinity. Using \"None\" from oldest service export in \"east\". 1/2 clusters disagree."
                }
              ],
              "counters": {
                "packets": 1200,
                "bytes": 90000,
                "flows": 300,
                "rejected": 0
              }
            }
          ]
        }
    "#]],
    );
}

#[test]
fn a_service_that_is_not_there() {
    check(
        &["services", "shop/none"],
        expect![[r#"
        --- stderr
        causeway: no service shop/none is imported or exported here
        --- exit 4
    "#]],
    );
}

#[test]
fn drops() {
    check(
        &["drops"],
        expect![[r#"
        NODE  DROPPED BECAUSE  PACKETS
        w1    UnlistedSource   3
        w2    NoFlow           17
    "#]],
    );
}

#[test]
fn drops_in_json() {
    check(
        &["drops", "-o", "json"],
        expect![[r#"
        {
          "drops": [
            {
              "node": "w1",
              "reason": "SpoofedSource",
              "packets": 0
            },
            {
              "node": "w1",
              "reason": "UnlistedSource",
              "packets": 3
            },
            {
              "node": "w2",
              "reason": "NoFlow",
              "packets": 17
            }
          ]
        }
    "#]],
    );
}
