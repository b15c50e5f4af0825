//! Shell: all cases.

mod conflicts;
mod edges;
mod imports;
mod life;
mod names;
mod nodes;
mod pairing;
mod reach;
mod slices;
mod status;
mod trouble;

use super::case::Case;

/// All of them; their order is that in which they start.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        imports::CASES,
        conflicts::CASES,
        slices::CASES,
        names::CASES,
        reach::CASES,
        edges::CASES,
        status::CASES,
        trouble::CASES,
        nodes::CASES,
        life::CASES,
        pairing::CASES,
        life::END,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_spec_of_the_standard_has_a_case() {
        let shown: BTreeSet<_> = all().iter().flat_map(|case| case.specs).copied().collect();
        assert_eq!(shown, (1..=27).collect());
    }

    #[test]
    fn names_are_unique_and_fit_a_namespace() {
        let names: BTreeSet<_> = all().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), all().len());
        for name in names {
            assert!(name.contains('.') && name.len() <= 40, "{name}");
        }
    }
}
