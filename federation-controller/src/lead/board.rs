//! Pure: what is known of this cluster's gateways: where their pods are, by the API server, and what they say themselves.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{Digest, GatewayName, LeadHello, LeadRefused};

use super::choose::{Gateway, Heard};

/// A gateway whose pod is gone is remembered this long: it may be restarting.
const REMEMBERED_MS: u64 = 60_000;

/// A gateway's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `HOST:PORT` of its local service.
    pub address: String,
    /// It says that it can serve.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
}

/// What a gateway has said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    hello: LeadHello,
    /// Since when it has not heard its leader, if so. Milliseconds of a monotonic clock, as all times here.
    unheard: Option<u64>,
    /// When its stream ended, if it did.
    until: Option<u64>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    places: Option<BTreeMap<GatewayName, Place>>,
    cordoned: BTreeSet<GatewayName>,
    words: BTreeMap<GatewayName, Word>,
    /// The highest term that a gateway held against ours.
    refused: u64,
}

impl Board {
    /// The pods, all of them. True: something changed.
    pub fn placed(&mut self, places: BTreeMap<GatewayName, Place>, now: u64) -> bool {
        if self.places.as_ref() == Some(&places) {
            return false;
        }
        self.words.retain(|name, word| {
            let recent = |at: u64| now.saturating_sub(at) < REMEMBERED_MS;
            places.contains_key(name) || word.until.is_none_or(recent)
        });
        self.places = Some(places);
        true
    }

    /// The nodes that take no new pods.
    pub fn cordoned(&mut self, nodes: BTreeSet<GatewayName>) -> bool {
        let changed = self.cordoned != nodes;
        self.cordoned = nodes;
        changed
    }

    /// A gateway's own word.
    pub fn said(&mut self, hello: LeadHello, now: u64) -> bool {
        let name = hello.gateway.clone();
        let word = Word {
            unheard: hello.unheard_ms.map(|ms| now.saturating_sub(ms)),
            hello,
            until: None,
        };
        self.words.insert(name, word.clone()) != Some(word)
    }

    /// Its stream has ended.
    pub fn silent(&mut self, name: &GatewayName, now: u64) -> bool {
        let open = self.words.get_mut(name).filter(|w| w.until.is_none());
        open.map(|word| word.until = Some(now)).is_some()
    }

    /// A gateway does not obey: another controller has spoken.
    pub fn refused(&mut self, refused: &LeadRefused) -> bool {
        let changed = refused.term > self.refused;
        self.refused = self.refused.max(refused.term);
        changed
    }

