//! Pure: one ServiceExport with its Service to an Export, or why not (KEP-1645).

use std::collections::BTreeSet;

use causeway_proto::limits;
use causeway_proto::model::{
    Affinity, Export, ExportPort, Exports, InternalTrafficPolicy, IpFamily, PortName, ProblemKind,
    Protocol, ServiceName, Timestamp,
};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::{Accepted, Problems, Refused, annotations, endpoints, service_name};
use crate::crd::ServiceExport;
use crate::objects::{Key, Objects};

/// `service.spec.sessionAffinityConfig.clientIP.timeoutSeconds` without a word.
const AFFINITY_SECS: u32 = 10_800;
const AFFINITY_SECS_MAX: u32 = 86_400;

/// The export, and what is to be said of it.
pub(super) fn export(
    objects: &Objects,
    slices: &endpoints::Slices<'_>,
    exports: &Exports,
    key: &Key,
    export: &ServiceExport,
    problems: &mut Problems,
) -> Result<Accepted, Refused> {
    let subject = format!("ServiceExport {}/{}", key.0, key.1);
    let name = service_name(key).map_err(|e| Refused::Invalid("NoService", e))?;
    let Some(service) = objects.services.get(key) else {
        let message = format!("There is no Service {name} in this cluster.");
        return Err(Refused::Invalid("NoService", message));
    };
    let spec = service.spec.clone().unwrap_or_default();
    if spec.type_.as_deref() == Some("ExternalName") {
        let message = format!("Service {name} is of type ExternalName, which cannot be exported.");
        return Err(Refused::Invalid("InvalidServiceType", message));
    }
    let created = created(export).ok_or_else(|| {
        let message = "The creation time is missing or before 1970; the oldest export wins a \
                       conflict, so it must be known.";
        Refused::Pending(message.to_owned())
    })?;
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let steering = annotations::steering(&subject, export.metadata.annotations.as_ref(), problems);
    let labels = export.spec.exported_labels.clone().unwrap_or_default();
    let carried = export.spec.exported_annotations.clone().unwrap_or_default();
    let ports = ports(&name, &spec, problems);
    let place = endpoints::Place { objects, exports };
    let (endpoints, unreachable) =
        endpoints::of(slices.get(key), &place, &name, &ports, headless, problems);
    let accepted = Export {
        created,
        headless,
        affinity: affinity(&name, &spec, problems),
        internal_traffic_policy: traffic_policy(&name, &spec, problems),
        traffic_distribution: spec.traffic_distribution.clone(),
        ip_families: families(&name, service, &spec, problems),
        labels: problems.labels(&subject, labels),
        annotations: problems.labels(&subject, carried),
        locality: steering.locality,
        on_loss: steering.on_loss,
        weight: steering.weight,
        ports,
        endpoints,
    };
    Ok(Accepted {
        name,
        export: accepted,
        remark: steering.remark,
        unreachable,
    })
}

fn created(export: &ServiceExport) -> Option<Timestamp> {
    let time = export.metadata.creation_timestamp.as_ref()?;
    u64::try_from(time.0.as_millisecond()).ok().map(Timestamp)
}

/// Unique by name and by (protocol, port); of two the first in the Service's list stays.
fn ports(name: &ServiceName, spec: &ServiceSpec, problems: &mut Problems) -> Vec<ExportPort> {
    let subject = format!("Service {name}");
    let mut ports: Vec<ExportPort> = Vec::new();
    for given in spec.ports.iter().flatten() {
        let Some(port) = problems.parse(&subject, port(given)) else {
            continue;
        };
        let clash = ports.iter().find(|other| {
            (other.protocol, other.port) == (port.protocol, port.port) || other.name == port.name
        });
        if let Some(other) = clash {
            let message = format!("port {port} clashes with {other} and is left out");
            problems.bad(subject.as_str(), message);
        } else {
            ports.push(port);
        }
    }
    if ports.len() > limits::PORTS_PER_SERVICE {
        let message = format!(
            "has {} ports, {} are the most; the last are left out",
            ports.len(),
            limits::PORTS_PER_SERVICE
        );
        problems.add(ProblemKind::LimitReached, subject, message);
        ports.truncate(limits::PORTS_PER_SERVICE);
    }
    ports
}

