//! Shell: the end-to-end cases: two Kubernetes clusters, Causeway installed with Helm and used as the
//! multi-cluster standard says. Nothing here links against Kubernetes: `kubectl`, `helm` and `causeway`
//! are run as users run them.
//!
//! A case is a function from a [`scene::Scene`] to nothing or to what it saw instead of what it expected.
//! Not here: how the clusters are made; see `integration/kubernetes`.

pub mod case;
pub mod cases;
pub mod clients;
pub mod cluster;
pub mod diagnosis;
pub mod expect;
pub mod ground;
pub mod hope;
pub mod http;
pub mod install;
pub mod kind;
pub mod report;
pub mod runner;
pub mod said;
pub mod scene;
pub mod seen;
pub mod traffic;
pub mod wanted;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use nix::sys::signal::{SigSet, Signal};

use case::Turn;
use clients::Clients;
use cluster::Cluster;
use ground::{Foreign, Ground};
use kind::{NAMESPACE, NODE};
use report::{Form, Report};
use runner::Manner;
use scene::{BOTH, Stage};

/// Some exit status that is neither a failed case nor a failed start.
const INTERRUPTED: i32 = 130;
/// Cases at once: they wait most of the time, but each look costs the two API servers something.
pub const JOBS: usize = 4;

/// What a caller may choose.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Parts of the names of cases, or `#17` for a spec of the standard; all without
    pub filter: Vec<String>,
    /// Print the cases and end
    #[arg(long)]
    pub list: bool,
    /// A case that should run and cannot is a failure
    #[arg(long)]
    pub ci: bool,
    /// Leave what a failed case made
    #[arg(long)]
    pub keep: bool,
    /// How the outcome is printed
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Form,
    /// Cases at once
    #[arg(long, default_value_t = JOBS)]
    pub jobs: usize,
}

/// Two clusters, and where things are.
pub struct Setting {
    /// With both contexts
    pub kubeconfig: PathBuf,
    /// The exporter first
    pub contexts: [String; 2],
    /// What is below them; None for clusters that somebody else made
    pub ground: Option<Box<dyn Ground>>,
    /// The chart
    pub chart: PathBuf,
    /// More arguments for `helm`, such as `--set` and a value
    pub values: Vec<String>,
    /// Where sockets of this run may be
    pub directory: PathBuf,
}

/// Runs the cases that were asked for. The status is failure if one of them did not end as expected.
pub fn run(options: &Options, setting: Setting) -> anyhow::Result<ExitCode> {
    let cases = case::choose(&cases::all(), &options.filter);
    let report = Report::new(options.output);
    anyhow::ensure!(
        !cases.is_empty(),
        "no case is meant by {:?}",
        options.filter
    );
    end_on_signals()?;
    let stage = open(setting, report)?;
    let manner = Manner {
        jobs: options.jobs.max(1),
        keep: options.keep,
    };
    let count = cases.len();
    stage
        .report
        .say(&format!("e2e: {count} cases, run {}", stage.run));
    if cases.iter().all(|case| case.turn != Turn::First) {
        // They find it installed.
        install::both(&stage)?;
    }
    runner::run(&stage, &cases, manner);
    stage.clients.remove(&stage)?;
    Ok(if stage.report.finish(options.ci)? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints the cases that were asked for.
pub fn list(options: &Options) {
    let report = Report::new(options.output);
    for case in case::choose(&cases::all(), &options.filter) {
        let specs: Vec<_> = case.specs.iter().map(|n| format!("#{n}")).collect();
        let (name, what, specs) = (case.name, case.what, specs.join(" "));
        report.say(&format!("{name:36} {specs:8} {what}"));
    }
}

/// Causeway on both, paired, unless it is there; each step is said.
pub fn install(setting: Setting) -> anyhow::Result<()> {
    prepare(&open(setting, Report::new(Form::Text))?)
}

/// Cases that install nothing find Causeway installed.
fn prepare(stage: &Stage) -> anyhow::Result<()> {
    for side in BOTH {
        if !install::is_installed(stage, side)? {
            return install::both(stage);
        }
    }
    Ok(())
}

fn open(setting: Setting, report: Report) -> anyhow::Result<Stage> {
    let Setting {
        kubeconfig,
        contexts: [first, second],
        ground,
        chart,
        values,
        directory,
    } = setting;
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("making {}", directory.display()))?;
    let open = |context: &str| Cluster::open(&kubeconfig, context, &directory);
    let (east, west) = (open(&first)?, open(&second)?);
    let ground = match ground {
        Some(ground) => ground,
        None => {
            let count = |c: &Cluster| c.list(NODE, "", "").map(|nodes| nodes.len());
            let nodes = count(&east)?.min(count(&west)?);
            Box::new(Foreign { nodes })
        }
    };
    let stage = Stage {
        east,
        west,
        ground,
        run: run_name(),
        clients: Clients::default(),
        report,
        chart,
        values,
    };
    sweep(&stage)?;
    Ok(stage)
}

/// What an earlier run left goes.
fn sweep(stage: &Stage) -> anyhow::Result<()> {
    for side in BOTH {
        let cluster = stage.cluster(side);
        for left in cluster.list(NAMESPACE, "", "e2e.causeway.dev/case=true")? {
            let name = left.pointer("/metadata/name").and_then(|n| n.as_str());
            cluster.delete(NAMESPACE, "", name.context("a namespace without a name")?)?;
        }
    }
    Ok(())
}

/// Different for each run on this machine that may overlap another.
fn run_name() -> String {
    std::process::id().to_string()
}

/// The first signal ends all waiting, so that cases fail and clean up; the second ends the program.
fn end_on_signals() -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            expect::interrupt();
        }
        if signals.wait().is_ok() {
            std::process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

/// Where a run's sockets may be when nobody says otherwise.
#[must_use]
pub fn directory(target: &Path) -> PathBuf {
    target.join("e2e").join("run")
}
