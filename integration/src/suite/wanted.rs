//! Pure: the objects that cases make, as JSON.

use serde_json::{Value, json};

/// Image of the program in the test pods.
pub const IMAGE: &str = "causeway.test/tools:1";
/// The port that a test pod serves on unless told otherwise.
pub const PORT: u16 = 8080;
/// Name of the service, its export and its backends in most cases, as in the standard's own suite.
pub const HELLO: &str = "hello";
/// Grace of a test pod: it has nothing to finish.
const GRACE_SECS: u32 = 1;

/// A namespace.
#[must_use]
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"e2e.causeway.dev/case": "true"}}})
}

/// What a Service is like beside its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// As Kubernetes takes it
    pub spec: Value,
}

/// One port of a Service.
#[must_use]
pub fn port(name: &str, protocol: &str, port: u16, target: u16) -> Value {
    json!({"name": name, "protocol": protocol, "port": port, "targetPort": target})
}

impl Service {
    /// The standard's test Service: tcp/42 and udp/42, ClientIP affinity of 10 s.
    #[must_use]
    pub fn standard() -> Service {
        Service {
            spec: json!({
                "selector": {"app": HELLO},
                "ports": [port("tcp", "TCP", 42, 42), port("udp", "UDP", 42, 42)],
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}},
                "ipFamilyPolicy": "PreferDualStack",
            }),
        }
    }

    /// A plain one: these ports, every backend alike.
    #[must_use]
    pub fn plain(ports: &[Value]) -> Service {
        Service {
            spec: json!({"selector": {"app": HELLO}, "ports": ports}),
        }
    }

    /// With a field of its `spec` set.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Service {
        if let Some(fields) = self.spec.as_object_mut() {
            fields.insert(field.to_owned(), value);
        }
        self
    }

    /// Without a field of its `spec`.
    #[must_use]
    pub fn without(mut self, field: &str) -> Service {
        if let Some(fields) = self.spec.as_object_mut() {
            fields.remove(field);
        }
        self
    }

    /// Headless.
    #[must_use]
    pub fn headless(self) -> Service {
        self.with("clusterIP", json!("None"))
    }

    /// An alias of a name outside.
    #[must_use]
    pub fn external_name() -> Service {
        Service {
            spec: json!({"type": "ExternalName", "externalName": "example.com"}),
        }
    }

    /// The object.
    #[must_use]
    pub fn named(&self, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": self.spec})
    }
}

/// An export of the Service of that name.
#[must_use]
pub fn export(name: &str) -> Value {
    json!({"apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceExport",
        "metadata": {"name": name}})
}

/// An export that takes labels and annotations along.
#[must_use]
pub fn export_with(name: &str, labels: &Value, annotations: &Value) -> Value {
    let mut object = export(name);
    if let Some(fields) = object.as_object_mut() {
        let spec = json!({"exportedLabels": labels, "exportedAnnotations": annotations});
        fields.insert("spec".to_owned(), spec);
    }
    object
}

/// What a test pod serves, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Says of itself
    pub cluster: String,
    /// TCP ports
    pub tcp: Vec<u16>,
    /// UDP ports
    pub udp: Vec<u16>,
    /// On the node's own network
    pub host: bool,
    /// Only on that node
    pub node: Option<String>,
    /// How long it still serves after it was told to end
    pub linger_secs: u32,
}

impl Server {
    /// On both protocols of one port.
    #[must_use]
    pub fn on(cluster: &str, port: u16) -> Server {
        Server {
            cluster: cluster.to_owned(),
            tcp: vec![port],
            udp: vec![port],
            host: false,
            node: None,
            linger_secs: 0,
        }
    }

    /// On that node only.
    #[must_use]
    pub fn at(mut self, node: &str) -> Server {
        self.node = Some(node.to_owned());
        self
    }

    /// Serves on for a while after it was told to end, as a server behind any balancer should.
    #[must_use]
    pub fn lingers(mut self, secs: u32) -> Server {
        self.linger_secs = secs;
        self
    }

