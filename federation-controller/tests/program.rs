//! The program as a user runs it: on the examples, on broken files, on a wrong configuration.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::{Expect, expect};

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_causeway-controller"))
        .args(args)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn print(directory: &Path) -> (Option<i32>, String, String) {
    let directory = directory.display().to_string();
    run(&["--manifests", &directory, "--once", "--print"])
}

/// Everything but the first-seen times, which are now.
fn check_example(cluster: &str, expected: Expect) {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let (code, told, errors) = print(&examples.join(cluster));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let undated = |line: &str| match line.split_once(" created=") {
        Some((before, rest)) => {
            let after = rest.split_once(' ').map_or("", |(_, after)| after);
            format!("{before} {after}\n")
        }
        None => format!("{line}\n"),
    };
    expected.assert_eq(&told.lines().map(undated).collect::<String>());
}

#[test]
fn examples_of_east() {
    check_example(
        "east",
        expect![[r#"
        export shop/catalog ClusterSetIP http:80/TCP
          10.244.0.7 on e1 Ready 80>8080
        workload 10.244.0.6 shop/client as client
        workload 10.244.0.7 shop/catalog-e as catalog
        workload 10.244.0.8 shop/rogue as rogue
        node e1 at 192.0.2.11 pods 10.244.0.0/24
        condition ServiceExport shop/catalog Valid=True Valid: The Service can be exported.
        condition ServiceExport shop/catalog Ready=True Exported: The Service is handed to the cluster's leader gateway.
    "#]],
    );
}

#[test]
fn examples_of_west() {
    check_example(
        "west",
        expect![[r#"
        export shop/cart ClusterSetIP http:80/TCP echo:7/UDP
          10.244.0.6 on w1 Ready 80>8080 7>7007
          10.244.0.7 on w1 Ready 80>8080 7>7007
          10.244.1.6 on w2 Ready 80>8080 7>7007
        export shop/catalog ClusterSetIP http:80/TCP
          10.244.1.8 on w2 Ready 80>8080
        export shop/db Headless sql:5432/TCP
          10.244.0.10 on w1 Ready 5432>5432
          10.244.1.10 on w2 Ready 5432>5432
        workload 10.244.0.6 shop/cart-1 as cart
        workload 10.244.0.7 shop/cart-2 as cart
        workload 10.244.0.10 shop/db-0 as db
        workload 10.244.0.11 shop/secret as secret
        workload 10.244.1.6 shop/cart-3 as cart
        workload 10.244.1.8 shop/catalog-w as catalog
        workload 10.244.1.10 shop/db-1 as db
        node w1 at 192.0.2.21 pods 10.244.0.0/24
        node w2 at 192.0.2.22 pods 10.244.1.0/24
        condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
        condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
        condition ServiceExport shop/catalog Valid=True Valid: The Service can be exported.
        condition ServiceExport shop/catalog Ready=True Exported: The Service is handed to the cluster's leader gateway.
        condition ServiceExport shop/db Valid=True Valid: The Service can be exported.
        condition ServiceExport shop/db Ready=True Exported: The Service is handed to the cluster's leader gateway.
    "#]],
    );
}

#[test]
fn a_broken_file_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("a.yaml"),
        "apiVersion: v1\nkind: Pod\nmetadata: [",
    )
    .unwrap();
    let (code, told, _) = print(dir.path());
    assert_eq!(code, Some(1));
    assert!(told.starts_with("problem BadManifest a.yaml:3: "), "{told}");
}

#[test]
fn what_cannot_start_ends_with_2_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, errors) = print(&dir.path().join("absent"));
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("absent: No such file or directory"),
        "{errors}"
    );

    let config = dir.path().join("controller.yaml");
    std::fs::write(&config, "cluster: east\ngatways: []\nstate_dir: s\n").unwrap();
    let (config, manifests) = (
        config.display().to_string(),
        dir.path().display().to_string(),
    );
    let (code, _, errors) = run(&["--config", &config, "--manifests", &manifests]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("unknown field `gatways`"), "{errors}");
}