    /// Whether the pods have been listed.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.places.is_some()
    }

    /// Where the pods are.
    pub fn places(&self) -> impl Iterator<Item = (&GatewayName, &Place)> {
        self.places.iter().flatten()
    }

    /// Where that gateway's pod is.
    #[must_use]
    pub fn place(&self, name: &GatewayName) -> Option<&Place> {
        self.places.as_ref()?.get(name)
    }

    /// What a gateway that is heard now says.
    #[must_use]
    pub fn hello(&self, name: &GatewayName) -> Option<&LeadHello> {
        let word = self.words.get(name)?;
        word.until.is_none().then_some(&word.hello)
    }

    /// The CA of the leader where an operator wants another one to take over.
    #[must_use]
    pub fn unwanted_authority(&self) -> Option<Digest> {
        let heard = self.words.values().filter(|word| word.until.is_none());
        let mut asking = heard.filter(|word| word.hello.leads && word.hello.rotate_authority);
        asking.find_map(|word| word.hello.authority)
    }

    /// All gateways, as the choice of a leader sees them.
    #[must_use]
    pub fn gateways(&self) -> BTreeMap<GatewayName, Gateway> {
        let names = self.places().map(|(name, _)| name).chain(self.words.keys());
        let names: BTreeSet<_> = names.collect();
        let gateway = |name: &GatewayName| {
            let place = self.place(name);
            let heard = self.words.get(name).map_or(Heard::Never, |word| {
                let hello = &word.hello;
                let now = Heard::Now {
                    held: hello.held,
                    draining: hello.draining,
                };
                word.until.map_or(now, Heard::Until)
            });
            Gateway {
                heard,
                missed: self.missed(name),
                ready: place.is_some_and(|place| place.ready),
                terminating: place.is_some_and(|place| place.terminating),
                cordoned: self.cordoned.contains(name),
            }
        };
        names
            .into_iter()
            .map(|name| (name.clone(), gateway(name)))
            .collect()
    }

    /// Since when none of a leader's followers that are heard has heard it.
    fn missed(&self, leader: &GatewayName) -> Option<u64> {
        let follows = |word: &&Word| {
            let hello = &word.hello;
            word.until.is_none()
                && hello.gateway != *leader
                && hello.leader.as_ref() == Some(leader)
        };
        let since = self.words.values().filter(follows).map(|word| word.unheard);
        // One that hears it outweighs all that do not.
        since.reduce(|a, b| Some(a?.max(b?))).flatten()
    }

    /// The highest term that any gateway has heard of.
    #[must_use]
    pub fn highest_term(&self) -> u64 {
        let terms = self.words.values().map(|word| word.hello.term);
        terms.fold(self.refused, u64::max)
    }

    /// Whom the highest term appointed, by the gateways' word.
    #[must_use]
    pub fn last_leader(&self) -> Option<&GatewayName> {
        let words = self.words.values().map(|word| &word.hello);
        let last = words.filter(|h| h.term > 0).max_by_key(|h| h.term);
        last.and_then(|hello| hello.leader.as_ref())
    }

    /// The highest epoch that any gateway has seen, but for that one.
    #[must_use]
    pub fn highest_epoch(&self, but: Option<&GatewayName>) -> u64 {
        let others = self.words.iter().filter(|(name, _)| Some(*name) != but);
        let epochs = others.map(|(_, word)| word.hello.epoch);
        epochs.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> GatewayName {
        text.parse().unwrap()
    }

    fn hello(gateway: &str, epoch: u64, term: u64) -> LeadHello {
        LeadHello {
            gateway: name(gateway),
            node: gateway.parse().unwrap(),
            local_address: String::new(),
            epoch,
            held: (epoch, 1),
            term,
            leader: None,
            leads: false,
            draining: false,
            unheard_ms: None,
            authority: None,
            rotate_authority: false,
        }
    }

    fn place() -> Place {
        Place {
            address: "192.0.2.1:7444".to_owned(),
            ready: true,
            terminating: false,
        }
    }

    #[test]
    fn what_a_gateway_said_outlives_its_pod_for_a_while() {
        let mut board = Board::default();
        assert!(!board.is_listed());
        let both = BTreeMap::from([(name("w1"), place()), (name("w2"), place())]);
        assert!(board.placed(both.clone(), 0));
        assert!(!board.placed(both.clone(), 0));
        assert_eq!(board.gateways()[&name("w1")].heard, Heard::Never);
        assert!(board.said(hello("w1", 5, 3), 0));
        assert!(!board.said(hello("w1", 5, 3), 0));
        assert!(board.said(hello("w2", 9, 2), 0));
        assert_eq!((board.highest_term(), board.highest_epoch(None)), (3, 9));
        assert_eq!(board.highest_epoch(Some(&name("w2"))), 5);
        assert!(board.silent(&name("w1"), 1_000));
        assert!(!board.silent(&name("w1"), 2_000));
        assert_eq!(board.hello(&name("w1")), None);
        let one = BTreeMap::from([(name("w2"), place())]);
        board.placed(one, 3_000);
        assert_eq!(board.gateways()[&name("w1")].heard, Heard::Until(1_000));
        board.placed(both, 70_000);
        assert_eq!(board.gateways()[&name("w1")].heard, Heard::Until(1_000));
        board.placed(BTreeMap::new(), 70_000);
        assert!(!board.gateways().contains_key(&name("w1")));
        assert!(board.gateways().contains_key(&name("w2")));
    }

    #[test]
    fn a_leader_is_missed_when_none_of_its_followers_hears_it() {
        let mut board = Board::default();
        let follower = |gateway: &str, leader: &str, unheard_ms| LeadHello {
            leader: Some(name(leader)),
            unheard_ms,
            ..hello(gateway, 5, 3)
        };
        let missed = |board: &Board| board.missed(&name("w1"));
        assert_eq!(missed(&board), None);
        board.said(follower("w1", "w1", None), 0);
        board.said(follower("w2", "w1", Some(4_000)), 9_000);
        assert_eq!(missed(&board), Some(5_000));
        board.said(follower("w3", "w1", Some(1_000)), 9_500);
        assert_eq!(missed(&board), Some(8_500));
        assert_eq!(board.gateways()[&name("w1")].missed, Some(8_500));
        // Who follows another cannot tell; nor does one that is not heard itself.
        board.said(follower("w4", "w2", None), 9_500);
        assert_eq!(missed(&board), Some(8_500));
        board.silent(&name("w3"), 9_600);
        assert_eq!(missed(&board), Some(5_000));
        board.said(follower("w3", "w1", None), 9_700);
        assert_eq!(missed(&board), None);
    }

    #[test]
    fn a_refusal_raises_the_term() {
        let mut board = Board::default();
        let refused = LeadRefused {
            term: 7,
            leader: None,
            why: String::new(),
        };
        assert!(board.refused(&refused));
        assert!(!board.refused(&refused));
        assert_eq!(board.highest_term(), 7);
    }
}
