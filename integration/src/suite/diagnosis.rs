//! Shell: what the clusters look like when a case has failed: its objects, what was told of them, and
//! what our own pods logged meanwhile.

use serde_json::Value;

use super::hope::shown;
use super::kind::{EVENT, EXPORT, IMPORT, POD, SERVICE, SLICE};
use super::scene::{BOTH, Place, Scene};
use super::seen::{self, Pod};

/// Lines of one of our pods.
const LINES: usize = 20;
/// Objects of one kind.
const OBJECTS: usize = 20;
/// Read from before the case began, for what led to it.
const BEFORE_SECS: u64 = 5;

/// All of it, as text.
#[must_use]
pub fn of(scene: &Scene<'_>) -> String {
    let mut out = String::new();
    for side in BOTH {
        let place = scene.at(side);
        objects(&place, &mut out);
        logs(scene, &scene.system(side), &mut out);
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn objects(place: &Place<'_>, out: &mut String) {
    for kind in [EXPORT, IMPORT, SLICE, SERVICE, POD, EVENT] {
        let found = match place.list(kind, "") {
            Ok(found) => found,
            Err(error) => {
                line(out, &format!("{place}: {}: {error:#}", kind.plural));
                continue;
            }
        };
        for object in found.iter().take(OBJECTS) {
            let text = match kind {
                POD => pod(object),
                EVENT => event(object),
                _ => shown(object),
            };
            line(out, &format!("{place}: {} {text}", kind.name));
        }
        if found.len() > OBJECTS {
            let more = found.len().saturating_sub(OBJECTS);
            line(out, &format!("{place}: {} and {more} more", kind.name));
        }
    }
}

fn pod(object: &Value) -> String {
    let Ok(pod) = seen::read::<Pod>(object) else {
        return shown(object);
    };
    format!(
        "{} {} on {} at {}, {}",
        pod.metadata.name,
        pod.status.phase,
        pod.spec.node_name,
        pod.status.pod_ip,
        seen::shown(&pod.status.conditions)
    )
}

fn event(object: &Value) -> String {
    let word = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!(
        "{} {} on {} {}: {}",
        word("/type"),
        word("/reason"),
        word("/involvedObject/kind"),
        word("/involvedObject/name"),
        word("/message")
    )
}

/// Lines of our pods that name the case's namespace or that warn.
fn logs(scene: &Scene<'_>, system: &Place<'_>, out: &mut String) {
    let secs = scene.elapsed().as_secs().saturating_add(BEFORE_SECS);
    let pods = system.list(POD, "").unwrap_or_default();
    for pod in pods.iter().filter_map(|p| seen::read::<Pod>(p).ok()) {
        let name = &pod.metadata.name;
        if !pod.is_ready() {
            let how = seen::shown(&pod.status.conditions);
            line(out, &format!("{system}: {name}: {how}"));
        }
        for container in &pod.spec.containers {
            let log = system
                .cluster
                .log(&system.namespace, name, &container.name, secs);
            let told: Vec<_> = log
                .lines()
                .filter(|l| matters(l, &scene.namespace))
                .collect();
            let skipped = told.len().saturating_sub(LINES);
            for text in told.iter().skip(skipped) {
                line(out, &format!("{system}: {name}: {text}"));
            }
        }
    }
}

fn matters(line: &str, namespace: &str) -> bool {
    line.contains(namespace) || line.contains("WARN") || line.contains("ERROR")
}
