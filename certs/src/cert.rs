//! Pure: what a certificate says of its holder. Reading is not believing: see [`crate::trust`].

use causeway_proto::model::{ClusterId, ClusterSet, Digest, Timestamp};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::grant::Validity;
use crate::name::{NameError, PeerName, cluster_of};

/// SHA-256 of a certificate, or of anything else.
#[must_use]
pub fn fingerprint(der: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref());
    Digest(out)
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, NameError> {
    match X509Certificate::from_der(der) {
        Ok((&[], certificate)) => Ok(certificate),
        _ => Err(NameError::NotACertificate),
    }
}

/// The one URI that a certificate of ours holds.
fn one_uri<'a>(certificate: &X509Certificate<'a>) -> Result<&'a str, NameError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| NameError::NotACertificate)?
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    match names {
        [GeneralName::URI(uri)] => Ok(uri),
        _ => Err(NameError::NotOneUri(names.len())),
    }
}

/// The name in a leaf or a catalog key's certificate.
///
/// # Errors
/// When it is not a certificate, or holds no name of this clusterset, or more than one.
pub fn peer_name(
    certificate: &CertificateDer<'_>,
    cluster_set: &ClusterSet,
) -> Result<PeerName, NameError> {
    PeerName::parse(one_uri(&parse(certificate)?)?, cluster_set)
}

/// The cluster that a CA certificate claims to be the CA of.
///
/// # Errors
/// When it is not a CA certificate with the bare trust domain as its name.
pub fn authority_of(der: &[u8], cluster_set: &ClusterSet) -> Result<ClusterId, NameError> {
    let certificate = parse(der)?;
    let uri = one_uri(&certificate)?;
    let domain = uri
        .strip_prefix("spiffe://")
        .filter(|domain| certificate.is_ca() && !domain.contains('/'))
        .ok_or_else(|| NameError::Form(uri.to_owned()))?;
    cluster_of(domain, cluster_set)
}

/// From when to when a certificate holds.
///
/// # Errors
/// When it is not a certificate.
pub fn validity(der: &[u8]) -> Result<Validity, NameError> {
    let certificate = parse(der)?;
    let ms = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    Ok(Validity {
        not_before: ms(certificate.validity().not_before.timestamp()),
        not_after: ms(certificate.validity().not_after.timestamp()),
    })
}

/// A certificate's serial number.
///
/// # Errors
/// When it is not a certificate.
pub fn serial(der: &[u8]) -> Result<Vec<u8>, NameError> {
    Ok(parse(der)?.raw_serial().to_vec())
}

/// The public key of a certificate, as the algorithm stores it (an uncompressed point for P-256).
pub(crate) fn public_key(der: &[u8]) -> Result<Vec<u8>, NameError> {
    Ok(parse(der)?.public_key().subject_public_key.data.to_vec())
}

/// The issuer's name, DER.
pub(crate) fn issuer(der: &[u8]) -> Result<Vec<u8>, NameError> {
    Ok(parse(der)?.issuer().as_raw().to_vec())
}
