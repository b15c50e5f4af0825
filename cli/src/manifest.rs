//! Pure: a join as objects that somebody else applies: the token in a Secret, and the ClusterPeer that names it.

use std::collections::BTreeMap;

use causeway_proto::model::ClusterId;
use serde::Serialize;

use crate::show::Show;

/// Key of the token in the Secret.
const KEY: &str = "token";
/// Names of Secrets have at most 253 characters; a cluster id has under 128.
const PREFIX: &str = "causeway-join-";

/// Both objects, in a list as `kubectl` takes and prints it.
#[derive(Debug, Serialize)]
pub struct Manifests {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    items: (Secret, ClusterPeer),
    #[serde(skip)]
    issuer: String,
    #[serde(skip)]
    expires: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    #[serde(rename = "type")]
    sort: &'static str,
    string_data: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterPeer {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Serialize)]
struct Metadata {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    join_token_secret_ref: SecretRef,
}

#[derive(Debug, Serialize)]
struct SecretRef {
    name: String,
    key: &'static str,
}

impl Manifests {
    /// For the cluster that is to join `issuer`, where Causeway runs in `namespace`.
    pub fn of(token: String, issuer: &ClusterId, expires: String, namespace: &str) -> Self {
        let name = format!("{PREFIX}{issuer}");
        let secret = Secret {
            api_version: "v1",
            kind: "Secret",
            metadata: Metadata {
                name: name.clone(),
                namespace: Some(namespace.to_owned()),
            },
            sort: "Opaque",
            string_data: BTreeMap::from([(KEY, token)]),
        };
        let peer = ClusterPeer {
            api_version: "causeway.dev/v1alpha1",
            kind: "ClusterPeer",
            metadata: Metadata {
                name: issuer.to_string(),
                namespace: None,
            },
            spec: Spec {
                join_token_secret_ref: SecretRef { name, key: KEY },
            },
        };
        Self {
            api_version: "v1",
            kind: "List",
            items: (secret, peer),
            issuer: issuer.to_string(),
            expires,
        }
    }

    /// What to do with them.
    pub fn hint(&self) -> String {
        format!(
            "apply these in the cluster that joins {}, before {}; who reads them can join in its place, so encrypt them where they are kept",
            self.issuer, self.expires
        )
    }
}

impl Show for Manifests {
    /// As one writes such files.
    fn text(&self) -> String {
        let (secret, peer) = &self.items;
        let one = |yaml: Result<String, _>| {
            yaml.unwrap_or_else(|e: serde_saphyr::SerializeError| format!("# {e}\n"))
        };
        format!(
            "{}---\n{}",
            one(serde_saphyr::to_string(secret)),
            one(serde_saphyr::to_string(peer))
        )
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::Value;

    use super::*;

    fn manifests() -> Manifests {
        let issuer = "shop.east".parse().unwrap();
        Manifests::of("causeway1.x".into(), &issuer, "noon".into(), "mesh")
    }

    #[test]
    fn as_files() {
        expect![[r#"
            apiVersion: v1
            kind: Secret
            metadata:
              name: causeway-join-shop.east
              namespace: mesh
            type: Opaque
            stringData:
              token: causeway1.x
            ---
            apiVersion: causeway.dev/v1alpha1
            kind: ClusterPeer
            metadata:
              name: shop.east
            spec:
              joinTokenSecretRef:
                name: causeway-join-shop.east
                key: token
        "#]]
        .assert_eq(&manifests().text());
    }

    /// The chart's definition, which is made from the controller's types, has every field that is printed.
    #[test]
    fn the_definition_has_these_fields() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../helm/files/crds.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let peers = "clusterpeers.causeway.dev";
        let definition = all.iter().find(|d| d["metadata"]["name"] == peers).unwrap();
        let (_, peer) = manifests().items;
        let peer = serde_json::to_value(peer).unwrap();
        let (group, version) = peer["apiVersion"]
            .as_str()
            .unwrap()
            .split_once('/')
            .unwrap();
        assert_eq!(definition["spec"]["group"], group);
        assert_eq!(definition["spec"]["names"]["kind"], peer["kind"]);
        assert_eq!(definition["spec"]["scope"], "Cluster");
        let versions = definition["spec"]["versions"].as_array().unwrap();
        let version = versions.iter().find(|v| v["name"] == version).unwrap();
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut fields = 0;
        known(&peer["spec"], spec, &mut fields);
        assert_eq!(fields, 3);
    }

    fn known(value: &Value, schema: &Value, fields: &mut usize) {
        for (name, value) in value.as_object().into_iter().flatten() {
            let schema = &schema["properties"][name];
            assert!(schema.is_object(), "{name} is not in the definition");
            *fields += 1;
            known(value, schema, fields);
        }
    }
}
