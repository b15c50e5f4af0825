//! Pure: keeps a View within the limits of the local service, whatever peers offer together. What does not fit
//! is left out by the order of names and told: a View that nobody can read would leave all agents with an old one.

use std::collections::BTreeMap;

use causeway_proto::limits::{IMPORT_ENDPOINTS, IMPORTS, NODE_ADDRESSES, PROBLEMS, TEXT_BYTES};
use causeway_proto::model::{Problem, ProblemKind, View};

/// What ends a text that was cut.
const ELLIPSIS: &str = "…";

/// Leaves out what is too much.
pub(super) fn keep(view: &mut View) {
    let mut told = Vec::new();
    let over = cut(&mut view.imports, IMPORTS);
    told.extend(left_out("View", "services", over));
    let imports = &view.imports;
    view.conflicts.retain(|name, _| imports.contains_key(name));
    for (name, import) in &mut view.imports {
        let over = import.endpoints.len().saturating_sub(IMPORT_ENDPOINTS);
        import.endpoints.truncate(IMPORT_ENDPOINTS);
        told.extend(left_out(&format!("service {name}"), "endpoints", over));
    }
    for (id, peer) in &mut view.peers {
        let over = peer.nodes.len().saturating_sub(NODE_ADDRESSES);
        peer.nodes.truncate(NODE_ADDRESSES);
        told.extend(left_out(&format!("peer {id}"), "addresses of nodes", over));
    }
    let over = view.conditions.len().saturating_sub(PROBLEMS);
    view.conditions.truncate(PROBLEMS);
    told.extend(left_out("View", "conditions", over));
    view.problems.extend(told);
    if view.problems.len() > PROBLEMS {
        let over = view.problems.len().saturating_sub(PROBLEMS - 1);
        view.problems.truncate(PROBLEMS - 1);
        view.problems.extend(left_out("View", "problems", over));
    }
    for problem in &mut view.problems {
        shorten(&mut problem.subject);
        shorten(&mut problem.message);
    }
    for condition in &mut view.conditions {
        shorten(&mut condition.message);
    }
}

/// That `count` of something were too many, if any were.
pub(super) fn left_out(subject: &str, what: &str, count: usize) -> Option<Problem> {
    (count > 0).then(|| Problem {
        kind: ProblemKind::LimitReached,
        subject: subject.to_owned(),
        message: format!("{count} {what} are left out: there are too many"),
    })
}

fn cut<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, most: usize) -> usize {
    let first_out = map.keys().nth(most).cloned();
    first_out.map_or(0, |key| map.split_off(&key).len())
}

fn shorten(text: &mut String) {
    if text.len() > TEXT_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_BYTES - ELLIPSIS.len()));
        text.push_str(ELLIPSIS);
    }
}
