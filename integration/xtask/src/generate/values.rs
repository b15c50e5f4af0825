//! Pure: a chart's values and the comments above them, as a table. Not a parser of YAML: it reads the form that
//! our file has, two spaces a level and one comment line above each value that a user may set.

use std::fmt::Write;

/// The table stands between these lines of the page.
pub const BEGIN: &str = "<!-- values: begin; made by `cargo xtask gen` from values.yaml -->\n";
pub const END: &str = "<!-- values: end -->\n";

/// One value that a user may set.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    path: String,
    default: String,
    meaning: String,
}

/// The page with the table in its place; None when it has no place for one.
pub fn put(page: &str, table: &str) -> Option<String> {
    let (head, rest) = page.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}{table}{END}{tail}"))
}

/// A row for each commented value.
pub fn table(values: &str) -> String {
    let mut table = String::from("| Value | Default | Meaning |\n|---|---|---|\n");
    for entry in entries(values) {
        // A string takes what is written to it.
        let _ = writeln!(
            table,
            "| `{}` | `{}` | {} |",
            entry.path, entry.default, entry.meaning
        );
    }
    table
}

fn entries(values: &str) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut meaning = None;
    // The level of a commented value that is written below its key, not beside it.
    let mut block = None;
    for line in values.lines() {
        let text = line.trim();
        let level = line.len().saturating_sub(line.trim_start().len()) / 2;
        if text.is_empty() {
            meaning = None;
            continue;
        }
        if block.is_some_and(|at| level > at) {
            if let Some(entry) = found.last_mut() {
                entry
                    .default
                    .push_str(if entry.default.is_empty() { "" } else { ", " });
                entry.default.push_str(text);
            }
            continue;
        }
        block = None;
        if let Some(comment) = text.strip_prefix('#') {
            meaning = Some(comment.trim().to_owned());
            continue;
        }
        let (key, value) = text.split_once(':').unwrap_or((text, ""));
        open.truncate(level);
        open.push(key);
        if let Some(meaning) = meaning.take() {
            let default = value.trim().to_owned();
            block = default.is_empty().then_some(level);
            found.push(Entry {
                path: open.join("."),
                default,
                meaning,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str = "\
# Head of the file.

cluster:
  # Its id.
  name: \"\"
  deeper:
    # How many.
    count: 2
  plain: 1
# A list.
peers: []
# What it needs.
resources:
  requests: {cpu: 1}
  limits: {cpu: 2}
last: 1
";

    #[test]
    fn commented_values_are_rows() {
        let rows: Vec<_> = entries(VALUES)
            .into_iter()
            .map(|e| format!("{} = {} ({})", e.path, e.default, e.meaning))
            .collect();
        assert_eq!(
            rows,
            [
                "cluster.name = \"\" (Its id.)",
                "cluster.deeper.count = 2 (How many.)",
                "peers = [] (A list.)",
                "resources = requests: {cpu: 1}, limits: {cpu: 2} (What it needs.)",
            ]
        );
    }

    #[test]
    fn the_table_takes_its_place() {
        let page = format!("head\n{BEGIN}old\n{END}tail\n");
        let new = put(&page, "new\n").unwrap();
        assert_eq!(new, format!("head\n{BEGIN}new\n{END}tail\n"));
        assert_eq!(put("no place", "x"), None);
    }
}