fn port(given: &ServicePort) -> Result<ExportPort, String> {
    let number = u16::try_from(given.port).ok().filter(|port| *port > 0);
    let name = given.name.as_deref().filter(|name| !name.is_empty());
    Ok(ExportPort {
        name: name
            .map(str::parse::<PortName>)
            .transpose()
            .map_err(|e| e.to_string())?,
        protocol: protocol(given.protocol.as_deref())?,
        port: number.ok_or_else(|| format!("port {} is not 1 to 65535", given.port))?,
        app_protocol: given.app_protocol.clone(),
    })
}

pub(super) fn protocol(given: Option<&str>) -> Result<Protocol, String> {
    given.unwrap_or("TCP").parse().map_err(|e| format!("{e}"))
}

fn affinity(name: &ServiceName, spec: &ServiceSpec, problems: &mut Problems) -> Affinity {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => Affinity::None,
        Some("ClientIP") => {
            let config = spec.session_affinity_config.as_ref();
            let given = config
                .and_then(|config| config.client_ip.as_ref())
                .and_then(|client_ip| client_ip.timeout_seconds);
            let fits = |secs: &u32| (1..=AFFINITY_SECS_MAX).contains(secs);
            let timeout_secs = given.and_then(|secs| u32::try_from(secs).ok()).filter(fits);
            if given.is_some() && timeout_secs.is_none() {
                let message = "its affinity's timeoutSeconds is not 1 to 86400; 10800 is used";
                problems.bad(format!("Service {name}"), message);
            }
            Affinity::ClientIp {
                timeout_secs: timeout_secs.unwrap_or(AFFINITY_SECS),
            }
        }
        Some(other) => {
            let message =
                format!("sessionAffinity {other:?} is not None or ClientIP; None is used");
            problems.bad(format!("Service {name}"), message);
            Affinity::None
        }
    }
}

fn traffic_policy(
    name: &ServiceName,
    spec: &ServiceSpec,
    problems: &mut Problems,
) -> InternalTrafficPolicy {
    match spec.internal_traffic_policy.as_deref() {
        None | Some("" | "Cluster") => InternalTrafficPolicy::Cluster,
        Some("Local") => InternalTrafficPolicy::Local,
        Some(other) => {
            let message =
                format!("internalTrafficPolicy {other:?} is not Cluster or Local; Cluster is used");
            problems.bad(format!("Service {name}"), message);
            InternalTrafficPolicy::Cluster
        }
    }
}

/// As the Service says; else as its addresses are; else IPv4.
fn families(
    name: &ServiceName,
    service: &Service,
    spec: &ServiceSpec,
    problems: &mut Problems,
) -> Vec<IpFamily> {
    let mut families = Vec::new();
    for given in spec.ip_families.iter().flatten() {
        match given.as_str() {
            "IPv4" => families.push(IpFamily::IPv4),
            "IPv6" => families.push(IpFamily::IPv6),
            other => {
                let message = format!("ipFamilies {other:?} is not IPv4 or IPv6 and is left out");
                problems.bad(format!("Service {name}"), message);
            }
        }
    }
    if families.is_empty() {
        let addresses = service.spec.iter().flat_map(|s| s.cluster_ips.iter());
        let parsed = addresses.flatten().filter_map(|a| a.parse().ok());
        families.extend(parsed.map(|address: std::net::IpAddr| match address {
            std::net::IpAddr::V4(_) => IpFamily::IPv4,
            std::net::IpAddr::V6(_) => IpFamily::IPv6,
        }));
    }
    let mut seen = BTreeSet::new();
    families.retain(|family| seen.insert(*family));
    if families.is_empty() {
        families.push(IpFamily::IPv4);
    }
    families
}
