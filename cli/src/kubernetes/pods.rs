//! Pure: which pod to speak to, by the Leases and the pods of the namespace; or why there is none.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ContainerState, Pod};

/// Label of all our pods.
pub const OURS: &str = "app.kubernetes.io/name=causeway";
/// Its holder is the active controller, as `POD_RANDOM`.
pub const CONTROLLER_LEASE: &str = "causeway-controller";
/// Its holder is the gateway that leads, named like its node.
pub const LEADER_LEASE: &str = "causeway-leader";

const COMPONENT: &str = "app.kubernetes.io/component";
const CONTROLLER: &str = "controller";
const GATEWAY: &str = "gateway";

/// Why there is nobody to speak to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nobody {
    /// No pod of ours at all.
    #[error("there is no pod of Causeway")]
    NotInstalled,
    /// Pods, but none of this component.
    #[error("there is no {0} pod")]
    NoPod(&'static str),
    /// Nobody holds the controllers' Lease.
    #[error("no controller is active: nobody holds the Lease {CONTROLLER_LEASE}{}", told(.0))]
    NotActive(Vec<String>),
    /// Nobody holds the gateways' Lease.
    #[error("no gateway leads: nobody holds the Lease {LEADER_LEASE}{}", told(.0))]
    NotLed(Vec<String>),
    /// The holder has gone, and nobody has taken its place yet.
    #[error("{who} is gone, and its place is not taken yet{}", told(.others))]
    Gone {
        /// As the Lease names it.
        who: String,
        /// What the others do.
        others: Vec<String>,
    },
    /// It is there and does not run.
    #[error("pod {pod} does not run: {why}")]
    NotRunning {
        /// Its name.
        pod: String,
        /// Why.
        why: String,
    },
}

fn told(pods: &[String]) -> String {
    match pods {
        [] => String::new(),
        pods => format!(" ({})", pods.join("; ")),
    }
}

impl Nobody {
    /// Which pods to look at.
    fn component(&self) -> &str {
        match self {
            Self::NotInstalled => "",
            Self::NoPod(component) => component,
            Self::NotActive(_) => CONTROLLER,
            Self::NotLed(_) => GATEWAY,
            Self::Gone { who, .. } if who.starts_with(GATEWAY) => GATEWAY,
            Self::Gone { .. } => CONTROLLER,
            Self::NotRunning { .. } => "",
        }
    }

    /// Whether it may be otherwise in a moment.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::NotInstalled)
    }

    /// What the operator should check; `kubectl` with the options that name this cluster and namespace.
    pub fn check(&self, kubectl: &str) -> String {
        match self {
            Self::NotInstalled => format!(
                "if it is installed in another namespace give that with --namespace (`{kubectl} get pods -A -l {OURS}` shows it), else install it: helm install causeway ./helm -n causeway-system --create-namespace --set cluster.name=NAME"
            ),
            Self::NoPod(GATEWAY) => format!(
                "gateways run on nodes with the label causeway.dev/gateway=true: `{kubectl} get nodes -l causeway.dev/gateway=true`, `{kubectl} describe daemonset causeway-gateway`"
            ),
            Self::NoPod(_) => {
                format!("`{kubectl} describe deployment causeway-controller` says why")
            }
            Self::NotRunning { pod, .. } => format!("`{kubectl} describe pod {pod}` says why"),
            other => format!(
                "does it start, and what does its log say? `{kubectl} logs -l {COMPONENT}={}`",
                other.component()
            ),
        }
    }
}

/// The active controller's pod.
///
/// # Errors
/// When there is none that runs.
pub fn controller(lease: Option<&Lease>, pods: &[Pod]) -> Result<String, Nobody> {
    let own = of(CONTROLLER, pods)?;
    let Some(holder) = holder(lease) else {
        return Err(Nobody::NotActive(states(&own)));
    };
    let name = holder.rsplit_once('_').map_or(holder, |(pod, _random)| pod);
    match own.iter().find(|pod| self::name(pod) == name) {
        Some(pod) => running(pod),
        None => Err(Nobody::Gone {
            who: format!("controller {name}"),
            others: states(&own),
        }),
    }
}

