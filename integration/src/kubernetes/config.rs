//! Pure: the configuration files and arguments of the components, for tests: small, quick to start, idle when
//! nothing happens, and with the checks of a real cluster (RBAC, node authorizer, admission) all on.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::shape::{Cluster, Cni, Proxy, Worker};

/// The pause container, which is in the image of the test tools.
pub const PAUSE_IMAGE: &str = "causeway.test/pause:1";
/// Where the API server listens.
pub const API_PORT: u16 = 6443;
/// Where CNI plugins are, by Debian's package.
const PLUGINS: &str = "/usr/lib/cni";
/// Where containerd listens.
pub const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// What a certificate is for, as `forge pki` reads it.
#[must_use]
pub fn certificate(file: &str, name: &str, groups: &[&str], hosts: &[String]) -> Value {
    json!({"file": file, "name": name, "groups": groups, "hosts": hosts})
}

/// The certificates of a control plane, its admin and kube-proxy.
#[must_use]
pub fn cluster_certificates(cluster: &Cluster) -> Vec<Value> {
    let mut hosts: Vec<String> = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        .map(str::to_owned)
        .to_vec();
    hosts.push("kubernetes.default.svc.cluster.local".to_owned());
    hosts.extend([cluster.api(), cluster.api_service()].map(|address| address.to_string()));
    hosts.push(Ipv4Addr::LOCALHOST.to_string());
    let masters = &["system:masters"];
    let mut admin = certificate("admin", "kubernetes-admin", masters, &[]);
    if let Some(fields) = admin.as_object_mut() {
        fields.insert("rsa".to_owned(), json!(true));
    }
    vec![
        admin,
        certificate("apiserver", "kube-apiserver", &[], &hosts),
        certificate(
            "apiserver-kubelet-client",
            "kube-apiserver-kubelet-client",
            masters,
            &[],
        ),
        certificate(
            "controller-manager",
            "system:kube-controller-manager",
            &[],
            &[],
        ),
        certificate("scheduler", "system:kube-scheduler", &[], &[]),
        certificate("proxy", "system:kube-proxy", &[], &[]),
    ]
}

/// The certificates of a node: as a client, and as the server that the API server dials.
#[must_use]
pub fn worker_certificates(worker: &Worker) -> Vec<Value> {
    let user = format!("system:node:{}", worker.name);
    let serving = [worker.name.clone(), worker.address.to_string()];
    vec![
        certificate(
            &format!("{}-kubelet", worker.name),
            &user,
            &["system:nodes"],
            &[],
        ),
        certificate(
            &format!("{}-serving", worker.name),
            &user,
            &["system:nodes"],
            &serving,
        ),
    ]
}

/// A kubeconfig that names files in a directory: the certificate of that name, and the cluster's authority.
#[must_use]
pub fn kubeconfig(server: Ipv4Addr, directory: &str, name: &str) -> String {
    let file = |suffix: &str| format!("{directory}/{suffix}");
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "default",
        "clusters": [{"name": "default", "cluster": {
            "server": format!("https://{server}:{API_PORT}"),
            "certificate-authority": file("ca.crt")}}],
        "users": [{"name": "default", "user": {
            "client-certificate": file(&format!("{name}.crt")),
            "client-key": file(&format!("{name}.key"))}}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
    })
    .to_string()
}

/// Arguments of etcd; nothing that it holds is worth a disk's time.
#[must_use]
pub fn etcd(data: &str) -> Vec<String> {
    words(&format!(
        "etcd --data-dir {data} --unsafe-no-fsync --log-level warn --snapshot-count 100000 \
         --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
         --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
         --initial-cluster default=http://127.0.0.1:2380 --auto-compaction-retention 10m"
    ))
}

/// Arguments of the API server.
#[must_use]
pub fn api_server(cluster: &Cluster, pki: &str) -> Vec<String> {
    words(&format!(
        "kube-apiserver --etcd-servers http://127.0.0.1:2379 --secure-port {API_PORT} \
         --advertise-address {address} --service-cluster-ip-range {services} \
         --tls-cert-file {pki}/apiserver.crt --tls-private-key-file {pki}/apiserver.key \
         --client-ca-file {pki}/ca.crt \
         --kubelet-client-certificate {pki}/apiserver-kubelet-client.crt \
         --kubelet-client-key {pki}/apiserver-kubelet-client.key \
         --kubelet-preferred-address-types InternalIP \
         --service-account-issuer https://kubernetes.default.svc.cluster.local \
         --service-account-key-file {pki}/sa.pub --service-account-signing-key-file {pki}/sa.key \
         --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction,MutatingAdmissionPolicy \
         --feature-gates MutatingAdmissionPolicy=true --runtime-config admissionregistration.k8s.io/v1beta1=true \
         --allow-privileged --profiling=false --v 1",
        address = cluster.api(),
        services = cluster.service_cidr(),
    ))
}

/// More requests a second than the default, since clusters here are short of time and not of API server.
const API_RATE: &str = "--kube-api-qps 200 --kube-api-burst 400 --profiling=false --v 1";

