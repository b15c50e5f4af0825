//! Pure: the controller's configuration file. Text in, a checked `Config` or an error that names the file
//! out.

use std::net::SocketAddr;
use std::path::PathBuf;

use causeway_certs::dial::{GatewayAt, Means};
use causeway_certs::expand::expand;
use causeway_proto::model::{ClusterId, Namespace, NodeName};
use serde::Deserialize;

/// What the controller is told. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The cluster whose objects these are; a certificate must be of it.
    pub cluster: ClusterId,
    /// Local services of gateways; the one that leads takes what is published, the others say so.
    pub gateways: Vec<GatewayAt>,
    /// This controller's name in its certificate; `main` when absent.
    #[serde(default)]
    pub name: Option<NodeName>,
    /// Certificate, creation times of exports and last good manifests; made when absent, mode 0700.
    pub state_dir: PathBuf,
    /// One-time file of `causeway enroll`, or where a service account token is; used when `state_dir` holds no certificate.
    #[serde(default)]
    pub enrolment: Option<Means>,
}

/// What a controller on Kubernetes is told; the rest is in the ClusterConfiguration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnKubernetes {
    /// This cluster.
    pub cluster: ClusterId,
    /// This controller's name: its pod's.
    pub name: String,
    /// Ours.
    pub namespace: Namespace,
    /// For what must be in a file; nothing is, so far.
    pub state_dir: PathBuf,
    /// Where processes of the cluster ask for certificates.
    #[serde(default = "crate::kubernetes::any_address")]
    pub listen: SocketAddr,
    /// Where probes ask.
    #[serde(default = "health_socket")]
    pub health_socket: PathBuf,
}

fn health_socket() -> PathBuf {
    PathBuf::from("/run/causeway/controller.health")
}

impl OnKubernetes {
    /// From the text of the file at `path`; `variable` gives what the file takes from its environment.
    ///
    /// # Errors
    /// When it is no YAML of this form.
    pub fn parse(
        path: &str,
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let wrong = |reason: String| ConfigError {
            path: path.to_owned(),
            reason,
        };
        let text = expand(text, variable).map_err(|error| wrong(error.to_string()))?;
        serde_saphyr::from_str(&text).map_err(|error| wrong(error.without_snippet().to_string()))
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct ConfigError {
    /// The file.
    pub path: String,
    /// Place, key, and what is wrong.
    pub reason: String,
}

impl Config {
    /// From the text of the file at `path`.
    ///
    /// # Errors
    /// When it is no YAML of this form.
    pub fn parse(path: &str, text: &str) -> Result<Self, ConfigError> {
        let wrong = |reason: String| ConfigError {
            path: path.to_owned(),
            reason,
        };
        let config: Self = serde_saphyr::from_str(text)
            .map_err(|error| wrong(error.without_snippet().to_string()))?;
        if config.gateways.is_empty() {
            return Err(wrong("gateways: at least one is needed".to_owned()));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn the_example_can_be_used() {
        let example = include_str!("../../examples/config/controller.yaml");
        let config = Config::parse("controller.yaml", example).unwrap();
        assert_eq!(config.gateways.len(), 1);
    }

    fn check(text: &str, expected: Expect) {
        let told = match Config::parse("controller.yaml", text) {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn what_it_takes_and_refuses() {
        let with = |line: &str| format!("cluster: east\nstate_dir: s\n{line}\n");
        check(
            &with("gateways: ['unix:/run/gw.sock']"),
            expect![[
                r#"Config { cluster: ClusterId("east"), gateways: [Unix("/run/gw.sock")], name: None, state_dir: "s", enrolment: None }"#
            ]],
        );
        check(
            &with("gateways: [192.0.2.1:7444]\nname: second\nenrolment: f"),
            expect![[
                r#"Config { cluster: ClusterId("east"), gateways: [Tcp("192.0.2.1:7444")], name: Some(NodeName("second")), state_dir: "s", enrolment: Some(File("f")) }"#
            ]],
        );
        check(
            &with("gateways: [192.0.2.1]"),
            expect![[
                r#"controller.yaml: gateway "192.0.2.1" is neither unix:PATH nor HOST:PORT at line 3, column 12"#
            ]],
        );
        check(
            &with("gateways: ['unix:']"),
            expect![[
                r#"controller.yaml: gateway "unix:" is neither unix:PATH nor HOST:PORT at line 3, column 12"#
            ]],
        );
        check(
            &with("gateways: [h:0]"),
            expect![[
                r#"controller.yaml: gateway "h:0" is neither unix:PATH nor HOST:PORT at line 3, column 12"#
            ]],
        );
        check(
            &with("gateways: []"),
            expect!["controller.yaml: gateways: at least one is needed"],
        );
        check(
            &with(""),
            expect!["controller.yaml: missing field `gateways` at line 2, column 1"],
        );
        check(
            &with("gateways: [unix:g]\ngatway: x"),
            expect![
                "controller.yaml: unknown field `gatway`, expected one of cluster, gateways, name, state_dir, enrolment at line 4, column 1"
            ],
        );
        check(
            &with("gateways: ["),
            expect!["controller.yaml: unclosed bracket '[' at line 3, column 11"],
        );
    }
}
