//! Shell: what all gateways say, compared with what was exported and with one another.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use serde_json::Value;

use crate::demo::manifests;
use crate::demo::mesh::Mesh;
use crate::sim::Rng;

/// Services that come and go.
const EXTRA: [&str; 4] = ["extra-1", "extra-2", "extra-3", "extra-4"];

/// What is exported, and what was promised.
#[derive(Debug, Default)]
pub struct Views {
    /// By service, the clusters that export it
    exported: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// By cluster and service, the address that it was given: it must not change
    given: BTreeMap<(String, String), String>,
}

impl Views {
    /// One cluster exports one more service, or one less.
    pub fn change(&mut self, mesh: &Mesh, rng: &mut Rng) -> anyhow::Result<()> {
        let clusters = mesh.topology.clusters();
        let cluster = rng
            .pick(&clusters)
            .copied()
            .context("a lab without clusters")?;
        let service = rng.pick(&EXTRA).copied().context("no services")?;
        let by = self.exported.entry(service).or_default();
        let directory = mesh.manifests(cluster)?;
        if by.remove(cluster) {
            manifests::withdraw(&directory, service)?;
        } else {
            manifests::export(&directory, service)?;
            by.insert(cluster);
        }
        Ok(())
    }

    /// Whether every gateway says what is exported, and all say the same.
    pub fn agree(&mut self, mesh: &Mesh) -> anyhow::Result<bool> {
        Ok(self.difference(mesh)?.is_none())
    }

    /// The first thing that somebody says otherwise.
    pub fn difference(&mut self, mesh: &Mesh) -> anyhow::Result<Option<String>> {
        let mut revisions = BTreeMap::new();
        let mut held = Vec::new();
        for cluster in mesh.topology.clusters() {
            let mut first: Option<(&str, Value)> = None;
            for node in mesh.topology.of(cluster) {
                let services = mesh.operator(node.name).json(&["services"])?;
                if let Some(wrong) = self.wrong(cluster, &services) {
                    return Ok(Some(format!("{}: {wrong}", node.name)));
                }
                let said = stable(&services);
                match &first {
                    Some((other, same)) if *same != said => {
                        return Ok(Some(format!(
                            "{other} and {} differ: {same} and {said}",
                            node.name
                        )));
                    }
                    Some(_) => {}
                    None => first = Some((node.name, said)),
                }
                let status = mesh.operator(node.name).json(&["status"])?;
                revisions.insert(cluster, status.get("revision").cloned());
                for peer in array(&status, "peers") {
                    held.push((node.name, text(peer, "cluster"), peer.get("held").cloned()));
                }
            }
        }
        let behind = held.iter().find(|(_, cluster, held)| {
            revisions
                .get(cluster.as_str())
                .is_none_or(|own| own != held)
        });
        Ok(behind.map(|(node, cluster, held)| {
            let own = revisions.get(cluster.as_str());
            format!("{node} holds {held:?} of {cluster}, which is at {own:?}")
        }))
    }

    /// What one gateway says of the services that come and go, where that is wrong.
    fn wrong(&mut self, here: &str, services: &Value) -> Option<String> {
        let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for service in array(services, "services") {
            let name = text(service, "service");
            let vip = text(service, "vip");
            let key = (here.to_owned(), name.clone());
            let given = self.given.entry(key).or_insert_with(|| vip.clone());
            if *given != vip {
                return Some(format!("{name} had {given} and has {vip}"));
            }
            let shares = array(service, "shares");
            let by = shares.map(|share| text(share, "cluster")).collect();
            said.insert(name, by);
        }
        self.given
            .retain(|(cluster, name), _| cluster != here || said.contains_key(name));
        for service in EXTRA {
            let by = self.exported.get(service).into_iter().flatten();
            let wanted: BTreeSet<String> = by.map(|cluster| (*cluster).to_owned()).collect();
            let seen = said.remove(&format!("shop/{service}")).unwrap_or_default();
            if seen != wanted {
                return Some(format!("{service} is exported by {wanted:?}, not {seen:?}"));
            }
        }
        None
    }
}

/// What does not depend on who is asked.
fn stable(services: &Value) -> Value {
    let each = array(services, "services").map(|service| {
        let keep = ["service", "vip", "exported", "ports", "shares"];
        let kept = keep.map(|key| service.get(key).cloned().unwrap_or_default());
        Value::Array(kept.to_vec())
    });
    Value::Array(each.collect())
}

fn array<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text(value: &Value, key: &str) -> String {
    let text = value.get(key).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}
