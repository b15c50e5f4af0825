//! The enrolment server, by its pin alone.

use super::*;

fn pin(servers: &[&PinnedServer]) -> ClientConfig {
    let text: String = servers.iter().map(|s| s.certificate_pem()).collect();
    Pin::from_pem(&text).unwrap().config().unwrap()
}

#[test]
fn only_the_pinned_certificate_is_taken() {
    let server = PinnedServer::create().unwrap();
    let other = PinnedServer::create().unwrap();
    let again = PinnedServer::from_pem(&server.key_pem(), &server.certificate_pem()).unwrap();
    let done = shake(pin(&[&server]), again.config().unwrap()).unwrap();
    assert_eq!(done.client.alpn_protocol(), Some(ALPN_LOCAL));
    assert!(done.server.peer_certificates().is_none());
    // While it is replaced, both.
    assert!(shake(pin(&[&other, &server]), server.config().unwrap()).is_ok());
    refused(
        shake(pin(&[&other]), server.config().unwrap()),
        "client: invalid peer certificate",
    );
    // Not even a gateway of the own cluster.
    let west = cluster("west");
    refused(
        shake(pin(&[&server]), west.tls().local_server().unwrap()),
        "client: invalid peer certificate",
    );
}

#[test]
fn what_is_no_pin_is_said() {
    let server = PinnedServer::create().unwrap();
    assert_eq!(
        Pin::from_pem("").unwrap_err().to_string(),
        "the pin is not the PEM that it should be"
    );
    let swapped = PinnedServer::from_pem(&server.certificate_pem(), &server.key_pem());
    assert_eq!(
        swapped.unwrap_err().to_string(),
        "the key is not the PEM that it should be"
    );
    let other = PinnedServer::create().unwrap();
    let mixed = PinnedServer::from_pem(&server.key_pem(), &other.certificate_pem()).unwrap();
    assert!(mixed.config().is_err());
}
