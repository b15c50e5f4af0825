//! Pure: a Merkle tree over digests in the form of RFC 6962 section 2.1, built level by level: a last node
//! without a sibling goes up as it is, which is the same tree.

use causeway_proto::model::{Digest, PartProof};

use super::encode::sha256;

/// All levels, leaves first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    levels: Vec<Vec<Digest>>,
}

fn leaf(digest: &Digest) -> Digest {
    sha256(&[&[0], &digest.0])
}

fn node(left: &Digest, right: &Digest) -> Digest {
    sha256(&[&[1], &left.0, &right.0])
}

impl Tree {
    /// Over digests in the order of their keys.
    pub fn new<'a>(digests: impl Iterator<Item = &'a Digest>) -> Self {
        let mut level: Vec<Digest> = digests.map(leaf).collect();
        let mut levels = Vec::new();
        while level.len() > 1 {
            let up = level
                .chunks(2)
                .filter_map(|pair| match pair {
                    [left, right] => Some(node(left, right)),
                    [last] => Some(*last),
                    _ => None,
                })
                .collect();
            levels.push(level);
            level = up;
        }
        levels.push(level);
        Self { levels }
    }

    /// The root; over nothing, the digest of nothing.
    pub fn root(&self) -> Digest {
        let top = self.levels.last().and_then(|level| level.first());
        top.copied().unwrap_or_else(|| sha256(&[]))
    }

    /// Where the `index`th stands.
    pub fn proof(&self, index: usize) -> PartProof {
        let mut path = Vec::new();
        let mut at = index;
        for level in &self.levels {
            path.extend(level.get(at ^ 1).filter(|_| level.len() > 1));
            at /= 2;
        }
        PartProof {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            path,
        }
    }
}

/// Whether `digest` stands where `proof` says, under the root of a tree of `count`.
pub fn stands(root: Digest, count: u32, digest: &Digest, proof: &PartProof) -> bool {
    if proof.index >= count {
        return false;
    }
    let (mut at, mut last) = (proof.index, count.saturating_sub(1));
    let mut path = proof.path.iter();
    let mut sum = leaf(digest);
    while last > 0 {
        // Without a sibling it goes up as it is.
        if at != last || at % 2 == 1 {
            let Some(sibling) = path.next() else {
                return false;
            };
            sum = if at % 2 == 1 {
                node(sibling, &sum)
            } else {
                node(&sum, sibling)
            };
        }
        at /= 2;
        last /= 2;
    }
    path.next().is_none() && sum == root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of the RFC, word by word.
    fn slow(digests: &[Digest]) -> Digest {
        match digests {
            [] => sha256(&[]),
            [one] => leaf(one),
            more => {
                let mut k = 1;
                while k * 2 < more.len() {
                    k *= 2;
                }
                node(&slow(&more[..k]), &slow(&more[k..]))
            }
        }
    }

    #[test]
    fn is_the_tree_of_the_rfc_and_every_proof_holds() {
        for count in 0..40u8 {
            let digests: Vec<Digest> = (0..count).map(|n| sha256(&[&[n]])).collect();
            let tree = Tree::new(digests.iter());
            assert_eq!(tree.root(), slow(&digests));
            for (index, digest) in digests.iter().enumerate() {
                let proof = tree.proof(index);
                let count = u32::from(count);
                assert!(stands(tree.root(), count, digest, &proof));
                assert!(!stands(tree.root(), count, &sha256(&[b"x"]), &proof));
                let elsewhere = PartProof {
                    index: proof.index + 1,
                    ..proof.clone()
                };
                assert!(!stands(tree.root(), count, digest, &elsewhere));
                let mut longer = proof;
                longer.path.push(*digest);
                assert!(!stands(tree.root(), count, digest, &longer));
            }
        }
    }
}
