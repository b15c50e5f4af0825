//! Pure: what stands for certificates and signatures.

use causeway_gateway::catalog::{Keys, sha256};
use causeway_proto::model::{ClusterId, Timestamp, TrustBundle};

/// Signatures that only the holder of a cluster's secret can make, as far as this simulation goes.
#[derive(Debug, Clone)]
pub struct SimKeys {
    /// The own cluster's; a follower has it to check with only.
    pub secret: Vec<u8>,
    /// Whether it may sign.
    pub signs: bool,
}

/// A cluster's secret, which stands for its certificate, too.
#[must_use]
pub fn secret(cluster: &ClusterId) -> Vec<u8> {
    sha256(&[b"secret of ", cluster.as_str().as_bytes()])
        .0
        .to_vec()
}

impl Keys for SimKeys {
    fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.signs
            .then(|| sha256(&[&self.secret, bytes]).0.to_vec())
    }

    fn verify(&self, bundle: Option<&TrustBundle>, bytes: &[u8], signature: &[u8]) -> bool {
        let key = bundle.map_or(&self.secret, |b| &b.catalog_key);
        sha256(&[key, bytes]).0.as_slice() == signature
    }

    fn admits(&self, bundle: &TrustBundle, _: Timestamp) -> Result<(), String> {
        if bundle.catalog_key == secret(&bundle.cluster) {
            return Ok(());
        }
        Err("not the cluster's own".to_owned())
    }
}

/// What stands for a cluster's certificates.
#[must_use]
pub fn bundle(cluster: &ClusterId) -> TrustBundle {
    TrustBundle {
        cluster: cluster.clone(),
        authorities: vec![b"ca".to_vec()],
        catalog_key: secret(cluster),
        gateways: Vec::new(),
        succession: None,
    }
}
