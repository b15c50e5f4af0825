//! Pure: the join token, and the proofs that its secret gives over one TLS connection.
//!
//! The text is `cwj1_` and base64url of a short binary form with four bytes of its SHA-256 behind it. The checksum finds
//! copying mistakes and gives them a clear error; what protects is the pin and the secret.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use causeway_proto::limits::GATEWAYS_PER_CLUSTER;
use causeway_proto::model::{ClusterId, ClusterSet, Digest, InvalidName, IssuedToken, Timestamp};
use zeroize::Zeroizing;

use crate::Secret;
use crate::bundle::is_host_port;
use crate::cert::fingerprint;

const FAMILY: &str = "cwj";
const PREFIX: &str = "cwj1_";
const CHECKSUM: usize = 4;
/// Longest text that is looked at: eight gateways with long names, and the rest.
const TOKEN_BYTES: usize = 8192;

/// Life of a token unless told otherwise.
pub const DEFAULT_TTL_MS: u64 = 15 * 60 * 1000;
/// Longest life: a day, since whoever holds it may join.
pub const MAX_TTL_MS: u64 = 24 * 3600 * 1000;

/// The single-use right to pair with the cluster that issued it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Where the issuer's gateways take joins, `HOST:PORT`.
    pub gateways: Vec<String>,
    /// The clusterset that is joined.
    pub cluster_set: ClusterSet,
    /// Who issued it.
    pub issuer: ClusterId,
    /// Digest of the issuer's CA certificate: what authenticates the server.
    pub pin: Digest,
    /// What authenticates the joiner.
    pub secret: Secret,
    /// When it expires, by the issuer's clock.
    pub expires: Timestamp,
    /// The only cluster that may redeem it, if limited.
    pub for_cluster: Option<ClusterId>,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("issuer", &self.issuer.as_str())
            .field("cluster_set", &self.cluster_set.as_str())
            .field("gateways", &self.gateways)
            .field("expires", &self.expires)
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

/// A token that cannot be used, in words for whoever typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else.
    #[error(
        "this is not a join token: those begin with cwj1_ and are printed by `causeway token create`"
    )]
    NotAToken,
    /// From a later version.
    #[error(
        "this join token is of a newer format; upgrade this cluster to the version that printed it"
    )]
    Newer,
    /// Characters missing, added or changed.
    #[error(
        "the join token is damaged, perhaps cut off or altered when it was copied; copy it whole, on one line"
    )]
    Damaged,
    /// The checksum fits, and still a field is not valid.
    #[error("the join token holds a name that is not valid: {0}")]
    Name(#[from] InvalidName),
    /// Too late.
    #[error(
        "the join token expired {ago_secs} s ago by this cluster's clock; create another on {issuer} with `causeway token create`"
    )]
    Expired {
        /// Who can make another.
        issuer: ClusterId,
        /// How long ago.
        ago_secs: u64,
    },
    /// Of another clusterset.
    #[error("the join token is for clusterset {token}, and this cluster is configured for {own}")]
    OtherClusterSet {
        /// The token's.
        token: ClusterSet,
        /// Ours.
        own: ClusterSet,
    },
    /// For another cluster.
    #[error("the join token is for cluster {token}, and this is {own}")]
    OtherCluster {
        /// The token's.
        token: ClusterId,
        /// Ours.
        own: ClusterId,
    },
    /// Issued by a cluster of our own name.
    #[error(
        "the join token was issued by {0}, which is this cluster's own id; a cluster joins another one, and ids are unique in a clusterset"
    )]
    OwnCluster(ClusterId),
}

struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    fn text(&mut self, text: &str) {
        // Bounded by the types: names are under 256 bytes, gateways are checked.
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.bytes().take(usize::from(u8::MAX)));
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], TokenError> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(TokenError::Damaged)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        self.take(N)?.try_into().map_err(|_| TokenError::Damaged)
    }

    fn byte(&mut self) -> Result<u8, TokenError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn text(&mut self) -> Result<&'a str, TokenError> {
        let n = self.byte()?;
        std::str::from_utf8(self.take(n.into())?).map_err(|_| TokenError::Damaged)
    }
}

