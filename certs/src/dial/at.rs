//! Pure: where a gateway's local service is, as configurations write it.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

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

#[cfg(test)]
mod tests {
    use super::*;

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
