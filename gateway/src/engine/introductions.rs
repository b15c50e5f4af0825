//! Pure: members that peers vouch for, and those that this cluster vouches for.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits::INTRODUCTIONS;
use causeway_proto::model::{ClusterId, Digest, Problem, TrustBundle};

use super::Gateway;
use crate::catalog::PeerCatalog;
use crate::introduce::{Said, heard, paired};
use crate::now::Now;

/// What was last decided of introductions.
#[derive(Debug, Clone, Default)]
pub(super) struct Vouched {
    /// It is decided anew only when this is another.
    from: Option<From>,
    problems: Vec<Problem>,
}

/// What decides.
#[derive(Debug, Clone, PartialEq, Eq)]
struct From {
    /// Version of the trust state.
    trust: u64,
    /// The setting.
    only: Option<BTreeSet<ClusterId>>,
    /// What each peer says.
    said: Vec<Option<Digest>>,
}

impl Gateway {
    /// They come and go with what peers say.
    pub(super) fn take_introductions(&mut self, now: Now) {
        let peers = self.catalog.peers();
        let said = peers.values().map(PeerCatalog::cluster_digest);
        let from = Some(From {
            trust: self.trust.version,
            only: self.settings.shared.introduced.clone(),
            said: said.collect(),
        });
        if self.vouched.from != from {
            let check = |bundle: &TrustBundle| self.keys.admits(bundle, now.wall);
            let parts = peers.iter();
            let said = Said {
                own: &self.settings.cluster,
                only: self.settings.shared.introduced.as_ref(),
                parts: parts
                    .filter_map(|(id, peer)| Some((id, peer.cluster_part()?)))
                    .collect(),
                check: &check,
            };
            let (next, problems) = heard(&self.trust, &said);
            self.vouched = Vouched { from, problems };
            self.set_trust(next, now);
        }
        self.problems.extend(self.vouched.problems.iter().cloned());
    }

    /// Those that a token has paired, each where its catalog says that its gateways are now.
    /// And this cluster itself, once another CA has taken over.
    pub(super) fn introductions(&self) -> BTreeMap<ClusterId, TrustBundle> {
        let vouched = paired(&self.trust, &self.settings.cluster).map(|(id, bundle)| {
            let part = self
                .catalog
                .peers()
                .get(id)
                .and_then(|peer| peer.cluster_part());
            let named = part.iter().flat_map(|part| part.gateways.values());
            let mut gateways: Vec<String> = named.map(|at| at.session.clone()).collect();
            if gateways.is_empty() {
                gateways.clone_from(&bundle.gateways);
            }
            let introduction = TrustBundle {
                gateways,
                ..bundle.clone()
            };
            (id.clone(), introduction)
        });
        let own = self.trust.bundles.get_key_value(&self.settings.cluster);
        let own = own.filter(|(_, bundle)| bundle.succession.is_some());
        let own = own.map(|(id, bundle)| (id.clone(), bundle.clone()));
        vouched.take(INTRODUCTIONS).chain(own).collect()
    }
}
