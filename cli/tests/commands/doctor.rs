//! `causeway doctor`.

use expect_test::expect;

use crate::check;

#[test]
fn doctor() {
    check(
        &["doctor"],
        expect![[r#"
        east
          gateway e1
            ok      UDP         west/w1 at 192.0.2.11:7443: answers in 1.2 ms
          node e1
            ok      route       3 of 3 gateways: this node has a route
        2 ok, 0 warnings, 0 failed, 0 skipped
    "#]],
    );
    check(
        &["doctor", "west"],
        expect![[r#"
        east
          gateway e1
            ok      UDP         west/w1 at 192.0.2.11:7443: answers in 1.2 ms
          node e1
            ok      route       3 of 3 gateways: this node has a route
        west
          gateway w1
            failed  DNS         dns-version.clusterset.local by 10.96.0.10: no reply within 3 s
                    do: let it forward clusterset.local
          gateway w2
            skipped session     this question: it has not answered in time
                    do: run `causeway doctor` there too
        2 ok, 0 warnings, 1 failed, 1 skipped
        --- stderr
        causeway: 1 check failed
        --- exit 1
    "#]],
    );
}

#[test]
fn doctor_in_json() {
    check(
        &["doctor", "west", "-o", "json"],
        expect![[r#"
        {
          "clusters": [
            {
              "cluster": "east",
              "checks": [
                {
                  "place": "gateway e1",
                  "kind": "UDP",
                  "subject": "west/w1 at 192.0.2.11:7443",
                  "outcome": "ok",
                  "message": "answers in 1.2 ms"
                },
                {
                  "place": "node e1",
                  "kind": "route",
                  "subject": "3 of 3 gateways",
                  "outcome": "ok",
                  "message": "this node has a route"
                }
              ]
            },
            {
              "cluster": "west",
              "checks": [
                {
                  "place": "gateway w1",
                  "kind": "DNS",
                  "subject": "dns-version.clusterset.local by 10.96.0.10",
                  "outcome": "failed",
                  "message": "no reply within 3 s",
                  "advice": "let it forward clusterset.local"
                },
                {
                  "place": "gateway w2",
                  "kind": "session",
                  "subject": "this question",
                  "outcome": "skipped",
                  "message": "it has not answered in time",
                  "advice": "run `causeway doctor` there too"
                }
              ]
            }
          ],
          "passed": 2,
          "warned": 0,
          "failed": 1,
          "skipped": 1
        }
        --- stderr
        causeway: 1 check failed
        --- exit 1
    "#]],
    );
    check(
        &["doctor", "nobody"],
        expect![[r#"
        --- stderr
        causeway: nobody is not a peer
        --- exit 4
    "#]],
    );
}
