//! Shell: `helm test`: is all well, and if not, what is wrong.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use kube::api::DynamicObject;
use kube::{Api, ResourceExt};
use serde_json::Value;
use tokio::net::UdpSocket;

use super::corefile::ZONE;
use super::question::{answered, question};
use super::refusal::{HookError, refused};
use super::site::{Look, Site, labelled};
use crate::crd::{CONFIGURATION, ClusterConfiguration, ClusterPeer, Custom};

const OURS: &str = "app.kubernetes.io/name=causeway";
const LEADER: &str = "causeway-leader";
const DNS: &str = "causeway-dns";
/// A reply takes milliseconds; CoreDNS waits for its upstream a second or two.
const REPLY: Duration = Duration::from_secs(3);

/// Looks until all is well; then, or at the deadline, says what there is to say.
///
/// # Errors
/// When something is wrong.
pub async fn run(site: &Site, through_coredns: bool) -> anyhow::Result<()> {
    let done = site
        .wait(async || {
            let wrong = problems(site, through_coredns).await?;
            Ok(match wrong.is_empty() {
                true => Look::Done(()),
                false => Look::Waiting(wrong.join("; ")),
            })
        })
        .await;
    peers(site).await?;
    done?;
    tracing::info!("all is well");
    Ok(())
}

async fn problems(site: &Site, through_coredns: bool) -> Result<Vec<String>, HookError> {
    let mut wrong = workloads(site).await?;
    wrong.extend(leader(site).await?);
    wrong.extend(configuration(site).await?);
    wrong.extend(listed(site).await?.iter().filter_map(barred));
    wrong.extend(dns(site, through_coredns).await?);
    Ok(wrong)
}

async fn workloads(site: &Site) -> Result<Vec<String>, HookError> {
    let mut wrong = Vec::new();
    let api: Api<Deployment> = Api::namespaced(site.client.clone(), &site.namespace);
    let found = api
        .list(&labelled(OURS))
        .await
        .map_err(refused("list", "deployments"))?;
    for deployment in found {
        let name = deployment.name_any();
        let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = deployment
            .status
            .and_then(|status| status.ready_replicas)
            .unwrap_or(0);
        wrong.extend(lacking("Deployment", &name, ready, wanted));
    }
    let api: Api<DaemonSet> = Api::namespaced(site.client.clone(), &site.namespace);
    let found = api
        .list(&labelled(OURS))
        .await
        .map_err(refused("list", "daemonsets"))?;
    for set in found {
        let name = set.name_any();
        let status = set.status.unwrap_or_default();
        if status.desired_number_scheduled == 0 {
            wrong.push(match name.starts_with("causeway-gateway") {
                true => {
                    format!("DaemonSet {name} has no node; label one causeway.dev/gateway=true")
                }
                false => format!("DaemonSet {name} has no node"),
            });
        }
        let (ready, wanted) = (status.number_ready, status.desired_number_scheduled);
        wrong.extend(lacking("DaemonSet", &name, ready, wanted));
    }
    Ok(wrong)
}

fn lacking(kind: &str, name: &str, ready: i32, wanted: i32) -> Option<String> {
    (ready < wanted).then(|| {
        format!(
            "{kind} {name}: {ready} of {wanted} pods are ready (kubectl describe and logs say why)"
        )
    })
}

async fn leader(site: &Site) -> Result<Option<String>, HookError> {
    let api: Api<Lease> = Api::namespaced(site.client.clone(), &site.namespace);
    let what = format!("Lease {LEADER}");
    let lease = api.get_opt(LEADER).await.map_err(refused("get", &what))?;
    let holder = lease
        .and_then(|lease| lease.spec)
        .and_then(|spec| spec.holder_identity);
    Ok(match holder.filter(|holder| !holder.is_empty()) {
        Some(_) => None,
        None => Some(format!(
            "no gateway leads ({what} has no holder); see the controllers' logs"
        )),
    })
}

