//! Pure: which of the sessions with a peer a flow goes by. Gateways keep no state of flows, so any will do; a flow stays with
//! one, as long as there is no better, so that its packets stay in order.

/// How good a session is; the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Its other end is heard.
    Heard,
    /// Its other end has said that it stops soon.
    Leaving,
    /// Nothing has been heard of it for a while.
    Silent,
}

/// The session for the flow of this hash, of those of the best rank: by rendezvous hashing, so that one which comes or goes
/// moves no more flows than it must.
#[must_use]
pub fn choose<T>(hash: u32, sessions: impl Iterator<Item = (usize, Rank, T)>) -> Option<T> {
    let scored = sessions.map(|(number, rank, session)| (rank, score(hash, number), session));
    let best = scored.min_by_key(|(rank, score, _)| (*rank, *score));
    best.map(|(.., session)| session)
}

/// Mixes well enough that flows spread evenly (the finalizer of SplitMix64).
fn score(hash: u32, number: usize) -> u64 {
    let mut mixed = (number as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(u64::from(hash));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::Rank::{Heard, Leaving, Silent};
    use super::*;

    fn chosen(hash: u32, sessions: &[(usize, Rank)]) -> Option<usize> {
        choose(hash, sessions.iter().map(|(n, rank)| (*n, *rank, *n)))
    }

    #[test]
    fn the_best_rank_alone_is_used() {
        assert_eq!(chosen(1, &[]), None);
        for hash in 0..100 {
            assert_eq!(
                chosen(hash, &[(1, Silent), (2, Leaving), (3, Heard)]),
                Some(3)
            );
            assert_eq!(chosen(hash, &[(1, Silent), (2, Leaving)]), Some(2));
            assert_eq!(chosen(hash, &[(1, Silent)]), Some(1));
        }
    }

    #[test]
    fn flows_spread_evenly_and_only_those_of_what_goes_move() {
        let four = [0x7f00, 0x7f10, 0x7f20, 0x7f30].map(|n| (n, Heard));
        let mut counts = [0; 4];
        for hash in 0..40_000u32 {
            let hash = hash.wrapping_mul(0x0101_0101);
            let before = chosen(hash, &four).unwrap();
            counts[(before - 0x7f00) / 0x10] += 1;
            let after = chosen(hash, &four[1..]).unwrap();
            assert!(after == before || before == four[0].0);
        }
        assert!(
            counts.iter().all(|n| (9_500..10_500).contains(n)),
            "{counts:?}"
        );
    }
}
