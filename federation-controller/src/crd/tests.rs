use std::fmt::Write;

use expect_test::{Expect, expect};
use serde_json::Value;

use super::*;

/// Every field with its type, bounds, enum, default and rules; `*` marks required ones.
fn fields(schema: &Value, indent: usize, out: &mut String) {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
            continue;
        }
        let star = if required.contains(&name.as_str()) {
            "*"
        } else {
            ""
        };
        write!(
            out,
            "{:indent$}{name}{star} {}",
            "",
            field["type"].as_str().unwrap()
        )
        .unwrap();
        for (key, value) in field.as_object().unwrap() {
            if ![
                "type",
                "description",
                "properties",
                "items",
                "required",
                "pattern",
            ]
            .contains(&key.as_str())
            {
                let key = key.trim_start_matches("x-kubernetes-");
                write!(out, " {key}={value}").unwrap();
            }
        }
        out.push('\n');
        // Of conditions everything is Kubernetes' own.
        if name != "conditions" {
            fields(field, indent + 2, out);
            fields(&field["items"], indent + 2, out);
        }
    }
}

fn check(kind: &str, expected: Expect) {
    let all = definitions().unwrap();
    let definition = all.iter().find(|d| d.spec.names.kind == kind).unwrap();
    let value = serde_json::to_value(definition).unwrap();
    let spec = &value["spec"];
    let mut text = format!("{} {}\n", value["metadata"]["name"], spec["names"]);
    for version in spec["versions"].as_array().unwrap() {
        assert_eq!(version["schema"], spec["versions"][0]["schema"]);
        let columns = version["additionalPrinterColumns"].as_array().unwrap();
        let columns: Vec<_> = columns
            .iter()
            .map(|c| c["name"].as_str().unwrap())
            .collect();
        let (name, stored) = (&version["name"], &version["storage"]);
        let status = !version["subresources"].is_null();
        writeln!(
            text,
            "{name} storage={stored} status={status} {}",
            columns.join(",")
        )
        .unwrap();
    }
    let schema = &spec["versions"][0]["schema"]["openAPIV3Schema"];
    if !schema["x-kubernetes-validations"].is_null() {
        writeln!(text, "{}", schema["x-kubernetes-validations"]).unwrap();
    }
    fields(schema, 0, &mut text);
    expected.assert_eq(&text);
}

