use proptest::prelude::*;

use super::*;

const ME: &str = "a_1";

fn seen(version: u64, holder: Option<&str>, transitions: u64) -> Seen {
    Seen {
        version: version.to_string(),
        holder: holder.map(ToOwned::to_owned),
        duration_ms: DURATION_MS,
        transitions,
    }
}

#[test]
fn the_first_makes_the_lease_and_renews_it() {
    let mut election = Election::new(ME.to_owned());
    assert_eq!(election.step(5), Step::Look);
    election.saw(None, 5);
    assert_eq!(election.step(5), Step::Write(Attempt::Create));
    assert_eq!(election.term(5), None);
    election.wrote(seen(1, Some(ME), 1), 5);
    assert_eq!(election.term(5), Some(1));
    assert_eq!(election.step(6), Step::Wait(5 + RENEW_MS));
    assert_eq!(election.step(5 + RENEW_MS), Step::Write(Attempt::Renew));
    // The API server is away: it stops by itself, before anybody may take its place.
    election.failed();
    assert_eq!(election.term(4 + ACT_MS), Some(1));
    assert_eq!(election.term(5 + ACT_MS), None);
    assert_eq!(election.step(5 + ACT_MS), Step::Look);
}

#[test]
fn a_lease_is_taken_when_it_is_released_or_old() {
    let mut election = Election::new(ME.to_owned());
    election.saw(Some(seen(1, Some("b_1"), 4)), 100);
    assert_eq!(election.step(100), Step::Wait(100 + LOOK_MS));
    assert_eq!(election.step(100 + LOOK_MS), Step::Look);
    // Unchanged: counted from when it was seen first.
    election.saw(Some(seen(1, Some("b_1"), 4)), 9_000);
    let old = 100 + DURATION_MS;
    assert_eq!(election.step(old - 1), Step::Look);
    assert_eq!(election.step(old), Step::Write(Attempt::Take(5)));
    // Renewed meanwhile: it is fresh again.
    election.failed();
    election.saw(Some(seen(2, Some("b_1"), 4)), old);
    assert_eq!(election.step(old), Step::Wait(old + LOOK_MS));
    // Released.
    election.saw(Some(seen(3, None, 4)), old + 1);
    assert_eq!(election.step(old + 1), Step::Write(Attempt::Take(5)));
}

#[test]
fn who_has_lost_it_stops_at_once() {
    let mut election = Election::new(ME.to_owned());
    election.wrote(seen(1, Some(ME), 1), 0);
    election.saw(Some(seen(2, Some("b_1"), 2)), 10);
    assert_eq!(election.term(10), None);
    assert_eq!(election.holder(), Some("b_1"));
    // An earlier run under the same name is not us.
    let mut again = Election::new("a_2".to_owned());
    again.saw(Some(seen(1, Some(ME), 1)), 0);
    assert_eq!(again.term(0), None);
    // A write whose answer was lost is found by reading and confirmed by the next.
    let mut lost = Election::new(ME.to_owned());
    lost.saw(Some(seen(1, Some(ME), 1)), 0);
    assert_eq!(lost.term(0), None);
    assert_eq!(lost.step(0), Step::Write(Attempt::Renew));
}

/// Several controllers, one Lease, all that can go wrong.
struct World {
    lease: Option<Seen>,
    version: u64,
    /// With how far each one's clock is ahead.
    all: Vec<(Election, u64)>,
    /// Writes under way: who, when begun by its clock, over which version, what, when it arrives.
    flying: Vec<(usize, u64, Option<String>, Attempt, u64)>,
}

impl World {
    fn arrive(&mut self, now: u64, lose: bool) {
        let due = self.flying.iter().position(|write| write.4 <= now);
        let Some((who, began, over, attempt, _)) = due.map(|at| self.flying.remove(at)) else {
            return;
        };
        let (election, _) = &mut self.all[who];
        let current = self.lease.as_ref().map(|lease| lease.version.clone());
        if current != over {
            election.failed();
            return;
        }
        self.version += 1;
        let transitions = match (&attempt, &self.lease) {
            (Attempt::Create, _) => 1,
            (Attempt::Take(n), _) => *n,
            (Attempt::Renew, lease) => lease.as_ref().map_or(0, |lease| lease.transitions),
        };
        let written = seen(self.version, Some(&election.me), transitions);
        self.lease = Some(written.clone());
        // An answer that comes too late is no answer.
        if lose {
            election.failed();
        } else {
            election.wrote(written, began);
        }
    }
}

proptest! {
    #[test]
    fn never_two_at_a_time(
        clocks in proptest::collection::vec(0u64..100_000, 2..4),
        moves in proptest::collection::vec((0usize..4, 0u64..4_000, 0u64..4_000, 0u8..10), 1..200),
    ) {
        let fresh = |(n, ahead): (usize, &u64)| (Election::new(format!("c{n}_1")), *ahead);
        let mut world = World {
            lease: None,
            version: 0,
            all: clocks.iter().enumerate().map(fresh).collect(),
            flying: Vec::new(),
        };
        let (mut now, mut highest) = (1u64, 0u64);
        for (who, pause, delay, luck) in moves {
            now += pause;
            world.arrive(now, luck == 0);
            let who = who % world.all.len();
            let lease = world.lease.clone();
            let (election, ahead) = &mut world.all[who];
            let own = now + *ahead;
            let busy = world.flying.iter().any(|write| write.0 == who);
            match election.step(own) {
                _ if busy => (),
                Step::Look if luck == 1 => election.failed(),
                Step::Look => election.saw(lease, own),
                Step::Write(attempt) => {
                    let over = election.version().map(ToOwned::to_owned);
                    world.flying.push((who, own, over, attempt, now + delay));
                }
                Step::Wait(at) => prop_assert!(at > own),
            }
            let acting: Vec<u64> =
                world.all.iter().filter_map(|(election, ahead)| election.term(now + ahead)).collect();
            prop_assert!(acting.len() <= 1, "{acting:?}");
            for term in acting {
                prop_assert!(term >= highest);
                highest = term;
            }
        }
    }

    /// Without trouble one of them acts soon.
    #[test]
    fn somebody_acts(count in 1usize..4) {
        let mut version = 0;
        let mut lease: Option<Seen> = None;
        let mut all: Vec<_> = (0..count).map(|n| Election::new(format!("c{n}_1"))).collect();
        for now in (0..20_000).step_by(500) {
            for election in &mut all {
                match election.step(now) {
                    Step::Look => election.saw(lease.clone(), now),
                    Step::Write(_) if election.version() == lease.as_ref().map(|l| l.version.as_str()) => {
                        version += 1;
                        let written = seen(version, Some(&election.me), 1);
                        lease = Some(written.clone());
                        election.wrote(written, now);
                    }
                    Step::Write(_) => election.failed(),
                    Step::Wait(_) => (),
                }
            }
        }
        prop_assert_eq!(all.iter().filter(|e| e.term(20_000).is_some()).count(), 1);
    }
}
