//! Shell: the gateways of the configuration, with a certificate of the cluster whose objects these are.

use std::time::Duration;

use causeway_certs::dial::{Dialer, Dialing, Patience};
use causeway_certs::enrolment::EnrolError;
use causeway_certs::name::Role;
use causeway_proto::model::Timestamp;

use crate::config::Config;

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    // Followers have to acknowledge what is published or enrolled first.
    answer: Duration::from_secs(30),
};

/// Loads the certificate, or gets the first one, when a gateway is reached over TCP.
///
/// # Errors
/// When there is no certificate and none to be had, or it is another cluster's.
pub async fn dialer(config: &Config, clock: fn() -> Timestamp) -> Result<Dialer, EnrolError> {
    let name = config.name.as_ref().map_or("main", |name| name.as_str());
    let dialer = Dialer::new(Dialing {
        gateways: config.gateways.clone(),
        role: Role::parse(&format!("controller/{name}"))?,
        state_dir: config.state_dir.clone(),
        enrolment: config.enrolment.clone(),
        patience: PATIENCE,
        clock,
    });
    if dialer.needs_certificate() {
        let home = dialer.member().await?.home();
        if home.cluster != config.cluster {
            return Err(EnrolError::OtherRole {
                path: config.state_dir.join("leaf.pem"),
                found: format!("a controller of cluster {}", home.cluster),
                expected: format!("one of cluster {}", config.cluster),
            });
        }
    }
    Ok(dialer)
}