/// Arguments of the controller manager. When a silent node is given up is left as Kubernetes has it: all pods of all nodes
/// are unready after that, and an API server's restart on a busy machine takes a good part of a shorter time.
#[must_use]
pub fn controller_manager(cluster: &Cluster, pki: &str, kubeconfig: &str) -> Vec<String> {
    words(&format!(
        "kube-controller-manager --kubeconfig {kubeconfig} --leader-elect=false --allocate-node-cidrs=false \
         --cluster-cidr {pods} --service-cluster-ip-range {services} --root-ca-file {pki}/ca.crt \
         --service-account-private-key-file {pki}/sa.key --use-service-account-credentials \
         --cluster-signing-cert-file {pki}/ca.crt --cluster-signing-key-file {pki}/ca.key \
         {API_RATE}",
        pods = cluster.pod_cidr(),
        services = cluster.service_cidr(),
    ))
}

/// Arguments of the scheduler.
#[must_use]
pub fn scheduler(kubeconfig: &str) -> Vec<String> {
    words(&format!(
        "kube-scheduler --kubeconfig {kubeconfig} --leader-elect=false {API_RATE}"
    ))
}

/// Arguments of a kubelet.
#[must_use]
pub fn kubelet_arguments(worker: &Worker, config: &str, kubeconfig: &str) -> Vec<String> {
    words(&format!(
        "kubelet --config {config} --kubeconfig {kubeconfig} --hostname-override {name} --node-ip {address} \
         --housekeeping-interval 30s --v 1",
        name = worker.name,
        address = worker.address,
    ))
}

/// Configuration of a kubelet on a machine that it shares with others of its kind.
#[must_use]
pub fn kubelet(worker: &Worker, cluster: &Cluster, pki: &str) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{pki}/ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": format!("{pki}/{}-serving.crt", worker.name),
        "tlsPrivateKeyFile": format!("{pki}/{}-serving.key", worker.name),
        "cgroupDriver": "cgroupfs", "cgroupsPerQOS": false, "enforceNodeAllocatable": [],
        "failSwapOn": false, "failCgroupV1": false,
        "localStorageCapacityIsolation": false,
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "clusterDNS": [cluster.dns()], "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
        "makeIPTablesUtilChains": false, "serializeImagePulls": false, "volumeStatsAggPeriod": "-1s",
        "kubeAPIQPS": 100, "kubeAPIBurst": 200, "eventRecordQPS": 0,
        "nodeLeaseDurationSeconds": 16, "enableProfilingHandler": false,
    })
    .to_string()
}

/// Configuration of kube-proxy.
#[must_use]
pub fn proxy(worker: &Worker, cluster: &Cluster, mode: Proxy, kubeconfig: &str) -> String {
    let mode = match mode {
        Proxy::Nftables => "nftables",
        Proxy::Iptables => "iptables",
    };
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": mode, "clusterCIDR": cluster.pod_cidr(), "hostnameOverride": worker.name,
        "clientConnection": {"kubeconfig": kubeconfig},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "100ms"}, "iptables": {"minSyncPeriod": "100ms"},
    })
    .to_string()
}

/// Configuration of containerd.
#[must_use]
pub fn containerd() -> String {
    format!(
        r#"version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#
    )
}

/// Configuration of the CNI.
#[must_use]
pub fn cni(worker: &Worker, cni: Cni) -> String {
    let ipam = json!({
        "type": "host-local", "ranges": [[{"subnet": worker.pod_cidr()}]],
        "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni-addresses"});
    let main = match cni {
        Cni::Bridge => json!({
            "type": "bridge", "bridge": "cni0", "isGateway": true,
            "hairpinMode": true, "mtu": 1500, "ipam": ipam}),
        Cni::Ptp => json!({"type": "ptp", "mtu": 1500, "ipam": ipam}),
    };
    let ports = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [main, ports]}).to_string()
}

/// The Node object, made before its kubelet runs: who its pods' addresses are given to is told here.
#[must_use]
pub fn node(worker: &Worker) -> Value {
    let zone = format!(
        "{}-{}",
        worker.cluster,
        if worker.number % 2 == 1 { "a" } else { "b" }
    );
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": worker.name, "labels": {
            "topology.kubernetes.io/region": worker.cluster, "topology.kubernetes.io/zone": zone}},
        "spec": {"podCIDR": worker.pod_cidr(), "podCIDRs": [worker.pod_cidr()]},
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::shape::Shape;

    #[test]
    fn both_ways_to_join_pods() {
        let [east, _] = Shape::default().clusters();
        let worker = east.worker(2).unwrap();
        for (way, kind) in [(Cni::Bridge, "bridge"), (Cni::Ptp, "ptp")] {
            let made: Value = serde_json::from_str(&cni(&worker, way)).unwrap();
            assert_eq!(made["plugins"][0]["type"], kind);
            let subnet = &made["plugins"][0]["ipam"]["ranges"][0][0]["subnet"];
            assert_eq!(subnet, "10.244.1.0/24");
        }
    }

    #[test]
    fn the_api_server_proves_its_addresses() {
        let [east, _] = Shape::default().clusters();
        let list = cluster_certificates(&east);
        let server = list.iter().find(|one| one["file"] == "apiserver").unwrap();
        let hosts = server["hosts"].as_array().unwrap();
        for host in ["192.0.2.10", "10.96.0.1", "kubernetes.default.svc"] {
            assert!(hosts.iter().any(|found| found == host), "{host}");
        }
    }

    #[test]
    fn arguments_are_words() {
        assert!(etcd("/x").contains(&"--unsafe-no-fsync".to_owned()));
        assert!(!etcd("/x").iter().any(|word| word.contains(' ')));
    }
}
