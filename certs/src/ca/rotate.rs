//! Shell: a CA that takes over from another one. The former signs the key of the present one, so whoever trusts the former
//! alone still takes the present one's leaves; for a day and an hour both are trusted, until no leaf of the former is left.
//!
//! The catalog key stays: proofs live for years, and who was away meanwhile must still know the catalog. Its certificate is
//! issued anew. So this is against age, and not against a thief: he has the catalog key too, and what the stolen CA signs
//! proves nothing.

use causeway_proto::model::{ClusterId, ClusterSet, Timestamp};
use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::{
    Authority, CaError, Leaf, authority_params, certify_catalog_key, issuer, new_authority,
};
use crate::cert::validity;
use crate::grant::{AUTHORITY_MS, BACKDATE_MS, LEAF_MS, Validity};

/// How long both are trusted: the life of a leaf, and an hour for whoever hears of it late.
const OVERLAP_MS: u64 = LEAF_MS + 3600 * 1000;
/// Another one takes over when this is left of the life: two years.
const DUE_MS: u64 = AUTHORITY_MS / 5;

/// A new certificate for the catalog key.
pub(super) fn recertified(
    key: &[u8],
    issuer: &Issuer<'static, KeyPair>,
    cluster: &ClusterId,
    cluster_set: &ClusterSet,
    now: Timestamp,
) -> Result<Leaf, CaError> {
    let key = PrivatePkcs8KeyDer::from(key);
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
    certify_catalog_key(key, cluster, cluster_set, issuer, now)
}

impl Authority {
    /// Takes over from this one.
    ///
    /// # Errors
    /// While this one's own takeover is not over, or there is no randomness.
    pub fn rotate(&self, now: Timestamp) -> Result<Self, CaError> {
        if let Some(until) = self.overlap().filter(|until| now < *until) {
            return Err(CaError::Overlap(until.since(now).div_ceil(60_000)));
        }
        let (cluster, set) = (&self.cluster, &self.cluster_set);
        let mut ca = new_authority(cluster, set, now)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&ca.key, &PKCS_ECDSA_P256_SHA256)?;
        // No longer than the CA that signs it.
        let window = Validity {
            not_after: validity(&self.certificate)?.not_after,
            ..Validity::starting(now, 0)
        };
        let cross = authority_params(cluster, set, window, 0)?.signed_by(&key, &self.issuer)?;
        ca.chain.push(cross.der().clone());
        ca.chain.push(self.certificate.clone());
        let catalog = &self.material.catalog_key;
        let catalog = recertified(catalog, &issuer(&ca)?, cluster, set, now)?;
        Self::from_leaves(&ca, &catalog, cluster, set, now)
    }

    /// Whether it is old enough that another one should take over by itself.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        let over = self.overlap().is_none_or(|until| until <= now);
        let ends = validity(&self.certificate).map(|window| window.not_after);
        over && ends.is_ok_and(|ends| ends.since(now) < DUE_MS)
    }

    /// Until when the CA before it is trusted too; `None`: it is the first.
    #[must_use]
    pub fn overlap(&self) -> Option<Timestamp> {
        let succession = self.material.succession.as_ref()?;
        let from = validity(&succession.cross).ok()?.not_before;
        Some(Timestamp(from.0 + BACKDATE_MS + OVERLAP_MS))
    }

    /// The CA certificates that this cluster trusts now, the present one first.
    #[must_use]
    pub fn certificates(&self, now: Timestamp) -> Vec<Vec<u8>> {
        let mut certificates = vec![self.certificate.to_vec()];
        let former = self.material.succession.as_ref().map(|s| &s.former);
        if let Some(former) = former
            && self.overlap().is_some_and(|until| now < until)
            && validity(former).is_ok_and(|window| window.holds(now))
        {
            certificates.push(former.clone());
        }
        certificates
    }

    /// The former CA's word for this one, as long as it holds.
    pub(super) fn cross(&self, now: Timestamp) -> Option<&[u8]> {
        let cross = &self.material.succession.as_ref()?.cross;
        let holds = validity(cross).is_ok_and(|window| window.holds(now));
        holds.then_some(cross)
    }
}

#[cfg(test)]
mod tests;
