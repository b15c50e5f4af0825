//! A peer's gateways that fall silent one by one.

use causeway_proto::limits::{BEAT_MS, SILENT_MS};
use causeway_proto::model::Beat;

use super::*;

/// The catalog of `west` with the gateways `g0` and `g1`.
fn of_two() -> CatalogDelta {
    let mut west = Host::new("west", &["east"], Restored::default());
    let g1 = Settings {
        gateway: "g1".parse().unwrap(),
        node: "n1".parse().unwrap(),
        address: GatewayAddress {
            session: "west-1:7443".to_owned(),
            tunnel: "192.168.0.2".parse().unwrap(),
        },
        ..settings("west")
    };
    let name = g1.gateway.clone();
    let keys = Box::new(NameKeys(id("west")));
    let g1 = Gateway::new(g1, Restored::default(), keys, at(0));
    west.gateway.follower_up(g1.follow_hello(), at(2_000));
    west.work();
    let state = west.gateway.poll_follow(&name, at(2_000)).unwrap();
    west.gateway.follower_ack(&name, state.sequence);
    west.disk_answers();
    west.whole()
}

impl Host {
    /// Lets time go by with a beat on each of these sessions in every interval.
    fn beats(&mut self, sessions: &[u64], intervals: u64) {
        for _ in 0..intervals {
            self.now += BEAT_MS;
            for session in sessions {
                let beat = Frame::Beat(Beat {
                    newest: None,
                    time: at(self.now).wall,
                    leaving: false,
                });
                self.gateway
                    .handle_frame(SessionId(*session), beat, at(self.now));
            }
            self.gateway.handle_timeout(at(self.now));
            self.work();
        }
    }

    fn silent(&self) -> Vec<String> {
        let peer = &self.gateway.view().peers[&id("west")];
        peer.silent_gateways
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

#[test]
fn a_gateway_that_falls_silent_gets_no_packets_while_another_is_heard() {
    let mut east = Host::new("east", &["west"], Restored::default());
    east.meet_gateway(1, "west", "g0", None);
    east.meet_gateway(2, "west", "g1", None);
    east.hears(1, of_two());
    east.disk_answers();
    let listed = east.gateway.view().peers[&id("west")].gateways.len();
    assert_eq!(listed, 2);
    let patience = SILENT_MS / BEAT_MS;
    east.beats(&[1, 2], patience);
    east.beats(&[2], patience - 1);
    assert!(east.silent().is_empty());
    east.beats(&[2], 1);
    assert_eq!(east.silent(), ["192.168.0.1"]);
    assert_eq!(
        east.gateway.view().peers[&id("west")].gateways.len(),
        listed,
        "it may send"
    );
    assert_eq!(east.connected("west"), "Live");
    let said = &east.connection("west").message;
    assert_eq!(said, "its gateway g0 is silent: packets go to its others");
    let revision = east.gateway.view().revision;
    east.beats(&[2], 2);
    assert_eq!(east.gateway.view().revision, revision, "no news");
    east.beats(&[1, 2], 1);
    assert!(east.silent().is_empty());
    // None is better than another when all are silent.
    east.beats(&[1], patience);
    assert_eq!(east.silent(), ["192.168.0.2"]);
    east.beats(&[], patience);
    assert!(east.silent().is_empty());
}

/// Its process hangs, say, and its kernel and ours go on.
#[test]
fn a_peer_whose_packets_alone_are_heard_is_suspect_until_the_lease() {
    let mut east = Host::new("east", &["west"], Restored::default());
    east.meet_gateway(1, "west", "g0", None);
    east.hears(1, of_two());
    east.disk_answers();
    let number = east.gateway.view().peers[&id("west")].number.number();
    let heard = BTreeSet::from([number]);
    let mut seen = Vec::new();
    for _ in 0..11 {
        east.gateway.data_heard(&heard, 400, at(east.now));
        seen.push(east.connected("west"));
        east.beats(&[], 1);
    }
    assert_eq!(seen[..3], ["Live"; 3]);
    assert_eq!(seen[4..10], ["Suspect"; 6], "{seen:?}");
    assert_eq!(east.connected("west"), "Silent", "the lease is over");
    // Of nobody: both are silent, and that is enough after three seconds.
    let mut east = Host::new("east", &["west"], Restored::default());
    east.meet_gateway(1, "west", "g0", None);
    east.hears(1, of_two());
    east.disk_answers();
    east.gateway.data_heard(&heard, 400, at(east.now));
    east.beats(&[], SILENT_MS / BEAT_MS);
    assert_eq!(east.connected("west"), "Silent");
}
