//! Shell: Causeway installed, paired and removed by the commands that its users type: `helm` and
//! `causeway`, with nothing but a kubeconfig.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::expect::{Look, within};
use super::kind::{DAEMON_SET, DEPLOYMENT, NAMESPACE, PEER};
use super::scene::{BOTH, SYSTEM, Side, Stage};
use super::seen;

/// Name of the release.
pub const RELEASE: &str = "causeway";
/// How long helm may wait, as it takes it.
const HELM_WAIT: &str = "3m";
/// How long pods may take to be ready after helm has given its word.
const READY: Duration = Duration::from_secs(60);
/// How long peers may take to hear each other.
const PEERS: Duration = Duration::from_secs(30);

/// Runs a program to its end; its output, or its complaint as an error.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        let args = command.get_args().map(|a| a.to_string_lossy().into_owned());
        let args = args.collect::<Vec<_>>().join(" ");
        let said = format!("{} {}", text(&output.stdout), text(&output.stderr));
        bail!("{name} {args}: {}: {}", output.status, said.trim());
    }
    Ok(text(&output.stdout))
}

/// `helm` on one side.
pub fn helm(stage: &Stage, side: Side, args: &[&str]) -> anyhow::Result<String> {
    let cluster = stage.cluster(side);
    let mut command = Command::new("helm");
    command.args(args).arg("--namespace").arg(SYSTEM);
    command.arg("--kubeconfig").arg(cluster.kubeconfig());
    command.arg("--kube-context").arg(&cluster.context);
    output(&mut command)
}

/// `causeway` on one side.
pub fn causeway(stage: &Stage, side: Side, args: &[&str]) -> anyhow::Result<String> {
    let cluster = stage.cluster(side);
    let mut command = Command::new("causeway");
    command.args(args);
    command.arg("--kubeconfig").arg(cluster.kubeconfig());
    command.arg("--context").arg(&cluster.context);
    output(&mut command)
}

/// `causeway -o json` on one side.
pub fn causeway_json(stage: &Stage, side: Side, args: &[&str]) -> anyhow::Result<Value> {
    let text = causeway(stage, side, &[args, &["-o", "json"]].concat())?;
    serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
}

/// Whether a release is there.
pub fn is_installed(stage: &Stage, side: Side) -> anyhow::Result<bool> {
    let list = helm(stage, side, &["list", "--all", "--short"])?;
    Ok(list.lines().any(|line| line == RELEASE))
}

/// The values of one side, as arguments.
pub fn values(stage: &Stage, side: Side) -> anyhow::Result<Vec<String>> {
    let name = &stage.cluster(side).context;
    let mut all = vec!["--set".to_owned(), format!("cluster.name={name}")];
    if stage.ground.facts().equal == Some(false) {
        let peer = &stage.cluster(side.other()).context;
        let native = stage.ground.pod_prefix(peer)?;
        let peers = serde_json::json!([{"cluster": peer, "native": [native]}]);
        all.extend(["--set-json".to_owned(), format!("peers={peers}")]);
    }
    all.extend(stage.values.iter().cloned());
    Ok(all)
}

/// `helm upgrade --install` on one side, until its pods are ready.
pub fn install(stage: &Stage, side: Side, more: &[&str]) -> anyhow::Result<()> {
    let chart = stage.chart.to_string_lossy().into_owned();
    let values = values(stage, side)?;
    let mut args = vec![
        "upgrade",
        "--install",
        RELEASE,
        &chart,
        "--create-namespace",
    ];
    args.extend(["--wait", "--timeout", HELM_WAIT]);
    args.extend(values.iter().map(String::as_str));
    args.extend(more);
    helm(stage, side, &args)?;
    ready(stage, side)
}

/// `helm uninstall` on one side.
pub fn uninstall(stage: &Stage, side: Side) -> anyhow::Result<()> {
    let args = ["uninstall", RELEASE, "--wait", "--timeout", HELM_WAIT];
    helm(stage, side, &args).map(|_| ())
}

