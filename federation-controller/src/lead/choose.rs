//! Pure: which gateway leads.
//!
//! The one that leads goes on for as long as it is heard, whatever the others hold: a change of leader costs an epoch.
//! It is replaced at once when it is about to go, and after a while of silence, since a restart is shorter than that.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use causeway_proto::model::GatewayName;

/// Silence after which a leader is given up: longer than a restart takes, as long as peers wait for us.
pub const SILENT_MS: u64 = 10_000;
/// So long a controller that has just begun waits for what gateways say: what they hold, and that the leader is there.
pub const SETTLE_MS: u64 = 3_000;

/// Whether a gateway is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Not yet.
    Never,
    /// Now; with epoch and version of what it holds, and whether it says that it is about to stop.
    Now {
        /// Of its allocations.
        held: (u64, u64),
        /// By its own word.
        draining: bool,
    },
    /// Not any more, since then.
    Until(u64),
}

/// A gateway as the controller sees it. Times are milliseconds of a monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway {
    /// Whether it is heard.
    pub heard: Heard,
    /// Since when all that follow it have not heard it either; `None` when one hears it, or none can tell.
    pub missed: Option<u64>,
    /// Whether its pod says that it can serve.
    pub ready: bool,
    /// Whether its pod is being deleted.
    pub terminating: bool,
    /// Whether its node takes no new pods: it is about to be drained.
    pub cordoned: bool,
}

/// Why it is this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It led before.
    Stays,
    /// There was none.
    First,
    /// The one before has not been heard for so long.
    Silent(GatewayName, u64),
    /// The one before is about to go.
    Leaves(GatewayName, &'static str),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stays => f.write_str("it led before"),
            Self::First => f.write_str("there was no leader"),
            Self::Silent(before, ms) => write!(f, "{before} has been silent for {} s", ms / 1000),
            Self::Leaves(before, why) => write!(f, "{before} {why}"),
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This one leads.
    Leader(GatewayName, Why),
    /// Nobody new is appointed; look again when something changes, or at that time.
    Wait(Option<u64>),
}

/// Who leads from now on. `since`: when the controller began to look, before which it can have heard nobody.
#[must_use]
pub fn choose(
    gateways: &BTreeMap<GatewayName, Gateway>,
    current: Option<&GatewayName>,
    since: u64,
    now: u64,
) -> Choice {
    let Some(current) = current else {
        return first(gateways, since, now);
    };
    let state = gateways.get(current);
    let silent_since = match state.map(|gateway| gateway.heard) {
        Some(Heard::Now { .. }) => None,
        Some(Heard::Until(at)) if at > since => Some(at),
        // A controller that has just begun takes the followers' word for the time before.
        Some(Heard::Never | Heard::Until(_)) | None => {
            let missed = state.and_then(|gateway| gateway.missed);
            Some(missed.map_or(since, |at| at.min(since)))
        }
    };
    // Word that one leaves is good only together with one who can take over; so is silence.
    let stays = || Choice::Leader(current.clone(), Why::Stays);
    if let Some(silent) = silent_since {
        let tried = since.saturating_add(SETTLE_MS);
        let at = silent.saturating_add(SILENT_MS).max(tried);
        if now < at {
            return Choice::Wait(Some(at));
        }
        let why = Why::Silent(current.clone(), now.saturating_sub(silent));
        return best(gateways, current, false)
            .map_or(Choice::Wait(None), |leader| Choice::Leader(leader, why));
    }
    let Some(why) = state.and_then(leaving) else {
        return stays();
    };
    best(gateways, current, true).map_or_else(stays, |leader| {
        Choice::Leader(leader, Why::Leaves(current.clone(), why))
    })
}

fn first(gateways: &BTreeMap<GatewayName, Gateway>, since: u64, now: u64) -> Choice {
    let settled = since.saturating_add(SETTLE_MS);
    let unheard = |g: &Gateway| g.heard == Heard::Never && !g.terminating;
    if now < settled && gateways.values().any(unheard) {
        return Choice::Wait(Some(settled));
    }
    let best = pick(gateways.iter().filter(|(_, g)| heard(g)));
    best.map_or(Choice::Wait(None), |leader| {
        Choice::Leader(leader, Why::First)
    })
}

