//! Pure: which of a peer's gateways are heard, so that packets go to those. Ages are on the monotonic clock.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits::SILENT_MS;
use causeway_proto::model::GatewayName;

use crate::now::Now;

/// When each of the gateways that one peer lists was last heard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gateways(BTreeMap<GatewayName, u64>);

impl Gateways {
    /// These and no others are listed now. One that is new has time to speak.
    pub fn list<'a>(&mut self, listed: impl Iterator<Item = &'a GatewayName>, now: Now) {
        let listed: BTreeSet<_> = listed.collect();
        self.0.retain(|name, _| listed.contains(name));
        for name in listed {
            self.0.entry(name.clone()).or_insert(now.mono_ms);
        }
    }

    /// A frame of a session with this one.
    pub fn beat(&mut self, name: &GatewayName, now: Now) {
        if let Some(heard) = self.0.get_mut(name) {
            *heard = now.mono_ms.max(*heard);
        }
    }

    /// Those that have fallen silent while others are heard. Where none is heard, silence says nothing about any of them.
    #[must_use]
    pub fn silent(&self, now: Now) -> BTreeSet<GatewayName> {
        let silent = |heard: &u64| now.age(*heard) >= SILENT_MS;
        if self.0.values().all(silent) {
            return BTreeSet::new();
        }
        let all = self.0.iter().filter(|(_, heard)| silent(heard));
        all.map(|(name, _)| name.clone()).collect()
    }

    /// When that changes if nothing more is heard; always after `now`.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<u64> {
        let ends = self.0.values().map(|heard| heard.saturating_add(SILENT_MS));
        ends.filter(|at| *at > now.mono_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use causeway_proto::model::Timestamp;

    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            wall: Timestamp(mono_ms),
        }
    }

    fn silent(gateways: &Gateways, mono_ms: u64) -> Vec<String> {
        let silent = gateways.silent(at(mono_ms));
        silent.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_that_falls_silent_is_left_out_while_others_are_heard() {
        let names: Vec<GatewayName> = ["w1", "w2"].map(|n| n.parse().unwrap()).to_vec();
        let [w1, w2] = &names[..] else { unreachable!() };
        let mut gateways = Gateways::default();
        gateways.beat(w1, at(0));
        assert_eq!(gateways.poll_timeout(at(0)), None, "nobody is listed");
        gateways.list(names.iter(), at(0));
        gateways.beat(w2, at(2_000));
        assert_eq!(gateways.poll_timeout(at(2_000)), Some(SILENT_MS));
        assert!(silent(&gateways, SILENT_MS - 1).is_empty());
        assert_eq!(silent(&gateways, SILENT_MS), ["w1"]);
        gateways.beat(w1, at(4_000));
        assert!(silent(&gateways, 4_000).is_empty(), "it is back");
        assert_eq!(silent(&gateways, 5_000), ["w2"]);
        assert_eq!(gateways.poll_timeout(at(5_000)), Some(7_000));
        assert!(silent(&gateways, 7_000).is_empty(), "all are silent");
        assert_eq!(gateways.poll_timeout(at(7_000)), None);
    }

    #[test]
    fn what_is_listed_counts() {
        let names: Vec<GatewayName> = ["w1", "w2", "w3"].map(|n| n.parse().unwrap()).to_vec();
        let mut gateways = Gateways::default();
        gateways.list(names.iter().take(2), at(0));
        gateways.beat(&names[0], at(9_000));
        gateways.beat(&names[2], at(9_000));
        assert_eq!(silent(&gateways, 9_000), ["w2"]);
        gateways.list(names.iter().skip(1), at(9_000));
        assert_eq!(silent(&gateways, 9_000), ["w2"], "w3 is new and has time");
        gateways.list(names.iter().skip(2), at(9_000));
        assert!(silent(&gateways, 9_000).is_empty(), "w2 is gone");
    }
}
