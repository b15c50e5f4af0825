//! Pure: what a case is, which ones a run takes, and why it leaves the others out.

use std::fmt;

use super::scene::Scene;

/// One behaviour, shown on two clusters.
#[derive(Clone, Copy)]
pub struct Case {
    /// `area.what`
    pub name: &'static str,
    /// In one line
    pub what: &'static str,
    /// Numbers of the standard's specs that it shows
    pub specs: &'static [u8],
    /// What the clusters must be like
    pub needs: &'static [Need],
    /// Beside which others it may run
    pub turn: Turn,
    /// Whether its namespace is made in both clusters before it runs
    pub has_namespace: bool,
    /// The case itself
    pub run: fn(&Scene<'_>) -> anyhow::Result<()>,
}

/// What a case asks of the clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Two nodes a cluster
    Nodes,
    /// Pods of both clusters with the same addresses
    EqualCidr,
    /// Pods of both clusters with addresses of their own, used as they are
    DistinctCidr,
    /// Nodes and API servers that can be stopped, lost and looked into
    Ground,
}

/// Beside which others a case may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// Before all others, by itself: it installs
    First,
    /// Beside others
    Together,
    /// After those, by itself: it breaks something that all use
    Alone,
    /// After all others, by itself: it takes the installation away
    Last,
}

/// A case with nothing special; the functions below say what is.
#[must_use]
pub const fn case(
    name: &'static str,
    what: &'static str,
    run: fn(&Scene<'_>) -> anyhow::Result<()>,
) -> Case {
    Case {
        name,
        what,
        specs: &[],
        needs: &[],
        turn: Turn::Together,
        has_namespace: true,
        run,
    }
}

impl Case {
    /// Shows these specs of the standard.
    #[must_use]
    pub const fn specs(self, specs: &'static [u8]) -> Case {
        Case { specs, ..self }
    }

    /// Cannot be shown without.
    #[must_use]
    pub const fn needs(self, needs: &'static [Need]) -> Case {
        Case { needs, ..self }
    }

    /// Runs at that turn.
    #[must_use]
    pub const fn turn(self, turn: Turn) -> Case {
        Case { turn, ..self }
    }

    /// Makes its namespaces itself.
    #[must_use]
    pub const fn bare(self) -> Case {
        Case {
            has_namespace: false,
            ..self
        }
    }

    /// Whether a filter means it: a part of its name, or `#` and the number of a spec.
    #[must_use]
    pub fn is_meant(&self, filter: &str) -> bool {
        match filter.strip_prefix('#') {
            Some(number) => number
                .parse()
                .is_ok_and(|number: u8| self.specs.contains(&number)),
            None => self.name.contains(filter),
        }
    }
}

/// What the clusters are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Nodes of the smaller cluster
    pub nodes: usize,
    /// Whether pods of both have the same addresses; None where nobody said
    pub equal: Option<bool>,
    /// Whether nodes and API servers can be stopped, lost and looked into
    pub ground: bool,
}

/// Why a case does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Another combination shows it
    ByNature(Need),
    /// It should run here and cannot
    Skipped(Need),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Absent::ByNature(need) | Absent::Skipped(need)) = self;
        f.write_str(match need {
            Need::Nodes => "needs two nodes a cluster",
            Need::EqualCidr => "needs --cidr equal",
            Need::DistinctCidr => "needs --cidr distinct",
            Need::Ground => "needs the clusters of `e2e up`",
        })
    }
}

/// Why the clusters do not show a case; None if they can.
#[must_use]
pub fn absent(case: &Case, facts: &Facts) -> Option<Absent> {
    let missing = |need: &&Need| match need {
        Need::Nodes => facts.nodes < 2,
        Need::EqualCidr => facts.equal != Some(true),
        Need::DistinctCidr => facts.equal != Some(false),
        Need::Ground => !facts.ground,
    };
    case.needs.iter().find(missing).map(|need| match need {
        Need::Ground => Absent::Skipped(*need),
        Need::Nodes | Need::EqualCidr | Need::DistinctCidr => Absent::ByNature(*need),
    })
}

/// The cases that a run takes, in the order of their turns.
#[must_use]
pub fn choose(all: &[Case], filters: &[String]) -> Vec<Case> {
    let meant = |case: &&Case| filters.is_empty() || filters.iter().any(|f| case.is_meant(f));
    let mut chosen: Vec<_> = all.iter().filter(meant).copied().collect();
    chosen.sort_by_key(|case| case.turn);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Case = case("imports.ports", "", |_| Ok(())).specs(&[9]);
    const B: Case = case("pair.first", "", |_| Ok(())).turn(Turn::First);
    const C: Case = case("node.lost", "", |_| Ok(())).needs(&[Need::Ground, Need::EqualCidr]);

    fn names(filters: &[&str]) -> Vec<&'static str> {
        let filters: Vec<_> = filters.iter().map(|f| (*f).to_owned()).collect();
        let chosen = choose(&[A, B, C], &filters);
        chosen.iter().map(|case| case.name).collect()
    }

    #[test]
    fn filters_are_parts_of_names_or_numbers() {
        assert_eq!(names(&[]), ["pair.first", "imports.ports", "node.lost"]);
        assert_eq!(names(&["port"]), ["imports.ports"]);
        assert_eq!(names(&["#9", "lost"]), ["imports.ports", "node.lost"]);
        assert_eq!(names(&["#8"]), [""; 0]);
    }

    #[test]
    fn what_is_missing_is_said() {
        let facts = Facts {
            nodes: 2,
            equal: Some(false),
            ground: false,
        };
        assert_eq!(absent(&A, &facts), None);
        assert_eq!(absent(&C, &facts), Some(Absent::Skipped(Need::Ground)));
        let facts = Facts {
            ground: true,
            ..facts
        };
        assert_eq!(absent(&C, &facts), Some(Absent::ByNature(Need::EqualCidr)));
    }
}
