//! Pure: which cluster and namespace are meant, and what its API's refusals mean for the person who called.

use crate::failure::{Failure, Kind};

/// Account that a token is asked of.
pub const ACCOUNT: &str = "causeway-operator";
/// ConfigMap with the one certificate that the enrolment service presents.
pub const PIN: &str = "causeway-enrolment";

/// Where Causeway is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the kubeconfig's context; none where the pod's own account is used.
    pub context: Option<String>,
    /// The kubeconfig, where it was given.
    pub kubeconfig: Option<String>,
    /// URL of the API server.
    pub server: String,
    /// Where Causeway is.
    pub namespace: String,
}

/// One question to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// As RBAC has it.
    pub verb: &'static str,
    /// As RBAC has it, with the name.
    pub what: &'static str,
    /// What its absence means.
    pub absent: &'static str,
}

/// A token for the controller.
pub const TOKEN: Asked = Asked {
    verb: "create",
    what: "serviceaccounts/token causeway-operator",
    absent: "there is no ServiceAccount causeway-operator: the chart makes it, so was the installation changed by hand?",
};
/// The enrolment service's certificate.
pub const ENROLMENT: Asked = Asked {
    verb: "get",
    what: "configmaps causeway-enrolment",
    absent: "there is no ConfigMap causeway-enrolment: the chart's install hook makes it, and the controller puts it back, so does the controller run?",
};
/// Who is active, who leads.
pub const LEASES: Asked = Asked {
    verb: "get",
    what: "leases causeway-controller and causeway-leader",
    absent: "",
};
/// Which pods there are.
pub const PODS: Asked = Asked {
    verb: "list",
    what: "pods",
    absent: "",
};
/// A stream to a pod.
pub const FORWARD: Asked = Asked {
    verb: "create and get",
    what: "pods/portforward",
    absent: "",
};

impl Place {
    /// `kubectl` with the options that name this cluster and namespace.
    pub fn kubectl(&self) -> String {
        let mut command = "kubectl".to_owned();
        if let Some(file) = &self.kubeconfig {
            command.push_str(&format!(" --kubeconfig {file}"));
        }
        if let Some(context) = &self.context {
            command.push_str(&format!(" --context {context}"));
        }
        format!("{command} -n {}", self.namespace)
    }

    /// For a sentence.
    pub fn name(&self) -> String {
        match &self.context {
            Some(context) => format!("context {context}"),
            None => "this pod's cluster".to_owned(),
        }
    }

    /// Of an HTTP status that is no success.
    pub fn refused(&self, asked: Asked, code: u16, message: &str) -> Failure {
        let kubectl = self.kubectl();
        let namespace = &self.namespace;
        let (what, check) = match code {
            401 => (
                format!(
                    "the Kubernetes API of {} does not take your credentials: {message}",
                    self.name()
                ),
                format!("have they ended? `{kubectl} auth whoami` should work"),
            ),
            403 => (
                format!(
                    "you may not {} {} in namespace {namespace} of {}: {message}",
                    asked.verb,
                    asked.what,
                    self.name()
                ),
                format!(
                    "Role causeway-operator allows all that is needed; who may grant it does so by `{kubectl} create rolebinding NAME --role causeway-operator --user YOU`"
                ),
            ),
            404 if !asked.absent.is_empty() => (
                format!("namespace {namespace} of {}: {}", self.name(), asked.absent),
                format!("`{kubectl} get all` shows what there is"),
            ),
            _ => (
                format!(
                    "the Kubernetes API of {} could not {} {}: {message} ({code})",
                    self.name(),
                    asked.verb,
                    asked.what
                ),
                format!("`{kubectl} get pods` should work, and the pods should run"),
            ),
        };
        Failure::new(Kind::Refused, what, check)
    }

    /// Of a connection that did not come about.
    pub fn unreached(&self, why: &str) -> Failure {
        Failure::new(
            Kind::Unreachable,
            format!(
                "the Kubernetes API of {} at {} is not reached: {why}",
                self.name(),
                self.server
            ),
            format!("does `{} version` work?", self.kubectl()),
        )
    }
}

/// What the certificate calls the person: the log of the gateway shows it, and nothing is decided by it.
pub fn operator(user: Option<&str>) -> String {
    let user = user.unwrap_or_default().to_ascii_lowercase();
    let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = user.chars().map(kept).take(63).collect();
    match name.trim_matches('-') {
        "" => "kubeconfig".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use causeway_certs::name::Role;
    use expect_test::{Expect, expect};

    use super::*;

    fn place() -> Place {
        Place {
            context: Some("east".into()),
            kubeconfig: None,
            server: "https://east:6443".into(),
            namespace: "mesh".into(),
        }
    }

    fn check(failure: &Failure, expected: Expect) {
        expected.assert_eq(&failure.to_string());
    }

    #[test]
    fn refusals() {
        let place = place();
        check(
            &place.refused(TOKEN, 403, "User \"ann\" cannot create resource"),
            expect![[r#"
                you may not create serviceaccounts/token causeway-operator in namespace mesh of context east: User "ann" cannot create resource
                  check: Role causeway-operator allows all that is needed; who may grant it does so by `kubectl --context east -n mesh create rolebinding NAME --role causeway-operator --user YOU`"#]],
        );
        check(
            &place.refused(PODS, 401, "Unauthorized"),
            expect![[r#"
                the Kubernetes API of context east does not take your credentials: Unauthorized
                  check: have they ended? `kubectl --context east -n mesh auth whoami` should work"#]],
        );
        check(
            &place.refused(ENROLMENT, 404, "not found"),
            expect![[r#"
                namespace mesh of context east: there is no ConfigMap causeway-enrolment: the chart's install hook makes it, and the controller puts it back, so does the controller run?
                  check: `kubectl --context east -n mesh get all` shows what there is"#]],
        );
        check(
            &place.refused(FORWARD, 500, "error dialing backend"),
            expect![[r#"
                the Kubernetes API of context east could not create and get pods/portforward: error dialing backend (500)
                  check: `kubectl --context east -n mesh get pods` should work, and the pods should run"#]],
        );
    }

    #[test]
    fn no_connection() {
        let mut place = place();
        place.kubeconfig = Some("k.yaml".into());
        check(
            &place.unreached("Connection refused"),
            expect![[r#"
                the Kubernetes API of context east at https://east:6443 is not reached: Connection refused
                  check: does `kubectl --kubeconfig k.yaml --context east -n mesh version` work?"#]],
        );
    }

    #[test]
    fn names_of_people() {
        for (user, expected) in [
            (None, "kubeconfig"),
            (Some("Ann.Lee"), "ann-lee"),
            (Some("_"), "kubeconfig"),
            (Some("-x-"), "x"),
        ] {
            let name = operator(user);
            assert_eq!(name, expected);
            assert!(Role::parse(&format!("operator/{name}")).is_ok(), "{name}");
        }
        assert!(Role::parse(&format!("operator/{}", operator(Some(&"a.".repeat(99))))).is_ok());
    }
}
