//! Pure: the prefixes of this cluster's own pods, as few as peers take from one cluster.

use std::collections::BTreeSet;

use causeway_proto::model::{Prefix, Problem, ProblemKind};

use super::SHORTEST_MAPPED;

/// Those configured, and those of the nodes that lie outside them, at most `room`. Of more, nodes' prefixes are widened alike,
/// by as many bits as it takes: then most nodes that are added later change nothing, and a peer's mappings stay.
///
/// `taken`: what no prefix may come to overlap by that.
#[must_use]
pub fn own(
    configured: &[Prefix],
    named: &BTreeSet<Prefix>,
    taken: &[Prefix],
    room: usize,
) -> (Vec<Prefix>, Option<Problem>) {
    let whole = outermost(configured, named.iter().copied());
    if whole.len() <= room {
        return (whole, None);
    }
    let fits = |wide: &Vec<Prefix>| {
        let clash = |p: &Prefix| taken.iter().any(|t| t.overlaps(*p)) && !whole.contains(p);
        wide.len() <= room && !wide.iter().any(clash)
    };
    let lengths = (0..128).rev();
    let mut wider =
        lengths.map(|bits| outermost(configured, named.iter().map(|p| widened(*p, bits))));
    if let Some(wide) = wider.find(fits) {
        return (wide, None);
    }
    let problem = Problem {
        kind: ProblemKind::LimitReached,
        subject: "pod prefixes".to_owned(),
        message: format!(
            "the nodes name {} prefixes, {room} can be told to peers, and wider ones would overlap others: pods of some nodes are not reached; set podPrefixes to what covers them",
            whole.len()
        ),
    };
    (whole.into_iter().take(room).collect(), Some(problem))
}

/// No shorter than `bits`, nor than what may be mapped.
fn widened(prefix: Prefix, bits: u8) -> Prefix {
    let family = prefix.bits().saturating_sub(prefix.family_len());
    let bits = bits.max(family.saturating_add(SHORTEST_MAPPED));
    prefix.widened(bits)
}

/// Those that lie in no other; the configured ones first.
fn outermost(configured: &[Prefix], named: impl Iterator<Item = Prefix>) -> Vec<Prefix> {
    let mut all: Vec<Prefix> = configured.iter().copied().chain(named).collect();
    // What contains others comes right before them.
    all.sort_unstable();
    let mut kept: Vec<Prefix> = Vec::new();
    for prefix in all {
        if !kept.last().is_some_and(|k| k.contains(prefix.base())) {
            kept.push(prefix);
        }
    }
    kept.sort_by_key(|p| (!configured.contains(p), *p));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn check(configured: &[&str], named: &[String], room: usize) -> String {
        let configured: Vec<_> = configured.iter().map(|p| prefix(p)).collect();
        let named = named.iter().map(|p| prefix(p)).collect();
        let taken = [prefix("241.0.0.0/16")];
        let (own, problem) = own(&configured, &named, &taken, room);
        let mut told: Vec<String> = own.iter().map(ToString::to_string).collect();
        told.extend(problem.map(|p| p.to_string()));
        told.join(" ")
    }

    fn nodes(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.244.{n}.0/24")).collect()
    }

    #[test]
    fn as_they_are_while_they_fit() {
        assert_eq!(check(&[], &nodes(2), 2), "10.244.0.0/24 10.244.1.0/24");
        assert_eq!(check(&["10.244.0.0/16"], &nodes(9), 2), "10.244.0.0/16");
        let named = ["10.9.0.0/24".to_owned(), "10.9.0.0/25".to_owned()];
        assert_eq!(
            check(&["10.244.0.0/16"], &named, 2),
            "10.244.0.0/16 10.9.0.0/24"
        );
    }

    /// Nodes that come later change nothing until there are twice as many.
    #[test]
    fn of_too_many_all_are_widened_alike() {
        assert_eq!(
            check(&[], &nodes(5), 4),
            "10.244.0.0/23 10.244.2.0/23 10.244.4.0/23"
        );
        assert_eq!(check(&[], &nodes(6), 4), check(&[], &nodes(5), 4));
        let hundreds: Vec<_> = nodes(256);
        assert_eq!(check(&[], &hundreds, 63).split(' ').count(), 32);
        // What was configured stays as it was.
        assert_eq!(
            check(&["10.9.0.0/30"], &nodes(4), 3),
            "10.9.0.0/30 10.244.0.0/23 10.244.2.0/23"
        );
    }

    #[test]
    fn what_cannot_be_summed_up_is_a_problem() {
        let far: Vec<_> = (1..20).map(|n| format!("{}.0.0.0/24", n * 10)).collect();
        let told = check(&[], &far, 3);
        assert!(told.starts_with("10.0.0.0/24 20.0.0.0/24 30.0.0.0/24 LimitReached pod prefixes: the nodes name 19 prefixes, 3 can"), "{told}");
        // Nor may a pool be swallowed.
        let near = ["241.1.0.0/24", "241.1.1.0/24", "241.2.0.0/24"].map(str::to_owned);
        assert_eq!(check(&[], &near, 2), "241.1.0.0/23 241.2.0.0/23");
        assert!(check(&[], &near, 1).contains("LimitReached"));
    }
}
