//! Pure: the kubeconfig that people use: both clusters' admins, with everything in the one file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::config::API_PORT;
use super::shape::Cluster;

/// The admin's certificate of one cluster, as PEM.
pub struct Admin {
    /// Whose it is
    pub cluster: Cluster,
    /// The authority that the API server is known by
    pub authority: Vec<u8>,
    /// The certificate
    pub certificate: Vec<u8>,
    /// Its key
    pub key: Vec<u8>,
}

/// One context for each, of the cluster's name; the first is the current one.
#[must_use]
pub fn kubeconfig(admins: &[Admin]) -> String {
    let all = |make: fn(&Admin) -> Value| admins.iter().map(make).collect::<Vec<_>>();
    let current = admins.first().map(|admin| admin.cluster.name);
    let file = json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": current,
        "clusters": all(|admin| json!({"name": admin.cluster.name, "cluster": {
            "server": format!("https://{}:{API_PORT}", admin.cluster.api()),
            "certificate-authority-data": STANDARD.encode(&admin.authority)}})),
        "users": all(|admin| json!({"name": format!("{}-admin", admin.cluster.name), "user": {
            "client-certificate-data": STANDARD.encode(&admin.certificate),
            "client-key-data": STANDARD.encode(&admin.key)}})),
        "contexts": all(|admin| json!({"name": admin.cluster.name, "context": {
            "cluster": admin.cluster.name, "user": format!("{}-admin", admin.cluster.name)}})),
    });
    format!("{file:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::shape::Shape;

    #[test]
    fn contexts_are_named_like_clusters() {
        let admins = Shape::default().clusters().map(|cluster| Admin {
            cluster,
            authority: b"ca".to_vec(),
            certificate: b"cert".to_vec(),
            key: b"key".to_vec(),
        });
        let file: Value = serde_json::from_str(&kubeconfig(&admins)).unwrap();
        assert_eq!(file["current-context"], "east");
        assert_eq!(file["contexts"][1]["name"], "west");
        assert_eq!(
            file["clusters"][1]["cluster"]["server"],
            "https://192.0.2.20:6443"
        );
    }
}