    fn spec(&self) -> Value {
        let list = |ports: &[u16]| {
            let words = ports.iter().map(u16::to_string);
            words.collect::<Vec<_>>().join(",")
        };
        let own = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let mut container = json!({
            "name": "tools", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
            "command": ["/tools", "serve", "--tcp", list(&self.tcp), "--udp", list(&self.udp)],
            "env": [{"name": "CLUSTER", "value": self.cluster}, own("POD_NAME", "metadata.name"),
                own("POD_NAMESPACE", "metadata.namespace"), own("NODE_NAME", "spec.nodeName")],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": self.tcp.first()},
                "periodSeconds": 1, "failureThreshold": 1},
        });
        if self.linger_secs > 0 {
            set(
                &mut container,
                "lifecycle",
                json!({"preStop": {"sleep": {"seconds": self.linger_secs}}}),
            );
        }
        let grace = GRACE_SECS.saturating_add(self.linger_secs);
        let mut spec = json!({"containers": [container], "terminationGracePeriodSeconds": grace,
            "automountServiceAccountToken": false, "enableServiceLinks": false});
        if self.host {
            set(&mut spec, "hostNetwork", json!(true));
            set(&mut spec, "dnsPolicy", json!("ClusterFirstWithHostNet"));
        }
        if let Some(node) = &self.node {
            // Placed by hand: a cordoned node takes it too, and no scheduler is waited for.
            set(&mut spec, "nodeName", json!(node));
            set(&mut spec, "tolerations", json!([{"operator": "Exists"}]));
        }
        spec
    }

    /// A single pod.
    #[must_use]
    pub fn pod(&self, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}}, "spec": self.spec()})
    }

    /// Many alike.
    #[must_use]
    pub fn deployment(&self, name: &str, replicas: u32) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": self.template(name, "DoNotSchedule")}})
    }

    /// Many, each with a name of its own.
    #[must_use]
    pub fn stateful_set(&self, name: &str, replicas: u32) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
            "spec": {"replicas": replicas, "serviceName": name, "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {"app": name}},
                "template": self.template(name, "ScheduleAnyway")}})
    }

    fn template(&self, name: &str, unsatisfiable: &str) -> Value {
        let mut spec = self.spec();
        if self.node.is_none() {
            let spread = json!([{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": unsatisfiable, "labelSelector": {"matchLabels": {"app": name}}}]);
            set(&mut spec, "topologySpreadConstraints", spread);
        }
        json!({"metadata": {"labels": {"app": name}}, "spec": spec})
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

/// A slice made by hand for a Service without a selector.
#[must_use]
pub fn slice_by_hand(service: &str, address: &str, port: u16, node: Option<&str>) -> Value {
    let mut endpoint = json!({"addresses": [address], "conditions": {"ready": true}});
    if let Some(node) = node {
        set(&mut endpoint, "nodeName", json!(node));
    }
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-by-hand"), "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": [endpoint],
        "ports": [{"name": "tcp", "protocol": "TCP", "port": port}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_service_has_both_protocols_on_one_port() {
        let service = Service::standard().headless().named(HELLO);
        assert_eq!(service["spec"]["ports"][1]["protocol"], "UDP");
        assert_eq!(service["spec"]["ports"][1]["port"], 42);
        assert_eq!(service["spec"]["clusterIP"], "None");
        assert_eq!(service["metadata"]["name"], "hello");
    }

    #[test]
    fn servers_are_placed_and_named() {
        let pod = Server::on("west", 42).at("west-2").lingers(3).pod("a");
        assert_eq!(pod["spec"]["nodeName"], "west-2");
        assert_eq!(pod["spec"]["containers"][0]["command"][3], "42");
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 4);
        assert_eq!(
            pod["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"],
            3
        );
        let many = Server::on("west", 42).deployment("hello", 2);
        assert_eq!(many["spec"]["replicas"], 2);
        assert_eq!(
            many["spec"]["template"]["metadata"]["labels"]["app"],
            "hello"
        );
    }

    #[test]
    fn exports_carry_labels_only_where_wanted() {
        assert!(export("a").get("spec").is_none());
        let with = export_with("a", &json!({"l": "1"}), &json!({"n": "2"}));
        assert_eq!(with["spec"]["exportedLabels"]["l"], "1");
        assert_eq!(with["spec"]["exportedAnnotations"]["n"], "2");
    }
}
