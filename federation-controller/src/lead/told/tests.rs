use std::collections::BTreeMap;

use causeway_proto::model::{ClusterSettings, LeadHello};
use expect_test::{Expect, expect};

use super::super::board::Place;
use super::*;

fn hello(gateway: &str, leader: &str) -> LeadHello {
    LeadHello {
        gateway: gateway.parse().unwrap(),
        node: gateway.parse().unwrap(),
        local_address: String::new(),
        epoch: 700,
        held: (1, 1),
        term: 4,
        leader: Some(leader.parse().unwrap()),
        leads: gateway == leader,
        draining: false,
        unheard_ms: None,
        authority: None,
        rotate_authority: false,
    }
}

fn board(gateways: &[&str], heard: &[&str]) -> Board {
    let mut board = Board::default();
    let place = |name: &&str| {
        let place = Place {
            address: format!("{name}:7444"),
            ready: true,
            terminating: false,
        };
        (name.parse().unwrap(), place)
    };
    board.placed(gateways.iter().map(place).collect::<BTreeMap<_, _>>(), 0);
    for name in heard {
        board.said(hello(name, "w1"), 0);
    }
    board
}

fn order() -> Order {
    Order {
        term: 4,
        leader: "w1".parse().unwrap(),
        leader_address: String::new(),
        epoch: 0,
        settings: ClusterSettings::default(),
    }
}

fn configuration() -> ClusterConfiguration {
    let mut configuration = ClusterConfiguration::default();
    configuration.metadata.generation = Some(3);
    configuration
}

fn check(facts: &Facts<'_>, expected: Expect) {
    let told = status(&configuration(), facts, Timestamp(10_500));
    let told = told.map(|told| serde_json::to_string_pretty(&told).unwrap());
    expected.assert_eq(&told.unwrap_or_default());
}

#[test]
fn what_is_told() {
    let (board, order) = (board(&["w1", "w2"], &["w1"]), order());
    let led = Facts {
        board: &board,
        order: Some(&order),
        wrong: None,
        no_authority: None,
    };
    check(
        &led,
        expect![[r#"
        {
          "conditions": [
            {
              "lastTransitionTime": "1970-01-01T00:00:10Z",
              "message": "the gateways go by these settings",
              "observedGeneration": 3,
              "reason": "Applied",
              "status": "True",
              "type": "Applied"
            },
            {
              "lastTransitionTime": "1970-01-01T00:00:10Z",
              "message": "w1 leads",
              "observedGeneration": 3,
              "reason": "Led",
              "status": "True",
              "type": "Led"
            }
          ],
          "epoch": 700,
          "gateways": [
            {
              "address": "w1:7444",
              "name": "w1",
              "ready": true
            },
            {
              "address": "w2:7444",
              "name": "w2",
              "ready": false
            }
          ],
          "leader": "w1"
        }"#]],
    );
}

#[test]
fn what_is_told_where_nobody_leads() {
    let nobody = Facts {
        board: &Board::default(),
        order: None,
        wrong: Some("pools.vips: needs at least one prefix"),
        no_authority: Some("the cluster has no CA yet"),
    };
    check(
        &nobody,
        expect![[r#"
        {
          "conditions": [
            {
              "lastTransitionTime": "1970-01-01T00:00:10Z",
              "message": "pools.vips: needs at least one prefix; the settings before stay in force",
              "observedGeneration": 3,
              "reason": "Invalid",
              "status": "False",
              "type": "Applied"
            },
            {
              "lastTransitionTime": "1970-01-01T00:00:10Z",
              "message": "the cluster has no CA yet",
              "observedGeneration": 3,
              "reason": "NoAuthority",
              "status": "False",
              "type": "Led"
            }
          ],
          "epoch": 0,
          "gateways": []
        }"#]],
    );
}

#[test]
fn what_is_so_already_is_not_written() {
    let (known, order) = (board(&["w1", "w2"], &["w1", "w2"]), order());
    let led = Facts {
        board: &known,
        order: Some(&order),
        wrong: None,
        no_authority: None,
    };
    let mut configuration = configuration();
    let told = status(&configuration, &led, Timestamp(10_500)).unwrap();
    configuration.status = Some(serde_json::from_value(told).unwrap());
    assert_eq!(status(&configuration, &led, Timestamp(99_000)), None);
    // The epoch that was told does not fall, and the leader is not forgotten while it is silent.
    let silent = board(&["w1", "w2"], &["w2"]);
    let silent = Facts {
        board: &silent,
        ..led.clone()
    };
    let told = status(&configuration, &silent, Timestamp(99_000)).unwrap();
    assert_eq!(
        (&told["epoch"], &told["leader"]),
        (&json!(700), &json!("w1"))
    );
    assert_eq!(told["conditions"][1]["reason"], "Silent");
    assert_eq!(
        told["conditions"][1]["lastTransitionTime"],
        "1970-01-01T00:01:39Z"
    );
    assert_eq!(told["gateways"][0]["ready"], false);
}
