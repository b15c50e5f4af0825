//! Pure: what is to be done about each CustomResourceDefinition: made, brought up to date, or left to whom it belongs.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The annotation that tells which version of Causeway wrote a definition.
pub const VERSION: &str = "causeway.dev/version";
/// Marks definitions that are ours, as [`crate::crd`] makes them.
const OURS: (&str, &str) = ("app.kubernetes.io/name", "causeway");

/// What to do about one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is not there.
    Create,
    /// It is ours, as old as we are or older.
    Update,
    /// It is ours and newer: what it allows may be stored already.
    LeaveNewer(String),
    /// It is somebody else's and will do, by this version of its objects.
    LeaveForeign(String),
}

/// A definition that is somebody else's and will not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Another kind, or in another scope.
    #[error(
        "CustomResourceDefinition {name} is somebody else's and defines {found}, where {wanted} is needed; \
         find out who installed it"
    )]
    Other {
        /// The definition's.
        name: String,
        /// Kind and scope that are there.
        found: String,
        /// Kind and scope that are needed.
        wanted: String,
    },
    /// None of the versions that we speak.
    #[error(
        "CustomResourceDefinition {name} is somebody else's and serves {found}, where one of {wanted} is needed; \
         update it, or remove it so that Causeway installs its own"
    )]
    Version {
        /// The definition's.
        name: String,
        /// Versions that it serves.
        found: String,
        /// Versions that we speak, the preferred one first.
        wanted: String,
    },
}

/// What `wanted` of version `version` asks for, beside what is there.
///
/// # Errors
/// When what is there is somebody else's and of no use.
pub fn decide(
    found: Option<&CustomResourceDefinition>,
    wanted: &CustomResourceDefinition,
    version: &str,
) -> Result<Decision, Unfit> {
    let Some(found) = found else {
        return Ok(Decision::Create);
    };
    if is_ours(found) {
        let annotations = found.metadata.annotations.as_ref();
        let held = annotations
            .and_then(|a| a.get(VERSION))
            .map_or("", String::as_str);
        return Ok(if numbers(held) > numbers(version) {
            Decision::LeaveNewer(held.to_owned())
        } else {
            Decision::Update
        });
    }
    let name = wanted.metadata.name.clone().unwrap_or_default();
    let form = |d: &CustomResourceDefinition| {
        let (names, scope) = (&d.spec.names, d.spec.scope.to_ascii_lowercase());
        format!("the {scope} kind {} ({})", names.kind, names.plural)
    };
    if form(found) != form(wanted) {
        let (found, wanted) = (form(found), form(wanted));
        return Err(Unfit::Other {
            name,
            found,
            wanted,
        });
    }
    match served(found, wanted) {
        Some(version) => Ok(Decision::LeaveForeign(version)),
        None => Err(Unfit::Version {
            name,
            found: versions(found).join(", "),
            wanted: versions(wanted).join(", "),
        }),
    }
}

/// Whether it came from us.
#[must_use]
pub fn is_ours(definition: &CustomResourceDefinition) -> bool {
    let labels = definition.metadata.labels.as_ref();
    labels
        .and_then(|l| l.get(OURS.0))
        .is_some_and(|value| value == OURS.1)
}

/// The first version that `wanted` has and `found` serves.
#[must_use]
pub fn served(
    found: &CustomResourceDefinition,
    wanted: &CustomResourceDefinition,
) -> Option<String> {
    let there = versions(found);
    let mut names = versions(wanted).into_iter();
    names.find(|name| there.contains(name)).map(str::to_owned)
}

fn versions(definition: &CustomResourceDefinition) -> Vec<&str> {
    let versions = definition.spec.versions.iter();
    versions
        .filter(|v| v.served)
        .map(|v| v.name.as_str())
        .collect()
}

/// `1.12.0-rc1` as numbers, as far as it is numbers; what is no version is older than any.
fn numbers(version: &str) -> Vec<u64> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    core.split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd;

    fn wanted() -> CustomResourceDefinition {
        let all = crd::definitions().unwrap();
        all.into_iter()
            .find(|d| d.spec.names.kind == "ServiceImport")
            .unwrap()
    }

    fn foreign() -> CustomResourceDefinition {
        let mut found = wanted();
        found.metadata.labels = None;
        found
    }

    #[test]
    fn the_charts_copy_is_fresh() {
        let held = include_str!("../../../helm/files/crds.yaml");
        assert!(held == crd::yaml().unwrap(), "run `cargo xtask gen`");
    }

    #[test]
    fn ours_is_made_and_brought_up_to_date() {
        let mut found = wanted();
        assert_eq!(decide(None, &found, "0.1.0"), Ok(Decision::Create));
        assert_eq!(
            decide(Some(&found), &wanted(), "0.1.0"),
            Ok(Decision::Update)
        );
        for (held, decision) in [
            ("0.1.0", Decision::Update),
            ("0.0.9", Decision::Update),
            ("0.1.0-rc1", Decision::Update),
            ("0.1.1", Decision::LeaveNewer("0.1.1".to_owned())),
            ("0.10.0", Decision::LeaveNewer("0.10.0".to_owned())),
        ] {
            let mark = [(VERSION.to_owned(), held.to_owned())];
            found.metadata.annotations = Some(mark.into());
            assert_eq!(decide(Some(&found), &wanted(), "0.1.0"), Ok(decision));
        }
    }

    #[test]
    fn a_foreign_one_is_used_as_it_is() {
        let decided = decide(Some(&foreign()), &wanted(), "0.1.0");
        assert_eq!(decided, Ok(Decision::LeaveForeign("v1beta1".to_owned())));
        let mut old = foreign();
        old.spec.versions.retain(|v| v.name == "v1alpha1");
        let decided = decide(Some(&old), &wanted(), "0.1.0");
        assert_eq!(decided, Ok(Decision::LeaveForeign("v1alpha1".to_owned())));
    }

    #[test]
    fn a_foreign_one_that_will_not_do_is_named() {
        let mut found = foreign();
        for version in &mut found.spec.versions {
            version.served = version.name == "v9";
        }
        let told = decide(Some(&found), &wanted(), "0.1.0")
            .unwrap_err()
            .to_string();
        expect_test::expect!["CustomResourceDefinition serviceimports.multicluster.x-k8s.io is somebody else's and serves , where one of v1beta1, v1alpha1 is needed; update it, or remove it so that Causeway installs its own"].assert_eq(&told);
        let mut found = foreign();
        found.spec.scope = "Cluster".to_owned();
        let told = decide(Some(&found), &wanted(), "0.1.0")
            .unwrap_err()
            .to_string();
        expect_test::expect!["CustomResourceDefinition serviceimports.multicluster.x-k8s.io is somebody else's and defines the cluster kind ServiceImport (serviceimports), where the namespaced kind ServiceImport (serviceimports) is needed; find out who installed it"].assert_eq(&told);
    }
}
