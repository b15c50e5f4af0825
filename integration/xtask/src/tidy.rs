//! Shell: the rules of the code that no compiler knows. This file reads the checkout; each rule is
//! a pure function of what was read, with a test that shows that it can fail.
//!
//! Not here: the length of functions, since clippy's `too_many_lines` knows it better.

mod code;
mod heads;
mod layers;
mod manifests;
mod texts;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::{cargo, step};

/// One file of the checkout, by its path from the root.
pub struct File {
    /// With forward slashes, from the root
    pub path: String,
    /// Its content
    pub text: String,
}

/// All that the rules look at.
pub struct Tree {
    /// Every text file that git knows or would take
    pub files: Vec<File>,
    /// Every path, directories included
    pub paths: BTreeSet<String>,
    /// `cargo metadata` of the workspace's own packages
    pub metadata: Value,
    /// Names of all packages that a build of the workspace takes
    pub built: BTreeSet<String>,
}

/// A rule that is broken, where, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// The rule's short name
    pub rule: &'static str,
    /// The file
    pub path: String,
    /// Counted from one; 0 for the whole file
    pub line: usize,
    /// What is wrong
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {} [{}]",
            self.path, self.line, self.what, self.rule
        )
    }
}

impl Tree {
    /// Reads the checkout.
    pub fn read(root: &Path) -> anyhow::Result<Tree> {
        let args = [
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
        ];
        let listed = step::output(&mut step::program("git", &args, root))
            .context("`git ls-files` failed")?;
        let mut files = Vec::new();
        let mut paths = BTreeSet::new();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            // A file that is deleted but not committed yet is listed and absent; one that is no text has no rules.
            let Ok(text) = std::fs::read_to_string(root.join(path)) else {
                continue;
            };
            let parents = Path::new(path).ancestors().filter_map(Path::to_str);
            paths.extend(
                parents
                    .filter(|parent| !parent.is_empty())
                    .map(str::to_owned),
            );
            files.push(File {
                path: path.to_owned(),
                text,
            });
        }
        Ok(Tree {
            files,
            paths,
            metadata: cargo::metadata(root)?,
            built: cargo::packages_built(root)?,
        })
    }

    /// The file of that path.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Rust sources.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }
}

/// Every rule over the whole tree.
pub fn problems(tree: &Tree) -> Vec<Problem> {
    let mut problems = layers::crates(&tree.metadata);
    problems.extend(layers::banned(&tree.built));
    problems.extend(manifests::lints_inherited(tree));
    for file in tree.rust() {
        problems.extend(layers::imports(file));
        problems.extend(heads::head(file));
        problems.extend(heads::purity(file));
        problems.extend(texts::length(file));
        problems.extend(texts::name(file));
    }
    for file in &tree.files {
        problems.extend(texts::machine_paths(file));
    }
    if let Some(readme) = tree.file("README.md") {
        problems.extend(texts::live_paths(readme, &tree.paths));
    }
    problems
}
