//! Pure: the controller's configuration file. Text in, a checked `Config` or an error that names the file
//! out.

use std::path::PathBuf;

use causeway_proto::model::GatewayName;
use serde::Deserialize;

/// What the controller is told. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The leader gateway's local service: `unix:PATH` on the same host, else `HOST:PORT` with mutual TLS.
    pub gateway: Target,
    /// This controller's name in its certificate.
    #[serde(default = "name")]
    pub name: GatewayName,
    /// Certificate, creation times of exports and last good manifests; made when absent, mode 0700.
    pub state_dir: PathBuf,
    /// One-time file of `causeway enroll`, for a controller that has no certificate yet.
    #[serde(default)]
    pub enroll_file: Option<PathBuf>,
}

fn name() -> GatewayName {
    #[expect(clippy::unwrap_used, reason = "a constant that is a name")]
    "main".parse().unwrap()
}

/// Where the leader's local service is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Target {
    /// A socket that only the gateway's owner may open.
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

impl TryFrom<String> for Target {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("gateway is \"unix:\" without a path".to_owned())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let port = text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        match port {
            Some((host, Ok(1..))) if !host.is_empty() => Ok(Self::Tcp(text)),
            _ => Err(format!("gateway {text:?} is neither unix:PATH nor HOST:PORT")),
        }
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
        serde_saphyr::from_str(text).map_err(|error| ConfigError {
            path: path.to_owned(),
            reason: error.without_snippet().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: Expect) {
        let told = match Config::parse("controller.yaml", text) {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn what_it_takes_and_refuses() {
        check("gateway: unix:/run/gw.sock\nstate_dir: s\n", expect![[""]]);
        check(
            "gateway: 192.0.2.1:7444\nstate_dir: s\nname: second\nenroll_file: f\n",
            expect![[""]],
        );
        check("gateway: 192.0.2.1\nstate_dir: s\n", expect![[""]]);
        check("gateway: 'unix:'\nstate_dir: s\n", expect![[""]]);
        check("gateway: h:0\nstate_dir: s\n", expect![[""]]);
        check("state_dir: s\n", expect![[""]]);
        check("gateway: unix:g\nstate_dir: s\ngatway: x\n", expect![[""]]);
        check("gateway: [\n", expect![[""]]);
    }
}