async fn configuration(site: &Site) -> Result<Vec<String>, HookError> {
    let version = ClusterConfiguration::VERSIONS
        .first()
        .copied()
        .unwrap_or_default();
    let (api, _) = site.custom::<ClusterConfiguration>(version);
    let what = format!("{} {CONFIGURATION}", ClusterConfiguration::KIND);
    let Some(found) = api
        .get_opt(CONFIGURATION)
        .await
        .map_err(refused("get", &what))?
    else {
        return Ok(vec![format!("{what} does not exist; run helm upgrade")]);
    };
    let mut wrong: Vec<String> = conditions(&found)
        .filter(|(_, status, _)| *status != "True")
        .map(|(kind, status, message)| format!("{what}: {kind} is {status}: {message}"))
        .collect();
    let problems = found
        .data
        .pointer("/status/problems")
        .and_then(Value::as_array);
    for problem in problems.into_iter().flatten() {
        let text = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default();
        wrong.push(format!(
            "{} {}: {}",
            text("kind"),
            text("subject"),
            text("message")
        ));
    }
    Ok(wrong)
}

/// Type, status and message of each condition.
fn conditions(object: &DynamicObject) -> impl Iterator<Item = (&str, &str, &str)> {
    let all = object
        .data
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    all.into_iter().flatten().map(|condition| {
        let text = |key: &str| {
            condition
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        (text("type"), text("status"), text("message"))
    })
}

async fn listed(site: &Site) -> Result<Vec<DynamicObject>, HookError> {
    let version = ClusterPeer::VERSIONS.first().copied().unwrap_or_default();
    let (api, _) = site.custom::<ClusterPeer>(version);
    let found = api.list(&kube::api::ListParams::default()).await;
    let found = found.map_err(refused("list", ClusterPeer::PLURAL))?;
    Ok(found.items)
}

/// Peers come and go, and one that is down is no fault of this cluster's: told, and no more.
async fn peers(site: &Site) -> Result<(), HookError> {
    for peer in site.insist(async || listed(site).await).await? {
        let told = conditions(&peer).map(|(kind, status, _)| format!("{kind}={status}"));
        let told: Vec<_> = told.collect();
        tracing::info!("peer {}: {}", peer.name_any(), told.join(" "));
    }
    Ok(())
}

/// A peer with which no packet may be exchanged, whether it is up or not: what the two sides were told, and to mend.
fn barred(peer: &DynamicObject) -> Option<String> {
    let said = conditions(peer).find(|(kind, ..)| *kind == "PacketsAllowed");
    said.filter(|(_, status, _)| *status == "False")
        .map(|(_, _, why)| format!("ClusterPeer {}: {why}", peer.name_any()))
}

async fn dns(site: &Site, through_coredns: bool) -> Result<Vec<String>, HookError> {
    let api: Api<Service> = Api::namespaced(site.client.clone(), &site.namespace);
    let what = format!("Service {DNS}");
    let service = api.get(DNS).await.map_err(refused("get", &what))?;
    let address = service.spec.and_then(|spec| spec.cluster_ip);
    let mut servers: Vec<(IpAddr, String)> = Vec::new();
    servers.extend(address.and_then(|a| a.parse().ok()).map(|a| (a, what)));
    if through_coredns {
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let named = text
            .lines()
            .filter_map(|line| line.strip_prefix("nameserver "));
        let first = named
            .filter_map(|address| address.trim().parse().ok())
            .next();
        servers.extend(first.map(|a| (a, "this cluster's DNS".to_owned())));
    }
    let mut wrong = Vec::new();
    for (address, name) in servers {
        if let Err(why) = ask(address).await {
            wrong.push(format!(
                "{ZONE} is not answered by {name} ({address}): {why}"
            ));
        }
    }
    Ok(wrong)
}

async fn ask(server: IpAddr) -> Result<(), String> {
    let any: SocketAddr = match server {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let id = 0x4357;
    let reply = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect((server, 53)).await?;
        socket.send(&question(id)).await?;
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).await?;
        Ok::<_, std::io::Error>(buffer.get(..length).unwrap_or_default().to_vec())
    };
    match tokio::time::timeout(REPLY, reply).await {
        Err(_) => Err(format!("no reply within {} s", REPLY.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(reply)) => answered(id, &reply).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn peer(status: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": "west"},
            "status": {"conditions": [
                {"type": "Connected", "status": "False", "message": "it is silent"},
                {"type": "PacketsAllowed", "status": status, "message": "no packet passes: x"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn a_peer_that_gets_no_packet_is_wrong_and_a_silent_one_is_not() {
        assert_eq!(barred(&peer("True")), None);
        assert_eq!(barred(&peer("Unknown")), None);
        let told = barred(&peer("False"));
        assert_eq!(
            told.as_deref(),
            Some("ClusterPeer west: no packet passes: x")
        );
    }
}
