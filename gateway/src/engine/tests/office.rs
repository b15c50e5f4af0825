//! A controller appoints: terms, the office's taking and leaving, the store.

use causeway_proto::limits::LEASE_MS;
use causeway_proto::model::{Appointment, LeadRefused, LeaderState};

use super::*;

/// One gateway of a cluster whose leader a controller appoints; what it wants kept is on its disk at once, unless told not.
pub(super) struct One {
    pub(super) gateway: Gateway,
    disk: Restored,
    views: usize,
    writes: bool,
}

pub(super) fn name(of: &str) -> GatewayName {
    of.parse().unwrap()
}

/// Half a minute after the hosts of other tests began.
pub(super) const NOW: u64 = 30_000;

impl One {
    pub(super) fn new(gateway: &str, disk: Restored) -> Self {
        let settings = Settings {
            gateway: name(gateway),
            node: gateway.parse().unwrap(),
            address: GatewayAddress {
                session: format!("{gateway}:7443"),
                tunnel: "192.168.0.1".parse().unwrap(),
            },
            leader: None,
            instance: 1,
            ..settings("east")
        };
        let keys = Box::new(NameKeys(id("east")));
        let mut one = Self {
            gateway: Gateway::new(settings, disk.clone(), keys, at(NOW)),
            disk,
            views: 0,
            writes: true,
        };
        one.work(NOW);
        one
    }

    /// The same disk, another process.
    fn restarted(self) -> Self {
        let name = self.gateway.settings().gateway.to_string();
        Self::new(&name, self.disk)
    }

    pub(super) fn work(&mut self, now: u64) {
        self.gateway.handle_timeout(at(now));
        for _ in 0..4 {
            self.gateway.settle(at(now));
            while let Some(command) = self.gateway.poll() {
                match command {
                    Command::View(_) => self.views += 1,
                    Command::Keep(keep) if self.writes => self.write(keep),
                    _ => {}
                }
            }
        }
    }

    fn write(&mut self, keep: Keep) {
        match keep {
            Keep::Allocations(a) => {
                self.gateway.kept(a.epoch, a.version);
                self.disk.allocations = Some(a);
            }
            Keep::Publication(p) => self.disk.publication = Some(p),
            Keep::Trust(t) => self.disk.trust = Some(t),
            Keep::Own(whole) => self.disk.own = Some(whole),
            Keep::Appointment(word) => self.disk.appointment = Some(word),
            Keep::Peer(..) => {}
        }
    }

    pub(super) fn told(&mut self, word: Appointment, now: u64) -> Result<(), LeadRefused> {
        let obeyed = self.gateway.appoint(word, at(now));
        self.work(now);
        obeyed
    }

    pub(super) fn offers(&mut self, names: &[&str], now: u64) {
        let each = names.iter().map(|n| (*n, export(&["http:80/TCP"], &[1])));
        let publication = Publication {
            exports: exports(&each.collect::<Vec<_>>()),
            ..Publication::default()
        };
        assert!(self.gateway.publish(publication));
        self.work(now);
    }

    fn revision(&self) -> Option<(u64, u64)> {
        let held = self.gateway.catalog().own.held()?;
        Some((held.revision.epoch, held.revision.number))
    }

    pub(super) fn follows(&mut self, leader: &mut Self, now: u64) {
        let me = self.gateway.settings().gateway.clone();
        let hello = self.gateway.follow_hello();
        leader.gateway.follower_up(hello, at(now));
        leader.work(now);
        self.takes(leader, &me, now);
    }

    /// All that the leader has for it.
    pub(super) fn takes(&mut self, leader: &mut Self, me: &GatewayName, now: u64) {
        while let Some(state) = leader.gateway.poll_follow(me, at(now)) {
            let sequence = state.sequence;
            self.gateway.leader_link(true, at(now));
            assert!(self.gateway.follow(state, at(now)));
            self.work(now);
            leader.gateway.follower_ack(me, sequence);
            leader.work(now);
        }
    }

