//! Pure: trouble by chance, and its end.

use causeway_proto::model::ClusterId;

use super::{Sim, pair};

impl Sim {
    /// One piece of trouble, or one change of what is true.
    pub fn trouble(&mut self) {
        let clusters: Vec<ClusterId> = self.truth.keys().cloned().collect();
        let (Some(a), Some(b)) = (
            self.rng.pick(&clusters).cloned(),
            self.rng.pick(&clusters).cloned(),
        ) else {
            return;
        };
        let hosts = u64::try_from(self.hosts.len()).unwrap_or(1);
        let host = usize::try_from(self.rng.below(hosts)).unwrap_or(0);
        let kinds = if self.controllers.is_empty() { 20 } else { 22 };
        match self.rng.below(kinds) {
            0..10 => {
                if let Some(truth) = self.truth.get_mut(&a) {
                    truth.change(&mut self.rng);
                    self.told(&a);
                }
            }
            10 | 11 => self.break_session(),
            12 if a != b => {
                self.cut.insert(pair(&a, &b));
            }
            13 => {
                self.cut.pop_first();
                self.dark.pop_first();
            }
            14 if a != b => {
                self.dark.insert(pair(&a, &b));
            }
            15 => self.kill(host),
            16 => {
                let lost = self.rng.below(4) == 0;
                self.kill(host);
                self.start(host, lost);
            }
            17 => self.join_or_leave(&a, &b),
            20 => {
                if let Some(controller) = self.controllers.get_mut(&a) {
                    controller.down = !controller.down;
                }
            }
            21 => self.say_again(&a),
            18 => {
                let by = i64::try_from(self.rng.below(7_200_000)).unwrap_or(0) - 3_600_000;
                if let Some(host) = self.hosts.get_mut(host) {
                    host.skew_ms = by;
                }
            }
            _ => {
                if !self.alone.remove(&host) {
                    self.alone.insert(host);
                }
            }
        }
    }

    /// Two clusters part, or meet again.
    fn join_or_leave(&mut self, a: &ClusterId, b: &ClusterId) {
        if a == b {
            return;
        }
        for (one, other) in [(a, b), (b, a)] {
            if let Some(truth) = self.truth.get_mut(one)
                && !truth.members.remove(other)
            {
                truth.members.insert(other.clone());
            }
            self.told(one);
        }
    }

    /// Everything works again: what was cut is whole, who was down is up.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.dark.clear();
        self.alone.clear();
        self.controllers.values_mut().for_each(|c| c.down = false);
        for at in 0..self.hosts.len() {
            if self.hosts.get(at).is_some_and(|h| h.gateway.is_none()) {
                self.start(at, false);
            }
        }
    }
}
