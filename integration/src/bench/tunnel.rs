//! Shell: what goes between two clusters encrypted, against user-space WireGuard between the same namespaces: they are
//! measured in turns, and each figure of ours is paired with the one beside it. Of the WireGuards it is the one that did best
//! at that load. All of them have all processors; on a machine with few they, and the two ends of the load, share them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::load::Load;
use super::wireguard::{COUNT, Wireguard};
use super::{Gate, Point, troubles};
use crate::demo::mesh::{LIMIT, Mesh};
use crate::demo::report::Checks;
use crate::lab::netns::Netns;
use crate::lab::process::ticks;
use crate::lab::topology::{CLIENT, DB_0, E1, W1};
use crate::lab::{cannot_run, fetch, firewall, wait};

/// Rounds for each figure.
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
        for round in 0..PAIRS {
            bed.round(load, round, &mut rounds)?;
        }
        bed.tell(&rounds, load, what, gate, tell);
        if load == Load::Bulk(1) {
            bed.tell_cost(&rounds, tell);
        }
    }
    bed.against_veth(tell)?;
    bed.by_tcp(tell)?;
    drop(bed);
    troubles::run(tell)
}

/// Figures of one kind, of one round each.
#[derive(Default)]
struct Rounds {
    ours: Vec<Figure>,
    theirs: [Vec<Figure>; COUNT],
}

/// What one run gives.
#[derive(Clone, Copy)]
struct Figure {
    rate: f64,
    /// Seconds of processor time of the two processes in the middle.
    seconds: f64,
}

impl Figure {
    /// A stream's rate is in Gbit/s and every run is as long.
    fn cost(&self) -> f64 {
        self.seconds / self.rate
    }
}

fn each(figures: &[Figure], of: fn(&Figure) -> f64) -> Vec<f64> {
    figures.iter().map(of).collect()
}

impl Rounds {
    /// Round by round, against that WireGuard.
    fn ratios(&self, theirs: usize, of: fn(&Figure) -> f64) -> Vec<f64> {
        let theirs = self.theirs.get(theirs).into_iter().flatten();
        let pairs = self.ours.iter().zip(theirs);
        pairs.map(|(ours, theirs)| of(ours) / of(theirs)).collect()
    }

    /// The WireGuard of the largest median.
    fn most(&self, of: fn(&Figure) -> f64) -> usize {
        let points = self.theirs.iter().map(|figures| each(figures, of));
        let medians = points.map(|rounds| Point::of(String::new(), "", rounds).median);
        let most = medians.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        most.map_or(0, |(place, _)| place)
    }
}

struct Bed {
    mesh: Mesh,
    wireguards: [Wireguard; COUNT],
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
        let wireguards = Wireguard::start_all(&mut mesh.lab, (E1, CLIENT), (W1, DB_0))?;
        let (client, server) = (mesh.lab.pod(&CLIENT), mesh.lab.pod(&DB_0));
        let bed = Self {
            mesh,
            wireguards,
            client,
            server,
            ours,
        };
        wait::until(FIND, "all ways to pass", || {
            let mut theirs = bed.wireguards.iter();
            let ours = bed.run(Load::RoundTrips, None);
            Ok(ours.is_ok() && theirs.all(|it| bed.run(Load::RoundTrips, Some(it)).is_ok()))
        })?;
        Ok(bed)
    }

    /// By a WireGuard, or by us.
    fn run(&self, load: Load, wireguard: Option<&Wireguard>) -> Result<Figure> {
        let (to, names) = match wireguard {
            Some(wireguard) => (wireguard.server, wireguard.processes()),
            None => (self.ours, ["gateway-e1", "gateway-w1"]),
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

    /// One run of each; who begins goes round.
    fn round(&self, load: Load, round: usize, rounds: &mut Rounds) -> Result<()> {
        for turn in 0..=COUNT {
            match (round + turn) % (COUNT + 1) {
                0 => rounds.ours.push(self.run(load, None)?),
                n => {
                    let theirs = self.wireguards.get(n - 1).zip(rounds.theirs.get_mut(n - 1));
                    let (wireguard, figures) = theirs.context("no such WireGuard")?;
                    figures.push(self.run(load, Some(wireguard))?);
                }
            }
        }
        Ok(())
    }

    fn name(&self, wireguard: usize) -> &'static str {
        self.wireguards.get(wireguard).map_or("", |it| it.name)
    }

    fn tell(&self, of: &Rounds, load: Load, what: &str, gate: f64, tell: &mut dyn FnMut(Point)) {
        let all = std::iter::once(("Causeway", &of.ours))
            .chain(self.wireguards.iter().map(|it| it.name).zip(&of.theirs));
        for (who, figures) in all {
            let rates = each(figures, |figure| figure.rate);
            tell(Point::of(format!("{what}, {who}"), load.unit(), rates));
        }
        let best = of.most(|figure| figure.rate);
        let name = format!("{what}, against the faster WireGuard ({})", self.name(best));
        let ratios = of.ratios(best, |figure| figure.rate);
        tell(Point::against(name, ratios, Some(Gate::AtLeast(gate))));
    }

    fn tell_cost(&self, of: &Rounds, tell: &mut dyn FnMut(Point)) {
        let best = of.most(|figure| -figure.cost());
        let name = format!(
            "processor time of both gateways for as many bytes, against the thriftier WireGuard ({})",
            self.name(best)
        );
        let ratios = of.ratios(best, Figure::cost);
        tell(Point::against(name, ratios, Some(Gate::AtMost(0.6))));
    }

    /// From node to node, with nothing between.
    fn against_veth(&self, tell: &mut dyn FnMut(Point)) -> Result<()> {
        let (from, to) = (self.mesh.lab.netns("e1"), self.mesh.lab.netns("w1"));
        let mut ratios = Vec::new();
        let mut raw = Vec::new();
        for _ in 0..PAIRS {
            let bare = Load::Bulk(1).run(&from, &to, W1.uplink)?;
            ratios.push(self.run(Load::Bulk(1), None)?.rate / bare);
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
        for round in 0..PAIRS {
            self.round(Load::Bulk(1), round, &mut rounds)?;
        }
        self.tell(&rounds, Load::Bulk(1), "one TCP stream by TCP", 1.0, tell);
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
