//! Shell: the tasks of a controller of manifests.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use causeway_proto::model::{Publication, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::dial::dialer;
use crate::link;
use crate::manifests::Directory;
use crate::publication::{publication, render};

/// How often the directory is looked at: a change is published in two to three of these.
const POLL: Duration = Duration::from_millis(100);

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the shell's clock")]
    SystemTime::now().into()
}

/// Prints what the directory says, once or whenever it changes; fails when a file cannot be read.
///
/// # Errors
/// None today.
pub async fn print(mut directory: Directory, once: bool) -> anyhow::Result<ExitCode> {
    loop {
        if let Some(reading) = directory.poll(now()) {
            #[expect(clippy::print_stdout, reason = "the output that was asked for")]
            {
                print!(
                    "{}",
                    render(&publication(&reading.objects, &reading.problems))
                );
            }
            if once {
                let code = u8::from(reading.broken > 0);
                return Ok(ExitCode::from(code));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Publishes what the directory says until a signal ends it.
///
/// # Errors
/// When there is no certificate for a gateway over TCP.
pub async fn publish(config: Config, mut directory: Directory) -> anyhow::Result<ExitCode> {
    let dialer = Arc::new(dialer(&config, now).await?);
    let first = directory
        .poll(now())
        .context("the first look is always told")?;
    let first = Arc::new(publication(&first.objects, &first.problems));
    tell(&Publication::default(), &first);
    let (sender, receiver) = watch::channel(first);
    let watching = async {
        loop {
            tokio::time::sleep(POLL).await;
            if let Some(reading) = directory.poll(now()) {
                let newest = Arc::new(publication(&reading.objects, &reading.problems));
                tell(&sender.borrow().clone(), &newest);
                sender.send_if_modified(|held| {
                    let changed = *held != newest;
                    *held = newest;
                    changed
                });
            }
        }
    };
    // One controller a cluster: there is no herd to spread.
    let certificates = dialer.clone();
    tokio::spawn(async move { certificates.keep_certificate(0).await });
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        () = watching => {}
        () = link::run(&dialer, receiver) => {}
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    // What was published stays in force: a controller that stops withdraws nothing.
    Ok(ExitCode::SUCCESS)
}

/// Logs what is new since the publication before.
fn tell(before: &Publication, now: &Publication) {
    for problem in now.problems.iter().filter(|p| !before.problems.contains(p)) {
        tracing::warn!("{problem}");
    }
    for gone in before.problems.iter().filter(|p| !now.problems.contains(p)) {
        tracing::info!("no longer: {gone}");
    }
    for c in now
        .conditions
        .iter()
        .filter(|c| !before.conditions.contains(c))
    {
        let (object, kind, status) = (&c.object, &c.kind, c.status);
        tracing::info!("{object} {kind}={status:?} {}: {}", c.reason, c.message);
    }
}
