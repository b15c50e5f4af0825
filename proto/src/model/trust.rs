//! Pure: who is trusted for which cluster, who is cut off, and which tokens are burnt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ClusterId, Digest, Revocation, Timestamp};

/// What a pairing exchanges and an introduction tells: speaks for `cluster` and for no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustBundle {
    /// Whose.
    pub cluster: ClusterId,
    /// CA certificates in DER, the newest first (two while one is rolled over).
    pub authorities: Vec<Vec<u8>>,
    /// Certificate of the catalog key, DER, issued by one of them.
    pub catalog_key: Vec<u8>,
    /// Where its gateways take sessions, `HOST:PORT`.
    pub gateways: Vec<String>,
    /// How its CA came after another one; `None`: it is its first.
    #[serde(default)]
    pub succession: Option<Succession>,
}

/// The CA before the present one, and its word for it: whoever trusts the former may trust the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// The former CA, self-signed, DER.
    pub former: Vec<u8>,
    /// Name and key of the present one, signed by the former, DER.
    pub cross: Vec<u8>,
}

/// Shared by the gateways of a cluster; the leader writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TrustState {
    /// Counts changes.
    pub version: u64,
    /// Peers' bundles.
    pub bundles: BTreeMap<ClusterId, TrustBundle>,
    /// Cut off for good.
    pub revocations: BTreeMap<ClusterId, Revocation>,
    /// Ids of tokens that were redeemed, until they would have expired.
    pub burnt: BTreeMap<Digest, Timestamp>,
    /// Tokens that this cluster has issued and nobody has redeemed.
    pub tokens: BTreeMap<Digest, IssuedToken>,
    /// Enrolments issued and not used: (digest of the secret) to the name and expiry.
    pub enrolments: BTreeMap<Digest, IssuedEnrolment>,
    /// Peers of `bundles` that no token paired, and the one that vouches for each.
    #[serde(default)]
    pub introduced: BTreeMap<ClusterId, ClusterId>,
    /// Clusters of which leave was taken, from either side: a token alone brings them back.
    #[serde(default)]
    pub parted: BTreeSet<ClusterId>,
    /// Serial numbers of our own leaves that were withdrawn.
    pub withdrawn: BTreeSet<Vec<u8>>,
}

/// A join token as its issuer keeps it: the secret itself is not kept, its key is, which no `Debug` shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// Key for the proof, derived from the secret.
    pub key: [u8; 32],
    /// When it expires.
    pub expires: Timestamp,
    /// The only cluster that may redeem it, if limited.
    pub for_cluster: Option<ClusterId>,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("expires", &self.expires)
            .field("for_cluster", &self.for_cluster)
            .finish_non_exhaustive()
    }
}

/// A one-time enrolment of one of our own processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedEnrolment {
    /// `agent/w1`, `gateway/w2`, `controller/main`, `operator/ann`.
    pub role: String,
    /// When it expires.
    pub expires: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Enrolment;

    #[test]
    fn debug_shows_no_secret() {
        let token = IssuedToken {
            key: [171; 32],
            expires: Timestamp(7),
            for_cluster: None,
        };
        let enrolment = Enrolment {
            id: Digest([1; 32]),
            secret: vec![171; 32],
            csr: Vec::new(),
        };
        let state = TrustState {
            tokens: BTreeMap::from([(Digest([2; 32]), token)]),
            ..TrustState::default()
        };
        let text = format!("{state:?} {enrolment:?}");
        assert!(text.contains("IssuedToken") && text.contains("Enrolment"));
        assert!(!text.contains("171") && !text.contains("abab"), "{text}");
    }
}
