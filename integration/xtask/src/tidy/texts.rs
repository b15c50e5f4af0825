//! Pure: sizes and names of files, paths that a text promises, paths that only one machine has.

use std::collections::BTreeSet;

use super::{File, Problem};

/// Lines of a source file.
const LONGEST_FILE: usize = 500;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "manager", "types", "misc",
];
/// Outside crates that a module may not be named like.
const CRATE_NAMES: &[&str] = &[
    "aya", "kube", "nix", "prost", "quinn", "rcgen", "redb", "rustls", "serde", "tokio", "tonic",
];

/// Source files have a ceiling.
pub fn length(file: &File) -> Option<Problem> {
    let count = file.text.lines().count();
    (count > LONGEST_FILE).then(|| Problem {
        rule: "length",
        path: file.path.clone(),
        line: LONGEST_FILE,
        what: format!("{count} lines, {LONGEST_FILE} are allowed; split it by what it does"),
    })
}

/// Names of modules mean something.
pub fn name(file: &File) -> Option<Problem> {
    let stem = file.path.strip_suffix(".rs").unwrap_or(&file.path);
    let bad = stem
        .split('/')
        .find(|part| EMPTY_NAMES.contains(part) || CRATE_NAMES.contains(part))?;
    Some(Problem {
        rule: "name",
        path: file.path.clone(),
        line: 0,
        what: format!(
            "{bad:?} says nothing, or is another crate's name; name it after what it does"
        ),
    })
}

/// Directories that exist on one machine only.
fn home_directories() -> [String; 4] {
    // Put together here, so that this file keeps its own rule.
    ["root", "home", "work", "Users"].map(|name| format!("/{name}/"))
}

/// No text names a place that only one machine has.
pub fn machine_paths(file: &File) -> Vec<Problem> {
    let homes = home_directories();
    let mut problems = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let found = homes.iter().find(|home| {
            line.match_indices(home.as_str()).any(|(at, _)| {
                // `a/root/b` is a path from somewhere; an absolute one follows no name.
                let before = line.get(..at).and_then(|text| text.chars().next_back());
                !before.is_some_and(|c| c.is_alphanumeric() || "_-.}/".contains(c))
            })
        });
        if let Some(home) = found {
            problems.push(Problem {
                rule: "machine-path",
                path: file.path.clone(),
                line: index.saturating_add(1),
                what: format!("names a path below {home}, which only one machine has"),
            });
        }
    }
    problems
}

/// Every path of this checkout that a text names in backticks or as a link must exist.
pub fn live_paths(file: &File, paths: &BTreeSet<String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut fenced = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        for path in promised(line) {
            if !exists(&path, paths) {
                problems.push(Problem {
                    rule: "live-path",
                    path: file.path.clone(),
                    line: index.saturating_add(1),
                    what: format!("{path:?} does not exist"),
                });
            }
        }
    }
    problems
}

/// The last two parts may be left out of a path that a directory's line explains: `src/zone.rs`.
fn exists(path: &str, paths: &BTreeSet<String>) -> bool {
    let path = path.trim_start_matches("./").trim_end_matches('/');
    paths.contains(path)
        || paths
            .iter()
            .any(|known| known.ends_with(&format!("/{path}")))
}

/// Paths that a line of Markdown promises.
fn promised(line: &str) -> Vec<String> {
    let quoted = line
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| is_path(text));
    let links = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next());
    let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
    quoted.chain(links).map(str::to_owned).collect()
}

/// Something with a slash or a known ending, and nothing that a path has not.
fn is_path(text: &str) -> bool {
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let ending = [".rs", ".proto", ".toml", ".yaml", ".md"]
        .iter()
        .any(|end| text.ends_with(end));
    let first = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric() || c == '.');
    plain && first && (ending || text.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(length(&file("a.rs", &"x\n".repeat(500))), None);
        assert!(length(&file("a.rs", &"x\n".repeat(501))).is_some());
    }

    #[test]
    fn empty_names_are_found() {
        assert!(name(&file("gateway/src/utils.rs", "")).is_some());
        assert!(name(&file("gateway/src/common/a.rs", "")).is_some());
        assert!(name(&file("gateway/src/tokio.rs", "")).is_some());
        assert_eq!(name(&file("gateway/src/transport.rs", "")), None);
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let [root, home, ..] = home_directories();
        assert_eq!(
            machine_paths(&file("a.md", &format!("see {root}x"))).len(),
            1
        );
        assert_eq!(
            machine_paths(&file("a.sh", &format!("X=\"{home}me\""))).len(),
            1
        );
        assert_eq!(
            machine_paths(&file("a.md", "image/root/x and $d/home/x")).len(),
            0
        );
    }

    #[test]
    fn promised_paths_must_exist() {
        let paths: BTreeSet<String> = ["dns", "dns/src", "dns/src/zone.rs"]
            .map(String::from)
            .into();
        let found = |text: &str| live_paths(&file("README.md", text), &paths).len();
        assert_eq!(
            found("see `dns/src/zone.rs`, `src/zone.rs` and [it](dns/src/zone.rs#L1)"),
            0
        );
        assert_eq!(found("see `dns/src/zones.rs`"), 1);
        assert_eq!(found("see [it](dns/gone.rs)"), 1);
        assert_eq!(
            found("see [it](https://example.com/x) and `10.0.0.0/8` and `a/b c`"),
            0
        );
        assert_eq!(found("```\n`gone.rs`\n```"), 0);
    }
}
