//! Shell: `causeway-e2e`: two Kubernetes clusters on this machine, Causeway on them, and the cases.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use causeway_integration::kubernetes::bed::Bed;
use causeway_integration::kubernetes::ground::Underneath;
use causeway_integration::kubernetes::shape::{CLUSTERS, Shape};
use causeway_integration::kubernetes::steps::say;
use causeway_integration::kubernetes::tools::Tools;
use causeway_integration::kubernetes::{host, supervisor};
use causeway_integration::lab;
use causeway_integration::suite::report::Form;
use causeway_integration::suite::{self, Setting};
use clap::{Parser, Subcommand};

/// The chart, told by xtask.
const CHART: &str = "CAUSEWAY_CHART";
/// The archive of Causeway's image, told by xtask.
const IMAGE: &str = "CAUSEWAY_IMAGE";

#[derive(Parser)]
#[command(
    name = "cargo xtask e2e",
    about = "Two real Kubernetes clusters on this machine, with Causeway installed and paired"
)]
struct Args {
    /// Up, every case, down: two nodes, bridge, equal addresses, nftables
    #[arg(long, conflicts_with = "all")]
    ci: bool,
    /// The same, and again with ptp, distinct addresses and iptables
    #[arg(long)]
    all: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Bring the clusters up and write a kubeconfig with the contexts `east` and `west`
    Up {
        #[command(flatten)]
        shape: Shape,
        /// Without Causeway
        #[arg(long)]
        bare: bool,
        /// Take down what is up first
        #[arg(long)]
        replace: bool,
    },
    /// Run the cases, or those whose name has one of these parts
    Test {
        #[command(flatten)]
        options: suite::Options,
        /// Two contexts of the kubeconfig that kubectl takes by itself, in place of the clusters of `up`. Causeway is
        /// installed and removed there, with the contexts' names as cluster ids
        #[arg(long, value_delimiter = ',', value_name = "ONE,OTHER")]
        contexts: Vec<String>,
        /// A value of the chart there, as helm's `--set` takes it: `image.repository=registry.example/causeway`
        #[arg(long, requires = "contexts", value_name = "NAME=VALUE")]
        set: Vec<String>,
    },
    /// Put an image on every node: an archive as of `docker save`, or of an OCI layout
    Load {
        /// The archive
        image: PathBuf,
    },
    /// What is up
    Status,
    /// Run a program, or a shell, in the namespaces of a node: `east-1`, `west-2`, `east-control`
    Enter {
        /// The node or control plane
        host: String,
        /// What to run
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Remove the clusters, however the run that made them ended
    Down,
    /// The first process of a host
    #[command(hide = true)]
    Host {
        /// Where its state is
        directory: PathBuf,
        /// Its name
        name: String,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match args.command {
        None if args.all => every(&Shape::ALL),
        None if args.ci => every(&[Shape::default()]),
        None => bail!("say what to do: up, test, load, down, --ci or --all; --help tells more"),
        Some(Command::Up {
            shape,
            bare,
            replace,
        }) => up(shape, bare, replace).map(done),
        Some(Command::Test {
            options,
            contexts,
            set,
        }) => test(&options, &contexts, &set),
        Some(Command::Load { image }) => {
            let image = image
                .canonicalize()
                .with_context(|| format!("{}", image.display()))?;
            there()?.load(&image).map(done)
        }
        Some(Command::Status) => status().map(done),
        Some(Command::Enter { host, command }) => enter(&host, &command),
        Some(Command::Down) => Bed::down().map(done),
        Some(Command::Host { directory, name }) => host::first_process(&directory, &name).map(done),
    }
}

/// Each shape from nothing to nothing again; clusters that are up already are somebody's, and stay.
fn every(shapes: &[Shape]) -> anyhow::Result<ExitCode> {
    if let Some(bed) = Bed::open()? {
        bail!(
            "clusters are up, from {}; `e2e down` removes them",
            bed.by.display()
        );
    }
    let mut code = ExitCode::SUCCESS;
    for shape in shapes {
        say(format_args!("e2e {shape}"));
        let outcome = up(*shape, false, false).and_then(|()| test(&whole(), &[], &[]));
        Bed::down()?;
        let outcome = outcome?;
        if outcome != ExitCode::SUCCESS {
            code = outcome;
        }
    }
    Ok(code)
}

/// Every case, and none may be left out.
fn whole() -> suite::Options {
    suite::Options {
        filter: Vec::new(),
        list: false,
        ci: true,
        keep: false,
        output: Form::Text,
        jobs: suite::JOBS,
    }
}

fn up(shape: Shape, bare: bool, replace: bool) -> anyhow::Result<()> {
    let up = Bed::open()?;
    let bed = match up {
        Some(bed) if !replace => {
            let (is, by) = (bed.shape, bed.by.display());
            ensure!(
                is == shape,
                "up already: {is}, from {by}; --replace takes them down first"
            );
            say(format_args!("up already: {is}, from {by}"));
            bed
        }
        Some(_) => {
            Bed::down()?;
            Bed::up(shape, Tools::find()?)?
        }
        None => Bed::up(shape, Tools::find()?)?,
    };
    let kubeconfig = kubeconfig()?;
    bed.write_kubeconfig(&kubeconfig)?;
    if !bare {
        install(bed)?;
    }
    say("");
    say(format_args!("  export KUBECONFIG={}", kubeconfig.display()));
    say(format_args!(
        "  export PATH={}:$PATH",
        Tools::find()?.directory().display()
    ));
    say("  kubectl --context east get nodes");
    say("  cargo xtask e2e enter east-1     a shell on a node");
    say("  cargo xtask e2e down             removes everything");
    Ok(())
}

/// Causeway on both, paired.
fn install(mut bed: Bed) -> anyhow::Result<()> {
    let image = told(IMAGE)?;
    bed.load(&image)?;
    suite::install(setting(bed)?)
}

fn test(options: &suite::Options, contexts: &[String], set: &[String]) -> anyhow::Result<ExitCode> {
    if options.list {
        suite::list(options);
        return Ok(ExitCode::SUCCESS);
    }
    let setting = match contexts {
        [] => setting(there()?)?,
        [one, other] => foreign([one, other], set)?,
        _ => bail!("--contexts takes two names"),
    };
    suite::run(options, setting)
}

fn setting(bed: Bed) -> anyhow::Result<Setting> {
    let kubeconfig = kubeconfig()?;
    bed.write_kubeconfig(&kubeconfig)?;
    Ok(Setting {
        kubeconfig,
        contexts: CLUSTERS.map(str::to_owned),
        ground: Some(Box::new(Underneath::new(bed))),
        chart: told(CHART)?,
        values: Vec::new(),
        directory: directory()?.join("run"),
    })
}

/// Clusters that somebody else made, by the kubeconfig that kubectl would take.
fn foreign(contexts: [&str; 2], set: &[String]) -> anyhow::Result<Setting> {
    let file = match std::env::var_os("KUBECONFIG") {
        Some(file) => PathBuf::from(file),
        None => {
            let home = std::env::var_os("HOME").context("HOME is not set")?;
            Path::new(&home).join(".kube/config")
        }
    };
    ensure!(
        file.is_file(),
        "there is no kubeconfig at {}",
        file.display()
    );
    let [tools, _] = Tools::find()?.images();
    say(format_args!(
        "nodes take {} from {}, and Causeway's image as `cargo xtask image` makes it, or as --set says",
        suite::wanted::IMAGE,
        tools.display()
    ));
    Ok(Setting {
        kubeconfig: file,
        contexts: contexts.map(str::to_owned),
        ground: None,
        chart: told(CHART)?,
        values: set
            .iter()
            .flat_map(|value| ["--set".to_owned(), value.clone()])
            .collect(),
        directory: directory()?.join("run"),
    })
}

fn there() -> anyhow::Result<Bed> {
    Bed::open()?.context("no clusters are up; `cargo xtask e2e up` makes them")
}

fn status() -> anyhow::Result<()> {
    let Some(bed) = Bed::open()? else {
        say("no clusters are up");
        return Ok(());
    };
    say(format_args!("{}, from {}", bed.shape, bed.by.display()));
    let controls = bed.shape.clusters().map(|cluster| cluster.control());
    let workers = bed.workers.iter().map(|worker| worker.name.clone());
    for name in controls.into_iter().chain(workers) {
        let host = bed.host(&name)?;
        let runs = supervisor::units(host.directory()).unwrap_or_default();
        let (address, runs) = (host.address, runs.join(" "));
        say(format_args!("  {name:14} {address:12} {runs}"));
    }
    Ok(())
}

fn enter(host: &str, command: &[String]) -> anyhow::Result<ExitCode> {
    let host = there()?.host(host)?;
    let shell = ["bash".to_owned()];
    let command = if command.is_empty() { &shell } else { command };
    let (program, args) = command.split_first().context("nothing to run")?;
    let error = host.command(program)?.args(args).exec();
    Err(error).with_context(|| format!("running {program}"))
}

fn told(variable: &str) -> anyhow::Result<PathBuf> {
    let value = std::env::var_os(variable)
        .with_context(|| format!("{variable} is not set; run this by `cargo xtask e2e`"))?;
    Ok(PathBuf::from(value))
}

/// Where this checkout's own files of a run are, below the target directory.
fn directory() -> anyhow::Result<PathBuf> {
    let programs = lab::programs()?;
    let target = programs
        .parent()
        .context("programs without a target directory")?;
    Ok(target.join("e2e"))
}

fn kubeconfig() -> anyhow::Result<PathBuf> {
    Ok(directory()?.join("kubeconfig"))
}
