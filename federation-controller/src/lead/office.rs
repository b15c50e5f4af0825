//! Pure: an active controller's appointments. It takes a term of its own first, even for a leader that stays, so that what
//! an earlier controller still says is over; each term is written to the Lease before any gateway hears of it.

use causeway_proto::model::{ClusterSettings, GatewayName};

use super::board::Board;
use super::choose::{Choice, Why, choose};
use super::order::Order;
use super::settings::Settings;

/// How often it is looked whether the Lease still says what we have written.
const LOOK_MS: u64 = 10_000;
/// After a write that failed.
const AGAIN_MS: u64 = 500;
/// After somebody else has appointed: who of two is no longer the active controller finds out meanwhile.
const YIELD_MS: u64 = 3_000;

/// The Lease as it was last read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    holder: Option<GatewayName>,
    term: u64,
    at: u64,
}

/// Beside the gateways, what an appointment depends on.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The cluster's settings.
    pub settings: &'a Settings,
    /// Epoch of the state that is stored.
    pub stored: u64,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the Lease.
    Read,
    /// Write that this gateway leads in this term, over what was read.
    Take(GatewayName, u64, Why),
    /// Until something changes or that time.
    Wait(u64),
}

/// See the module. Times are milliseconds of a monotonic clock.
#[derive(Debug, Clone)]
pub struct Office {
    since: u64,
    seen: Option<Seen>,
    not_before: u64,
    order: Option<Order>,
    /// The last settings that are in order.
    good: Option<ClusterSettings>,
}

impl Office {
    /// Of a controller that is active since then.
    #[must_use]
    pub fn new(since: u64) -> Self {
        Self {
            since,
            seen: None,
            not_before: 0,
            order: None,
            good: None,
        }
    }

    /// What gateways are to be told now.
    #[must_use]
    pub fn order(&self) -> Option<&Order> {
        self.order.as_ref()
    }

    /// The Lease was read.
    pub fn saw(&mut self, holder: Option<GatewayName>, term: u64, now: u64) {
        let ours = self.order.as_ref();
        if ours.is_some_and(|o| o.term != term || Some(&o.leader) != holder.as_ref()) {
            self.not_before = now.saturating_add(YIELD_MS);
        }
        let at = now;
        self.seen = Some(Seen { holder, term, at });
    }

    /// The Lease was written.
    pub fn took(
        &mut self,
        leader: GatewayName,
        term: u64,
        board: &Board,
        ground: Ground<'_>,
        now: u64,
    ) {
        let holder = Some(leader.clone());
        self.seen = Some(Seen {
            holder,
            term,
            at: now,
        });
        self.order = Some(Order {
            term,
            leader_address: String::new(),
            epoch: board.highest_epoch(None).max(ground.stored),
            settings: ground.settings.settings.clone(),
            leader,
        });
        self.revise(board, ground);
    }

    /// What the Lease says now nobody knows, or somebody else was first.
    pub fn failed(&mut self, now: u64) {
        self.seen = None;
        self.not_before = self.not_before.max(now.saturating_add(AGAIN_MS));
    }

    /// What to do, by what is known now; revises what gateways are told.
    pub fn step(&mut self, board: &Board, ground: Ground<'_>, now: u64) -> Step {
        self.revise(board, ground);
        let Some(seen) = &self.seen else {
            return match now < self.not_before {
                true => Step::Wait(self.not_before),
                false => Step::Read,
            };
        };
        let look = seen.at.saturating_add(LOOK_MS);
        if now >= look {
            return Step::Read;
        }
        let ours = self.order.as_ref();
        let last = ours.map(|order| &order.leader);
        // A Lease that is lost is no reason to change the leader.
        let current = seen.holder.as_ref().or(last).or(board.last_leader());
        let (leader, why) = match choose(&board.gateways(), current, self.since, now) {
            Choice::Wait(at) => return Step::Wait(at.map_or(look, |at| at.min(look))),
            Choice::Leader(leader, why) => (leader, why),
        };
        let said = ours.map_or(0, |order| order.term);
        let known = seen.term.max(board.highest_term()).max(said);
        let stands = |order: &Order| {
            order.leader == leader
                && order.term == known
                && seen.term == known
                && seen.holder.as_ref() == Some(&leader)
        };
        if ours.is_some_and(stands) {
            return Step::Wait(look);
        }
        if now < self.not_before {
            return Step::Wait(self.not_before.min(look));
        }
        Step::Take(leader, known.saturating_add(1), why)
    }