    /// Nothing but time passes.
    fn idles(&mut self, from: u64, to: u64) {
        let mut now = from;
        while let Some(due) = self.gateway.poll_timeout(at(now)).filter(|due| *due <= to) {
            assert!(due > now, "due at {due}, after {now}");
            now = due;
            self.work(now);
        }
    }

    fn problems(&self) -> String {
        let problems = self.gateway.view().problems.iter();
        let all: Vec<String> = problems.map(ToString::to_string).collect();
        all.join("\n")
    }
}

pub(super) fn appoint(term: u64, leader: &str) -> Appointment {
    Appointment {
        term,
        leader: name(leader),
        leader_address: format!("{leader}:7444"),
        epoch: 0,
        settings: settings("east").shared,
        state: None,
    }
}

/// As the controller's store would keep it.
fn stored(leader: &One) -> LeaderState {
    leader.gateway.leader_state()
}

/// g1 leads, g2 follows, `shop/own` is offered.
fn pair_of_gateways() -> (One, One) {
    let mut g1 = One::new("g1", Restored::default());
    let mut g2 = One::new("g2", Restored::default());
    g1.told(appoint(1, "g1"), NOW).unwrap();
    g2.told(appoint(1, "g1"), NOW).unwrap();
    g1.offers(&["shop/own"], NOW);
    g2.follows(&mut g1, NOW);
    (g1, g2)
}

#[test]
fn nobody_leads_before_the_controller_says_so() {
    let mut g1 = One::new("g1", Restored::default());
    assert!(!g1.gateway.is_leader() && g1.gateway.leader().is_none());
    assert_eq!(g1.gateway.view().frozen_since, Some(at(NOW).wall));
    assert!(!g1.gateway.publish(Publication::default()));
    assert!(!g1.gateway.set_trust(TrustState::default(), at(NOW)));
    let hello = g1.gateway.lead_hello("g1:7444", false, at(NOW));
    assert_eq!((hello.term, hello.leader, hello.leads), (0, None, false));

    g1.told(appoint(3, "g1"), NOW).unwrap();
    let hello = g1.gateway.lead_hello("g1:7444", false, at(NOW));
    assert_eq!(
        (hello.term, hello.leader, hello.leads),
        (3, Some(name("g1")), true)
    );
    // It knows nothing, and others may: for a moment nothing is decided.
    g1.offers(&["shop/own"], NOW);
    assert_eq!(g1.revision(), None);
    g1.work(NOW + 2_000);
    assert_eq!(g1.revision().unwrap().1, 1);
    assert_eq!(g1.gateway.view().frozen_since, None);
}

#[test]
fn a_lower_term_is_refused_with_the_higher_one_told() {
    let (mut g1, mut g2) = pair_of_gateways();
    g1.told(appoint(5, "g2"), NOW).unwrap();
    assert!(!g1.gateway.is_leader());
    let refused = g1.told(appoint(4, "g1"), NOW).unwrap_err();
    assert_eq!(
        (refused.term, refused.leader, refused.why.as_str()),
        (5, Some(name("g2")), "term 4 is over: term 5 has begun")
    );
    let refused = g1.told(appoint(5, "g1"), NOW).unwrap_err();
    assert_eq!(refused.why, "term 5 has another leader");
    // It is on the disk: a process that starts anew obeys no older word.
    let mut g1 = g1.restarted();
    assert!(g1.told(appoint(4, "g1"), NOW).is_err());
    // And where the configuration has the word, no controller has.
    let mut fixed = Host::new("east", &[], Restored::default());
    let refused = fixed
        .gateway
        .appoint(appoint(9, "g1"), at(NOW))
        .unwrap_err();
    assert!(refused.why.contains("fixed by its configuration"));
    g2.told(appoint(5, "g2"), NOW).unwrap();
    assert!(g2.gateway.is_leader());
}

