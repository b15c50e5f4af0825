//! Pure: what goes wrong, for how long, and which flows it cuts by itself.

use std::fmt;
use std::time::Duration;

use crate::lab::topology::{Node, Topology};
use crate::sim::Rng;

/// Packets that do not pass for so long break no flow: TCP sends again, and no backend is withdrawn before.
const BEARABLE: Duration = Duration::from_millis(2500);
/// Milliseconds that troubles last.
const LASTS: [u64; 4] = [300, 1_000, 2_500, 5_000];
/// Clocks that are wrong by this much are borne: leaves hold from five minutes before they are issued.
const CLOCK_SECONDS: i64 = 200;
/// Of a hundred packets, so many are lost.
pub const LOST_PERCENT: u32 = 5;

/// One of our processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A node's gateway
    Gateway(&'static str),
    /// A node's agent
    Agent(&'static str),
    /// A cluster's controller
    Controller(&'static str),
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Program::Gateway(node) => write!(f, "gateway-{node}"),
            Program::Agent(node) => write!(f, "agent-{node}"),
            Program::Controller(cluster) => write!(f, "controller-{cluster}"),
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and started again at the end
    Kill(Program),
    /// SIGTERM, and started again at the end
    Restart(Program),
    /// SIGSTOP, and SIGCONT at the end
    Freeze(Program),
    /// Two clusters see nothing of one another
    Part(&'static str, &'static str),
    /// A node sees nothing of any other
    CutOff(Node),
    /// No UDP between clusters
    NoUdp,
    /// Some of all packets between nodes are lost
    Lossy,
    /// A node's uplink is slow, and holds packets up
    Slow(Node),
    /// A gateway's disk is full
    FullDisk(&'static str),
    /// The wall clocks of a cluster are so many seconds wrong
    Clock(&'static str, i64),
}

/// One fault, and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// What it is
    pub fault: Fault,
    /// From its begin to its end
    pub lasts: Duration,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Kill(program) => write!(f, "{program} killed"),
            Fault::Restart(program) => write!(f, "{program} ended in order"),
            Fault::Freeze(program) => write!(f, "{program} frozen"),
            Fault::Part(one, other) => write!(f, "{one} and {other} parted"),
            Fault::CutOff(node) => write!(f, "node {} cut off", node.name),
            Fault::NoUdp => f.write_str("no UDP between clusters"),
            Fault::Lossy => write!(f, "{LOST_PERCENT} % of packets lost"),
            Fault::Slow(node) => write!(f, "node {} slow", node.name),
            Fault::FullDisk(node) => write!(f, "disk of gateway-{node} full"),
            Fault::Clock(cluster, ahead) => write!(f, "clocks of {cluster} wrong by {ahead} s"),
        }?;
        write!(f, " for {:.1} s", self.lasts.as_secs_f64())
    }
}

impl Trouble {
    /// Whether a flow between these nodes may break by what the trouble itself cuts.
    #[must_use]
    pub fn may_break(&self, from: &Node, to: &Node) -> bool {
        if self.lasts <= BEARABLE {
            return false;
        }
        match self.fault {
            Fault::Part(one, other) => {
                let pair = (from.cluster, to.cluster);
                pair == (one, other) || pair == (other, one)
            }
            Fault::CutOff(node) => node == *from || node == *to,
            _ => false,
        }
    }
}

/// The next trouble; `None`: there is nothing that could have one.
pub fn draw(rng: &mut Rng, topology: &Topology) -> Option<Trouble> {
    let node = *rng.pick(topology.nodes)?;
    let clusters = topology.clusters();
    let at = rng.below(u64::try_from(clusters.len()).ok()?);
    let at = usize::try_from(at).ok()?;
    let cluster = *clusters.get(at)?;
    let other = *clusters.get((at + 1) % clusters.len())?;
    // Gateways are what this is about.
    let program = match rng.below(6) {
        0 => Program::Controller(cluster),
        1 => Program::Agent(node.name),
        _ => Program::Gateway(node.name),
    };
    let fault = match rng.below(13) {
        0..=2 => Fault::Kill(program),
        3 | 4 => Fault::Restart(program),
        5 | 6 => Fault::Freeze(program),
        7 => Fault::Part(cluster, other),
        8 => Fault::CutOff(node),
        9 => Fault::NoUdp,
        10 => match rng.below(2) {
            0 => Fault::Lossy,
            _ => Fault::Slow(node),
        },
        11 => Fault::FullDisk(node.name),
        _ if rng.below(2) == 0 => Fault::Clock(cluster, CLOCK_SECONDS),
        _ => Fault::Clock(cluster, -CLOCK_SECONDS),
    };
    let lasts = Duration::from_millis(*rng.pick(&LASTS)?);
    Some(Trouble { fault, lasts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::topology::{E1, E2, N1, THREE, W1};

    #[test]
    fn a_seed_repeats_and_every_fault_is_drawn() {
        let draw_all = |seed| {
            let mut rng = Rng(seed);
            let all = (0..300).map(|_| draw(&mut rng, &THREE).unwrap());
            all.collect::<Vec<_>>()
        };
        assert_eq!(draw_all(7), draw_all(7));
        let kinds = draw_all(7);
        let kinds: std::collections::BTreeSet<_> = kinds
            .iter()
            .map(|trouble| format!("{:?}", std::mem::discriminant(&trouble.fault)))
            .collect();
        assert_eq!(kinds.len(), 10);
    }

    #[test]
    fn only_what_is_cut_for_long_may_break() {
        let trouble = |fault, ms| Trouble {
            fault,
            lasts: Duration::from_millis(ms),
        };
        let part = trouble(Fault::Part("east", "west"), 5_000);
        assert!(part.may_break(&E1, &W1) && part.may_break(&W1, &E2));
        assert!(!part.may_break(&E1, &N1));
        assert!(!trouble(Fault::Part("east", "west"), 2_500).may_break(&E1, &W1));
        let cut = trouble(Fault::CutOff(E1), 5_000);
        assert!(cut.may_break(&E1, &W1) && !cut.may_break(&E2, &W1));
        let killed = trouble(Fault::Kill(Program::Gateway("e1")), 5_000);
        assert!(!killed.may_break(&E1, &W1));
    }
}