    fn revise(&mut self, board: &Board, ground: Ground<'_>) {
        if ground.settings.wrong.is_none() {
            self.good = Some(ground.settings.settings.clone());
        }
        let Some(order) = &mut self.order else {
            return;
        };
        if let Some(good) = &self.good {
            order.settings.clone_from(good);
        }
        let hello = board.hello(&order.leader);
        let told = hello.map(|hello| hello.local_address.as_str());
        let told = told.filter(|address| !address.is_empty());
        let placed = board.place(&order.leader);
        if let Some(address) = told.or(placed.map(|place| place.address.as_str())) {
            address.clone_into(&mut order.leader_address);
        }
        // A leader that is behind what others have seen goes above it; its own epoch is no news to it.
        let others = board.highest_epoch(Some(&order.leader)).max(ground.stored);
        if hello.is_some_and(|hello| order.is_led_by(hello) && hello.epoch < others) {
            order.epoch = order.epoch.max(others);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use causeway_proto::model::LeadHello;

    use super::super::board::Place;
    use super::*;

    fn name(text: &str) -> GatewayName {
        text.parse().unwrap()
    }

    fn good() -> Settings {
        Settings {
            settings: ClusterSettings::default(),
            wrong: None,
        }
    }

    fn hello(gateway: &str, epoch: u64, term: u64, leader: Option<&str>) -> LeadHello {
        LeadHello {
            gateway: name(gateway),
            node: gateway.parse().unwrap(),
            local_address: format!("{gateway}:7444"),
            epoch,
            held: (epoch, 1),
            term,
            leader: leader.map(name),
            leads: leader == Some(gateway),
            draining: false,
            unheard_ms: None,
            authority: None,
            rotate_authority: false,
        }
    }

    fn board(hellos: &[LeadHello]) -> Board {
        let mut board = Board::default();
        let place = |hello: &LeadHello| Place {
            address: hello.local_address.clone(),
            ready: true,
            terminating: false,
        };
        let places: BTreeMap<_, _> = hellos
            .iter()
            .map(|hello| (hello.gateway.clone(), place(hello)))
            .collect();
        board.placed(places, 0);
        for hello in hellos {
            board.said(hello.clone(), 0);
        }
        board
    }

    fn ground(settings: &Settings) -> Ground<'_> {
        Ground {
            settings,
            stored: 40,
        }
    }

    #[test]
    fn a_new_controller_takes_a_term_for_the_leader_that_there_is() {
        let settings = good();
        let board = board(&[
            hello("w1", 50, 6, Some("w1")),
            hello("w2", 50, 6, Some("w1")),
        ]);
        let mut office = Office::new(0);
        assert_eq!(office.step(&board, ground(&settings), 0), Step::Read);
        office.saw(Some(name("w1")), 6, 0);
        let step = office.step(&board, ground(&settings), 0);
        assert_eq!(step, Step::Take(name("w1"), 7, Why::Stays));
        assert_eq!(office.order(), None);
        // The answer was lost; meanwhile it lies there, and counts as anybody's.
        office.failed(10);
        assert_eq!(office.step(&board, ground(&settings), 10), Step::Wait(510));
        assert_eq!(office.step(&board, ground(&settings), 510), Step::Read);
        office.saw(Some(name("w1")), 7, 510);
        let step = office.step(&board, ground(&settings), 510);
        assert_eq!(step, Step::Take(name("w1"), 8, Why::Stays));
        office.took(name("w1"), 8, &board, ground(&settings), 510);
        let order = office.order().unwrap();
        assert_eq!((order.term, order.epoch), (8, 50));
        assert_eq!(order.leader_address, "w1:7444");
        let step = office.step(&board, ground(&settings), 520);
        assert_eq!(step, Step::Wait(10_510));
        assert_eq!(office.step(&board, ground(&settings), 10_510), Step::Read);
    }

    #[test]
    fn a_lost_lease_is_written_anew_above_what_gateways_know() {
        let settings = good();
        let board = board(&[
            hello("w1", 50, 9, Some("w2")),
            hello("w2", 50, 9, Some("w2")),
        ]);
        let mut office = Office::new(0);
        office.saw(None, 0, 0);
        let step = office.step(&board, ground(&settings), 0);
        assert_eq!(step, Step::Take(name("w2"), 10, Why::Stays));
        office.took(name("w2"), 10, &board, ground(&settings), 0);
        office.saw(None, 0, 30_000);
        let step = office.step(&board, ground(&settings), 30_000);
        assert_eq!(step, Step::Wait(33_000));
        let step = office.step(&board, ground(&settings), 33_000);
        assert_eq!(step, Step::Take(name("w2"), 11, Why::Stays));
    }

    #[test]
    fn of_two_controllers_the_one_that_is_refused_waits_before_it_speaks_again() {
        let settings = good();
        let mut board = board(&[hello("w1", 50, 3, Some("w1"))]);
        let mut office = Office::new(0);
        office.saw(Some(name("w1")), 3, 0);
        office.took(name("w1"), 4, &board, ground(&settings), 0);
        board.said(hello("w1", 50, 5, Some("w1")), 0);
        let step = office.step(&board, ground(&settings), 100);
        assert_eq!(step, Step::Take(name("w1"), 6, Why::Stays));
        office.failed(100);
        office.saw(Some(name("w1")), 5, 600);
        let step = office.step(&board, ground(&settings), 600);
        assert_eq!(step, Step::Wait(3_600));
    }

    #[test]
    fn settings_that_contradict_each_other_change_nothing() {
        let settings = good();
        let board = board(&[hello("w1", 50, 3, Some("w1"))]);
        let mut office = Office::new(0);
        office.saw(Some(name("w1")), 3, 0);
        office.step(&board, ground(&settings), 0);
        office.took(name("w1"), 4, &board, ground(&settings), 0);
        let mut bad = good();
        bad.settings.vips.clear();
        bad.wrong = Some("w".to_owned());
        office.step(&board, ground(&bad), 1);
        assert_eq!(office.order().unwrap().settings, settings.settings);
        let mut plain = good();
        plain.settings.plain = true;
        office.step(&board, ground(&plain), 2);
        assert!(office.order().unwrap().settings.plain);
    }

    #[test]
    fn a_leader_that_is_behind_is_told_the_epoch() {
        let settings = good();
        let mut board = board(&[
            hello("w1", 50, 3, Some("w1")),
            hello("w2", 50, 3, Some("w1")),
        ]);
        let mut office = Office::new(0);
        office.saw(Some(name("w1")), 3, 0);
        office.took(name("w1"), 4, &board, ground(&settings), 0);
        board.said(hello("w1", 60, 4, Some("w1")), 0);
        board.said(hello("w2", 60, 4, Some("w1")), 0);
        office.step(&board, ground(&settings), 1);
        assert_eq!(office.order().unwrap().epoch, 50);
        board.said(hello("w2", 70, 4, Some("w1")), 0);
        office.step(&board, ground(&settings), 2);
        assert_eq!(office.order().unwrap().epoch, 70);
    }
}