#[test]
fn a_new_term_of_the_same_leader_changes_nothing() {
    let (mut g1, _) = pair_of_gateways();
    let (revision, views) = (g1.revision(), g1.views);
    let again = Appointment {
        epoch: g1.gateway.epoch(),
        state: Some(stored(&g1)),
        ..appoint(2, "g1")
    };
    g1.told(again, NOW + 1).unwrap();
    assert_eq!((g1.revision(), g1.views), (revision, views));
    assert_eq!(g1.gateway.term(), 2);
    // Unless somebody has seen a higher epoch of this cluster.
    let higher = Appointment {
        epoch: g1.gateway.epoch() + 7,
        ..appoint(3, "g1")
    };
    g1.told(higher.clone(), NOW + 2).unwrap();
    let ack = g1.gateway.allocations().clone();
    assert_eq!(
        ack.epoch,
        revision.unwrap().0,
        "no follower has the new one yet"
    );
    let me = name("g2");
    let state = g1.gateway.poll_follow(&me, at(NOW + 2)).unwrap();
    g1.gateway.follower_ack(&me, state.sequence);
    g1.work(NOW + 2);
    let revision = g1.revision().unwrap();
    assert!(revision.0 > higher.epoch && revision.1 == 1);
}

/// What agents and peers hold of the cluster: the same after the leader has moved, in a higher epoch.
#[test]
fn the_leader_moves_and_nothing_that_was_given_out_does() {
    let (mut g1, mut g2) = pair_of_gateways();
    let before = g2.gateway.view().clone();
    let (held, revision) = (g1.gateway.allocations().clone(), g1.revision().unwrap());
    // The new leader hears it first.
    g2.told(appoint(2, "g2"), NOW + 10).unwrap();
    assert!(g2.gateway.is_leader() && g1.gateway.is_leader());
    let word = appoint(2, "g2");
    g1.told(word, NOW + 20).unwrap();
    assert!(!g1.gateway.is_leader());
    assert_eq!(g1.gateway.view().frozen_since, Some(at(NOW + 20).wall));
    assert!(g1.gateway.poll_follow(&name("g2"), at(NOW + 20)).is_none());
    g1.follows(&mut g2, NOW + 30);
    assert_eq!(g1.gateway.view().frozen_since, None);
    // All that were known have come: nobody is waited for any longer.
    g2.work(NOW + 40);
    g1.takes(&mut g2, &name("g1"), NOW + 40);
    let now = g2.gateway.allocations();
    assert_eq!((&now.vips, now.seed), (&held.vips, held.seed));
    assert_eq!(
        (&now.rings, &now.identities, &now.salts),
        (&held.rings, &held.identities, &held.salts)
    );
    assert!(g2.revision().unwrap().0 > revision.0);
    let after = g2.gateway.view();
    assert_eq!(after.imports, before.imports);
    assert_eq!(after.exports, before.exports);
    // The gateways are both still listed to peers, and both serve the new one's catalog.
    assert_eq!(g1.revision(), g2.revision());
    assert_eq!(
        g2.gateway.session_addresses(),
        ["g1:7443".to_owned(), "g2:7443".to_owned()]
    );
    assert!(g1.gateway.leader_address() == Some("g2:7444"));
}

#[test]
fn a_gateway_lost_with_its_node_is_listed_no_more_once_nothing_is_heard_of_it() {
    let (g1, mut g2) = pair_of_gateways();
    let both = ["g1:7443".to_owned(), "g2:7443".to_owned()];
    let alone = ["g2:7443".to_owned()];
    // The process goes first; the agent of its node still speaks.
    let lost = NOW + 1_000;
    drop(g1);
    g2.told(appoint(2, "g2"), lost).unwrap();
    g2.idles(lost, lost + 3_000);
    assert_eq!(g2.gateway.session_addresses(), both);
    let last_word = lost + 4_000;
    g2.gateway.report(word_of("g1", last_word), at(last_word));
    g2.work(last_word);
    g2.idles(last_word, last_word + LEASE_MS - 1);
    assert_eq!(g2.gateway.session_addresses(), both);
    g2.idles(last_word + LEASE_MS - 1, last_word + LEASE_MS);
    assert_eq!(g2.gateway.session_addresses(), alone);
}

