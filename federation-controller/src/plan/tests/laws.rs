use proptest::prelude::*;

use super::*;
use crate::want::MARK;

/// Some of what may be wanted of a few objects.
fn wanted_by() -> impl Strategy<Value = Wants> {
    let label = prop::option::of("[ab]");
    let spec = prop::option::of(prop_oneof![
        Just(json!(["241.0.0.1"])),
        Just(json!(["241.0.0.2"]))
    ]);
    let reason = prop_oneof![Just("Ready"), Just("Pending")];
    let clusters = prop::collection::btree_set("[xyz]", 0..3);
    let one = (label, spec, reason, clusters, any::<bool>());
    prop::collection::btree_map("[s-u]", one, 0..3).prop_map(|imports| {
        let mut wants = Wants::default();
        for (name, (label, ips, reason, clusters, slices)) in imports {
            let mut labels = json!({(MARK.0): MARK.1});
            if let Some(label) = label {
                labels[label] = json!("1");
            }
            let mut spec = json!({"type": "ClusterSetIP"});
            let mut absent = Vec::new();
            match ips {
                Some(ips) => spec["ips"] = ips,
                None => absent.push("/spec/ips"),
            }
            let status = if reason == "Ready" { ConditionStatus::True } else { ConditionStatus::False };
            let target = Target::new(Kind::ServiceImport, "shop", &name);
            let list: Vec<_> = clusters.iter().map(|c| json!({"cluster": c})).collect();
            let wanted = Wanted {
                body: Some(json!({"metadata": {"labels": labels, "annotations": {}}, "spec": spec})),
                status: Some(json!({"clusters": list})),
                conditions: vec![Sought::new("Ready", status, reason, "")],
                absent,
                owner: None,
            };
            for cluster in clusters.iter().filter(|_| slices) {
                let labels = json!({(crate::seen::SERVICE_LABEL): name, (MARK.0): MARK.1});
                let slice = Target::new(Kind::EndpointSlice, "shop", &format!("{name}-{cluster}"));
                let body = json!({"metadata": {"labels": labels}, "endpoints": [{"addresses": [cluster]}]});
                let owner = Some(target.clone());
                wants.objects.insert(slice, Wanted { body: Some(body), owner, ..Wanted::default() });
            }
            wants.objects.insert(target, wanted);
        }
        wants
    })
}

/// What others do to the objects.
#[derive(Debug, Clone)]
enum Meddling {
    Delete(usize),
    Edit(usize, &'static str),
    Foreign(String),
}

fn meddling() -> impl Strategy<Value = Meddling> {
    prop_oneof![
        any::<usize>().prop_map(Meddling::Delete),
        (
            any::<usize>(),
            prop_oneof![Just("spec"), Just("metadata"), Just("status")]
        )
            .prop_map(|(at, part)| Meddling::Edit(at, part)),
        "[s-v]".prop_map(Meddling::Foreign),
    ]
}

fn meddle(server: &mut Server, meddling: &Meddling) {
    let targets = server.targets();
    let pick = |at: &usize| targets.get(at % targets.len().max(1));
    match meddling {
        Meddling::Delete(at) => {
            if let Some(target) = pick(at) {
                server.delete(target);
            }
        }
        Meddling::Edit(at, part) => {
            let body = match *part {
                "spec" => json!({"spec": {"ips": ["1.1.1.1"], "type": "Headless"}}),
                "metadata" => {
                    json!({"metadata": {"annotations": {"x": "y"}, "labels": {"a": "2", (MARK.0): "x"}}})
                }
                _ => json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
            };
            if let Some(target) = pick(at) {
                server.apply(target, "somebody", &body, *part == "status");
            }
        }
        Meddling::Foreign(name) => {
            let target = Target::new(Kind::ServiceImport, "shop", name);
            server.apply(
                &target,
                "somebody",
                &json!({"spec": {"type": "Headless"}}),
                false,
            );
        }
    }
}

fn all_groups() -> BTreeSet<Group> {
    ["s", "t", "u", "v"]
        .map(|name| Group::Import("shop".into(), name.into()))
        .into()
}

/// Whether the server says what is wanted, and holds nothing of ours besides.
fn holds(server: &Server, wants: &Wants) -> Result<(), String> {
    let sight = server.sight();
    for (target, wanted) in &wants.objects {
        let value = server.get(target).ok_or(format!("{target} is missing"))?;
        let body = wanted.body.as_ref().unwrap();
        let differing = fields::differing(body, value);
        let there = wanted
            .absent
            .iter()
            .filter(|path| value.pointer(path).is_some());
        let there: Vec<_> = there.collect();
        if !differing.is_empty() || !there.is_empty() {
            return Err(format!("{target} differs: {differing:?} {there:?}"));
        }
        let status = wanted.status.clone().unwrap_or(json!({}));
        let differing = fields::differing(&json!({"status": status}), value);
        if !differing.is_empty() {
            return Err(format!("{target} status differs: {differing:?}"));
        }
    }
    for target in server.targets() {
        let ours = sight.get(&target).unwrap().is_ours();
        if ours && !wants.objects.contains_key(&target) {
            return Err(format!("{target} is left over"));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever was wanted before, whatever others did, and wherever the controller was killed: in the end it is as
    /// it should be, and then nothing is written.
    #[test]
    fn settles_after_any_kill(
        before in wanted_by(),
        after in wanted_by(),
        meddlings in prop::collection::vec(meddling(), 0..4),
        kills in prop::collection::vec(0usize..6, 0..6),
    ) {
        let mut server = Server::default();
        let mut kills = kills.into_iter();
        for (wants, meddlings) in [(&before, &meddlings[..]), (&after, &[])] {
            for round in 0..20 {
                let writes = plan(&server.sight(), &all_groups(), wants, NOW);
                if writes.is_empty() {
                    break;
                }
                prop_assert!(round < 19, "does not settle: {writes:?}");
                let most = kills.next().unwrap_or(usize::MAX);
                for write in writes.iter().take(most) {
                    let _ = server.execute(write);
                }
            }
            prop_assert_eq!(holds(&server, wants), Ok(()));
            prop_assert_eq!(server.idle, 0);
            for meddling in meddlings {
                meddle(&mut server, meddling);
            }
        }
    }
}
