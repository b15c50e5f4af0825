//! Shell: what a case works with: both clusters, a namespace of its own in each, and a record of what it
//! did, which is shown when it fails.

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use super::clients::Clients;
use super::cluster::Cluster;
use super::ground::Ground;
use super::install;
use super::kind::{Kind, NAMESPACE};
use super::report::Report;
use super::wanted;
use crate::lab::wait;

/// Creation times are whole seconds.
const SECOND: Duration = Duration::from_millis(1050);
/// Where Causeway is installed.
pub const SYSTEM: &str = "causeway-system";
/// The property that holds a cluster's id.
pub const CLUSTER_ID: &str = "cluster.clusterset.k8s.io";

/// One of the two clusters. East is the first context: the exporter and the oldest, as in the standard's suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first context
    East,
    /// The second one
    West,
}

/// Both, the exporter first.
pub const BOTH: [Side; 2] = [Side::East, Side::West];

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Side {
        match self {
            Side::East => Side::West,
            Side::West => Side::East,
        }
    }
}

/// What all cases of a run share.
pub struct Stage {
    /// The first context
    pub east: Cluster,
    /// The second one
    pub west: Cluster,
    /// What is below them
    pub ground: Box<dyn Ground>,
    /// Tells runs apart
    pub run: String,
    /// Pods that ask
    pub clients: Clients,
    /// What is told to whoever waits
    pub report: Report,
    /// The chart
    pub chart: PathBuf,
    /// More arguments for `helm`, such as `--set` and a value
    pub values: Vec<String>,
}

impl Stage {
    /// One of the two.
    #[must_use]
    pub fn cluster(&self, side: Side) -> &Cluster {
        match side {
            Side::East => &self.east,
            Side::West => &self.west,
        }
    }
}

/// What one case works with.
pub struct Scene<'a> {
    /// Shared with the others
    pub stage: &'a Stage,
    /// Of its own, in both clusters
    pub namespace: String,
    start: Instant,
    told: Mutex<Vec<String>>,
    extra: Mutex<Vec<String>>,
}

impl<'a> Scene<'a> {
    /// For the case of that name.
    #[must_use]
    pub fn new(stage: &'a Stage, case: &str) -> Scene<'a> {
        let slug = case.replace(['.', '_'], "-");
        Scene {
            stage,
            namespace: format!("e2e-{slug}-{}", stage.run),
            start: wait::now(),
            told: Mutex::default(),
            extra: Mutex::default(),
        }
    }

    /// A line of the record.
    pub fn step(&self, text: impl fmt::Display) {
        let at = self.start.elapsed().as_secs_f64();
        if let Ok(mut told) = self.told.lock() {
            told.push(format!("{at:6.2} s  {text}"));
        }
    }

    /// A line of the record that is told at once.
    pub fn show(&self, text: impl fmt::Display) {
        let at = self.start.elapsed().as_secs_f64();
        self.stage
            .report
            .say(&format!("         {at:6.2} s  {text}"));
        self.step(text);
    }

    /// The record so far.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        self.told
            .lock()
            .map(|told| told.clone())
            .unwrap_or_default()
    }

    /// How long it has run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits for the next second of the clock that objects are dated by, so that what is made after is younger.
    pub fn next_second(&self) {
        std::thread::sleep(SECOND);
    }

    /// The case's namespace on one side.
    #[must_use]
    pub fn at(&self, side: Side) -> Place<'_> {
        Place {
            scene: self,
            side,
            cluster: self.stage.cluster(side),
            namespace: self.namespace.clone(),
        }
    }

    /// The exporter's side.
    #[must_use]
    pub fn east(&self) -> Place<'_> {
        self.at(Side::East)
    }

    /// The other side.
    #[must_use]
    pub fn west(&self) -> Place<'_> {
        self.at(Side::West)
    }

    /// Another namespace of the case, which is not made by this.
    #[must_use]
    pub fn another(&self, side: Side, name: &str) -> Place<'_> {
        let namespace = format!("{}-{name}", self.namespace);
        if let Ok(mut extra) = self.extra.lock()
            && !extra.contains(&namespace)
        {
            extra.push(namespace.clone());
        }
        Place {
            namespace,
            ..self.at(side)
        }
    }

    /// Our own namespace on one side.
    #[must_use]
    pub fn system(&self, side: Side) -> Place<'_> {
        Place {
            namespace: SYSTEM.to_owned(),
            ..self.at(side)
        }
    }

    /// All namespaces that the case may have made.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let mut all = vec![self.namespace.clone()];
        if let Ok(extra) = self.extra.lock() {
            all.extend(extra.iter().cloned());
        }
        all
    }

    /// `name.<namespace>.svc.clusterset.local`.
    #[must_use]
    pub fn domain(&self, name: &str) -> String {
        format!("{name}.{}.svc.clusterset.local", self.namespace)
    }

    /// Asks for the deletion of its namespaces, and waits for nothing.
    pub fn clean(&self) -> anyhow::Result<()> {
        for side in BOTH {
            for namespace in self.namespaces() {
                self.stage.cluster(side).delete(NAMESPACE, "", &namespace)?;
            }
        }
        Ok(())
    }
}

/// A namespace of a cluster, as a case uses it.
#[derive(Clone)]
pub struct Place<'a> {
    /// Whose it is
    pub scene: &'a Scene<'a>,
    /// Which cluster
    pub side: Side,
    /// That cluster
    pub cluster: &'a Cluster,
    /// Its name
    pub namespace: String,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cluster.context)
    }
}

impl Place<'_> {
    /// Makes the namespace.
    pub fn make(&self) -> anyhow::Result<()> {
        let object = wanted::namespace(&self.namespace);
        self.cluster.apply("", &object).map(|_| ())
    }

    /// Makes or changes an object in it.
    pub fn apply(&self, object: &Value) -> anyhow::Result<Value> {
        let word = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let (kind, name) = (word("/kind"), word("/metadata/name"));
        self.scene.step(format_args!(
            "{self}: apply {} {}",
            kind.unwrap_or_default(),
            name.unwrap_or_default()
        ));
        self.cluster.apply(&self.namespace, object)
    }

    /// Deletes one; it need not be there.
    pub fn delete(&self, kind: Kind, name: &str) -> anyhow::Result<bool> {
        self.scene
            .step(format_args!("{self}: delete {} {name}", kind.name));
        self.cluster.delete(kind, &self.namespace, name)
    }

    /// Reads one.
    pub fn get(&self, kind: Kind, name: &str) -> anyhow::Result<Option<Value>> {
        self.cluster.get(kind, &self.namespace, name)
    }

    /// Reads one that must be there.
    pub fn must_get(&self, kind: Kind, name: &str) -> anyhow::Result<Value> {
        self.get(kind, name)?
            .with_context(|| format!("{self}: no {} {name}", kind.name))
    }

    /// Reads all that carry those labels.
    pub fn list(&self, kind: Kind, labels: &str) -> anyhow::Result<Vec<Value>> {
        self.cluster.list(kind, &self.namespace, labels)
    }

    /// The id by which other clusters know this one.
    pub fn id(&self) -> anyhow::Result<String> {
        install::cluster_id(self.scene.stage, self.side)
    }
}
