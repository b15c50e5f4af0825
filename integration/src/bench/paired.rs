//! Shell: what an agent makes of a node's own traffic. Each pair is runs without an agent and runs with it, in turns
//! first; between them the real agent is started, or stopped and its node cleaned, so that nothing else differs. Runs
//! without an agent are also paired with more of the same: what differs there is the spread of the comparison itself.
//!
//! Both styles of ports: on a bridge, and routed one by one. On each: a stream and datagrams from pod to pod, and
//! round trips from the node to a pod, as kubelet's probes take them.

use std::iter::zip;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use causeway_proto::model::{
    IdentityNumber, Mapping, Node as ViewNode, Report, SyncState, View, ViewRevision,
};
use causeway_proto::wire::Encoded;

use super::load::Load;
use super::{Point, Promise};
use crate::lab::netns::Netns;
use crate::lab::topology::{CATALOG_EAST, CLIENT, E1, POD_CIDR, Pod};
use crate::lab::{Lab, cannot_run, programs, wait};

/// Turns for each figure, with a pair of each kind.
const TURNS: usize = 13;
/// The least that the middle pair may show: of a flood of small datagrams the hook on pods' ports takes its part, whatever
/// the program there does.
const MIDDLE: f64 = 95.0;
/// Runs of which the middle one counts.
const RUNS: usize = 3;
/// How long an agent may take.
const START: Duration = Duration::from_secs(15);
/// After it came or went: for its first five seconds an agent looks at new ports often, and that is not what a node's
/// traffic lives with.
const SETTLE: Duration = Duration::from_secs(6);

const fn routed(name: &'static str, host: u8) -> Pod {
    Pod {
        name,
        node: E1.name,
        address: Ipv4Addr::new(10, 244, 0, host),
    }
}

/// Pods that are routed one by one.
const ROUTED: [Pod; 2] = [routed("routed-1", 20), routed("routed-2", 21)];

/// One kind of traffic on one style of ports.
struct Case {
    style: &'static str,
    what: &'static str,
    load: Load,
    from: Netns,
    to: Pod,
    turns: Vec<Turn>,
}

/// Figures of two runs without an agent and one with it; `near` and `with` are one after the other.
struct Turn {
    far: f64,
    near: f64,
    with: f64,
}

/// Measures all of them.
pub(super) fn run(object: &Path, tell: &mut dyn FnMut(Point)) -> Result<()> {
    if let Some(why) = cannot_run() {
        bail!("{why}");
    }
    let mut bed = Bed::new(object)?;
    let mut cases = bed.cases();
    for turn in 0..TURNS {
        // The run with the agent is first or last, so that one of the two without is beside it.
        let with_first = turn % 2 == 1;
        let mut runs = [with_first, false, !with_first].map(|with| bed.measure(with, &cases));
        if with_first {
            runs.reverse();
        }
        let [far, near, with] = runs;
        let figures = zip(far?, zip(near?, with?));
        for (case, (far, (near, with))) in zip(&mut cases, figures) {
            case.turns.push(Turn { far, near, with });
        }
    }
    for case in cases {
        case.tell(tell);
    }
    Ok(())
}

impl Case {
    /// The middle one of a few short runs.
    fn run(&self, lab: &Lab) -> Result<f64> {
        let to = lab.pod(&self.to);
        let run = |_| self.load.run(&self.from, &to, self.to.address);
        let mut figures = (0..RUNS).map(run).collect::<Result<Vec<f64>>>()?;
        figures.sort_by(f64::total_cmp);
        figures.get(RUNS / 2).copied().context("no run")
    }

    fn tell(&self, tell: &mut dyn FnMut(Point)) {
        let name = format!("{}, {}", self.style, self.what);
        let unit = self.load.unit();
        let point = |what: &str, unit, of: fn(&Turn) -> f64| {
            let figures = self.turns.iter().map(of).collect();
            Point::of(format!("{name}, {what}"), unit, figures)
        };
        tell(point("no agent", unit, |turn| turn.near));
        tell(point("agent attached", unit, |turn| turn.with));
        tell(point("no agent to no agent, pairs", "%", |turn| {
            100.0 * turn.far / turn.near
        }));
        let mut pairs = point("agent attached to no agent, pairs", "%", |turn| {
            100.0 * turn.with / turn.near
        });
        pairs.promise = Some(Promise {
            text: format!(
                "no loss beyond the spread: 100 is not above all pairs, and the middle one is at least {MIDDLE}"
            ),
            kept: pairs.max >= 100.0 && pairs.median >= MIDDLE,
        });
        tell(pairs);
    }
}

/// A node with pods of both styles, and the agent that comes and goes.
struct Bed {
    lab: Lab,
    agent: PathBuf,
    config: String,
    args: Vec<String>,
    report: PathBuf,
    pins: PathBuf,
    attached: bool,
}

