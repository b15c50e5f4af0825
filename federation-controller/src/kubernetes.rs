//! Shell: the tasks of a controller on Kubernetes: what stands behind the gateways, what is watched, published and written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use causeway_certs::health::{Probe, answer};
use causeway_certs::name::Role;
use causeway_proto::model::Publication;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::authority::{self, Here, Known};
use crate::clock::Clock;
use crate::cluster::api::Troubles;
use crate::cluster::execute::Writer;
use crate::cluster::leading::Leading;
use crate::cluster::reflect::reflect;
use crate::cluster::rounds::{News, Out, Rounds};
use crate::config::OnKubernetes;
use crate::mirror::Source;

/// News on their way to the mirror: some lists.
const NEWS: usize = 4096;

/// What probes are told.
fn well(probe: Probe, enrolling: Option<&watch::Receiver<bool>>) -> Result<(), String> {
    match (probe, enrolling) {
        (Probe::Live, _) => Ok(()),
        (Probe::Ready, None) => Err("starting".to_owned()),
        // A gateway needs a certificate long before all has been listed: that is no reason to send nobody here.
        (Probe::Ready, Some(enrolling)) if *enrolling.borrow() => Ok(()),
        (Probe::Ready, Some(_)) => Err(
            "certificates cannot be asked for yet: the enrolment certificate is missing".to_owned(),
        ),
    }
}

/// Runs until a signal ends it.
///
/// # Errors
/// When it cannot start; the message says what to check.
pub async fn run(config: OnKubernetes) -> anyhow::Result<ExitCode> {
    let clock = Clock::start();
    let enrolling = Arc::new(OnceLock::new());
    let asked: Arc<OnceLock<watch::Receiver<bool>>> = Arc::clone(&enrolling);
    let _answering = answer(&config.health_socket, move |probe| {
        let well = well(probe, asked.get());
        async move { well }
    })
    .await
    .with_context(|| {
        format!(
            "health_socket {}: cannot be had",
            config.health_socket.display()
        )
    })?;
    let client = Client::try_default()
        .await
        .context("the API server: is this a pod with a service account?")?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen {}: cannot be had", config.listen))?;
    let troubles = Troubles::default();
    let here = Here {
        client: client.clone(),
        namespace: config.namespace.clone(),
        role: Role::parse(&format!("controller/{}", config.name))?,
        me: format!("{}_{:08x}", config.name, clock.wall().0 & 0xffff_ffff),
        listener,
        clock,
        troubles: troubles.clone(),
    };
    let (stop, stopped) = watch::channel(false);
    let (known, running) = authority::run(here, over(stopped));
    let _ = enrolling.set(known.enrolling.clone());
    let mut tasks = JoinSet::new();
    mirror(&mut tasks, &config, &client, &known, &troubles, clock);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = tasks.join_next() => anyhow::bail!("a task of the controller has ended; see the log above"),
    }
    // What was published stays in force: a controller that stops withdraws nothing.
    tasks.shutdown().await;
    stop.send_replace(true);
    running.over().await;
    Ok(ExitCode::SUCCESS)
}

async fn over(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// What is watched, published and written.
fn mirror(
    tasks: &mut JoinSet<()>,
    config: &OnKubernetes,
    client: &Client,
    known: &Known,
    troubles: &Troubles,
    clock: Clock,
) {
    let (news, received) = mpsc::channel(NEWS);
    let (publications, published) = watch::channel(None);
    let (asked, asked_seen) = watch::channel(BTreeMap::new());
    for source in Source::ALL {
        let (changes, mut watched) = mpsc::channel(1);
        let (told, served) = (news.clone(), news.clone());
        let (client, troubles) = (client.clone(), troubles.clone());
        tasks.spawn(async move {
            let serves = move |resource| {
                let _ = served.try_send(News::Served(source, resource));
            };
            reflect(client, source, changes, serves, troubles).await;
        });
        tasks.spawn(async move {
            while let Some(change) = watched.recv().await {
                let _ = told.send(News::Change(change)).await;
            }
        });
    }
    let reporter = Reporter {
        controller: "causeway.dev/controller".to_owned(),
        instance: Some(config.name.clone()),
    };
    let writer = Writer::new(client.clone(), Recorder::new(client.clone(), reporter));
    let out = Out {
        publications,
        asked,
    };
    let namespace = config.namespace.to_string();
    let activity = known.activity.clone();
    let rounds = Rounds::new(&namespace, writer, clock, activity, out, troubles);
    tasks.spawn(rounds.run(received));
    let (client, leader) = (client.clone(), known.leader.clone());
    tasks.spawn(async move {
        let Some(publications) = first(published).await else {
            return;
        };
        let (told, mut heard) = mpsc::channel(16);
        let leading = Leading {
            client,
            namespace,
            publications,
            asked: asked_seen,
            told,
        };
        let telling = async {
            while let Some(told) = heard.recv().await {
                let _ = news.send(News::Told(told)).await;
            }
        };
        tokio::join!(leading.run(leader), telling);
    });
}

/// From the first publication on.
async fn first(
    mut published: watch::Receiver<Option<Arc<Publication>>>,
) -> Option<watch::Receiver<Arc<Publication>>> {
    let first = published.wait_for(Option::is_some).await.ok()?.clone()?;
    let (told, seen) = watch::channel(first);
    tokio::spawn(async move {
        while published.changed().await.is_ok() {
            let newest = published.borrow_and_update().clone();
            let Some(newest) = newest else { continue };
            if told.send(newest).is_err() {
                return;
            }
        }
    });
    Some(seen)
}

/// Asks the controller of this configuration how it is.
///
/// # Errors
/// When it is not well.
pub fn health(socket: &Path, live: bool) -> anyhow::Result<()> {
    let probe = if live { Probe::Live } else { Probe::Ready };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(causeway_certs::health::ask(socket, probe))?)
}

/// Where certificates are asked for unless configured.
#[must_use]
pub fn any_address() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7445))
}
