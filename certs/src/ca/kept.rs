//! Shell: the CA in private files of the leader, and as PEM in the fields of a Secret.

use std::path::Path;

use causeway_proto::model::{AuthorityMaterial, ClusterId, ClusterSet, Succession, Timestamp};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::rotate::recertified;
use super::{Authority, CaError, Leaf, issuer, new_authority, new_catalog_key};
use crate::catalog_key::issued_under;
use crate::files::{private_dir, remove_private, write_private};
use crate::pem;

const CA_FILE: &str = "ca.pem";
const CATALOG_FILE: &str = "catalog.pem";

/// Fields of a Secret, each PEM. The last is there once the CA has taken over from another one.
const FIELDS: [&str; 4] = ["ca.crt", "ca.key", "catalog.crt", "catalog.key"];
const FORMER: &str = "former.crt";

/// The material as fields of a Secret: `ca.crt`, `ca.key`, `catalog.crt`, `catalog.key`; and `former.crt`, the CA before it
/// and its cross certificate, if there was one.
#[must_use]
pub fn to_fields(material: &AuthorityMaterial) -> Vec<(&'static str, Zeroizing<String>)> {
    let [ca, ca_key, catalog, catalog_key] = FIELDS;
    let certificate = |der: &[u8]| Zeroizing::new(pem::certificate(der));
    let key = |der: &[u8]| pem::key(&PrivatePkcs8KeyDer::from(der).into());
    let mut fields = vec![
        (ca, certificate(&material.certificate)),
        (ca_key, key(&material.key)),
        (catalog, certificate(&material.catalog_certificate)),
        (catalog_key, key(&material.catalog_key)),
    ];
    fields.extend(material.succession.as_ref().map(|succession| {
        let both = [&succession.former, &succession.cross];
        let both: String = both.map(|der| pem::certificate(der)).concat();
        (FORMER, Zeroizing::new(both))
    }));
    fields
}

/// Reads what [`to_fields`] made; `field` gives the bytes of one of them.
///
/// # Errors
/// When one is absent or is something else.
pub fn from_fields<'a>(
    field: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<AuthorityMaterial, CaError> {
    let text = |name: &'static str| {
        let text = field(name).and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.ok_or(CaError::Field(name))
    };
    let certificate = |name| {
        let chain = pem::parse_certificates(text(name)?);
        let first = chain.and_then(|chain| chain.first().map(|der| der.to_vec()));
        first.ok_or(CaError::Field(name))
    };
    let key = |name| {
        let key = pem::parse_key(text(name)?).ok_or(CaError::Field(name))?;
        Ok::<_, CaError>(key.secret_pkcs8_der().to_vec())
    };
    let succession = match field(FORMER) {
        None => None,
        Some(_) => match pem::parse_certificates(text(FORMER)?).as_deref() {
            Some([former, cross]) => Some(Succession {
                former: former.to_vec(),
                cross: cross.to_vec(),
            }),
            _ => return Err(CaError::Field(FORMER)),
        },
    };
    let [ca, ca_key, catalog, catalog_key] = FIELDS;
    Ok(AuthorityMaterial {
        certificate: certificate(ca)?,
        key: key(ca_key)?,
        catalog_certificate: certificate(catalog)?,
        catalog_key: key(catalog_key)?,
        succession,
    })
}

/// Whether the former CA stands for the catalog key, and the present one does not yet.
fn is_left_behind(catalog: &Leaf, ca: &Leaf) -> bool {
    let ([present, _, former], [catalog]) = (&*ca.chain, &*catalog.chain) else {
        return false;
    };
    let issued = |by: &CertificateDer<'_>| issued_under(catalog, &[by.to_vec()], &[]).is_ok();
    !issued(present) && issued(former)
}