/// The gateway that leads, and its pod.
///
/// # Errors
/// When there is none that runs.
pub fn leader(lease: Option<&Lease>, pods: &[Pod]) -> Result<(String, String), Nobody> {
    let own = of(GATEWAY, pods)?;
    let Some(gateway) = holder(lease) else {
        return Err(Nobody::NotLed(states(&own)));
    };
    let on_node = own.iter().filter(|pod| node(pod) == gateway);
    // While a DaemonSet replaces its pod there may be two.
    match on_node.min_by_key(|pod| not_running(pod).is_some()) {
        Some(pod) => Ok((gateway.to_owned(), running(pod)?)),
        None => Err(Nobody::Gone {
            who: format!("gateway {gateway}"),
            others: states(&own),
        }),
    }
}

/// Any gateway that runs: what it says of itself and its peers is worth hearing when nobody leads.
pub fn gateway(pods: &[Pod]) -> Option<(String, String)> {
    let own = of(GATEWAY, pods).ok()?;
    let running = own.iter().find(|pod| not_running(pod).is_none())?;
    Some((node(running).to_owned(), name(running).to_owned()))
}

fn of<'a>(component: &'static str, pods: &'a [Pod]) -> Result<Vec<&'a Pod>, Nobody> {
    if pods.is_empty() {
        return Err(Nobody::NotInstalled);
    }
    let labelled = |pod: &&Pod| {
        let labels = pod.metadata.labels.as_ref();
        labels
            .and_then(|labels| labels.get(COMPONENT))
            .is_some_and(|c| c == component)
    };
    let own: Vec<_> = pods.iter().filter(labelled).collect();
    if own.is_empty() {
        return Err(Nobody::NoPod(component));
    }
    Ok(own)
}

fn holder(lease: Option<&Lease>) -> Option<&str> {
    let spec = lease?.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn node(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

fn running(pod: &Pod) -> Result<String, Nobody> {
    let pod_name = name(pod).to_owned();
    match not_running(pod) {
        None => Ok(pod_name),
        Some(why) => Err(Nobody::NotRunning { pod: pod_name, why }),
    }
}

fn states(pods: &[&Pod]) -> Vec<String> {
    let state = |pod: &&Pod| {
        let why = not_running(pod).unwrap_or_else(|| "runs".to_owned());
        format!("{}: {why}", name(pod))
    };
    pods.iter().map(state).collect()
}

/// Why no container of it can be reached; nothing where one can.
fn not_running(pod: &Pod) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted".to_owned());
    }
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let mut waits = containers.filter_map(|c| why_not(c.state.as_ref()?));
    let first = status.init_container_statuses.iter().flatten();
    let mut first = first.filter_map(|c| why_not(c.state.as_ref()?));
    match status.phase.as_deref() {
        Some("Running") => waits.next(),
        phase => {
            let phase = phase.unwrap_or("Unknown");
            let conditions = status.conditions.iter().flatten();
            let scheduled = conditions
                .filter(|c| c.type_ == "PodScheduled" && c.status == "False")
                .find_map(|c| c.message.clone());
            let why = scheduled.or_else(|| first.next()).or_else(|| waits.next());
            Some(why.map_or_else(|| phase.to_owned(), |why| format!("{phase}, {why}")))
        }
    }
}

fn why_not(state: &ContainerState) -> Option<String> {
    let (reason, message) = match (&state.waiting, &state.terminated) {
        (Some(waiting), _) => (waiting.reason.as_deref(), waiting.message.as_deref()),
        // An init container that is through.
        (None, Some(ended)) if ended.exit_code == 0 => return None,
        (None, Some(ended)) => (ended.reason.as_deref(), ended.message.as_deref()),
        (None, None) => return None,
    };
    let reason = reason.unwrap_or("waits");
    Some(message.map_or_else(
        || reason.to_owned(),
        |message| format!("{reason}: {message}"),
    ))
}

#[cfg(test)]
mod tests;
