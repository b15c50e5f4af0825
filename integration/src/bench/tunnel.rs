//! Shell: what goes between two clusters encrypted, against user-space WireGuard between the same namespaces: the two are
//! measured in turns, and each figure of ours is paired with the one beside it. Both have all processors; on a machine with
//! few they, and the two ends of the load, share them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::load::Load;
use super::wireguard::Wireguard;
use super::{Gate, Point, troubles};
use crate::demo::mesh::{LIMIT, Mesh};
use crate::demo::report::Checks;
use crate::lab::netns::Netns;
use crate::lab::process::ticks;
use crate::lab::topology::{CLIENT, DB_0, E1, W1};
use crate::lab::{cannot_run, fetch, firewall, wait};

/// Pairs for each figure.
const PAIRS: usize = 15;
/// How long programs may take to find to each other again.
const FIND: Duration = Duration::from_secs(30);
/// The port of the load, as the service says it.
const PORT: u16 = 5201;

/// What is measured, and what it must be against WireGuard.
const CASES: [(Load, &str, f64); 3] = [
    (Load::Bulk(1), "one TCP stream", 2.2),
    (Load::Bulk(4), "four TCP streams", 2.2),
    (Load::RoundTrips, "round trips of a byte", 1.0),
];

/// Measures all of it.
pub(super) fn run(tell: &mut dyn FnMut(Point)) -> Result<()> {
    if let Some(why) = cannot_run() {
        bail!("{why}");
    }
    let bed = Bed::new()?;
    for (load, what, gate) in CASES {
        let mut rounds = Rounds::default();
        for pair in 0..PAIRS {
            bed.pair(load, pair % 2 == 1, &mut rounds)?;
        }
        rounds.tell(load, what, Some(gate), tell);
        if load == Load::Bulk(1) {
            rounds.tell_cost(tell);
        }
    }
    bed.against_veth(tell)?;
    bed.by_tcp(tell)?;
    drop(bed);
    troubles::run(tell)
}

/// Figures of one kind, in pairs.
#[derive(Default)]
struct Rounds {
    ours: Vec<Figure>,
    theirs: Vec<Figure>,
}

/// What one run gives.
#[derive(Clone, Copy)]
struct Figure {
    rate: f64,
    /// Seconds of processor time of the two processes in the middle.
    seconds: f64,
}

impl Rounds {
    fn ratios(&self, of: impl Fn(&Figure) -> f64) -> Vec<f64> {
        let pairs = self.ours.iter().zip(&self.theirs);
        pairs.map(|(ours, theirs)| of(ours) / of(theirs)).collect()
    }

    fn tell(&self, load: Load, what: &str, gate: Option<f64>, tell: &mut dyn FnMut(Point)) {
        for (who, figures) in [("Causeway", &self.ours), ("WireGuard", &self.theirs)] {
            let rates = figures.iter().map(|figure| figure.rate).collect();
            tell(Point::of(format!("{what}, {who}"), load.unit(), rates));
        }
        let gate = gate.map(Gate::AtLeast);
        let name = format!("{what}, against WireGuard");
        tell(Point::against(
            name,
            self.ratios(|figure| figure.rate),
            gate,
        ));
    }

    /// A stream's rate is in Gbit/s and every run is as long.
    fn tell_cost(&self, tell: &mut dyn FnMut(Point)) {
        let ratios = self.ratios(|figure| figure.seconds / figure.rate);
        let name = "processor time of both gateways for as many bytes, against WireGuard";
        tell(Point::against(
            name.to_owned(),
            ratios,
            Some(Gate::AtMost(0.6)),
        ));
    }
}

struct Bed {
    mesh: Mesh,
    wireguard: Wireguard,
    client: Netns,
    server: Netns,
    /// As the client dials the server's pod by us.
    ours: Ipv4Addr,
}

