//! Shell: helm, and what it makes of the chart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use causeway_certs::expand::expand;
use serde_json::Value;

/// The version of Kubernetes that templates are rendered for.
const KUBERNETES: &str = "1.34.0";
pub const NAMESPACE: &str = "causeway-system";
/// Files below `values/`, by name; the first is what the others are compared with.
pub const VALUES: [&str; 5] = [
    "default",
    "node-port",
    "load-balancers",
    "bare",
    "monitored",
];
/// A kind that the cluster has with the last of them.
const OPERATOR: &str = "monitoring.coreos.com/v1";

/// Where helm is, or None after having said that it is nowhere.
///
/// Fails when `REQUIRE_HELM=1`: the end-to-end run builds helm and sets it.
pub fn helm() -> Option<PathBuf> {
    let named = std::env::var_os("CAUSEWAY_KUBERNETES_TOOLS");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = named
        .into_iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path))
        .collect();
    let found = places
        .iter()
        .map(|dir| dir.join("helm"))
        .find(|file| file.is_file());
    if found.is_none() {
        assert!(
            !std::env::var("REQUIRE_HELM").is_ok_and(|value| value == "1"),
            "REQUIRE_HELM=1, but helm is neither in CAUSEWAY_KUBERNETES_TOOLS nor in PATH"
        );
        eprintln!("did not run: helm is neither in CAUSEWAY_KUBERNETES_TOOLS nor in PATH");
    }
    found
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

pub fn values(name: &str) -> PathBuf {
    root().join(format!("integration/tests/helm/values/{name}.yaml"))
}

pub fn run(helm: &Path, args: &[&str], values: &Path) -> Output {
    Command::new(helm)
        .args(args)
        .arg("--values")
        .arg(values)
        .current_dir(root())
        .output()
        .unwrap()
}

/// The chart's text with these values.
pub fn rendered(helm: &Path, values: &Path) -> Result<String, String> {
    let mut args = vec![
        "template",
        "causeway",
        "helm",
        "--namespace",
        NAMESPACE,
        "--kube-version",
        KUBERNETES,
    ];
    if values.file_stem().is_some_and(|name| name == "monitored") {
        args.extend(["--api-versions", OPERATOR]);
    }
    let output = run(helm, &args, values);
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// One object of the chart.
pub struct Object {
    pub text: String,
    pub value: Value,
}

impl Object {
    pub fn at(&self, pointer: &str) -> &str {
        self.value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// `Kind namespace/name`
    pub fn name(&self) -> String {
        let namespace = self.at("/metadata/namespace");
        let slash = if namespace.is_empty() { "" } else { "/" };
        format!(
            "{} {namespace}{slash}{}",
            self.at("/kind"),
            self.at("/metadata/name")
        )
    }

    /// The pod that it makes, if it makes pods.
    pub fn pod(&self) -> Option<&Value> {
        match self.at("/kind") {
            "Pod" => self.value.pointer("/spec"),
            _ => self.value.pointer("/spec/template/spec"),
        }
    }

    pub fn is_hook(&self) -> bool {
        let annotations = self.value.pointer("/metadata/annotations");
        annotations.is_some_and(|a| a.get("helm.sh/hook").is_some())
    }
}

/// The objects, by their names.
pub fn objects(helm: &Path, name: &str) -> BTreeMap<String, Object> {
    let text = rendered(helm, &values(name)).unwrap();
    let documents = text.split("---\n").filter(|text| !text.trim().is_empty());
    let objects = documents.map(|text| {
        let value = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let object = Object {
            text: text.to_owned(),
            value,
        };
        (object.name(), object)
    });
    objects.collect()
}

/// A file in a ConfigMap, with a node's and a pod's values.
pub fn file(objects: &BTreeMap<String, Object>, map: &str, key: &str) -> String {
    let object = &objects[&format!("ConfigMap {NAMESPACE}/{map}")];
    let text = object.value["data"][key]
        .as_str()
        .unwrap_or_else(|| panic!("{map}: no {key}"));
    let known = |name: &str| {
        let value = match name {
            "NODE_NAME" => "node-a",
            "NODE_IP" => "192.0.2.11",
            "POD_NAME" => "causeway-controller-0",
            "POD_NAMESPACE" => NAMESPACE,
            "POD_IP" => "10.244.0.9",
            _ => return None,
        };
        Some(value.to_owned())
    };
    expand(text, known).unwrap()
}