impl Bed {
    fn new(object: &Path) -> Result<Self> {
        let mut lab = Lab::new("bench")?;
        lab.add_node(&E1, &[E1])?;
        for pod in [CLIENT, CATALOG_EAST] {
            lab.add_pod(&E1, &pod)?;
        }
        for pod in &ROUTED {
            lab.add_routed_pod(&E1, pod)?;
        }
        let directory = lab.directory(E1.name)?;
        let pins = lab.pins(E1.name)?;
        let file = |name: &str| directory.join(name);
        let (view, report) = (file("view"), file("report"));
        std::fs::write(&view, self::view()?.to_bytes())?;
        let text = format!(
            "node: {}\nouter_address: {}\npin_dir: {}\n",
            E1.name,
            E1.uplink,
            pins.display()
        );
        std::fs::write(file("agent.yaml"), text)?;
        let config = file("agent.yaml").display().to_string();
        let mut args = vec!["--config".to_owned(), config.clone()];
        for (flag, path) in [("--view", &view), ("--report", &report)] {
            args.extend([flag.to_owned(), path.display().to_string()]);
        }
        args.extend(["--object".to_owned(), object.display().to_string()]);
        let agent = programs()?.join("causeway-agent");
        Ok(Self {
            lab,
            agent,
            config,
            args,
            report,
            pins,
            attached: false,
        })
    }

    fn cases(&self) -> Vec<Case> {
        let [first, second] = ROUTED;
        let node = self.lab.netns(E1.name);
        let mut cases = Vec::new();
        for (style, from, to) in [
            ("ports of a bridge", CLIENT, CATALOG_EAST),
            ("routed ports", first, second),
        ] {
            let pod = self.lab.pod(&from);
            for (what, load, from) in [
                ("TCP pod to pod", Load::Stream, &pod),
                ("UDP pod to pod", Load::Datagrams, &pod),
                ("node to pod", Load::RoundTrips, &node),
            ] {
                cases.push(Case {
                    style,
                    what,
                    load,
                    from: from.clone(),
                    to,
                    turns: Vec::new(),
                });
            }
        }
        cases
    }

    /// A figure of each, with an agent or without.
    fn measure(&mut self, with: bool, cases: &[Case]) -> Result<Vec<f64>> {
        if self.attached != with {
            self.set(with)?;
            std::thread::sleep(SETTLE);
        }
        cases.iter().map(|case| case.run(&self.lab)).collect()
    }

    /// With an agent, or as if there had never been one.
    fn set(&mut self, with: bool) -> Result<()> {
        self.attached = with;
        let node = self.lab.netns(E1.name);
        if !with {
            self.lab.processes.stop("agent")?;
            let mut clean = node.command(&self.agent);
            let done = clean.args(["clean", "--config", &self.config]).output()?;
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            ensure!(done.status.success(), "the node was not cleaned: {said}");
            return Ok(());
        }
        let _ = std::fs::remove_file(&self.report);
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.lab.spawn(&node, "agent", &self.agent, &args, &[])?;
        let ports = self.lab.netns(E1.name);
        let tail = self.lab.processes.log("agent");
        let there = || Ok(programmed(&self.report) && links(&self.pins) > 4);
        wait::until(START, "the agent", there)
            .map_err(|error| error.context(format!("{} in {}", tail.display(), ports.name())))
    }
}

/// Links that an agent has pinned.
fn links(pins: &Path) -> usize {
    std::fs::read_dir(pins.join("links")).map_or(0, Iterator::count)
}

fn programmed(report: &Path) -> bool {
    let report = std::fs::read(report).ok();
    let report = report.and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok());
    report.is_some_and(|report| report.programmed.is_some())
}

/// A cluster of one node, that knows its pods and nothing else.
fn view() -> Result<View> {
    let mut view = View {
        revision: ViewRevision {
            instance: 1,
            number: 1,
        },
        self_map: vec![Mapping {
            theirs: POD_CIDR.parse()?,
            ours: "242.0.0.0/16".parse()?,
        }],
        vip_pool: vec!["241.0.0.0/16".parse()?],
        mapping_pool: ["242.0.0.0/7", "244.0.0.0/6", "248.0.0.0/6"]
            .iter()
            .map(|prefix| prefix.parse())
            .collect::<Result<_, _>>()?,
        seed: [7; 16],
        tunnel_port: 7472,
        sync: SyncState {
            local: true,
            ..SyncState::default()
        },
        ..View::empty(E1.cluster.parse()?, "bench".parse()?)
    };
    let node = ViewNode {
        addresses: vec![E1.uplink.into()],
        pod_prefixes: vec![E1.pod_prefix().parse()?],
        zone: None,
    };
    view.nodes.insert(E1.name.parse()?, node);
    for pod in [CLIENT, CATALOG_EAST].iter().chain(&ROUTED) {
        let place = Some(E1.name.parse()?);
        view.workloads
            .insert(pod.address.into(), (IdentityNumber(1), place));
    }
    Ok(view)
}
