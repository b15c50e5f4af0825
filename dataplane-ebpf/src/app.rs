//! Shell: the agent's one task: Views and ports come in, maps and hooks follow, once a second a report
//! goes out.

mod devices;
mod handover;
mod health;
mod hooks;
mod report;
mod source;
mod ways;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use causeway_certs::dial::causes;
use causeway_certs::health::Answering;
use causeway_proto::model::{
    Check, Prefix, Problem, ProblemKind, Report, ServiceName, View, ViewRevision,
};
use handover::Handover;
use health::Health;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::breaks::Breaks;
use crate::compile::{Held, NodeFacts, compile, is_pod_side, same_maps};
use crate::config::Config;
use crate::diff::diff;
use crate::execute::execute;
use crate::image::{Entry, MapImage, MapOp};
use crate::kernel::{Hook, Kernel};
use crate::ports::{Asked, Host, Ports, Seen, Uplink, Wanted};
use crate::probe::Prober;

/// How often counters are read, reports and probes sent, and what failed is tried again.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between counts of flows when they are many: a count is a call for each.
const FLOWS_EACH: u64 = 10;
/// Few enough to be counted each time.
const FEW_FLOWS: u64 = 1000;

/// What `main` found on the command line and in the environment.
#[derive(Debug, Clone)]
pub struct Start {
    /// The configuration.
    pub config: Config,
    /// The eBPF object.
    pub object: PathBuf,
    /// Views come from this file, not from a gateway.
    pub view: Option<PathBuf>,
    /// Reports go to this file too.
    pub report: Option<PathBuf>,
    /// Pieces left out on purpose.
    pub breaks: Breaks,
}

/// The eBPF object: as asked for, else as configured, else beside the program, where an installation puts it.
///
/// # Errors
/// When there is none.
pub fn object(asked: Option<PathBuf>, config: &Config) -> anyhow::Result<PathBuf> {
    let beside = || {
        let program = std::env::current_exe().ok()?;
        let object = program.with_file_name("causeway-ebpf");
        object.is_file().then_some(object)
    };
    asked
        .filter(|path| !path.as_os_str().is_empty())
        .or_else(|| config.object.clone())
        .or_else(beside)
        .context(
            "no eBPF object: set `object` or CAUSEWAY_EBPF_OBJECT, or put it beside the program",
        )
}

struct Agent {
    start: Start,
    kernel: Kernel,
    /// Prefixes that have an `unreachable` route.
    held_back: Vec<Prefix>,
    host: Host,
    held: Held,
    services: BTreeMap<u32, ServiceName>,
    tunnel: Option<(u32, u16)>,
    /// The device to this node's gateway.
    session: Option<u32>,
    handover: Handover,
    own: Option<devices::Own>,
    /// Nothing before the first look: a step without ports would take them all away.
    seen: Option<Seen>,
    hooked: BTreeMap<(Hook, u32), String>,
    view: Option<Arc<View>>,
    programmed: Option<ViewRevision>,
    /// What the maps were made of.
    in_force: Option<(Arc<View>, NodeFacts)>,
    compiled: Vec<Problem>,
    failures: BTreeMap<&'static str, String>,
    flows: Option<(u64, u64)>,
    /// Its ways to gateways, as last looked up.
    ways: Vec<Check>,
    ticks: u64,
}

