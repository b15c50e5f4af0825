//! Pure: from a View to the ServiceImports and EndpointSlices that this cluster should have, by the rules of the MCS
//! API (KEP-1645). In: the View, what is there, the namespaces that take objects. Out: what the objects should say.

mod labels;
mod slices;

use std::collections::BTreeSet;

use causeway_proto::model::{
    Affinity, ClusterId, ConditionStatus, Import, ImportPort, InternalTrafficPolicy, IpFamily,
    Namespace, ServiceName, View,
};
use serde_json::{Map, Value, json};

use crate::crd::{EndpointSliceObjects, ServiceImportType};
use crate::seen::{SOURCE_LABEL, Seen, Sight};
use crate::want::{Group, Kind, Sought, Target, Wanted, Wants};

/// Fields of a ServiceImport that may be absent, and then must be: whoever put one there, it is not so.
const OPTIONAL: [&str; 4] = [
    "/spec/ips",
    "/spec/ipFamilies",
    "/spec/sessionAffinityConfig",
    "/spec/trafficDistribution",
];

/// What imports are made of.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The newest.
    pub view: &'a View,
    /// What is there.
    pub sight: &'a Sight,
    /// Namespaces that exist and are not about to end.
    pub namespaces: &'a BTreeSet<String>,
    /// Fields that the ServiceImports of this API server have.
    pub schema: &'a Schema,
}

/// Fields that a kind has by the definition that is installed: an older one lacks some, and refuses them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    /// Fields of `spec` and of `status` by name; `None`: all that we know.
    pub fields: Option<(BTreeSet<String>, BTreeSet<String>)>,
}

impl Schema {
    fn prune(&self, spec: &mut Value, status: &mut Value) {
        let Some((in_spec, in_status)) = &self.fields else {
            return;
        };
        let keep = |value: &mut Value, known: &BTreeSet<String>| {
            if let Value::Object(fields) = value {
                fields.retain(|name, _| known.contains(name));
            }
        };
        keep(spec, in_spec);
        keep(status, in_status);
    }
}

/// Adds what the import of this name and its slices should say.
pub fn wanted(known: &Known<'_>, namespace: &str, name: &str, wants: &mut Wants) {
    let group = Group::Import(namespace.to_owned(), name.to_owned());
    let there = known.sight.members(&group);
    if !known.namespaces.contains(namespace) {
        // A namespace that ends takes its objects with it, and takes no new ones.
        wants.left.extend(there.map(|(target, _)| target.clone()));
        return;
    }
    for (target, seen) in there {
        if is_unsure(known.view, target, seen) {
            wants.left.insert(target.clone());
        }
    }
    let service = namespace.parse::<Namespace>().ok();
    let service = service.and_then(|namespace| ServiceName::new(namespace, name).ok());
    let Some((service, import)) =
        service.and_then(|service| known.view.imports.get_key_value(&service))
    else {
        return;
    };
    let target = Target::new(Kind::ServiceImport, namespace, name);
    // It is wanted after all: what is known of it is written.
    wants.left.remove(&target);
    let slices = slices::of(known.view, service, import, &target);
    let wanted = object(known, import, !slices.is_empty());
    wants.objects.insert(target, wanted);
    wants.objects.extend(slices);
}

/// Whether a cluster that never synced since the gateway's start could still bring it back: it is not deleted then.
fn is_unsure(view: &View, target: &Target, seen: &Seen) -> bool {
    let is_missing = |cluster: &str| {
        let own = !view.sync.local && cluster == view.cluster.as_str();
        own || view.sync.missing.iter().any(|id| id.as_str() == cluster)
    };
    if target.kind == Kind::EndpointSlice {
        return seen.label(SOURCE_LABEL).is_some_and(is_missing);
    }
    let clusters = seen.value.pointer("/status/clusters");
    let mut clusters = clusters.and_then(Value::as_array).into_iter().flatten();
    clusters.any(|c| {
        c.get("cluster")
            .and_then(Value::as_str)
            .is_some_and(is_missing)
    })
}

fn object(known: &Known<'_>, import: &Import, has_slices: bool) -> Wanted {
    let (labels, annotations, left_out) = labels::exported(import);
    let mut spec = spec(import);
    let clusters = import.shares.keys();
    let clusters: Vec<Value> = clusters.map(|id| json!({"cluster": id.as_str()})).collect();
    let objects = if has_slices {
        EndpointSliceObjects::Present
    } else {
        EndpointSliceObjects::Absent
    };
    let mut status = json!({
        "clusters": clusters,
        "conditions": [],
        "endpointSliceObjects": objects,
    });
    known.schema.prune(&mut spec, &mut status);
    let has_conditions = status.get("conditions").is_some();
    if let Value::Object(fields) = &mut status {
        fields.remove("conditions");
    }
    let sets = json!({ "spec": spec });
    let absent = OPTIONAL.into_iter();
    let mut metadata = json!({ "labels": labels });
    if let (Value::Object(fields), false) = (&mut metadata, annotations.is_empty()) {
        fields.insert("annotations".to_owned(), json!(annotations));
    }
    Wanted {
        absent: absent.filter(|path| sets.pointer(path).is_none()).collect(),
        body: Some(json!({"metadata": metadata, "spec": spec})),
        status: Some(status),
        conditions: if has_conditions {
            vec![ready(known.view, import, &left_out)]
        } else {
            Vec::new()
        },
        owner: None,
    }
}

