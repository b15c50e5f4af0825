//! Pure: PEM text of certificates and keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

const LINE: usize = 64;

/// One PEM section.
fn section(label: &str, der: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut out = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// A certificate as text.
pub(crate) fn certificate(der: &[u8]) -> String {
    section("CERTIFICATE", der).to_string()
}

/// A key as text.
pub(crate) fn key(key: &PrivateKeyDer<'_>) -> Zeroizing<String> {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    section(label, key.secret_der())
}

/// A key and the certificates that go with it, the key's own first.
pub(crate) fn key_and_chain(key: &[u8], chain: &[CertificateDer<'_>]) -> Zeroizing<String> {
    let mut out = section("PRIVATE KEY", key);
    for certificate in chain {
        out.push_str(&section("CERTIFICATE", certificate));
    }
    out
}

/// All certificates in a text, in order; at least one.
pub(crate) fn parse_certificates(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .ok()?;
    (!chain.is_empty()).then_some(chain)
}

/// A text that [`key_and_chain`] made.
pub(crate) fn parse_key_and_chain(
    text: &str,
) -> Option<(PrivatePkcs8KeyDer<'static>, Vec<CertificateDer<'static>>)> {
    Some((parse_key(text)?, parse_certificates(text)?))
}

/// A text that [`key`] made.
pub(crate) fn parse_key(text: &str) -> Option<PrivatePkcs8KeyDer<'static>> {
    match PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()? {
        PrivateKeyDer::Pkcs8(key) => Some(key),
        _ => None,
    }
}