/// Runs until a signal or a fatal error. What is in the kernel stays: traffic does not need us.
///
/// # Errors
/// When the kernel cannot be prepared; the message says what to check.
pub async fn run(start: Start) -> anyhow::Result<()> {
    let config = start.config.clone();
    if start.breaks != Breaks::default() {
        tracing::warn!(breaks = ?start.breaks, "pieces are left out on purpose; not for real use");
    }
    let health = Health::starting();
    let _answering = match &config.health_socket {
        Some(socket) => Some(answer(&health, socket).await?),
        None => None,
    };
    let ports = Ports::open().context("the agent needs CAP_NET_ADMIN")?;
    let host = Host::open().context("the agent needs CAP_NET_ADMIN")?;
    if !start.breaks.routes {
        let held_back = host.hold_back(&config.pools).await;
        held_back.context("routes that keep the pools off the underlay")?;
    }
    let handover = Handover::start(&host, config.gateway_socket.clone()).await;
    let kernel = Kernel::load(&start.object, &config.pin_dir).with_context(|| hint(&config))?;
    let image = kernel.image().context("maps left by an earlier start")?;
    tracing::info!(node = %start.config.node, frontends = image.frontends.len(), "programs loaded");
    let (tell_ports, mut seen) = watch::channel(None);
    tokio::spawn(ports.follow(wanted(&config), tell_ports));
    let (tell_views, mut views) = watch::channel(None);
    let (tell_report, reports) = watch::channel(None);
    source::spawn(&start, tell_views, reports).context("the node's name")?;
    let mut prober = Prober::default();
    let mut agent = Agent::new(start, kernel, host, handover, image);
    let mut gateway = agent.handover.gateway.clone();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            changed = views.changed() => {
                changed.context("the source of Views ended")?;
                let view = views.borrow_and_update().clone();
                agent.take(view);
                agent.hook();
                agent.step().await;
                agent.tell_programmed(&tell_report);
            }
            changed = seen.changed() => {
                changed.context("nobody follows ports any more")?;
                agent.seen = seen.borrow_and_update().clone();
                agent.miss_devices().await;
                agent.hook();
                agent.step().await;
            }
            // Never without a sender: either it is here or it was handed on for good.
            Ok(()) = gateway.changed() => agent.step().await,
            _ = tick.tick() => {
                // What goes again before a look saw it come back is no news to those who look.
                if agent.miss_devices().await || !agent.failures.is_empty() {
                    agent.hook();
                    agent.step().await;
                }
                agent.look_at_ways().await;
                agent.tell(&tell_report);
                health.tick(agent.ready());
                if let (Some(view), Some(uplink)) = (&agent.view, agent.uplink()) {
                    prober.send(view, &agent.start.config.node, uplink.address).await;
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    agent.leave().await;
    tracing::info!("leaving; what is programmed stays");
    Ok(())
}

fn wanted(config: &Config) -> Wanted {
    Wanted {
        ports: config.ports.clone(),
        uplink: Asked {
            device: config.uplink.clone(),
            address: config.outer_address,
        },
    }
}

async fn answer(health: &Health, socket: &Path) -> anyhow::Result<Answering> {
    let health = health.clone();
    let well = move |probe| std::future::ready(health.answer(probe));
    let answering = causeway_certs::health::answer(socket, well).await;
    answering.with_context(|| format!("health socket {}", socket.display()))
}

/// What to check when the kernel does not take the programs.
fn hint(config: &Config) -> String {
    format!(
        "the kernel does not take the programs: this needs root, Linux 6.6 with BTF, and pin_dir on a bpf file \
         system; maps of another build under {} must go",
        config.pin_dir.display()
    )
}

impl Agent {
    fn new(start: Start, kernel: Kernel, host: Host, handover: Handover, image: MapImage) -> Self {
        Self {
            held_back: start.config.pools.clone(),
            start,
            kernel,
            host,
            held: Held::from_image(image),
            services: BTreeMap::new(),
            tunnel: None,
            session: None,
            handover,
            own: None,
            seen: None,
            hooked: BTreeMap::new(),
            view: None,
            programmed: None,
            in_force: None,
            compiled: Vec::new(),
            failures: BTreeMap::new(),
            flows: None,
            ways: Vec::new(),
            ticks: 0,
        }
    }

    /// A View of a gateway that has never heard its controller says nothing about what should be here.
    fn take(&mut self, view: Option<Arc<View>>) {
        let Some(view) = view else { return };
        if !view.sync.local && !self.held.image.frontends.is_empty() {
            tracing::warn!("the gateway knows no exports yet; keeping what is programmed");
            return;
        }
        self.view = Some(view);
    }

    /// This node's gateway may end, too, and nobody would hear of it: packets go by others, where any carries.
    async fn leave(&mut self) {
        self.handover.end();
        self.step().await;
    }

    /// Brings the kernel to where the newest View and the ports want it.
    async fn step(&mut self) {
        let (Some(view), Some(seen)) = (self.view.clone(), self.seen.clone()) else {
            return;
        };
        if self.devices(&view).await.is_err() {
            return;
        }
        let Some(facts) = self.facts(&view, seen) else {
            return;
        };
        self.unhook();
        let in_force =
            |(old, with): &(Arc<View>, NodeFacts)| same_maps(old, &view) && *with == facts;
        if self.failures.is_empty() && self.in_force.as_ref().is_some_and(in_force) {
            self.programmed = Some(view.revision);
            return;
        }
        let compiled = compile(&view, &facts, &self.held);
        let ops = diff(&self.held.image, &compiled.image);
        let done = execute(&mut self.kernel, &ops, &mut self.held.image);
        self.services = compiled.services;
        self.compiled = compiled.problems;
        match done {
            Ok(()) => {
                self.failures.remove("maps");
                self.held = compiled.held;
                let news = |op: &&MapOp| !matches!(op, MapOp::Put(Entry::Config(_)));
                match ops.iter().filter(news).count() {
                    0 => tracing::debug!(revision = ?view.revision, "nothing new"),
                    writes => tracing::info!(writes, revision = ?view.revision, "programmed"),
                }
                self.programmed = Some(view.revision);
                self.in_force = Some((view, facts));
            }
            Err(error) => {
                self.in_force = None;
                self.fail("maps", &error);
            }
        }
    }

    /// The uplink, once it is known.
    fn uplink(&self) -> Option<&Uplink> {
        self.seen.as_ref()?.uplink.as_ref().ok()
    }

    /// Nothing without an uplink: what others are to answer to is not known.
    fn facts(&mut self, view: &View, seen: Seen) -> Option<NodeFacts> {
        let uplink = match seen.uplink {
            Ok(uplink) => uplink,
            Err(error) => {
                self.fail("uplink", &error);
                return None;
            }
        };
        self.failures.remove("uplink");
        let (config, node) = (&self.start.config, &self.start.config.node);
        let mut ports = seen.ports;
        ports.retain(|_, port| config.ports.is_some() || is_pod_side(view, node, port));
        Some(NodeFacts {
            node: node.clone(),
            outer: uplink.address,
            tunnel: self.tunnel.map_or(0, |(index, _)| index),
            session: self.session.unwrap_or(0),
            gateway: self.handover.gateway.borrow().clone(),
            mtu: self.mtu(),
            faults: self.start.breaks.faults,
            clamp: !self.start.breaks.mss,
            spread: self.start.breaks.locality,
            ports,
            host: self.own.as_ref().map(|own| own.device.facts.clone()),
        })
    }

    fn fail(&mut self, what: &'static str, error: &(dyn std::error::Error + 'static)) {
        let text = causes(error);
        if self.failures.get(what) != Some(&text) {
            tracing::warn!(error = text, "{what}");
        }
        self.failures.insert(what, text);
    }

    fn problems(&self) -> Vec<Problem> {
        let failures = self.failures.iter().map(|(what, error)| Problem {
            kind: ProblemKind::BadObject,
            subject: format!("node {} {what}", self.start.config.node),
            message: error.clone(),
        });
        self.compiled.iter().cloned().chain(failures).collect()
    }

    /// Tells at once that a View is in force. All else is as last read: what is told anew each time would make
    /// a new View each time.
    fn tell_programmed(&self, to: &watch::Sender<Option<Report>>) {
        to.send_if_modified(|report| match report {
            Some(report) if report.programmed != self.programmed => {
                report.programmed = self.programmed;
                true
            }
            _ => false,
        });
    }

    fn tell(&mut self, to: &watch::Sender<Option<Report>>) {
        self.ticks = self.ticks.wrapping_add(1);
        let (all, half) = self.flows.unwrap_or_default();
        if self.ticks.is_multiple_of(FLOWS_EACH) || all.saturating_add(half) < FEW_FLOWS {
            self.flows = Some(self.kernel.flows());
        }
        let counters = match self.kernel.counters(self.services.keys().copied()) {
            Ok(counters) => counters,
            Err(error) => return self.fail("counters", &error),
        };
        self.failures.remove("counters");
        let report = self.report(&counters);
        if let Some(path) = &self.start.report {
            source::write(path, &report);
        }
        to.send_replace(Some(report));
    }
}
