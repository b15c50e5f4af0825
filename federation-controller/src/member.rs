//! Pure: what this cluster says of itself: the properties by which tools of several clusters know it (KEP-2149), and
//! the problems in the status of its configuration.

use std::collections::BTreeMap;

use causeway_proto::model::Problem;
use serde_json::{Value, json};

use crate::crd::ClusterConfigurationSpec;
use crate::seen::Seen;
use crate::want::{Kind, MANAGED_BY, MARK, Target, Wanted};

/// The cluster's id.
pub const CLUSTER_PROPERTY: &str = "cluster.clusterset.k8s.io";
/// Its clusterset.
pub const CLUSTER_SET_PROPERTY: &str = "clusterset.k8s.io";
/// Problems that the status holds, as its definition says.
const PROBLEMS: usize = 100;

/// The property of this name; `None`: not one of ours.
#[must_use]
pub fn property(
    name: &str,
    spec: &ClusterConfigurationSpec,
    seen: Option<&Seen>,
) -> Option<(Target, Wanted)> {
    let value = match name {
        CLUSTER_PROPERTY => &spec.cluster,
        CLUSTER_SET_PROPERTY => &spec.cluster_set,
        _ => return None,
    };
    let labels = BTreeMap::from([MARK, MANAGED_BY]);
    let body = json!({"metadata": {"labels": labels}, "spec": {"value": value}});
    let wanted = Wanted {
        // Whoever has set it before us keeps it; that it says otherwise is a problem.
        body: seen.is_none_or(Seen::is_ours).then_some(body),
        ..Wanted::default()
    };
    Some((Target::of_cluster(Kind::ClusterProperty, name), wanted))
}

/// Why a property that is somebody else's contradicts us.
#[must_use]
pub fn contradiction(name: &str, spec: &ClusterConfigurationSpec, seen: &Seen) -> Option<Problem> {
    let (_, wanted) = property(name, spec, None)?;
    let ours = wanted.body?.pointer("/spec/value").cloned()?;
    let theirs = seen.value.pointer("/spec/value")?;
    let (ours, theirs) = (ours.as_str()?, theirs.as_str()?);
    (!seen.is_ours() && ours != theirs).then(|| Problem {
        kind: causeway_proto::model::ProblemKind::BadObject,
        subject: format!("ClusterProperty {name}"),
        message: format!(
            "says {theirs:?}, and ClusterConfiguration default says {ours:?}; other tools of this cluster go by the property: make them agree, or delete it and it is made anew"
        ),
    })
}

/// The part of the configuration's status that tells problems.
#[must_use]
pub fn problems(name: &str, problems: &[Problem]) -> (Target, Wanted) {
    let told = problems.iter().take(PROBLEMS);
    let told: Vec<Value> = told
        .map(|p| json!({"kind": format!("{:?}", p.kind), "subject": p.subject, "message": p.message}))
        .collect();
    let wanted = Wanted {
        status: Some(json!({ "problems": told })),
        ..Wanted::default()
    };
    (Target::of_cluster(Kind::ClusterConfiguration, name), wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ClusterConfigurationSpec {
        ClusterConfigurationSpec {
            cluster: "east".into(),
            cluster_set: "fleet".into(),
            ..ClusterConfigurationSpec::default()
        }
    }

    fn seen(value: &str, labels: Value) -> Seen {
        let object = json!({"metadata": {"name": "x", "labels": labels}, "spec": {"value": value}});
        Seen::of(Kind::ClusterProperty, object).unwrap().1
    }

    #[test]
    fn both_properties_are_made() {
        for (name, value) in [(CLUSTER_PROPERTY, "east"), (CLUSTER_SET_PROPERTY, "fleet")] {
            let (target, wanted) = property(name, &spec(), None).unwrap();
            assert_eq!(target.name, name);
            assert_eq!(wanted.body.unwrap()["spec"]["value"], value);
        }
        assert_eq!(property("other.example.org", &spec(), None), None);
    }

    #[test]
    fn somebody_elses_property_stays() {
        let theirs = seen("east", json!({}));
        let (_, wanted) = property(CLUSTER_PROPERTY, &spec(), Some(&theirs)).unwrap();
        assert_eq!(wanted.body, None);
        assert_eq!(contradiction(CLUSTER_PROPERTY, &spec(), &theirs), None);
        let other = seen("north", json!({}));
        let problem = contradiction(CLUSTER_PROPERTY, &spec(), &other).unwrap();
        assert_eq!(problem.subject, "ClusterProperty cluster.clusterset.k8s.io");
        let ours = seen("north", json!({(MARK.0): MARK.1}));
        assert_eq!(contradiction(CLUSTER_PROPERTY, &spec(), &ours), None);
    }
}
