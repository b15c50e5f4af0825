//! Pure: which nodes become gateways when nobody has said so.

use std::collections::BTreeMap;

/// What a node says of itself that bears on the choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Candidate {
    /// The node's name.
    pub name: String,
    /// Whether it is marked as a gateway already.
    pub marked: bool,
    /// Whether its kubelet says that it is ready.
    pub ready: bool,
    /// Whether it is open for pods: neither cordoned nor tainted against them.
    pub open: bool,
    /// Its zone, empty when unknown.
    pub zone: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Somebody has chosen; these are marked.
    Made(Vec<String>),
    /// These are to be marked.
    Mark(Vec<String>),
}

/// Up to `count` nodes, ready and open ones first, spread over zones, then by name. Where any node is marked
/// already the choice is made, however many there are.
#[must_use]
pub fn choose(nodes: &[Candidate], count: usize) -> Choice {
    let marked: Vec<_> = nodes
        .iter()
        .filter(|n| n.marked)
        .map(|n| n.name.clone())
        .collect();
    if !marked.is_empty() {
        return Choice::Made(marked);
    }
    let mut sorted: Vec<&Candidate> = nodes.iter().collect();
    sorted.sort_by(|a, b| (!a.ready, !a.open, &a.name).cmp(&(!b.ready, !b.open, &b.name)));
    let mut seen: BTreeMap<(bool, bool, &str), usize> = BTreeMap::new();
    let mut ranked: Vec<(bool, bool, usize, &str)> = Vec::new();
    for node in sorted {
        let nth = seen.entry((node.ready, node.open, &node.zone)).or_default();
        ranked.push((!node.ready, !node.open, *nth, &node.name));
        *nth = nth.saturating_add(1);
    }
    ranked.sort();
    let chosen = ranked
        .into_iter()
        .take(count)
        .map(|(.., name)| name.to_owned());
    Choice::Mark(chosen.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name zone`, then `!` for not ready, `#` for closed, `*` for marked.
    fn check(nodes: &[&str], count: usize, expected: &str) {
        let candidates: Vec<_> = nodes
            .iter()
            .map(|text| {
                let mut words = text.split(' ');
                let name = words.next().unwrap().to_owned();
                let zone = words.next().unwrap_or_default();
                Candidate {
                    name,
                    marked: zone.contains('*'),
                    ready: !zone.contains('!'),
                    open: !zone.contains('#'),
                    zone: zone.trim_end_matches(['!', '#', '*']).to_owned(),
                }
            })
            .collect();
        let told = match choose(&candidates, count) {
            Choice::Made(names) => format!("made: {}", names.join(" ")),
            Choice::Mark(names) => format!("mark: {}", names.join(" ")),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn zones_differ_where_they_can() {
        check(&["a x", "b x", "c y"], 2, "mark: a c");
        check(&["a x", "b x", "c y"], 3, "mark: a c b");
        check(&["b", "a", "c"], 2, "mark: a b");
    }

    #[test]
    fn ready_and_open_nodes_come_first() {
        check(&["a x!", "b x#", "c x"], 1, "mark: c");
        check(&["a x!", "b x#", "c x"], 2, "mark: c b");
        check(&["a x!"], 2, "mark: a");
        check(&[], 2, "mark: ");
    }

    #[test]
    fn what_somebody_chose_stays() {
        check(&["a x", "b x*"], 2, "made: b");
        check(&["a x", "b x*!"], 0, "made: b");
    }
}