/// Who takes over from `current`.
fn best(
    gateways: &BTreeMap<GatewayName, Gateway>,
    current: &GatewayName,
    only_lasting: bool,
) -> Option<GatewayName> {
    let others = gateways
        .iter()
        .filter(|(name, g)| *name != current && heard(g));
    pick(others.filter(|(_, g)| !only_lasting || leaving(g).is_none()))
}

/// One that stays, before all; then what it holds; then whether it can serve.
fn pick<'a>(among: impl Iterator<Item = (&'a GatewayName, &'a Gateway)>) -> Option<GatewayName> {
    let key = |(name, g): &(&GatewayName, &Gateway)| {
        let held = match g.heard {
            Heard::Now { held, .. } => held,
            _ => (0, 0),
        };
        (
            leaving(g).is_none(),
            held,
            g.ready,
            Reverse((*name).clone()),
        )
    };
    among.max_by_key(key).map(|(name, _)| name.clone())
}

fn heard(gateway: &Gateway) -> bool {
    matches!(gateway.heard, Heard::Now { .. })
}

/// Why it will not be there for long.
fn leaving(gateway: &Gateway) -> Option<&'static str> {
    if gateway.terminating {
        return Some("is being deleted");
    }
    if matches!(gateway.heard, Heard::Now { draining: true, .. }) {
        return Some("is about to stop");
    }
    gateway.cordoned.then_some("is on a node that is cordoned")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn up(held: (u64, u64)) -> Gateway {
        Gateway {
            heard: Heard::Now {
                held,
                draining: false,
            },
            missed: None,
            ready: true,
            terminating: false,
            cordoned: false,
        }
    }

    fn heard(heard: Heard) -> Gateway {
        Gateway {
            heard,
            ..up((0, 0))
        }
    }

    fn draining() -> Gateway {
        let held = (9, 9);
        heard(Heard::Now {
            held,
            draining: true,
        })
    }

    fn name(text: &str) -> GatewayName {
        text.parse().unwrap()
    }

    fn told(choice: &Choice) -> String {
        match choice {
            Choice::Leader(leader, why) => format!("{leader}: {why}"),
            Choice::Wait(None) => "wait".to_owned(),
            Choice::Wait(Some(at)) => format!("wait until {at}"),
        }
    }

    fn check(gateways: &[(&str, Gateway)], current: Option<&str>, now: u64, expected: Expect) {
        let gateways = gateways.iter().map(|(n, g)| (name(n), *g)).collect();
        let current = current.map(name);
        expected.assert_eq(&told(&choose(&gateways, current.as_ref(), 1_000, now)));
    }

    #[test]
    fn the_first_holds_most() {
        check(&[], None, 1_000, expect!["wait"]);
        let unheard = heard(Heard::Never);
        check(&[("w1", unheard)], None, 2_000, expect!["wait until 4000"]);
        check(&[("w1", unheard)], None, 4_000, expect!["wait"]);
        check(
            &[("w1", up((0, 0))), ("w2", unheard)],
            None,
            2_000,
            expect!["wait until 4000"],
        );
        check(
            &[("w1", up((0, 0))), ("w2", unheard)],
            None,
            4_000,
            expect!["w1: there was no leader"],
        );
        check(
            &[("w1", up((5, 1))), ("w2", up((5, 2))), ("w3", draining())],
            None,
            1_000,
            expect!["w2: there was no leader"],
        );
        check(
            &[("w1", up((0, 0))), ("w2", up((0, 0)))],
            None,
            1_000,
            expect!["w1: there was no leader"],
        );
    }

    #[test]
    fn who_leads_goes_on() {
        check(
            &[("w1", up((1, 0))), ("w2", up((5, 2)))],
            Some("w1"),
            99_000,
            expect!["w1: it led before"],
        );
        // Not heard yet by this controller, then silent: a restart is shorter.
        for gone in [heard(Heard::Never), heard(Heard::Until(500))] {
            let both = [("w1", gone), ("w2", up((5, 2)))];
            check(&both, Some("w1"), 10_999, expect!["wait until 11000"]);
            check(
                &both,
                Some("w1"),
                11_000,
                expect!["w2: w1 has been silent for 10 s"],
            );
        }
        let gone = heard(Heard::Until(50_000));
        check(
            &[("w1", gone), ("w2", up((5, 2)))],
            Some("w1"),
            59_999,
            expect!["wait until 60000"],
        );
        check(&[("w1", gone)], Some("w1"), 99_000, expect!["wait"]);
        check(
            &[("w2", up((5, 2)))],
            Some("w1"),
            11_000,
            expect!["w2: w1 has been silent for 10 s"],
        );
    }

    #[test]
    fn the_followers_word_counts_for_the_time_before_the_controller_began() {
        let look = |heard, missed, now| {
            let w1 = Gateway {
                missed,
                ..self::heard(heard)
            };
            let gateways = BTreeMap::from([(name("w1"), w1), (name("w2"), up((5, 2)))]);
            told(&choose(&gateways, Some(&name("w1")), 50_000, now))
        };
        // Not before it has tried to reach the leader itself.
        let long = look(Heard::Never, Some(30_000), 50_000);
        expect!["wait until 53000"].assert_eq(&long);
        let tried = look(Heard::Until(20_000), Some(30_000), 53_000);
        expect!["w2: w1 has been silent for 23 s"].assert_eq(&tried);
        let short = look(Heard::Never, Some(48_000), 53_000);
        expect!["wait until 58000"].assert_eq(&short);
        // One hears it, or it is missed by followers only since later: by the controller's own time.
        for missed in [None, Some(51_000)] {
            let own = look(Heard::Never, missed, 53_000);
            expect!["wait until 60000"].assert_eq(&own);
        }
        // What the controller has heard itself outweighs what followers missed.
        let heard = look(Heard::Until(52_000), Some(30_000), 53_000);
        expect!["wait until 62000"].assert_eq(&heard);
    }

    #[test]
    fn who_leaves_hands_over_at_once() {
        let terminating = Gateway {
            terminating: true,
            ..up((9, 9))
        };
        let cordoned = Gateway {
            cordoned: true,
            ..up((9, 9))
        };
        let next = ("w2", up((5, 2)));
        check(
            &[("w1", terminating), next],
            Some("w1"),
            1_000,
            expect!["w2: w1 is being deleted"],
        );
        check(
            &[("w1", draining()), next],
            Some("w1"),
            1_000,
            expect!["w2: w1 is about to stop"],
        );
        check(
            &[("w1", cordoned), next],
            Some("w1"),
            1_000,
            expect!["w2: w1 is on a node that is cordoned"],
        );
        // To nobody who leaves as well.
        check(
            &[("w1", cordoned), ("w2", terminating)],
            Some("w1"),
            1_000,
            expect!["w1: it led before"],
        );
        // Better than none.
        check(
            &[("w1", heard(Heard::Never)), ("w2", cordoned)],
            Some("w1"),
            11_000,
            expect!["w2: w1 has been silent for 10 s"],
        );
    }

    fn any_gateway() -> impl Strategy<Value = Gateway> {
        let heard = prop_oneof![
            Just(Heard::Never),
            (0u64..3, 0u64..3, any::<bool>()).prop_map(|(epoch, version, draining)| Heard::Now {
                held: (epoch, version),
                draining,
            }),
            (0u64..40_000).prop_map(Heard::Until),
        ];
        let missed = proptest::option::of(0u64..40_000);
        let signs = (missed, any::<[bool; 3]>());
        (heard, signs).prop_map(
            |(heard, (missed, [ready, terminating, cordoned]))| Gateway {
                heard,
                missed,
                ready,
                terminating,
                cordoned,
            },
        )
    }

    proptest! {
        #[test]
        fn laws(
            gateways in proptest::collection::btree_map((0u8..4).prop_map(|n| name(&format!("w{n}"))), any_gateway(), 0..4),
            current in proptest::option::of(0u8..4), now in 1_000u64..60_000,
        ) {
            let current = current.map(|n| name(&format!("w{n}")));
            match choose(&gateways, current.as_ref(), 1_000, now) {
                // Whoever is appointed is heard, and stays chosen while nothing changes.
                Choice::Leader(leader, _) => {
                    prop_assert!(super::heard(&gateways[&leader]));
                    let again = choose(&gateways, Some(&leader), 1_000, now + 1);
                    prop_assert!(matches!(again, Choice::Leader(same, Why::Stays) if same == leader));
                }
                Choice::Wait(Some(at)) => prop_assert!(at > now),
                // For ever only while nobody can lead.
                Choice::Wait(None) => {
                    let others = gateways.iter().filter(|(name, _)| Some(*name) != current.as_ref());
                    prop_assert_eq!(others.filter(|(_, g)| super::heard(g)).count(), 0);
                }
            }
        }
    }
}