/// Takes an installation away with all that it knew, here and on nodes.
pub fn forget(stage: &Stage, side: Side) -> anyhow::Result<()> {
    let chart = stage.chart.to_string_lossy().into_owned();
    let args = ["upgrade", RELEASE, &chart, "--reset-then-reuse-values"];
    let more = [
        "--set",
        "uninstall.deleteState=true",
        "--timeout",
        HELM_WAIT,
    ];
    helm(stage, side, &[args.as_slice(), &more].concat())?;
    uninstall(stage, side)?;
    let cluster = stage.cluster(side);
    cluster.delete(NAMESPACE, "", SYSTEM)?;
    let what = format!("{}: no namespace {SYSTEM}", cluster.context);
    within(READY, &what, || {
        Ok(match cluster.get(NAMESPACE, "", SYSTEM)? {
            None => Look::Yes(()),
            Some(_) => Look::No("it is there".to_owned()),
        })
    })
}

/// Two bare clusters, whatever was there.
pub fn bare(stage: &Stage) -> anyhow::Result<()> {
    for side in BOTH {
        if is_installed(stage, side)? {
            let context = &stage.cluster(side).context;
            stage.report.say(&format!("uninstalling in {context}"));
            forget(stage, side)?;
        }
    }
    Ok(())
}

/// All our pods of one side are ready, in the version that is wanted.
pub fn ready(stage: &Stage, side: Side) -> anyhow::Result<()> {
    let cluster = stage.cluster(side);
    within(
        READY,
        &format!("{}: our pods are ready", cluster.context),
        || {
            let mut late = Vec::new();
            for kind in [DAEMON_SET, DEPLOYMENT] {
                for object in cluster.list(kind, SYSTEM, "app.kubernetes.io/name=causeway")? {
                    if let Some(why) = seen::unready(&object) {
                        late.push(why);
                    }
                }
            }
            Ok(if late.is_empty() {
                Look::Yes(())
            } else {
                Look::No(late.join(", "))
            })
        },
    )
}

/// A token of one side, for another cluster.
pub fn token(stage: &Stage, side: Side) -> anyhow::Result<String> {
    let said = causeway(stage, side, &["token", "create"])?;
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.map(str::to_owned).context("no token was printed")
}

/// Pairs the two, and waits until each hears the other.
pub fn pair(stage: &Stage) -> anyhow::Result<()> {
    let token = token(stage, Side::East)?;
    causeway(stage, Side::West, &["join", &token])?;
    BOTH.into_iter().try_for_each(|side| connected(stage, side))
}

/// Each side hears the other.
pub fn connected(stage: &Stage, side: Side) -> anyhow::Result<()> {
    let (cluster, peer) = (stage.cluster(side), stage.cluster(side.other()));
    let peer = cluster_id(stage, side.other()).unwrap_or_else(|_| peer.context.clone());
    let what = format!("{}: ClusterPeer {peer} is Connected", cluster.context);
    within(PEERS, &what, || {
        let Some(object) = cluster.get(PEER, "", &peer)? else {
            return Ok(Look::No("no such ClusterPeer".to_owned()));
        };
        let good = seen::condition(&object, "Connected").is_some_and(|c| c.status == "True");
        Ok(if good {
            Look::Yes(())
        } else {
            Look::No(seen::shown(&seen::conditions(&object)))
        })
    })
}

/// The id by which others know one side.
pub fn cluster_id(stage: &Stage, side: Side) -> anyhow::Result<String> {
    let cluster = stage.cluster(side);
    let property = cluster.get(super::kind::PROPERTY, "", super::scene::CLUSTER_ID)?;
    let value = property.as_ref().and_then(|p| p.pointer("/spec/value"));
    let value = value.and_then(Value::as_str).map(str::to_owned);
    value.with_context(|| format!("{}: no cluster id: is Causeway installed?", cluster.context))
}

/// Both installed and paired; what is there and works is left as it is.
pub fn both(stage: &Stage) -> anyhow::Result<()> {
    let works = |side| Ok::<_, anyhow::Error>(is_installed(stage, side)? && hears(stage, side)?);
    if works(Side::East)? && works(Side::West)? {
        return Ok(());
    }
    bare(stage)?;
    for side in BOTH {
        let context = &stage.cluster(side).context;
        stage.report.say(&format!("installing in {context}"));
        install(stage, side, &[])?;
    }
    stage.report.say("pairing");
    pair(stage)
}

/// Whether one side hears the other now.
fn hears(stage: &Stage, side: Side) -> anyhow::Result<bool> {
    let Ok(peer) = cluster_id(stage, side.other()) else {
        return Ok(false);
    };
    let object = stage.cluster(side).get(PEER, "", &peer)?;
    let condition = object.and_then(|object| seen::condition(&object, "Connected"));
    Ok(condition.is_some_and(|c| c.status == "True"))
}
