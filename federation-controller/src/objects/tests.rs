use expect_test::{Expect, expect};

use super::*;
use crate::export::tests::{EXPORT, GROUND};

#[test]
fn where_a_file_is_broken() {
    let broken = |text: &str, expected: Expect| {
        expected.assert_eq(&parse(text).unwrap_err().to_string());
    };
    broken(
        "a: [1, 2\n---\nb: 1\n",
        expect!["line 1: unclosed bracket '['"],
    );
    broken(
        &[GROUND, "---\nkind: Pod\n"].concat(),
        expect!["line 14: missing field `apiVersion`"],
    );
    broken(
        &[GROUND, "---\n\tapiVersion: v1\n"].concat(),
        expect!["line 14: missing field `kind`"],
    );
    broken(
        &GROUND.replace("port: 80", "port: eighty"),
        expect!["line 12: invalid i32"],
    );
    broken(
        &GROUND.replace("{name: n1, ", "{"),
        expect!["line 2: Node without metadata.name"],
    );
    broken(
        &EXPORT.replace("2026-01-02", "yesterday"),
        expect![
            "line 5: failed to parse four digit integer as year: invalid digit, expected 0-9 but got y"
        ],
    );
    broken(
        "apiVersion: v1\nkind: List\nitems: [{kind: Pod}]\n",
        expect!["line 1: items[0]: missing field `apiVersion`"],
    );
    for nothing in [
        "",
        "# nothing\n",
        "---\n---\n# still nothing\n",
        "---\nnull\n",
    ] {
        assert_eq!(parse(nothing), Ok(Manifest::default()), "{nothing:?}");
    }
}
