use super::*;
use serde_json::json;

#[test]
fn an_import_is_read() {
    let value = json!({
        "metadata": {"name": "hello", "labels": {"a": "b"}},
        "spec": {"type": "ClusterSetIP", "ips": ["241.0.0.2"], "ipFamilies": ["IPv4"],
            "ports": [{"name": "udp", "protocol": "UDP", "port": 42}, {"name": "tcp", "port": 42}],
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}}},
        "status": {"clusters": [{"cluster": "west"}, {"cluster": "east"}]},
    });
    let import: Import = read(&value).unwrap();
    assert_eq!(import.clusters(), ["east", "west"]);
    assert_eq!(shown_ports(&import.ports()), "[tcp TCP/42, udp UDP/42]");
    assert_eq!(import.spec.session_affinity.as_deref(), Some("ClientIP"));
}

#[test]
fn conditions_are_found() {
    let value = json!({"status": {"conditions": [
        {"type": "Valid", "status": "False", "reason": "NoService", "message": "make one"}]}});
    let found = condition(&value, "Valid").unwrap();
    assert_eq!(found.to_string(), "Valid=False/NoService (make one)");
    assert_eq!(condition(&value, "Ready"), None);
    assert_eq!(shown(&conditions(&json!({}))), "no conditions");
}

#[test]
fn a_slice_says_who_is_ready() {
    let slice: Slice = read(&json!({
        "metadata": {"name": "x", "labels": {SOURCE_CLUSTER: "west"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.3"], "conditions": {}, "hostname": "web-0"},
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }))
    .unwrap();
    assert_eq!(slice.ready(), ["10.0.0.1", "10.0.0.3"]);
    assert_eq!(slice.source(), Some("west"));
}

#[test]
fn a_pod_on_its_way_out_is_not_ready() {
    let ready = json!({"metadata": {"name": "p"}, "status": {"podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}]}});
    assert!(read::<Pod>(&ready).unwrap().is_ready());
    let mut going = ready;
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(!read::<Pod>(&going).unwrap().is_ready());
}

#[test]
fn an_empty_slice_has_nulls() {
    let slice: Slice =
        read(&json!({"metadata": {"name": "x"}, "endpoints": null, "ports": null})).unwrap();
    assert_eq!(slice.ready(), Vec::<String>::new());
}

#[test]
fn a_rollout_is_over_when_all_are_new_and_ready() {
    let set = |updated: i64, ready: i64| {
        json!({"metadata": {"name": "agent", "generation": 2}, "status": {"observedGeneration": 2,
            "desiredNumberScheduled": 2, "updatedNumberScheduled": updated, "numberAvailable": ready}})
    };
    assert_eq!(unready(&set(2, 2)), None);
    assert_eq!(unready(&set(1, 2)).unwrap(), "agent: 2 ready, 1 new, of 2");
    let mut deployment = json!({"metadata": {"name": "c", "generation": 1}, "spec": {"replicas": 2},
        "status": {"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 3}});
    assert!(unready(&deployment).is_some());
    deployment["status"]["replicas"] = json!(2);
    assert_eq!(unready(&deployment), None);
    deployment["metadata"]["generation"] = json!(2);
    assert_eq!(unready(&deployment).unwrap(), "c has not been looked at");
}