impl Authority {
    /// Loads it from the directory, or makes it there at the first start.
    ///
    /// # Errors
    /// When files cannot be used, or belong to another cluster.
    pub fn open(
        dir: &Path,
        cluster: &ClusterId,
        cluster_set: &ClusterSet,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        private_dir(dir)?;
        let ca_path = dir.join(CA_FILE);
        let ca = match Leaf::read(&ca_path)? {
            Some(ca) => ca,
            None => {
                let ca = new_authority(cluster, cluster_set, now)?;
                ca.write(&ca_path)?;
                ca
            }
        };
        let catalog_path = dir.join(CATALOG_FILE);
        let catalog = match Leaf::read(&catalog_path)? {
            // The CA took over from another one, and the process ended before the next line was written.
            Some(catalog) if is_left_behind(&catalog, &ca) => {
                let key = catalog.key.secret_pkcs8_der();
                let catalog = recertified(key, &issuer(&ca)?, cluster, cluster_set, now)?;
                catalog.write(&catalog_path)?;
                catalog
            }
            Some(catalog) => catalog,
            None => {
                let catalog = new_catalog_key(cluster, cluster_set, &issuer(&ca)?, now)?;
                catalog.write(&catalog_path)?;
                catalog
            }
        };
        Self::from_files(&ca, &catalog, dir, cluster, cluster_set, now)
    }

    /// Loads it from the directory; `None` when it is not there, or not all of it.
    ///
    /// # Errors
    /// When files cannot be used, or belong to another cluster.
    pub fn load(
        dir: &Path,
        cluster: &ClusterId,
        cluster_set: &ClusterSet,
        now: Timestamp,
    ) -> Result<Option<Self>, CaError> {
        let ca = Leaf::read(&dir.join(CA_FILE))?;
        let catalog = Leaf::read(&dir.join(CATALOG_FILE))?;
        let (Some(ca), Some(catalog)) = (ca, catalog) else {
            return Ok(None);
        };
        Self::from_files(&ca, &catalog, dir, cluster, cluster_set, now).map(Some)
    }

    /// Writes it into the directory, in place of any other.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, dir: &Path) -> Result<(), CaError> {
        private_dir(dir)?;
        // A crash in between leaves one half: it is no authority then, and is written again.
        Self::remove(dir)?;
        self.write_catalog(dir)?;
        self.write_ca(dir)
    }

    /// Writes the one that takes over from the one in the directory. A crash in between leaves the former's word for the
    /// catalog key, which [`open`](Self::open) replaces.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write_over(&self, dir: &Path) -> Result<(), CaError> {
        self.write_ca(dir)?;
        self.write_catalog(dir)
    }

    pub(super) fn write_ca(&self, dir: &Path) -> Result<(), CaError> {
        let m = &self.material;
        let before = m.succession.iter().flat_map(|s| [&s.cross, &s.former]);
        let chain = std::iter::once(&m.certificate).chain(before);
        let chain: Vec<_> = chain
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let text = pem::key_and_chain(&m.key, &chain);
        Ok(write_private(&dir.join(CA_FILE), text.as_bytes())?)
    }

    fn write_catalog(&self, dir: &Path) -> Result<(), CaError> {
        let m = &self.material;
        let certificate = CertificateDer::from(m.catalog_certificate.as_slice());
        let text = pem::key_and_chain(&m.catalog_key, &[certificate]);
        Ok(write_private(&dir.join(CATALOG_FILE), text.as_bytes())?)
    }

    /// Removes it from the directory, if it is there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(dir: &Path) -> Result<(), CaError> {
        remove_private(&dir.join(CA_FILE))?;
        Ok(remove_private(&dir.join(CATALOG_FILE))?)
    }

    fn from_files(
        ca: &Leaf,
        catalog: &Leaf,
        dir: &Path,
        cluster: &ClusterId,
        cluster_set: &ClusterSet,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let path = dir.join(CA_FILE);
        Self::from_leaves(ca, catalog, cluster, cluster_set, now).map_err(|e| match e {
            CaError::Material(_) => CaError::Content { path },
            CaError::OtherAuthority { found, expected } => CaError::OtherCluster {
                path,
                found,
                expected,
            },
            other => other,
        })
    }
}
