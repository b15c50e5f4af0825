//! The chart: lint, golden templates, what its values may not be, and that the programs take what it gives them. Needs
//! helm; fails without it when `REQUIRE_HELM=1`. `UPDATE_EXPECT=1` writes the golden files.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something fails"
)]

mod chart;
mod confinement;
mod programs;

use std::fmt::Write;

use chart::{VALUES, helm, objects, rendered, root, run, values};
use expect_test::{Expect, expect, expect_file};

#[test]
fn lint_finds_nothing() {
    let Some(helm) = helm() else { return };
    for name in VALUES {
        let output = run(
            &helm,
            &["lint", "helm", "--strict", "--quiet"],
            &values(name),
        );
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name}: {said}");
    }
}

/// The first golden file is whole; the others have what differs from it.
#[test]
fn templates_are_as_they_were() {
    let Some(helm) = helm() else { return };
    let usual = objects(&helm, VALUES[0]);
    for name in VALUES {
        let mut text = String::new();
        let these = objects(&helm, name);
        for (key, object) in &these {
            let same = usual
                .get(key)
                .is_some_and(|usual| usual.text == object.text);
            if name == VALUES[0] || !same {
                write!(text, "---\n{}", object.text).unwrap();
            }
        }
        for key in usual.keys().filter(|key| !these.contains_key(*key)) {
            writeln!(text, "# without {key}").unwrap();
        }
        let golden = root().join(format!("integration/tests/helm/golden/{name}.yaml"));
        expect_file![golden].assert_eq(&text);
    }
}

#[test]
fn wrong_values_are_refused_by_name() {
    let Some(helm) = helm() else { return };
    let check = |text: &str, expected: Expect| {
        let file =
            std::env::temp_dir().join(format!("causeway-values-{}.yaml", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let refused = rendered(&helm, &file).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        let lines = refused
            .lines()
            .filter(|line| !line.is_empty() && !line.contains("--debug"));
        expected.assert_eq(&lines.collect::<Vec<_>>().join("\n"));
    };
    check(
        "{}",
        expect![
            "Error: execution error at (causeway/templates/hook-install.yaml:26:18): cluster.name is needed: --set cluster.name=NAME, unique among the clusters that you join"
        ],
    );
    check(
        "cluster: {name: East_1}",
        expect![[r#"
        Error: values don't meet the specifications of the schema(s) in the following chart(s):
        causeway:
        - at '/cluster/name': 'East_1' does not match pattern '^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?)?$'"#]],
    );
    check(
        "cluster: {name: a.b.c}",
        expect![[r#"
        Error: values don't meet the specifications of the schema(s) in the following chart(s):
        causeway:
        - at '/cluster/name': 'a.b.c' does not match pattern '^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?)?$'"#]],
    );
    check(
        "{cluster: {name: east}, encryption: maybe}",
        expect![[r#"
        Error: values don't meet the specifications of the schema(s) in the following chart(s):
        causeway:
        - at '/encryption': value must be one of 'required', 'off', false"#]],
    );
    check(
        "{cluster: {name: east}, gatway: {}}",
        expect![[r#"
        Error: values don't meet the specifications of the schema(s) in the following chart(s):
        causeway:
        - at '': additional properties 'gatway' not allowed"#]],
    );
    check(
        "{cluster: {name: east}, gateway: {expose: {type: LoadBalancer}}}",
        expect![[r#"
        Error: values don't meet the specifications of the schema(s) in the following chart(s):
        causeway:
        - at '': 'allOf' failed
          - at '/gateway/nodes': minItems: got 0, want 1"#]],
    );
    check(
        "{cluster: {name: east}, gateway: {expose: {type: LoadBalancer}, nodes: [{name: a}]}}",
        expect![[r#"
            Error: values don't meet the specifications of the schema(s) in the following chart(s):
            causeway:
            - at '': 'allOf' failed
              - at '/gateway/nodes/0': missing property 'address'"#]],
    );
    check(
        "{cluster: {name: east}, podPrefixes: [10.0.0.0]}",
        expect![[r#"
        Error: values don't meet the specifications of the schema(s) in the following chart(s):
        causeway:
        - at '/podPrefixes/0': '10.0.0.0' does not match pattern '^[0-9a-fA-F:.]+/[0-9]{1,3}$'"#]],
    );
}
