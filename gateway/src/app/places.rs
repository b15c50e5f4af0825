//! Shell: how many connections each peer has open, so that one with a valid certificate cannot take all memory with them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use causeway_proto::limits::SESSIONS_PER_PEER;
use causeway_proto::model::ClusterId;

/// Counted by peer.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<BTreeMap<ClusterId, usize>>>);

/// One connection's, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    peer: ClusterId,
}

impl Places {
    /// `None`: the peer has as many connections as sessions are allowed.
    #[must_use]
    pub fn take(&self, peer: &ClusterId) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(peer.clone()).or_default();
        if *count >= SESSIONS_PER_PEER {
            return None;
        }
        *count += 1;
        Some(Place {
            places: self.clone(),
            peer: peer.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_places_and_no_more() {
        let places = Places::default();
        let (east, west) = ("east".parse().unwrap(), "west".parse().unwrap());
        let mut held: Vec<Place> = (0..SESSIONS_PER_PEER)
            .map(|_| places.take(&east).unwrap())
            .collect();
        assert!(places.take(&east).is_none() && places.take(&west).is_some());
        held.pop();
        assert!(places.take(&east).is_some());
        drop(held);
        assert!(places.0.lock().unwrap().is_empty(), "nothing is left of it");
    }
}
