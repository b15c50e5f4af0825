//! Pure: where a gateway's local service is, and what a first certificate is asked for with, as configurations write it.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Where a gateway's local service is: `unix:PATH` on the same host, else `HOST:PORT` with mutual TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum GatewayAt {
    /// A socket that only the gateway's owner may open.
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

/// Text that says no such place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gateway {0:?} is neither unix:PATH nor HOST:PORT")]
pub struct InvalidGatewayAt(String);

impl TryFrom<String> for GatewayAt {
    type Error = InvalidGatewayAt;
    fn try_from(text: String) -> Result<Self, InvalidGatewayAt> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && matches!(port.parse(), Ok(1u16..)) => {
                Ok(Self::Tcp(text))
            }
            _ => Err(InvalidGatewayAt(text)),
        }
    }
}

impl fmt::Display for GatewayAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

/// What a process shows for a certificate: the path of a one-time file of `causeway enroll`, or where a projected service
/// account token is and who reviews it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// Good for the first certificate only.
    File(PathBuf),
    /// Good for the first and each next one.
    Token(ByToken),
}

/// Enrolment on Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByToken {
    /// `HOST:PORT` of the controller's enrolment service.
    #[serde(deserialize_with = "host_and_port")]
    pub controller: String,
    /// The projected token; read each time, since it is replaced.
    pub token_file: PathBuf,
    /// The one certificate that the controller presents there, PEM; read each time, and waited for until the
    /// controller has published it.
    pub ca_file: PathBuf,
}

fn host_and_port<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    let text = String::deserialize(source)?;
    match GatewayAt::try_from(text.clone()) {
        Ok(GatewayAt::Tcp(_)) => Ok(text),
        _ => Err(serde::de::Error::custom(format!(
            "{text:?} is not HOST:PORT"
        ))),
    }
}

impl<'de> Deserialize<'de> for Means {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Means;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a one-time file, or {controller, token_file, ca_file}")
            }

            fn visit_str<E>(self, path: &str) -> Result<Means, E> {
                Ok(Means::File(path.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Means, A::Error> {
                ByToken::deserialize(MapAccessDeserializer::new(map)).map(Means::Token)
            }
        }
        source.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(json: &str) -> String {
        match serde_json::from_str::<Means>(json) {
            Ok(Means::File(path)) => format!("file {}", path.display()),
            Ok(Means::Token(by)) => {
                format!("token {} at {}", by.token_file.display(), by.controller)
            }
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn means_of_two_forms() {
        assert_eq!(means("\"/etc/one-time\""), "file /etc/one-time");
        assert_eq!(
            means(r#"{"controller": "c:7445", "token_file": "t", "ca_file": "p"}"#),
            "token t at c:7445"
        );
        let e = means(r#"{"controller": "c", "token_file": "t", "ca_file": "p"}"#);
        assert!(e.starts_with("\"c\" is not HOST:PORT"), "{e}");
        let e = means(r#"{"controller": "c:1", "token": "t", "ca_file": "p"}"#);
        assert!(
            e.contains("unknown field `token`") && e.contains("token_file"),
            "{e}"
        );
        let e = means("7");
        assert!(e.contains("one-time file, or {controller"), "{e}");
    }

    #[test]
    fn two_forms_and_no_other() {
        for text in [
            "unix:/run/gw.sock",
            "192.0.2.1:7444",
            "[2001:db8::1]:7444",
            "w2.example:1",
        ] {
            let at = GatewayAt::try_from(text.to_owned()).unwrap();
            assert_eq!(at.to_string(), text);
        }
        for text in ["", "unix:", "w2", "w2:", ":7444", "w2:0", "w2:65536"] {
            assert!(GatewayAt::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
