//! Pure: who may use whom: our crates among themselves, and which files may name the outside
//! crates that tie code to a protocol, a kernel or a cluster.

use std::collections::BTreeSet;

use serde_json::Value;

use super::code::{has_word, is_test, lines};
use super::{File, Problem};

/// Package, and what of ours it may depend on. Who is not listed may depend on none.
const MAY_USE: &[(&str, &[&str])] = &[
    ("causeway-proto", &[]),
    ("causeway-abi", &[]),
    ("causeway-ebpf", &["causeway-abi"]),
    ("causeway-certs", &["causeway-proto"]),
    ("causeway-dns", &["causeway-proto"]),
    (
        "causeway-dataplane",
        &["causeway-proto", "causeway-certs", "causeway-abi"],
    ),
    ("causeway-controller", &["causeway-proto", "causeway-certs"]),
    (
        "causeway-gateway",
        &[
            "causeway-proto",
            "causeway-dns",
            "causeway-certs",
            "causeway-abi",
        ],
    ),
    ("causeway-cli", &["causeway-proto", "causeway-certs"]),
];
/// The package that may use all of ours.
const MAY_USE_ALL: &str = "causeway-integration";

/// Outside crate, packages that may depend on it, files (or directories) that may name it.
const OUTSIDE: &[(&str, &[&str], &[&str])] = &[
    ("quinn", &["causeway-gateway"], &["gateway/src/transport"]),
    (
        "quinn_proto",
        &["causeway-gateway"],
        &["gateway/src/transport"],
    ),
    (
        "kube",
        &["causeway-controller", "causeway-cli"],
        &[
            "federation-controller/src/cluster",
            "federation-controller/src/crd",
            "federation-controller/src/hook",
            "federation-controller/src/kubernetes.rs",
            "cli/src/kube",
        ],
    ),
    (
        "aya",
        &["causeway-dataplane", "causeway-abi", "causeway-integration"],
        &[
            "dataplane-ebpf/src/kernel",
            "dataplane-ebpf/abi/",
            "integration/src/packet",
            "integration/src/bench",
        ],
    ),
    ("aya_ebpf", &["causeway-ebpf"], &["dataplane-ebpf/ebpf/"]),
    ("hickory_proto", &["causeway-dns"], &["dns/src/"]),
    ("rcgen", &["causeway-certs"], &["certs/src/"]),
    (
        "rtnetlink",
        &["causeway-dataplane"],
        &["dataplane-ebpf/src/ports", "dataplane-ebpf/src/links"],
    ),
    ("redb", &["causeway-gateway"], &["gateway/src/store"]),
];

/// Never, not even through others: one TLS provider, no C library of it beside.
const BANNED: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

/// Dependencies of our packages, test and build dependencies included.
pub fn crates(metadata: &Value) -> Vec<Problem> {
    let packages = metadata.get("packages").and_then(Value::as_array);
    packages.into_iter().flatten().flat_map(package).collect()
}

fn package(package: &Value) -> Vec<Problem> {
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let name = text(package, "name");
    let dependencies = package.get("dependencies").and_then(Value::as_array);
    let mut problems = Vec::new();
    for dependency in dependencies.into_iter().flatten() {
        let used = text(dependency, "name");
        if !may_use(&name, &used) {
            problems.push(Problem {
                rule: "layers",
                path: format!("package {name}"),
                line: 0,
                what: format!("may not depend on {used}"),
            });
        }
    }
    problems
}

fn may_use(name: &str, used: &str) -> bool {
    if used.starts_with("causeway-") {
        let allowed = MAY_USE.iter().find(|(package, _)| *package == name);
        return name == MAY_USE_ALL || allowed.is_some_and(|(_, list)| list.contains(&used));
    }
    let module = used.replace('-', "_");
    let rule = OUTSIDE.iter().find(|(outside, _, _)| *outside == module);
    rule.is_none_or(|(_, packages, _)| packages.contains(&name))
}

/// Packages that may be in no build, by what a build really takes: the lock file also lists what
/// optional features would bring.
pub fn banned(built: &BTreeSet<String>) -> Vec<Problem> {
    let found = BANNED.iter().filter(|name| built.contains(**name));
    found
        .map(|name| Problem {
            rule: "banned",
            path: "Cargo.lock".to_owned(),
            line: 0,
            what: format!(
                "{name} may be in no build; find who brings it with `cargo tree -i {name}`"
            ),
        })
        .collect()
}

/// Outside crates are named only where the list says so.
pub fn imports(file: &File) -> Vec<Problem> {
    if is_test(&file.path) || file.path.starts_with("integration/xtask/") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for line in lines(&file.text) {
        for (outside, _, places) in OUTSIDE {
            let path = format!("{outside}::");
            let names = has_word(&line.text, outside) && line.text.contains(&path);
            let follows_name =
                line.text.contains(&format!("_{path}")) || line.text.contains(&format!("::{path}"));
            if names && !follows_name && !places.iter().any(|place| file.path.starts_with(place)) {
                problems.push(Problem {
                    rule: "imports",
                    path: file.path.clone(),
                    line: line.number,
                    what: format!("{outside} may be named only in {}", places.join(", ")),
                });
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn depends(name: &str, used: &str) -> usize {
        crates(&json!({"packages": [{"name": name, "dependencies": [{"name": used}]}]})).len()
    }

    #[test]
    fn our_crates_are_layered() {
        assert_eq!(depends("causeway-gateway", "causeway-proto"), 0);
        assert_eq!(depends("causeway-proto", "causeway-certs"), 1);
        assert_eq!(depends("causeway-gateway", "causeway-dataplane"), 1);
        assert_eq!(depends("causeway-integration", "causeway-gateway"), 0);
        assert_eq!(depends("xtask", "causeway-proto"), 1);
    }

    #[test]
    fn outside_crates_have_their_packages() {
        assert_eq!(depends("causeway-gateway", "quinn"), 0);
        assert_eq!(depends("causeway-controller", "quinn"), 1);
        assert_eq!(depends("causeway-gateway", "aya"), 1);
        assert_eq!(depends("causeway-gateway", "hickory-proto"), 1);
        assert_eq!(depends("causeway-gateway", "rcgen"), 1);
        assert_eq!(depends("causeway-gateway", "tokio"), 0);
    }

    #[test]
    fn banned_packages_are_found_in_a_build() {
        let built = |name: &str| BTreeSet::from([name.to_owned()]);
        assert_eq!(banned(&built("ring")).len(), 1);
        assert_eq!(banned(&built("openssl-sys")).len(), 1);
        assert_eq!(banned(&built("string")).len(), 0);
    }

    #[test]
    fn outside_crates_have_their_files() {
        let found = |path: &str, text: &str| {
            imports(&File {
                path: path.into(),
                text: text.into(),
            })
            .len()
        };
        assert_eq!(
            found("gateway/src/transport.rs", "use quinn::Endpoint;\n"),
            0
        );
        assert_eq!(found("gateway/src/app.rs", "use quinn::Endpoint;\n"), 1);
        assert_eq!(
            found(
                "gateway/src/app.rs",
                "// quinn::Endpoint\nlet x = \"quinn::\";\n"
            ),
            0
        );
        assert_eq!(
            found("dataplane-ebpf/src/compile.rs", "fn f(x: aya::Ebpf) {}\n"),
            1
        );
        assert_eq!(
            found("gateway/src/app.rs", "use hickory_proto::op::Message;\n"),
            1
        );
        assert_eq!(
            found(
                "gateway/src/app.rs",
                "#[cfg(test)]\nmod tests {\nuse hickory_proto::x;\n}\n"
            ),
            0
        );
    }
}
