//! Pure: what one cluster tells another about itself at pairing. It speaks for that cluster and no other.

use causeway_proto::limits::GATEWAYS_PER_CLUSTER;
use causeway_proto::model::{ClusterId, ClusterSet, Digest, Succession, Timestamp, TrustBundle};

use crate::catalog_key::{CatalogVerifier, NotCatalogKey, signed_across};
use crate::cert::{authority_of, fingerprint, public_key, validity};
use crate::name::NameError;

/// CA certificates of one cluster: two while one is rolled over.
pub const AUTHORITIES: usize = 2;
/// One certificate: ours are under 700 bytes.
pub const CERTIFICATE_BYTES: usize = 4096;
/// `HOST:PORT`: a DNS name and five digits.
pub const GATEWAY_BYTES: usize = 253 + 6;

/// A bundle that is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Too few or too many.
    #[error("{cluster}: {count} CA certificates; 1 or 2 are expected")]
    Authorities {
        /// Whose.
        cluster: ClusterId,
        /// How many.
        count: usize,
    },
    /// A CA for another cluster.
    #[error("the CA certificate offered for {cluster} is that of {named}")]
    SpeaksForAnother {
        /// Whose bundle.
        cluster: ClusterId,
        /// Whom the certificate names.
        named: ClusterId,
    },
    /// Not a CA certificate of this clusterset.
    #[error("the CA certificate of {cluster}: {source}")]
    Authority {
        /// Whose.
        cluster: ClusterId,
        /// Why.
        source: NameError,
    },
    /// Not valid at this time.
    #[error("the CA certificate of {0} does not hold at this time; compare both clusters' clocks")]
    Time(ClusterId),
    /// A catalog key that the CA does not vouch for.
    #[error("the catalog key of {cluster}: {source}")]
    CatalogKey {
        /// Whose.
        cluster: ClusterId,
        /// Why.
        source: NotCatalogKey,
    },
    /// A CA that does not follow from the one before it.
    #[error("the CA certificate of {0} did not come from the former one, which is shown with it")]
    Succession(ClusterId),
    /// Gateways that cannot be dialled.
    #[error("{cluster}: gateway {gateway:?} is not HOST:PORT")]
    Gateway {
        /// Whose.
        cluster: ClusterId,
        /// Which.
        gateway: String,
    },
    /// More than a cluster has.
    #[error("{cluster}: {count} gateways; at most 8 are taken")]
    Gateways {
        /// Whose.
        cluster: ClusterId,
        /// How many.
        count: usize,
    },
}

/// Is every part of it what it must be?
///
/// # Errors
/// The first thing that is not.
pub fn check(
    bundle: &TrustBundle,
    cluster_set: &ClusterSet,
    now: Timestamp,
) -> Result<(), BundleError> {
    let cluster = || bundle.cluster.clone();
    let count = bundle.authorities.len();
    if count == 0 || count > AUTHORITIES {
        return Err(BundleError::Authorities {
            cluster: cluster(),
            count,
        });
    }
    for authority in &bundle.authorities {
        let wrong = |source| BundleError::Authority {
            cluster: cluster(),
            source,
        };
        if authority.len() > CERTIFICATE_BYTES {
            return Err(wrong(NameError::NotACertificate));
        }
        let named = authority_of(authority, cluster_set).map_err(wrong)?;
        if named != bundle.cluster {
            return Err(BundleError::SpeaksForAnother {
                cluster: cluster(),
                named,
            });
        }
        if !validity(authority).map_err(wrong)?.holds(now) {
            return Err(BundleError::Time(cluster()));
        }
    }
    CatalogVerifier::new(bundle, cluster_set).map_err(|source| BundleError::CatalogKey {
        cluster: cluster(),
        source,
    })?;
    if !is_succession_proven(bundle, cluster_set) {
        return Err(BundleError::Succession(cluster()));
    }
    let count = bundle.gateways.len();
    if count > GATEWAYS_PER_CLUSTER {
        return Err(BundleError::Gateways {
            cluster: cluster(),
            count,
        });
    }
    match bundle
        .gateways
        .iter()
        .find(|gateway| !is_host_port(gateway))
    {
        Some(gateway) => Err(BundleError::Gateway {
            cluster: cluster(),
            gateway: gateway.chars().take(GATEWAY_BYTES).collect(),
        }),
        None => Ok(()),
    }
}

/// Of a first CA there is nothing to prove. Of another one: the former signed the cross certificate, whose key is that of
/// the present CA; and a second CA that is taken beside it is that former one.
fn is_succession_proven(bundle: &TrustBundle, cluster_set: &ClusterSet) -> bool {
    let Some(succession) = &bundle.succession else {
        return bundle.authorities.len() == 1;
    };
    let Succession { former, cross } = succession;
    let named = |der: &[u8]| {
        der.len() <= CERTIFICATE_BYTES
            && authority_of(der, cluster_set).as_ref() == Ok(&bundle.cluster)
    };
    let Some((present, others)) = bundle.authorities.split_first() else {
        return false;
    };
    let same_key = public_key(cross).is_ok_and(|key| public_key(present) == Ok(key));
    let same_former = others.iter().all(|other| other == former);
    named(former) && named(cross) && same_key && same_former && signed_across(bundle, succession)
}

/// Whether a body's CA is the same one in both, or the one followed from the other as `said` proves. `said` has been
/// [`check`]ed.
#[must_use]
pub fn follows(said: &TrustBundle, known: &TrustBundle) -> bool {
    let Some(ca) = known.authorities.first() else {
        return false;
    };
    let former = said.succession.as_ref().map(|s| &s.former);
    said.authorities.first() == Some(ca) || former == Some(ca)
}

/// Whether a CA of that digest speaks for the cluster, or spoke for it before it was rolled over.
#[must_use]
pub fn is_of(bundle: &TrustBundle, ca: Digest) -> bool {
    let former = bundle.succession.iter().map(|s| &s.former);
    let mut all = bundle.authorities.iter().chain(former);
    all.any(|der| fingerprint(der) == ca)
}

/// `HOST:PORT`, `1.2.3.4:PORT` or `[ADDRESS]:PORT`.
pub(crate) fn is_host_port(text: &str) -> bool {
    if text.parse::<std::net::SocketAddr>().is_ok() {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_ok = !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    text.len() <= GATEWAY_BYTES && host_ok && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// The digest of a cluster's present CA, by which it is pinned, compared and revoked.
#[must_use]
pub fn authority_digest(bundle: &TrustBundle) -> Option<Digest> {
    bundle.authorities.first().map(|der| fingerprint(der))
}

/// A digest of everything in it, whatever form it travelled in: what both sides of a pairing prove.
#[must_use]
pub fn digest(bundle: &TrustBundle) -> Digest {
    let mut bytes = b"causeway bundle v1\0".to_vec();
    let mut field = |content: &[u8]| {
        bytes.extend((content.len() as u64).to_be_bytes());
        bytes.extend(content);
    };
    field(bundle.cluster.as_str().as_bytes());
    field(&(bundle.authorities.len() as u64).to_be_bytes());
    for authority in &bundle.authorities {
        field(authority);
    }
    field(&bundle.catalog_key);
    if let Some(succession) = &bundle.succession {
        field(&succession.former);
        field(&succession.cross);
    }
    for gateway in &bundle.gateways {
        field(gateway.as_bytes());
    }
    fingerprint(&bytes)
}

#[cfg(test)]
mod tests;
