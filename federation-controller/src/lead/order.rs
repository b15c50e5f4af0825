//! Pure: what the controller tells all gateways: who leads, since which term, with which settings.

use causeway_certs::cert::fingerprint;
use causeway_certs::tls::Tls;
use causeway_proto::model::{
    Appointment, ClusterSettings, Digest, GatewayName, LeadHello, LeaderState,
};

/// The controller's word. One term has one leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Rises with each change of leader and with each change of controller.
    pub term: u64,
    /// The gateway.
    pub leader: GatewayName,
    /// `HOST:PORT` of its local service, for the other gateways.
    pub leader_address: String,
    /// The highest epoch that was known of when it was appointed.
    pub epoch: u64,
    /// In force on all of them.
    pub settings: ClusterSettings,
}

impl Order {
    /// As one gateway is told it.
    #[must_use]
    pub fn appointment(&self, state: Option<LeaderState>) -> Appointment {
        Appointment {
            term: self.term,
            leader: self.leader.clone(),
            leader_address: self.leader_address.clone(),
            epoch: self.epoch,
            settings: self.settings.clone(),
            state,
        }
    }

    /// Whether the gateway that says this obeys.
    #[must_use]
    pub fn is_obeyed(&self, hello: &LeadHello) -> bool {
        hello.term == self.term && hello.leader.as_ref() == Some(&self.leader)
    }

    /// Whether the gateway that says this leads by it.
    #[must_use]
    pub fn is_led_by(&self, hello: &LeadHello) -> bool {
        self.is_obeyed(hello) && hello.gateway == self.leader && hello.leads
    }
}

/// What it takes to call a gateway as this controller.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Own certificate, renewed in place, and the cluster's CA.
    pub tls: Tls,
    /// Which CA.
    authority: Digest,
}

impl Identity {
    /// Under the CA with that certificate.
    #[must_use]
    pub fn new(tls: Tls, authority: &[u8]) -> Self {
        let authority = fingerprint(authority);
        Self { tls, authority }
    }

    /// Whether connections by the one serve as well as those by the other.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.authority == other.authority
    }
}

/// Where the leading gateway is, which takes publications and gives the View.
#[derive(Debug, Clone)]
pub struct LeaderLink {
    /// Its name, which is its node's.
    pub gateway: GatewayName,
    /// `HOST:PORT` of its local service.
    pub address: String,
    /// What to call it with.
    pub identity: Identity,
}

impl LeaderLink {
    /// Whether connections to the one serve as well as those to the other.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.gateway == other.gateway
            && self.address == other.address
            && self.identity.is_same(&other.identity)
    }
}