/// What has been waited for once is not waited for again by the successor.
#[test]
fn a_leader_that_was_silent_is_not_listed_by_its_successor() {
    let (_, mut g2) = pair_of_gateways();
    let silent = NOW + 3_000;
    let told = |g2: &One, now| g2.gateway.lead_hello("", false, at(now)).unheard_ms;
    assert_eq!(told(&g2, silent), None);
    g2.gateway.leader_link(false, at(silent));
    assert_eq!(told(&g2, silent + 4_000), Some(4_000));
    g2.told(appoint(2, "g2"), silent + LEASE_MS - 5_000)
        .unwrap();
    assert_eq!(
        told(&g2, silent + LEASE_MS - 5_000),
        None,
        "it leads itself"
    );
    g2.idles(silent + LEASE_MS - 5_000, silent + LEASE_MS - 1);
    assert_eq!(g2.gateway.session_addresses().len(), 2);
    g2.idles(silent + LEASE_MS - 1, silent + LEASE_MS);
    assert_eq!(g2.gateway.session_addresses(), ["g2:7443".to_owned()]);
}

#[test]
fn what_the_leader_lost_with_its_disk_comes_from_the_store() {
    let (mut g1, _) = pair_of_gateways();
    let trust = TrustState {
        bundles: BTreeMap::from([(id("west"), bundle(&id("west")))]),
        ..g1.gateway.trust().clone()
    };
    assert!(g1.gateway.set_trust(trust, at(NOW)));
    g1.work(NOW);
    let (state, epoch) = (stored(&g1), g1.gateway.epoch());
    assert!(state.allocations.as_ref().unwrap().rings.is_empty());
    let (vips, seed) = (
        g1.gateway.allocations().vips.clone(),
        g1.gateway.allocations().seed,
    );
    let rings = g1.gateway.allocations().rings.clone();
    drop(g1);
    // Another gateway, on a node that has never seen any of it, with a clock that is a day behind.
    let mut g3 = One::new("g3", Restored::default());
    let word = Appointment {
        epoch,
        state: Some(state),
        ..appoint(2, "g3")
    };
    g3.told(word, NOW).unwrap();
    assert!(g3.gateway.epoch() > epoch);
    assert_eq!(g3.gateway.members(), BTreeSet::from([id("west")]));
    g3.offers(&["shop/own"], NOW);
    // No other gateway speaks up in the meantime.
    g3.work(NOW + 2_000);
    let now = g3.gateway.allocations();
    assert_eq!((&now.vips, now.seed), (&vips, seed));
    assert_eq!(now.rings, rings, "made anew from the exports");
    assert!(g3.revision().unwrap().0 > epoch);
}

#[test]
fn a_follower_that_knows_more_than_the_store_is_heard_first() {
    let (mut g1, mut g2) = pair_of_gateways();
    let old = stored(&g1);
    g1.offers(&["shop/own", "shop/new"], NOW);
    g2.takes(&mut g1, &name("g2"), NOW);
    let vip = g1.gateway.allocations().vips[&"shop/new".parse().unwrap()].value;
    // g1 is gone; g3 gets the office and what the store has, g2 comes later.
    let mut g3 = One::new("g3", Restored::default());
    let word = Appointment {
        state: Some(old),
        ..appoint(2, "g3")
    };
    g3.told(word.clone(), NOW).unwrap();
    g2.told(word, NOW).unwrap();
    let taken = g3.gateway.allocations().clone();
    assert!(!taken.vips.contains_key(&"shop/new".parse().unwrap()));
    // Its epoch is above all, but nothing is decided in it yet.
    g3.gateway
        .follower_up(g2.gateway.follow_hello(), at(NOW + 1));
    g3.work(NOW + 1);
    let newest = g3.gateway.allocations();
    assert_eq!(newest.vips[&"shop/new".parse().unwrap()].value, vip);
}

