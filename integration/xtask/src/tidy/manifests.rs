//! Pure: every crate inherits the lint table; a lint that nobody inherits is worse than none.

use super::{Problem, Tree};

/// Manifests of packages without `[lints] workspace = true`.
pub fn lints_inherited(tree: &Tree) -> Vec<Problem> {
    let manifests = tree
        .files
        .iter()
        .filter(|file| file.path.ends_with("Cargo.toml"));
    manifests
        .filter(|file| file.text.contains("[package]") && !inherits(&file.text))
        .map(|file| Problem {
            rule: "lints",
            path: file.path.clone(),
            line: 0,
            what: "needs `[lints]` with `workspace = true`".to_owned(),
        })
        .collect()
}

fn inherits(manifest: &str) -> bool {
    let lines: Vec<_> = manifest.lines().map(str::trim).collect();
    lines
        .windows(2)
        .any(|pair| pair == ["[lints]", "workspace = true"])
        || lines.contains(&"lints.workspace = true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::File;

    #[test]
    fn a_crate_without_lints_is_found() {
        let tree = |text: &str| Tree {
            files: vec![File {
                path: "dns/Cargo.toml".into(),
                text: text.into(),
            }],
            paths: Default::default(),
            metadata: serde_json::Value::Null,
            built: Default::default(),
        };
        assert_eq!(
            lints_inherited(&tree(
                "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n"
            ))
            .len(),
            0
        );
        assert_eq!(lints_inherited(&tree("[package]\nname = \"x\"\n")).len(), 1);
        assert_eq!(
            lints_inherited(&tree("[workspace]\nmembers = []\n")).len(),
            0
        );
    }
}
