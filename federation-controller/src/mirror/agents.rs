//! Pure: which nodes run an agent, by the pods of its DaemonSet. A pod that is replaced leaves its node without one for
//! a while, and the programs in the kernel stay: such a node still counts.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::NodeName;

use crate::objects::{Key, PodFacts};

/// How long a node counts after its agent's pod has gone: an upgrade with a slow image.
const GRACE_MS: u64 = 180_000;

/// Agents as they are seen.
#[derive(Debug, Default)]
pub(super) struct Agents {
    /// Where they stand.
    namespace: String,
    /// Their pods, by node.
    pods: BTreeMap<Key, String>,
    /// Nodes that have had one, and since when it is gone.
    had: BTreeMap<String, Option<u64>>,
}

impl Agents {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn pod(&mut self, key: &Key, pod: &PodFacts) {
        let is = |name: &str, value: &str| pod.labels.get(name).is_some_and(|v| v == value);
        let is_agent = key.0 == self.namespace
            && is("app.kubernetes.io/name", "causeway")
            && is("app.kubernetes.io/component", "agent");
        if let (true, Some(node)) = (is_agent, &pod.node) {
            self.pods.insert(key.clone(), node.clone());
            self.had.insert(node.clone(), None);
        } else {
            self.pods.remove(key);
        }
    }

    pub(super) fn pod_gone(&mut self, key: &Key) {
        self.pods.remove(key);
    }

    /// The controller has just started, perhaps in the middle of an upgrade: all nodes may have had one.
    pub(super) fn begin<'a>(&mut self, nodes: impl Iterator<Item = &'a String>) {
        for node in nodes {
            self.had.entry(node.clone()).or_default();
        }
    }

    /// Nodes that have one; `None` where no agent runs as a pod here, so that nothing can be said.
    pub(super) fn there<'a>(
        &mut self,
        nodes: impl Iterator<Item = &'a String>,
        now_ms: u64,
    ) -> Option<BTreeSet<NodeName>> {
        let nodes: BTreeSet<&String> = nodes.collect();
        let with_pod: BTreeSet<&String> = self.pods.values().collect();
        for (node, gone) in &mut self.had {
            *gone = if with_pod.contains(node) {
                None
            } else {
                Some(gone.unwrap_or(now_ms))
            };
        }
        self.had.retain(|node, gone| {
            nodes.contains(node) && gone.is_none_or(|since| now_ms.saturating_sub(since) < GRACE_MS)
        });
        if self.pods.is_empty() {
            return None;
        }
        Some(
            self.had
                .keys()
                .filter_map(|node| node.parse().ok())
                .collect(),
        )
    }

    /// When the next one is taken for lost.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let gone = self.had.values().flatten();
        gone.map(|since| since.saturating_add(GRACE_MS)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent_on(node: &str) -> PodFacts {
        let labels = [
            ("app.kubernetes.io/name", "causeway"),
            ("app.kubernetes.io/component", "agent"),
        ];
        PodFacts {
            node: Some(node.into()),
            labels: labels.map(|(k, v)| (k.into(), v.into())).into(),
            ..PodFacts::default()
        }
    }

    fn key(name: &str) -> Key {
        ("causeway-system".into(), name.into())
    }

    fn check(agents: &mut Agents, nodes: &[&str], now_ms: u64, expected: Option<&[&str]>) {
        let nodes: Vec<String> = nodes.iter().map(|n| (*n).into()).collect();
        let there = agents.there(nodes.iter(), now_ms);
        let told = there.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        let expected = expected.map(|names| names.iter().map(|n| (*n).into()).collect());
        assert_eq!(told, expected);
    }

    #[test]
    fn agents_come_and_go() {
        let mut agents = Agents::new("causeway-system");
        check(&mut agents, &["n1", "n2"], 0, None);
        agents.pod(&("shop".into(), "x".into()), &agent_on("n1"));
        check(&mut agents, &["n1", "n2"], 0, None);
        agents.pod(&key("a"), &agent_on("n1"));
        check(&mut agents, &["n1", "n2"], 0, Some(&["n1"]));
        agents.pod(&key("b"), &agent_on("n2"));
        check(&mut agents, &["n1", "n2"], 0, Some(&["n1", "n2"]));
        // Replaced, with a gap.
        agents.pod_gone(&key("a"));
        check(&mut agents, &["n1", "n2"], 1_000, Some(&["n1", "n2"]));
        assert_eq!(agents.next_ms(), Some(1_000 + GRACE_MS));
        check(
            &mut agents,
            &["n1", "n2"],
            999 + GRACE_MS,
            Some(&["n1", "n2"]),
        );
        check(&mut agents, &["n1", "n2"], 1_000 + GRACE_MS, Some(&["n2"]));
        agents.pod(&key("a2"), &agent_on("n1"));
        check(
            &mut agents,
            &["n1", "n2"],
            2_000 + GRACE_MS,
            Some(&["n1", "n2"]),
        );
        // A node that is gone takes its agent with it.
        check(&mut agents, &["n1"], 2_000 + GRACE_MS, Some(&["n1"]));
    }

    #[test]
    fn a_start_amid_an_upgrade() {
        let mut agents = Agents::new("causeway-system");
        agents.pod(&key("b"), &agent_on("n2"));
        let nodes = ["n1".to_owned(), "n2".to_owned()];
        agents.begin(nodes.iter());
        check(&mut agents, &["n1", "n2"], 0, Some(&["n1", "n2"]));
        // A node that comes later has to show one first.
        check(&mut agents, &["n1", "n2", "n3"], 5, Some(&["n1", "n2"]));
        check(&mut agents, &["n1", "n2", "n3"], GRACE_MS, Some(&["n2"]));
    }
}
