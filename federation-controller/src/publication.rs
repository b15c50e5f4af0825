//! Pure: what is handed to the leader, within the limits of the wire, and how it is printed.

use std::fmt::Write;

use causeway_proto::limits;
use causeway_proto::model::{Problem, ProblemKind, Publication};

use crate::export::derive;
use crate::objects::Objects;

/// Exports, conditions and problems of the objects, and the problems that there were with reading them.
#[must_use]
pub fn publication(objects: &Objects, problems: &[Problem]) -> Publication {
    let (mut exports, mut conditions, derived) = derive(objects);
    let mut problems: Vec<Problem> = problems.iter().cloned().chain(derived).collect();
    cut(
        &mut exports.services,
        limits::SERVICES,
        "exported services",
        &mut problems,
    );
    cut(
        &mut exports.workloads,
        limits::WORKLOADS,
        "pods",
        &mut problems,
    );
    cut(
        &mut exports.namespaces,
        limits::PARTS,
        "namespaces",
        &mut problems,
    );
    cut(
        &mut exports.nodes,
        limits::NODES_PER_CLUSTER,
        "nodes",
        &mut problems,
    );
    let left_out = |what: &str, more: usize| too_many(what, limits::PROBLEMS, more);
    let room = limits::PROBLEMS.saturating_sub(2);
    if conditions.len() > room {
        problems.push(left_out(
            "conditions",
            conditions.len().saturating_sub(room),
        ));
        conditions.truncate(room);
    }
    if problems.len() > room {
        let more = problems.len().saturating_sub(room);
        problems.truncate(room);
        problems.push(left_out("problems", more));
    }
    for text in problems
        .iter_mut()
        .flat_map(|p| [&mut p.subject, &mut p.message])
    {
        shorten(text);
    }
    for condition in &mut conditions {
        shorten(&mut condition.message);
    }
    Publication {
        exports,
        conditions,
        problems,
    }
}

fn too_many(what: &str, limit: usize, more: usize) -> Problem {
    Problem {
        kind: ProblemKind::LimitReached,
        subject: "cluster".to_owned(),
        message: format!("{what}: {limit} are the most; {more} are left out"),
    }
}

/// The last by key go.
fn cut<K: Ord + Clone, V>(
    map: &mut std::collections::BTreeMap<K, V>,
    limit: usize,
    what: &str,
    problems: &mut Vec<Problem>,
) {
    if let Some(first_out) = map.keys().nth(limit).cloned() {
        let more = map.split_off(&first_out).len();
        problems.push(too_many(what, limit, more));
    }
}

fn shorten(text: &mut String) {
    if text.len() > limits::TEXT_BYTES {
        let mut end = limits::TEXT_BYTES.saturating_sub(3);
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        text.truncate(end);
        text.push_str("...");
    }
}

/// For people: what `--print` shows.
#[must_use]
pub fn render(publication: &Publication) -> String {
    let mut text = publication.exports.to_string();
    for c in &publication.conditions {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "condition {} {}={:?} {}: {}",
            c.object, c.kind, c.status, c.reason, c.message
        );
    }
    for problem in &publication.problems {
        let _ = writeln!(text, "problem {problem}");
    }
    text
}
