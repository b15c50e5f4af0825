//! Shell: the certificate of the enrolment service: its key in a Secret, itself in a ConfigMap that every pod of ours
//! mounts, since it is what they know the controller by.

use std::collections::BTreeMap;

use causeway_certs::ca::CaError;
use causeway_certs::tls::PinnedServer;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::{Api, Client};

use super::api::{REQUEST, in_time, metadata, missing, overtaken};

/// Secret (`tls.key`, `tls.crt`) and ConfigMap (`ca.crt`).
pub const NAME: &str = "causeway-enrolment";
const KEY: &str = "tls.key";
const CERTIFICATE: &str = "tls.crt";
const PIN: &str = "ca.crt";

/// Why there is no such certificate.
#[derive(Debug, thiserror::Error)]
pub enum NoPin {
    /// The API server.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// A Secret of something else.
    #[error(
        "Secret {NAME} does not hold a key and its certificate; delete it, and it is made anew: {0}"
    )]
    Content(String),
    /// There is no randomness.
    #[error(transparent)]
    Making(#[from] CaError),
}

/// The certificate as it is published; made when there is none. What exists is left as it is, but a ConfigMap that does
/// not fit the Secret is put right. Any number of processes may do so at one time.
///
/// # Errors
/// When the API server refuses or is away, or the Secret holds something else.
pub async fn ensure(client: &Client, namespace: &str) -> Result<PinnedServer, NoPin> {
    put_right(client, namespace, None).await
}

/// As [`ensure`]; where there is none any more, `held` is put back.
///
/// # Errors
/// As [`ensure`].
pub async fn put_back(
    client: &Client,
    namespace: &str,
    held: &PinnedServer,
) -> Result<PinnedServer, NoPin> {
    put_right(client, namespace, Some(held)).await
}

async fn put_right(
    client: &Client,
    namespace: &str,
    held: Option<&PinnedServer>,
) -> Result<PinnedServer, NoPin> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let server = match read(&secrets).await? {
        Some(server) => server,
        None => {
            let made = match held {
                Some(held) => PinnedServer::from_pem(&held.key_pem(), &held.certificate_pem())
                    .map_err(|error| NoPin::Content(error.to_string()))?,
                None => PinnedServer::create()?,
            };
            match in_time(
                REQUEST,
                secrets.create(&PostParams::default(), &secret(&made)),
            )
            .await
            {
                Ok(_) => made,
                // Another was first, and only what is stored counts.
                Err(error) if overtaken(&error) => match read(&secrets).await? {
                    Some(server) => server,
                    None => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            }
        }
    };
    publish(&Api::namespaced(client.clone(), namespace), &server).await?;
    Ok(server)
}

/// The certificate as it is stored; `None` when there is none.
///
/// # Errors
/// As [`ensure`].
pub async fn read(secrets: &Api<Secret>) -> Result<Option<PinnedServer>, NoPin> {
    let Some(secret) = missing(in_time(REQUEST, secrets.get(NAME)).await)? else {
        return Ok(None);
    };
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| {
        let bytes = data
            .get(key)
            .map(|bytes| bytes.0.as_slice())
            .unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| NoPin::Content(format!("{key} is no text")))
    };
    let server = PinnedServer::from_pem(text(KEY)?, text(CERTIFICATE)?);
    let server = server.map_err(|error| NoPin::Content(error.to_string()))?;
    // Whether both belong together shows only here.
    server
        .config()
        .map_err(|error| NoPin::Content(error.to_string()))?;
    Ok(Some(server))
}

fn secret(server: &PinnedServer) -> Secret {
    let data = [
        (KEY, server.key_pem().as_bytes().to_vec()),
        (CERTIFICATE, server.certificate_pem().into_bytes()),
    ];
    let data = data.map(|(key, bytes)| (key.to_owned(), ByteString(bytes)));
    Secret {
        metadata: metadata(NAME),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from(data)),
        ..Secret::default()
    }
}

async fn publish(maps: &Api<ConfigMap>, server: &PinnedServer) -> Result<(), kube::Error> {
    let pin = server.certificate_pem();
    let data = || BTreeMap::from([(PIN.to_owned(), pin.clone())]);
    let written = match missing(in_time(REQUEST, maps.get(NAME)).await)? {
        Some(map) if map.data.as_ref() == Some(&data()) => return Ok(()),
        Some(map) => {
            let map = ConfigMap {
                data: Some(data()),
                ..map
            };
            in_time(REQUEST, maps.replace(NAME, &PostParams::default(), &map)).await
        }
        None => {
            let map = ConfigMap {
                metadata: metadata(NAME),
                data: Some(data()),
                ..ConfigMap::default()
            };
            in_time(REQUEST, maps.create(&PostParams::default(), &map)).await
        }
    };
    match written {
        // Another is at it: it writes the same.
        Err(error) if !overtaken(&error) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use kube::Api;

    use super::super::fake::{Fake, Fault};
    use super::*;

    const SECRET: &str = "/api/v1/namespaces/causeway-system/secrets/causeway-enrolment";
    const MAP: &str = "/api/v1/namespaces/causeway-system/configmaps/causeway-enrolment";

    fn published(fake: &Fake) -> String {
        let map = fake.get(MAP).unwrap();
        map["data"]["ca.crt"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn made_once_and_put_right() {
        let fake = Fake::new();
        let client = fake.client();
        let one = ensure(&client, "causeway-system").await.unwrap();
        assert_eq!(published(&fake), one.certificate_pem());
        let writes = fake.writes();
        let two = ensure(&client, "causeway-system").await.unwrap();
        assert_eq!(one.certificate_pem(), two.certificate_pem());
        assert_eq!(fake.writes(), writes);
        // All is lost, but somebody has it still.
        fake.forget();
        let three = put_back(&client, "causeway-system", &one).await.unwrap();
        assert_eq!(three.certificate_pem(), one.certificate_pem());
        assert_eq!(published(&fake), one.certificate_pem());
        // Edited by hand, then deleted.
        fake.put(MAP, serde_json::json!({"data": {"ca.crt": "x"}}));
        ensure(&client, "causeway-system").await.unwrap();
        assert_eq!(published(&fake), one.certificate_pem());
        assert!(fake.remove(MAP));
        ensure(&client, "causeway-system").await.unwrap();
        assert_eq!(published(&fake), one.certificate_pem());
        // Of something else.
        fake.put(SECRET, serde_json::json!({"data": {"tls.key": "eA=="}}));
        let told = ensure(&client, "causeway-system").await.unwrap_err();
        assert!(told.to_string().contains("delete it"), "{told}");
    }

    #[tokio::test]
    async fn several_at_once_agree_whatever_fails() {
        for nth in 1..=8 {
            for fault in [Fault::Refused(503), Fault::Unanswered, Fault::Lost] {
                let fake = Fake::new();
                fake.faults(move |asked| (asked.number == nth).then_some(fault));
                let client = fake.client();
                let _ = tokio::join!(
                    ensure(&client, "causeway-system"),
                    ensure(&client, "causeway-system"),
                );
                fake.well();
                let last = ensure(&client, "causeway-system").await.unwrap();
                assert_eq!(published(&fake), last.certificate_pem(), "{nth} {fault:?}");
                let stored = read(&Api::namespaced(client, "causeway-system")).await;
                assert_eq!(
                    stored.unwrap().unwrap().certificate_pem(),
                    last.certificate_pem()
                );
            }
        }
    }
}