#[test]
fn service_export() {
    check(
        "ServiceExport",
        expect![[r#"
        "serviceexports.multicluster.x-k8s.io" {"kind":"ServiceExport","listKind":"ServiceExportList","plural":"serviceexports","shortNames":["svcex","svcexport"],"singular":"serviceexport"}
        "v1beta1" storage=true status=true Age
        "v1alpha1" storage=false status=true Age
        spec object
          exportedAnnotations object additionalProperties={"type":"string"}
          exportedLabels object additionalProperties={"type":"string"}
        status object
          conditions array list-map-keys=["type"] list-type="map"
    "#]],
    );
}

#[test]
fn service_import() {
    check(
        "ServiceImport",
        expect![[r#"
        "serviceimports.multicluster.x-k8s.io" {"kind":"ServiceImport","listKind":"ServiceImportList","plural":"serviceimports","shortNames":["svcim","svcimport"],"singular":"serviceimport"}
        "v1beta1" storage=true status=true Type,IP,Age
        "v1alpha1" storage=false status=true Type,IP,Age
        spec object
          internalTrafficPolicy string
          ipFamilies array maxItems=2
          ips array maxItems=2
          ports* array list-type="atomic"
            appProtocol string
            name string
            port* integer format="int32"
            protocol string
          sessionAffinity string
          sessionAffinityConfig object
            clientIP object
              timeoutSeconds integer format="int32"
          trafficDistribution string
          type* string enum=["ClusterSetIP","Headless"]
        status object
          clusters array list-map-keys=["cluster"] list-type="map"
            cluster* string
          conditions array list-map-keys=["type"] list-type="map"
          endpointSliceObjects string enum=["Present","Absent"]
    "#]],
    );
}

#[test]
fn cluster_property() {
    check(
        "ClusterProperty",
        expect![[r#"
        "clusterproperties.about.k8s.io" {"kind":"ClusterProperty","listKind":"ClusterPropertyList","plural":"clusterproperties","singular":"clusterproperty"}
        "v1beta1" storage=true status=false value,age
        "v1alpha1" storage=false status=false value,age
        spec object
          value* string maxLength=128000 minLength=1
    "#]],
    );
}

#[test]
fn cluster_configuration() {
    check(
        "ClusterConfiguration",
        expect![[r#"
            "clusterconfigurations.causeway.dev" {"categories":["causeway"],"kind":"ClusterConfiguration","listKind":"ClusterConfigurationList","plural":"clusterconfigurations","shortNames":["ccfg"],"singular":"clusterconfiguration"}
            "v1alpha1" storage=true status=true Cluster,ClusterSet,Leader,Encryption,Epoch,Age
            [{"message":"there is one ClusterConfiguration, named default","rule":"self.metadata.name == 'default'"}]
            spec* object validations=[{"fieldPath":".peers","message":"peers: a cluster is no peer of itself","rule":"!has(self.peers) || !self.peers.exists(p, p.cluster == self.cluster)"}]
              cluster* string maxLength=127 minLength=1 validations=[{"message":"a cluster keeps its id for good: leave the clusterset, uninstall and install anew to change it","rule":"self == oldSelf"}]
              clusterSet* string maxLength=253 minLength=1 validations=[{"message":"a cluster stays in its clusterset for good: leave it, uninstall and install anew to change it","rule":"self == oldSelf"}]
              encryption string default="required" enum=["required","off"]
              introductions object default={"accept":"All"}
                accept string default="All" enum=["All","Listed","None"]
                clusters array maxItems=1000 list-type="set"
              peers array maxItems=1000 list-map-keys=["cluster"] list-type="map"
                cluster* string maxLength=127 minLength=1
                encryption string enum=["required","off"]
                native array maxItems=64 list-type="atomic"
              podPrefixes array maxItems=64 list-type="set"
              pools object default={"mappings":["242.0.0.0/7","244.0.0.0/6","248.0.0.0/6"],"vips":["241.0.0.0/16"]}
                mappings array default=["242.0.0.0/7","244.0.0.0/6","248.0.0.0/6"] maxItems=64 list-type="atomic"
                vips array default=["241.0.0.0/16"] maxItems=8 minItems=1 list-type="atomic"
              tunnelPort integer default=7472 format="int32" maximum=65535.0 minimum=1.0
            status object
              conditions array list-map-keys=["type"] list-type="map"
              epoch integer format="int64" minimum=0.0
              gateways array list-map-keys=["name"] list-type="map"
                address string
                name* string
                ready* boolean
              leader string
              problems array maxItems=100 list-type="atomic"
                message* string
                subject* string
        "#]],
    );
}

#[test]
fn cluster_peer() {
    check(
        "ClusterPeer",
        expect![[r#"
        "clusterpeers.causeway.dev" {"categories":["causeway"],"kind":"ClusterPeer","listKind":"ClusterPeerList","plural":"clusterpeers","shortNames":["cpeer"],"singular":"clusterpeer"}
        "v1alpha1" storage=true status=true Phase,Heard,Encryption,Services,Held,Mapping,Certificate,Reason,Age
        [{"message":"the name must be a cluster id: one DNS label, or two joined by a dot, under 128 characters","rule":"self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$') && size(self.metadata.name) < 128"}]
        spec object default={}
          joinTokenSecretRef object
            key string default="token" maxLength=253 minLength=1
            name* string maxLength=253 minLength=1
          revoked boolean
        status object
          acknowledgedRevision string
          certificateExpiryTime string format="date-time"
          conditions array list-map-keys=["type"] list-type="map"
          encryption string
          gateways array list-type="atomic"
          heldRevision string
          lastError object
            message* string
            time string format="date-time"
          lastHeardTime string format="date-time"
          mappings array list-type="atomic"
            here* string
            theirs* string
          observedTime string format="date-time"
          phase string
          services integer format="int32" minimum=0.0
          sessions array list-type="atomic"
            address* string
            gateway* string
            peerGateway* string
            since string format="date-time"
            transport* string
    "#]],
    );
}

fn visit(path: &str, schema: &Value, seen: &mut impl FnMut(&str, &Value)) {
    seen(path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        visit(&format!("{path}.{name}"), field, seen);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            visit(&format!("{path}.{inner}"), &schema[inner], seen);
        }
    }
}

/// What an API server refuses, or takes for something else.
#[test]
fn schemas_are_structural() {
    for definition in definitions().unwrap() {
        let value = serde_json::to_value(&definition).unwrap();
        let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        visit(&definition.spec.names.kind, schema, &mut |path, schema| {
            assert!(schema["type"].is_string(), "{path} has no type");
            for key in [
                "anyOf", "oneOf", "allOf", "nullable", "$ref", "title", "const",
            ] {
                assert!(schema[key].is_null(), "{path} has {key}");
            }
        });
    }
}

/// `kubectl explain` has something to say of every field.
#[test]
fn every_field_is_described() {
    for definition in definitions().unwrap() {
        let value = serde_json::to_value(&definition).unwrap();
        let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        visit(&definition.spec.names.kind, schema, &mut |path, schema| {
            let is_field = !path.ends_with(".metadata") && !path.ends_with("items");
            let is_field = is_field && !path.ends_with(".additionalProperties");
            assert!(
                !is_field || schema["description"].is_string(),
                "{path} has no description"
            );
        });
    }
}

/// kubectl's YAML takes some words without quotes for something else.
#[test]
fn yaml_says_the_same_to_every_reader() {
    let text = yaml().unwrap();
    assert!(text.contains("- \"off\""), "off would be read as false");
    assert_eq!(text.matches("---\n").count(), definitions().unwrap().len());
}

/// What is absent in an object is what the API server fills in.
#[test]
fn defaults_are_the_same_here_and_there() {
    let text = r#"{"spec": {"cluster": "east", "clusterSet": "fleet"}}"#;
    let bare: ClusterConfiguration = serde_json::from_str(text).unwrap();
    let all = definitions().unwrap();
    let value = serde_json::to_value(&all[3]).unwrap();
    let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let spec = &schema["properties"]["spec"]["properties"];
    let ours = serde_json::to_value(&bare.spec).unwrap();
    for field in ["encryption", "pools", "tunnelPort"] {
        assert_eq!(spec[field]["default"], ours[field], "{field}");
    }
}
