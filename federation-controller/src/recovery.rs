//! Pure: where a controller that finds no CA gets one from: a gateway that still holds the cluster's, or a new one.
//!
//! It happens at the first start, and when etcd was lost. A new CA ends every pairing, so it is made only when no
//! gateway says that it holds state, or when those that do have kept the CA from us for long.

use std::collections::BTreeMap;

use causeway_proto::model::{GatewayName, LeaderState};

use crate::stored::{Position, newest};

/// After the first gateway has asked: the others start at the same time.
pub const SETTLE_MS: u64 = 2_000;
/// How long gateways that hold state may take to offer the CA: the node of the one that led may be starting.
pub const OFFERS_MS: u64 = 600_000;
/// Gateways that are listened to: far more than there are.
const GATEWAYS: usize = 64;

/// What a gateway gave.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offered {
    epoch: u64,
    state: LeaderState,
}

/// A gateway that says it holds state.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    /// And has not offered it.
    Asked,
    /// Here it is.
    Offered(Offered),
    /// It is nothing, or another cluster's: what an earlier use of the node has left.
    Useless,
}

/// What gateways have said so far. Times are milliseconds of a monotonic clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    first: Option<u64>,
    holders: BTreeMap<GatewayName, Holder>,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet; `None`: until a gateway asks.
    Wait(Option<u64>, Waiting),
    /// This is the cluster's state, its CA included.
    Adopt(LeaderState),
    /// A new CA; what gateways hold of the rest is taken up.
    New(LeaderState),
}

/// For what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// A gateway to ask.
    Gateway,
    /// Others to ask.
    Others,
    /// A gateway to offer the CA.
    Authority(Vec<GatewayName>),
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gateway => f.write_str(
                "the cluster has no CA yet, and no gateway has asked for a certificate; is a node labelled causeway.dev/gateway=true, and does a gateway run there?",
            ),
            Self::Others => f.write_str("the cluster has no CA yet; it is about to be made"),
            Self::Authority(holders) => {
                let holders: Vec<_> = holders.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "the Secret with the CA is lost, and the gateways that hold this cluster's state ({}) do not have it: the one that led last does. Start its node, or put the Secret back; after {} min a new CA is made, and the cluster has to be paired again",
                    holders.join(", "),
                    OFFERS_MS / 60_000
                )
            }
        }
    }
}

impl Recovery {
    /// A gateway asks for a certificate, and says whether it holds state. True: it shall offer that first.
    pub fn asked(&mut self, gateway: &GatewayName, holds: bool, now: u64) -> bool {
        self.first.get_or_insert(now);
        if !holds {
            return false;
        }
        if self.holders.len() < GATEWAYS {
            let holder = self.holders.entry(gateway.clone());
            holder.or_insert(Holder::Asked);
        }
        matches!(self.holders.get(gateway), Some(Holder::Asked))
    }

    /// A gateway's offer, its CA checked to be this cluster's.
    pub fn offered(&mut self, gateway: &GatewayName, epoch: u64, state: LeaderState, now: u64) {
        let empty = epoch == 0 && state == LeaderState::default();
        let holder = match empty {
            true => Holder::Useless,
            false => Holder::Offered(Offered { epoch, state }),
        };
        self.note(gateway, holder, now);
    }

    /// A gateway's offer is of no use: its CA is another cluster's.
    pub fn strange(&mut self, gateway: &GatewayName, now: u64) {
        self.note(gateway, Holder::Useless, now);
    }

    fn note(&mut self, gateway: &GatewayName, holder: Holder, now: u64) {
        self.first.get_or_insert(now);
        if self.holders.len() < GATEWAYS || self.holders.contains_key(gateway) {
            self.holders.insert(gateway.clone(), holder);
        }
    }

    /// What to do now.
    #[must_use]
    pub fn decide(&self, now: u64) -> Decision {
        let Some(first) = self.first else {
            return Decision::Wait(None, Waiting::Gateway);
        };
        let settled = first.saturating_add(SETTLE_MS);
        if now < settled {
            return Decision::Wait(Some(settled), Waiting::Others);
        }
        let offers = || {
            self.holders.values().filter_map(|holder| match holder {
                Holder::Offered(offered) => Some(offered),
                Holder::Asked | Holder::Useless => None,
            })
        };
        let state = offers().cloned().map(|offered| offered.state);
        let state = state.reduce(newest).unwrap_or_default();
        // Of two CAs that of the higher epoch is in force: the other is what an earlier installation left.
        let rank = |offered: &&Offered| (offered.epoch, Position::of(&offered.state));
        let with_authority = offers().filter(|offered| offered.state.authority.is_some());
        if let Some(best) = with_authority.max_by_key(rank) {
            let authority = best.state.authority.clone();
            return Decision::Adopt(LeaderState { authority, ..state });
        }
        let late = first.saturating_add(OFFERS_MS);
        let holders = self.holders.iter();
        let holders = holders.filter(|(_, holder)| **holder != Holder::Useless);
        let holders: Vec<_> = holders.map(|(name, _)| name.clone()).collect();
        if !holders.is_empty() && now < late {
            return Decision::Wait(Some(late), Waiting::Authority(holders));
        }
        Decision::New(state)
    }
}