impl Bed {
    fn new() -> Result<Self> {
        let mut mesh = Mesh::new("bench", None)?;
        let mut checks = Checks::default();
        mesh.start(&mut checks)?;
        mesh.pair(&mut checks)?;
        mesh.settle(&mut checks)?;
        ensure!(checks.is_good(), "two clusters did not come up");
        // One gateway each, as WireGuard has one process.
        mesh.lab.processes.kill("gateway-w2")?;
        std::fs::write(mesh.manifests("west")?.join("bench.yaml"), manifest())?;
        let ours = wait::value(FIND, "the service to resolve", || {
            Ok(mesh.address(&CLIENT, "bench").ok())
        })?;
        let wireguard = Wireguard::start(&mut mesh.lab, (E1, CLIENT), (W1, DB_0))?;
        let (client, server) = (mesh.lab.pod(&CLIENT), mesh.lab.pod(&DB_0));
        let bed = Self {
            mesh,
            wireguard,
            client,
            server,
            ours,
        };
        wait::until(FIND, "both ways to pass", || {
            let ours = bed.run(Load::RoundTrips, true);
            Ok(ours.is_ok() && bed.run(Load::RoundTrips, false).is_ok())
        })?;
        Ok(bed)
    }

    fn run(&self, load: Load, ours: bool) -> Result<Figure> {
        let (to, names) = if ours {
            (self.ours, ["gateway-e1", "gateway-w1"])
        } else {
            (self.wireguard.server, self.wireguard.processes())
        };
        let used = || -> Result<f64> {
            let each = names.iter().map(|name| {
                let pid = self.mesh.lab.processes.pid(name);
                ticks(pid.with_context(|| format!("{name} is gone"))?)
            });
            each.sum()
        };
        let before = used()?;
        let rate = load.run(&self.client, &self.server, to)?;
        let seconds = used()? - before;
        Ok(Figure { rate, seconds })
    }

    fn pair(&self, load: Load, ours_first: bool, rounds: &mut Rounds) -> Result<()> {
        let mut ours = None;
        if ours_first {
            ours = Some(self.run(load, true)?);
        }
        let theirs = self.run(load, false)?;
        let ours = match ours {
            Some(ours) => ours,
            None => self.run(load, true)?,
        };
        rounds.ours.push(ours);
        rounds.theirs.push(theirs);
        Ok(())
    }

    /// From node to node, with nothing between.
    fn against_veth(&self, tell: &mut dyn FnMut(Point)) -> Result<()> {
        let (from, to) = (self.mesh.lab.netns("e1"), self.mesh.lab.netns("w1"));
        let mut ratios = Vec::new();
        let mut raw = Vec::new();
        for _ in 0..PAIRS {
            let bare = Load::Bulk(1).run(&from, &to, W1.uplink)?;
            ratios.push(self.run(Load::Bulk(1), true)?.rate / bare);
            raw.push(bare);
        }
        tell(Point::of(
            "one TCP stream, raw veth".to_owned(),
            Load::Bulk(1).unit(),
            raw,
        ));
        let name = "one TCP stream, against raw veth".to_owned();
        tell(Point::against(name, ratios, Some(Gate::AtLeast(0.18))));
        Ok(())
    }

    /// The gateways' UDP port is closed; WireGuard's is not.
    fn by_tcp(&self, tell: &mut dyn FnMut(Point)) -> Result<()> {
        let wan = self.mesh.lab.netns("wan");
        firewall::block_quic(&wan)?;
        wait::until(FIND, "sessions to go by TCP", || {
            let peers = self.mesh.operator("e1").run(&["peers"])?;
            let answers = || fetch::dial(SocketAddr::from((self.ours, PORT)), LIMIT);
            Ok(peers.contains(" tcp ")
                && !peers.contains(" quic ")
                && self.client.enter(answers)?.is_ok())
        })?;
        let mut rounds = Rounds::default();
        for pair in 0..PAIRS {
            self.pair(Load::Bulk(1), pair % 2 == 1, &mut rounds)?;
        }
        rounds.tell(Load::Bulk(1), "one TCP stream by TCP", Some(1.0), tell);
        Ok(())
    }
}

/// A service with the one pod behind it.
fn manifest() -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: bench, namespace: shop}}
spec:
  ports:
    - {{name: bench, protocol: TCP, port: {PORT}, targetPort: {PORT}}}
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {{name: bench, namespace: shop}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: bench
  namespace: shop
  labels: {{kubernetes.io/service-name: bench}}
addressType: IPv4
ports:
  - {{name: bench, protocol: TCP, port: {PORT}}}
endpoints:
  - addresses: [{}]
    nodeName: {}
    conditions: {{ready: true}}
    targetRef: {{kind: Pod, name: {}, namespace: shop}}
",
        DB_0.address, DB_0.node, DB_0.name
    )
}