#[test]
fn two_controllers_and_the_older_one_is_harmless() {
    let (mut g1, mut g2) = pair_of_gateways();
    // The newer one moves the leader; the older one, which was asleep, says again what it said.
    for gateway in [&mut g1, &mut g2] {
        gateway.told(appoint(2, "g2"), NOW + 1).unwrap();
        assert!(gateway.told(appoint(1, "g1"), NOW + 2).is_err());
    }
    assert!(g2.gateway.is_leader() && !g1.gateway.is_leader());
    g2.gateway.store_up(8);
    // A store that was refused is none.
    g1.gateway.store_up(7);
    assert_eq!(g1.gateway.store_stream(), None);
    assert_eq!(g2.gateway.store_stream(), Some(8));
}

/// A leader that nobody reaches but its peers goes on in its epoch, below that of its successor.
#[test]
fn a_leader_that_was_cut_off_does_not_climb_over_its_successor() {
    let (mut g1, mut g2) = pair_of_gateways();
    g2.told(
        Appointment {
            epoch: g1.gateway.epoch(),
            ..appoint(2, "g2")
        },
        NOW + 5_000,
    )
    .unwrap();
    g2.work(NOW + 7_000);
    let successor = g2.revision().unwrap().0;
    assert!(successor > g1.revision().unwrap().0);
    // A peer that holds the successor's tells it so.
    g1.gateway.seen_epoch(successor);
    g1.offers(&["shop/own", "shop/late"], NOW + 7_000);
    g1.work(NOW + 7_000);
    assert!(g1.gateway.is_leader());
    assert!(g1.revision().unwrap().0 < successor);
    assert_eq!(g1.gateway.lead_hello("", false, at(NOW)).epoch, successor);
    // Nor does it by a restart.
    g1.disk.authority = true;
    let mut g1 = g1.restarted();
    assert!(g1.gateway.is_leader(), "by its last word");
    g1.work(NOW + 9_000);
    assert!(g1.gateway.epoch() < successor);
    // Once it hears who leads, it follows.
    g1.told(appoint(2, "g2"), NOW + 9_000).unwrap();
    g1.follows(&mut g2, NOW + 9_000);
    assert_eq!(g1.revision().unwrap().0, successor);
}

#[test]
fn a_leader_whose_ca_is_gone_from_its_disk_does_not_lead() {
    let (g1, _) = pair_of_gateways();
    let mut g1 = g1.restarted();
    assert!(!g1.gateway.is_leader());
    // The same word brings the CA again, and the office with it.
    g1.told(appoint(1, "g1"), NOW).unwrap();
    assert!(g1.gateway.is_leader());
}

#[test]
fn settings_come_into_force_without_a_restart() {
    let (mut g1, _) = pair_of_gateways();
    let mut word = appoint(1, "g1");
    word.settings.tunnel_port = 7_000;
    word.settings.vips = vec!["240.1.0.0/16".parse().unwrap()];
    g1.told(word.clone(), NOW).unwrap();
    let view = g1.gateway.view();
    assert_eq!(view.tunnel_port, 7_000);
    assert_eq!(view.vip_pool, word.settings.vips);
    // What contradicts itself changes nothing and is told.
    word.settings.pod_prefixes = word.settings.vips.clone();
    g1.told(word.clone(), NOW).unwrap();
    assert!(
        g1.problems()
            .contains("pod_prefixes: 240.1.0.0/16 overlaps")
    );
    assert_eq!(g1.gateway.settings().shared.tunnel_port, 7_000);
    word.settings.pod_prefixes.clear();
    g1.told(word, NOW).unwrap();
    assert!(!g1.problems().contains("overlaps"));
}

mod store;