#[cfg(test)]
mod tests {
    use causeway_proto::model::{Allocations, AuthorityMaterial};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> GatewayName {
        text.parse().unwrap()
    }

    fn state(epoch: u64, ca: Option<u8>) -> LeaderState {
        let material = |n: u8| AuthorityMaterial {
            certificate: vec![n],
            key: vec![n],
            catalog_certificate: vec![n],
            catalog_key: vec![n],
            succession: None,
        };
        LeaderState {
            authority: ca.map(material),
            allocations: Some(Allocations {
                epoch,
                ..Allocations::default()
            }),
            trust: None,
        }
    }

    #[test]
    fn a_first_start_makes_a_new_one_soon() {
        let mut recovery = Recovery::default();
        assert_eq!(recovery.decide(9), Decision::Wait(None, Waiting::Gateway));
        assert!(!recovery.asked(&name("w1"), false, 10));
        assert!(!recovery.asked(&name("w1"), false, 900));
        assert_eq!(
            recovery.decide(900),
            Decision::Wait(Some(2_010), Waiting::Others)
        );
        assert_eq!(
            recovery.decide(2_010),
            Decision::New(LeaderState::default())
        );
    }

    #[test]
    fn what_a_gateway_holds_is_taken_up() {
        let mut recovery = Recovery::default();
        // The follower first: it has all but the CA.
        assert!(recovery.asked(&name("w1"), true, 0));
        recovery.offered(&name("w1"), 7, state(7, None), 1);
        assert!(!recovery.asked(&name("w1"), true, 2));
        let holders = vec![name("w1")];
        let waits = Decision::Wait(Some(OFFERS_MS), Waiting::Authority(holders));
        assert_eq!(recovery.decide(SETTLE_MS), waits);
        assert!(recovery.asked(&name("w2"), true, 10_000));
        recovery.offered(&name("w2"), 6, state(6, Some(1)), 10_001);
        let adopted = LeaderState {
            authority: state(6, Some(1)).authority,
            ..state(7, None)
        };
        assert_eq!(recovery.decide(10_001), Decision::Adopt(adopted));
    }

    #[test]
    fn of_two_authorities_the_later_one_counts() {
        let mut recovery = Recovery::default();
        recovery.offered(&name("w1"), 5, state(5, Some(1)), 0);
        recovery.offered(&name("w2"), 9, state(9, Some(2)), 0);
        assert_eq!(
            recovery.decide(SETTLE_MS),
            Decision::Adopt(state(9, Some(2)))
        );
    }

    #[test]
    fn what_another_cluster_left_does_not_count() {
        let mut recovery = Recovery::default();
        assert!(recovery.asked(&name("w1"), true, 0));
        recovery.strange(&name("w1"), 1);
        // Nor does a gateway that offers nothing.
        recovery.offered(&name("w2"), 0, LeaderState::default(), 1);
        assert!(!recovery.asked(&name("w1"), true, 2));
        assert!(!recovery.asked(&name("w2"), true, 2));
        let new = Decision::New(LeaderState::default());
        assert_eq!(recovery.decide(SETTLE_MS), new);
    }

    #[test]
    fn an_authority_that_nobody_has_is_replaced_in_the_end() {
        let mut recovery = Recovery::default();
        recovery.offered(&name("w1"), 5, state(5, None), 0);
        assert!(recovery.asked(&name("w2"), true, 0));
        let told = match recovery.decide(OFFERS_MS - 1) {
            Decision::Wait(Some(OFFERS_MS), waiting) => waiting.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(told.contains("(w1, w2)"), "{told}");
        assert_eq!(recovery.decide(OFFERS_MS), Decision::New(state(5, None)));
    }

    proptest! {
        /// In whatever order gateways come, the same is decided in the end, and a CA that was offered is never replaced.
        #[test]
        fn order_does_not_matter(
            offers in proptest::collection::btree_map(0u8..6, (1u64..9, proptest::option::of(0u8..3)), 1..5),
            seed in any::<usize>(),
        ) {
            let decided = |turn: usize| {
                let mut recovery = Recovery::default();
                let mut all: Vec<_> = offers.iter().collect();
                let turn = turn % all.len();
                all.rotate_left(turn);
                for (n, (epoch, ca)) in all {
                    // One epoch has one leader.
                    let epoch = epoch * 10 + u64::from(*n);
                    recovery.offered(&name(&format!("w{n}")), epoch, state(epoch, *ca), 0);
                }
                recovery.decide(OFFERS_MS)
            };
            prop_assert_eq!(decided(0), decided(seed));
            let any = offers.values().any(|(_, ca)| ca.is_some());
            prop_assert_eq!(any, matches!(decided(0), Decision::Adopt(_)));
        }
    }
}
