//! Pure: who gets a leaf, under which name, how long it lives and when it is renewed.

use std::collections::BTreeSet;

use causeway_proto::model::{ClusterId, ClusterSet, IssuedEnrolment, Timestamp};

use crate::name::{NameError, PeerName, Role};

/// A leaf's life: a stolen key is of use for a day at most, and a leader may be away for hours.
pub const LEAF_MS: u64 = 24 * 3600 * 1000;
/// A leaf holds from this much earlier, for clocks that are behind.
pub const BACKDATE_MS: u64 = 5 * 60 * 1000;
/// Life of the CA and of the catalog key: proofs must live for years.
pub const AUTHORITY_MS: u64 = 10 * 365 * 24 * 3600 * 1000;
/// How often it is looked whether a leaf is to be renewed, at least.
pub const RENEW_LOOK_MS: u64 = 60 * 1000;
/// How often a renewal that failed is tried again, at least.
pub const RENEW_RETRY_MS: u64 = 60 * 1000;

/// From when to when a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: Timestamp,
    /// Last moment.
    pub not_after: Timestamp,
}

impl Validity {
    /// Of a certificate issued now for `life_ms`.
    #[must_use]
    pub fn starting(now: Timestamp, life_ms: u64) -> Self {
        Self {
            not_before: Timestamp(now.0.saturating_sub(BACKDATE_MS)),
            not_after: Timestamp(now.0.saturating_add(life_ms)),
        }
    }

    /// Whether it holds now.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// When to renew: at two thirds of the life, later by up to a twelfth of it, so that a fleet started at once
/// does not renew at once. `jitter` is any number; always inside the window, and never after its end.
#[must_use]
pub fn renew_at(window: Validity, jitter: u64) -> Timestamp {
    let life = window.not_after.since(window.not_before);
    let spread = life / 12;
    let late = if spread == 0 { 0 } else { jitter % spread };
    Timestamp(window.not_before.0 + life / 3 * 2 + late)
}

/// How long to wait before asking again whether to renew; 0: renew now. Never long, since the wall clock may jump,
/// and at once when it says that the leaf is of the future: what was issued by a clock that was wrong helps nobody.
#[must_use]
pub fn renew_in(window: Validity, jitter: u64, now: Timestamp) -> u64 {
    if now < window.not_before {
        return 0;
    }
    renew_at(window, jitter).since(now).min(RENEW_LOOK_MS)
}

/// On what ground a leaf is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground<'a> {
    /// A one-time enrolment that the secret named.
    Enrolment(&'a IssuedEnrolment),
    /// The leaf that opened the connection: its name and serial number.
    Leaf(&'a PeerName, &'a [u8]),
}

/// Why no leaf is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGrant {
    /// Too late.
    #[error(
        "the enrolment of {role} expired {ago_secs} s ago; make a new one with `causeway enroll`"
    )]
    Expired {
        /// For whom it was.
        role: String,
        /// How long ago.
        ago_secs: u64,
    },
    /// Another cluster's leaf.
    #[error("{0} is not of this cluster")]
    OtherCluster(PeerName),
    /// The leaf was withdrawn.
    #[error("the certificate of {0} was withdrawn; enrol it again")]
    Withdrawn(PeerName),
    /// Only the CA itself has that.
    #[error("the catalog key is not given out")]
    Catalog,
    /// An enrolment for no role of ours.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// The name that a new leaf gets, whatever the request asked for.
///
/// # Errors
/// When there is no ground for one.
pub fn grant(
    ground: Ground<'_>,
    own: &ClusterId,
    cluster_set: &ClusterSet,
    withdrawn: &BTreeSet<Vec<u8>>,
    now: Timestamp,
) -> Result<PeerName, NoGrant> {
    let name = match ground {
        Ground::Enrolment(enrolment) => {
            if now >= enrolment.expires {
                return Err(NoGrant::Expired {
                    role: enrolment.role.clone(),
                    ago_secs: now.since(enrolment.expires) / 1000,
                });
            }
            let role = Role::parse(&enrolment.role)?;
            PeerName::new(own.clone(), cluster_set.clone(), role)?
        }
        Ground::Leaf(name, serial) => {
            if name.cluster != *own || name.cluster_set != *cluster_set {
                return Err(NoGrant::OtherCluster(name.clone()));
            }
            if withdrawn.contains(serial) {
                return Err(NoGrant::Withdrawn(name.clone()));
            }
            name.clone()
        }
    };
    if name.role == Role::Catalog {
        return Err(NoGrant::Catalog);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(role: &str, expires: u64, now: u64) -> String {
        let enrolment = IssuedEnrolment {
            role: role.to_owned(),
            expires: Timestamp(expires),
        };
        let ground = Ground::Enrolment(&enrolment);
        text(ground, now)
    }

    fn text(ground: Ground<'_>, now: u64) -> String {
        match grant(
            ground,
            &"west".parse().unwrap(),
            &"prod".parse().unwrap(),
            &BTreeSet::from([vec![7]]),
            Timestamp(now),
        ) {
            Ok(name) => name.to_string(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn by_enrolment() {
        assert_eq!(check("agent/w1", 10, 9), "spiffe://west.prod/agent/w1");
        assert_eq!(
            check("agent/w1", 1000, 61_000),
            "the enrolment of agent/w1 expired 60 s ago; make a new one with `causeway enroll`"
        );
        assert_eq!(check("catalog", 10, 9), "the catalog key is not given out");
        assert_eq!(
            check("root/x", 10, 9),
            "\"root/x\" is not a role: gateway/, controller/, agent/ or operator/NAME"
        );
    }

    #[test]
    fn by_leaf() {
        let name = |uri| PeerName::parse(uri, &"prod".parse().unwrap()).unwrap();
        let own = name("spiffe://west.prod/gateway/w2");
        assert_eq!(text(Ground::Leaf(&own, &[1]), 0), own.to_string());
        assert_eq!(
            text(Ground::Leaf(&own, &[7]), 0),
            "the certificate of spiffe://west.prod/gateway/w2 was withdrawn; enrol it again"
        );
        let other = name("spiffe://east.prod/gateway/w2");
        assert_eq!(
            text(Ground::Leaf(&other, &[1]), 0),
            "spiffe://east.prod/gateway/w2 is not of this cluster"
        );
    }

    /// Whoever slept until it was due would find the leaf ended, or wait for a day that is past.
    #[test]
    fn renewal_bears_a_clock_that_jumps() {
        let day = Timestamp(1_800_000_000_000);
        let window = Validity::starting(day, LEAF_MS);
        let wait = |by: i64| renew_in(window, 0, Timestamp(day.0.saturating_add_signed(by)));
        assert_eq!(wait(0), RENEW_LOOK_MS);
        let hour = 3_600_000;
        assert_eq!(wait(15 * hour), RENEW_LOOK_MS);
        assert_eq!((wait(16 * hour), wait(24 * hour)), (0, 0));
        assert_eq!(wait(10_000 * hour), 0);
        assert_eq!(wait(-hour), 0);
    }

    proptest! {
        #[test]
        fn renewal_lies_inside(start in 0..1u64 << 50, life in 0..1u64 << 40, jitter: u64) {
            let window = Validity {
                not_before: Timestamp(start),
                not_after: Timestamp(start + life),
            };
            let at = renew_at(window, jitter);
            prop_assert!(window.holds(at));
            // Integer thirds round down by at most two.
            prop_assert!(at.since(window.not_before) + 2 >= life * 2 / 3);
            prop_assert!(at.since(window.not_before) <= life * 3 / 4 + 2);
            prop_assert_eq!(renew_in(window, jitter, at), 0);
        }
    }
}