impl JoinToken {
    /// As one printable string, which a double click selects whole.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<String> {
        let mut out = Writer(Zeroizing::new(Vec::with_capacity(1024)));
        let gateways = self.gateways.iter().filter(|g| is_gateway(g));
        let gateways: Vec<_> = gateways.take(GATEWAYS_PER_CLUSTER).collect();
        out.0.push(u8::try_from(gateways.len()).unwrap_or(0));
        for gateway in gateways {
            out.text(gateway);
        }
        out.text(self.cluster_set.as_str());
        out.text(self.issuer.as_str());
        out.text(self.for_cluster.as_ref().map_or("", ClusterId::as_str));
        out.0.extend(self.pin.0);
        out.0.extend(self.secret.expose());
        out.0.extend(self.expires.0.to_be_bytes());
        let sum = fingerprint(&out.0).0;
        out.0.extend(sum.iter().take(CHECKSUM));
        Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&*out.0)))
    }

    /// Reads what [`encode`](Self::encode) printed; white space around it is let pass.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let body = match text.strip_prefix(PREFIX) {
            Some(body) if text.len() <= TOKEN_BYTES => body,
            Some(_) => return Err(TokenError::Damaged),
            None => return Err(other_prefix(text)),
        };
        let bytes = Zeroizing::new(
            URL_SAFE_NO_PAD
                .decode(body)
                .map_err(|_| TokenError::Damaged)?,
        );
        let split = bytes.len().saturating_sub(CHECKSUM);
        let (content, sum) = bytes.split_at_checked(split).ok_or(TokenError::Damaged)?;
        if fingerprint(content).0.get(..CHECKSUM) != Some(sum) {
            return Err(TokenError::Damaged);
        }
        let mut input = Reader(content);
        let count = usize::from(input.byte()?);
        if count > GATEWAYS_PER_CLUSTER {
            return Err(TokenError::Damaged);
        }
        let gateways = (0..count)
            .map(|_| input.text().map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()?;
        let token = Self {
            gateways,
            cluster_set: input.text()?.parse()?,
            issuer: input.text()?.parse()?,
            for_cluster: match input.text()? {
                "" => None,
                name => Some(name.parse()?),
            },
            pin: Digest(input.array()?),
            secret: Secret::new(input.array()?),
            expires: Timestamp(u64::from_be_bytes(input.array()?)),
        };
        if !input.0.is_empty() || !token.gateways.iter().all(|g| is_gateway(g)) {
            return Err(TokenError::Damaged);
        }
        Ok(token)
    }

    /// May we, `own` in `own_set`, try to redeem it now? The issuer decides again.
    ///
    /// # Errors
    /// When there is no point in asking.
    pub fn verify(
        &self,
        own: &ClusterId,
        own_set: &ClusterSet,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        if self.cluster_set != *own_set {
            return Err(TokenError::OtherClusterSet {
                token: self.cluster_set.clone(),
                own: own_set.clone(),
            });
        }
        if self.issuer == *own {
            return Err(TokenError::OwnCluster(own.clone()));
        }
        if let Some(token) = self.for_cluster.as_ref().filter(|c| *c != own) {
            return Err(TokenError::OtherCluster {
                token: token.clone(),
                own: own.clone(),
            });
        }
        if now >= self.expires {
            return Err(TokenError::Expired {
                issuer: self.issuer.clone(),
                ago_secs: now.since(self.expires) / 1000,
            });
        }
        Ok(())
    }

    /// What the issuer keeps, under [`id`]: the secret cannot be had from it.
    #[must_use]
    pub fn issued(&self) -> IssuedToken {
        IssuedToken {
            key: *proof_key(&self.secret).expose(),
            expires: self.expires,
            for_cluster: self.for_cluster.clone(),
        }
    }
}

fn is_gateway(text: &str) -> bool {
    text.len() <= usize::from(u8::MAX) && is_host_port(text)
}

fn other_prefix(text: &str) -> TokenError {
    let version = text
        .strip_prefix(FAMILY)
        .and_then(|rest| rest.split_once('_'))
        .and_then(|(version, _)| version.parse::<u16>().ok());
    match version {
        Some(version) if version > 1 => TokenError::Newer,
        _ => TokenError::NotAToken,
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// The name under which issuer and joiner speak of a secret without showing it.
#[must_use]
pub fn id(secret: &Secret) -> Digest {
    Digest(mac(secret.expose(), &[b"causeway one-time id v1"]))
}

/// The key of both proofs.
#[must_use]
pub fn proof_key(secret: &Secret) -> Secret {
    Secret::new(mac(secret.expose(), &[b"causeway join proof key v1"]))
}

/// Which side proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The cluster that redeems.
    Joiner,
    /// The cluster that issued.
    Issuer,
}

/// Proves knowledge of the secret on this very connection and for these very bundles. The joiner does not know the
/// issuer's bundle yet and puts the digest of its CA, the pin, in its place.
#[must_use]
pub fn proof(
    key: &Secret,
    side: Side,
    exporter: &[u8],
    joiner: Digest,
    issuer: Digest,
) -> [u8; 32] {
    let label: &[u8] = match side {
        Side::Joiner => b"causeway join joiner v1",
        Side::Issuer => b"causeway join issuer v1",
    };
    mac(key.expose(), &[label, exporter, &joiner.0, &issuer.0])
}

/// Is this the proof? In constant time.
#[must_use]
pub fn proof_holds(
    key: &Secret,
    side: Side,
    exporter: &[u8],
    joiner: Digest,
    issuer: Digest,
    given: &[u8],
) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(
        &proof(key, side, exporter, joiner, issuer),
        given,
    )
    .is_ok()
}

#[cfg(test)]
mod tests;