fn spec(import: &Import) -> Value {
    let kind = if import.headless {
        ServiceImportType::Headless
    } else {
        ServiceImportType::ClusterSetIP
    };
    let ports: Vec<Value> = import.ports.iter().map(port).collect();
    let mut spec = Map::new();
    let mut set = |key: &str, value: Value| spec.insert(key.to_owned(), value);
    set("type", json!(kind));
    set("ports", Value::Array(ports));
    let policy = match import.internal_traffic_policy {
        InternalTrafficPolicy::Cluster => "Cluster",
        InternalTrafficPolicy::Local => "Local",
    };
    set("internalTrafficPolicy", json!(policy));
    match import.affinity {
        Affinity::None => {
            set("sessionAffinity", json!("None"));
        }
        Affinity::ClientIp { timeout_secs } => {
            set("sessionAffinity", json!("ClientIP"));
            let config = json!({"clientIP": {"timeoutSeconds": timeout_secs}});
            set("sessionAffinityConfig", config);
        }
    }
    if let Some(distribution) = &import.traffic_distribution {
        set("trafficDistribution", json!(distribution));
    }
    let families = if import.headless {
        import.ip_families.clone()
    } else {
        usable_family(import).into_iter().collect()
    };
    if let (Some(vip), [_]) = (import.vip, families.as_slice()) {
        set("ips", json!([vip.to_string()]));
    }
    if !families.is_empty() {
        let families: Vec<&str> = families.iter().take(2).copied().map(family).collect();
        set("ipFamilies", json!(families));
    }
    Value::Object(spec)
}

fn family(family: IpFamily) -> &'static str {
    match family {
        IpFamily::IPv4 => "IPv4",
        IpFamily::IPv6 => "IPv6",
    }
}

/// The VIP's family, if the service is of that family too.
fn usable_family(import: &Import) -> Option<IpFamily> {
    let of_vip = if import.vip?.is_v4() {
        IpFamily::IPv4
    } else {
        IpFamily::IPv6
    };
    let any = import.ip_families.is_empty() || import.ip_families.contains(&of_vip);
    any.then_some(of_vip)
}

fn port(port: &ImportPort) -> Value {
    let mut fields = json!({"protocol": port.protocol.to_string(), "port": port.port});
    if let Value::Object(fields) = &mut fields {
        let name = port.name.as_ref().map(|name| json!(name.as_str()));
        fields.extend(name.map(|name| ("name".to_owned(), name)));
        let protocol = port.app_protocol.as_ref();
        fields.extend(protocol.map(|spoken| ("appProtocol".to_owned(), json!(spoken))));
    }
    fields
}

/// Whether no packet passes between this cluster and a peer, as the two sides say of encryption.
#[must_use]
pub fn is_barred(view: &View, peer: &ClusterId) -> bool {
    let peer = view.peers.get(peer);
    peer.is_some_and(|peer| !peer.encryption.passes())
}

/// The condition `Ready` of an import.
fn ready(view: &View, import: &Import, left_out: &[String]) -> Sought {
    let condition = |status, reason, message: String| Sought::new("Ready", status, reason, message);
    if import.stale {
        let clusters: Vec<&str> = import.shares.keys().map(ClusterId::as_str).collect();
        let clusters = clusters.join(", ");
        let message = format!(
            "Every cluster that exports it ({clusters}) is silent, so connections are rejected; check `kubectl get clusterpeers`."
        );
        return condition(ConditionStatus::False, "Pending", message);
    }
    if !import.headless && import.vip.is_none() {
        let message = "There is no address for it: the pool of `spec.pools.vips` in ClusterConfiguration default is full, or the leader has not allotted one yet.";
        return condition(ConditionStatus::False, "Pending", message.to_owned());
    }
    if !import.headless && usable_family(import).is_none() {
        let families: Vec<&str> = import.ip_families.iter().copied().map(family).collect();
        let message = format!(
            "It is exported with {} only, of which this cluster has no addresses for services; export it with the other family too.",
            families.join(" and ")
        );
        return condition(ConditionStatus::False, "IPFamilyNotSupported", message);
    }
    let mut exporters = import.shares.keys().peekable();
    if let (Some(peer), true) = (
        exporters.peek().copied(),
        exporters.all(|id| is_barred(view, id)),
    ) {
        let message = format!(
            "No packet passes to a cluster that exports it; the condition PacketsAllowed of ClusterPeer {peer} says why and what to do."
        );
        return condition(ConditionStatus::False, "PacketsNotAllowed", message);
    }
    let mut message = "It can be used from this cluster.".to_owned();
    if !left_out.is_empty() {
        message.push_str(" Left out, as Kubernetes would not take them: ");
        message.push_str(&left_out.join(", "));
        message.push('.');
    }
    condition(ConditionStatus::True, "Ready", message)
}

#[cfg(test)]
mod tests;
