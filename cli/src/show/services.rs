//! Pure: services.

use std::collections::BTreeMap;

use causeway_proto::model::{ClusterId, PortStatus, ServiceName, ServiceStatus, ShareStatus};
use serde::Serialize;

use super::Show;
use super::peers::liveness;
use super::status::ConflictForm;
use crate::text::{joined, or_dash, table, when};

/// What `causeway services` prints.
#[derive(Debug, Serialize)]
pub struct ServicesForm {
    services: Vec<ServiceForm>,
}

#[derive(Debug, Serialize)]
struct ServiceForm {
    service: String,
    headless: bool,
    exported: bool,
    stale: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    vip: Option<String>,
    ports: Vec<PortForm>,
    shares: Vec<ShareForm>,
    endpoints: Vec<EndpointForm>,
    conflicts: Vec<ConflictForm>,
    counters: CountersForm,
}

#[derive(Debug, Serialize)]
struct PortForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    protocol: String,
    port: u16,
    targets: BTreeMap<String, u32>,
}

#[derive(Debug, Serialize)]
struct ShareForm {
    cluster: String,
    vip: String,
    created: String,
    ready: u32,
    liveness: &'static str,
}

#[derive(Debug, Serialize)]
struct EndpointForm {
    cluster: String,
    hostname: String,
    address: String,
}

#[derive(Debug, Serialize)]
struct CountersForm {
    packets: u64,
    bytes: u64,
    flows: u64,
    rejected: u64,
}

impl PortForm {
    fn of(p: &PortStatus) -> Self {
        Self {
            name: p.name.as_ref().map(ToString::to_string),
            protocol: p.protocol.to_string(),
            port: p.port,
            targets: p.targets.iter().map(|(c, w)| (c.to_string(), *w)).collect(),
        }
    }

    /// `80/TCP to east 25%, west 75%`.
    fn text(&self) -> String {
        let total: u64 = self.targets.values().map(|w| u64::from(*w)).sum();
        let share = |(cluster, weight): (&String, &u32)| match self.targets.len() {
            1 => cluster.clone(),
            _ => format!("{cluster} {}%", u64::from(*weight) * 100 / total.max(1)),
        };
        let to = match self.targets.is_empty() {
            true => "nobody".to_owned(),
            false => joined(self.targets.iter().map(share), ", "),
        };
        format!("{}/{} to {to}", self.port, self.protocol)
    }
}

impl ShareForm {
    fn of((cluster, s): (&ClusterId, &ShareStatus)) -> Self {
        Self {
            cluster: cluster.to_string(),
            vip: s.vip.to_string(),
            created: when(s.created),
            ready: s.ready,
            liveness: liveness(s.liveness),
        }
    }

    fn text(&self) -> String {
        match self.liveness {
            "live" => format!("{} {} ready", self.cluster, self.ready),
            other => format!("{} {} ready, {other}", self.cluster, self.ready),
        }
    }
}

impl ServiceForm {
    fn of((service, s): (&ServiceName, &ServiceStatus)) -> Self {
        let endpoints = s.endpoints.iter().map(|e| EndpointForm {
            cluster: e.cluster.to_string(),
            hostname: e.hostname.clone(),
            address: e.address.to_string(),
        });
        Self {
            service: service.to_string(),
            headless: s.headless,
            exported: s.exported,
            stale: s.stale,
            vip: s.vip.map(|v| v.to_string()),
            ports: s.ports.iter().map(PortForm::of).collect(),
            shares: s.shares.iter().map(ShareForm::of).collect(),
            endpoints: endpoints.collect(),
            conflicts: s.conflicts.iter().map(ConflictForm::of).collect(),
            counters: CountersForm {
                packets: s.counters.packets,
                bytes: s.counters.bytes,
                flows: s.counters.flows,
                rejected: s.counters.rejected,
            },
        }
    }

    fn row(&self) -> Vec<String> {
        let kind = match (self.headless, self.stale) {
            (true, false) => "headless",
            (true, true) => "headless, stale",
            (false, false) => "vip",
            (false, true) => "vip, stale",
        };
        let ports = match self.headless {
            true => joined(
                self.ports
                    .iter()
                    .map(|p| format!("{}/{}", p.port, p.protocol)),
                ", ",
            ),
            false => joined(self.ports.iter().map(PortForm::text), "; "),
        };
        vec![
            self.service.clone(),
            kind.to_owned(),
            or_dash(self.vip.as_ref()),
            ports,
            joined(self.shares.iter().map(ShareForm::text), "; "),
            if self.exported { "yes" } else { "no" }.to_owned(),
            self.counters.flows.to_string(),
            self.counters.rejected.to_string(),
        ]
    }

    fn more(&self) -> String {
        let mut out = String::new();
        for e in &self.endpoints {
            out.push_str(&format!(
                "{}: {}.{} is {}\n",
                self.service, e.hostname, e.cluster, e.address
            ));
        }
        for conflict in &self.conflicts {
            out.push_str(&format!("{}: {}\n", self.service, conflict.text()));
        }
        out
    }
}

impl ServicesForm {
    /// Of all services.
    pub fn of(services: &BTreeMap<ServiceName, ServiceStatus>) -> Self {
        Self {
            services: services.iter().map(ServiceForm::of).collect(),
        }
    }
}

impl Show for ServicesForm {
    fn text(&self) -> String {
        if self.services.is_empty() {
            return "no services; a ServiceExport in this cluster or a peer makes one\n".to_owned();
        }
        let head = [
            "SERVICE",
            "KIND",
            "VIP",
            "NEW FLOWS",
            "OFFERED BY",
            "EXPORTED HERE",
            "FLOWS",
            "REJECTED",
        ];
        let mut out = table(&head, self.services.iter().map(ServiceForm::row).collect());
        for service in &self.services {
            out.push_str(&service.more());
        }
        out
    }
}
