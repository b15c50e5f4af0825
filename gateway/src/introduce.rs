//! Pure: members of the clusterset that peers vouch for. An introduction only adds a cluster that is not known yet; it never
//! changes a CA, loses to revocations, is one hop deep (only peers that were paired by a token vouch) and bounded. It holds
//! while somebody vouches.

use std::collections::{BTreeMap, BTreeSet};

use causeway_certs::bundle::{authority_digest, follows, is_of};
use causeway_proto::limits::{INTRODUCTIONS, PEERS};
use causeway_proto::model::{
    ClusterId, ClusterPart, Problem, ProblemKind, TrustBundle, TrustState,
};

/// What decides beside the trust state.
pub struct Said<'a> {
    /// This cluster.
    pub own: &'a ClusterId,
    /// Who may be introduced; `None`: anybody.
    pub only: Option<&'a BTreeSet<ClusterId>>,
    /// What peers say to everyone, as far as it is held.
    pub parts: BTreeMap<&'a ClusterId, &'a ClusterPart>,
    /// Why a bundle cannot be trusted whoever vouches for it.
    pub check: &'a dyn Fn(&TrustBundle) -> Result<(), String>,
}

/// One peer's word for a cluster.
type Claim<'a> = (&'a ClusterId, &'a TrustBundle);

/// The peers that were paired by a token, and are not cut off: they vouch, and this cluster vouches for them.
pub fn paired<'a>(
    trust: &'a TrustState,
    own: &'a ClusterId,
) -> impl Iterator<Item = (&'a ClusterId, &'a TrustBundle)> {
    trust.bundles.iter().filter(move |(id, bundle)| {
        *id != own && !trust.introduced.contains_key(*id) && !is_cut_off(trust, id, bundle)
    })
}

fn is_cut_off(trust: &TrustState, id: &ClusterId, bundle: &TrustBundle) -> bool {
    let cut = trust.revocations.get(id);
    cut.is_some_and(|cut| is_of(bundle, cut.ca))
}

/// The trust state as what peers say changes it, and what is wrong with that.
#[must_use]
pub fn heard(trust: &TrustState, said: &Said<'_>) -> (TrustState, Vec<Problem>) {
    let mut problems = Vec::new();
    let next = succeeded(trust, said, &mut problems);
    (introduced(&next, said, &mut problems), problems)
}

/// Where another CA has taken over from the one that was known, as each peer itself says and the former proves.
fn succeeded(trust: &TrustState, said: &Said<'_>, problems: &mut Vec<Problem>) -> TrustState {
    let mut next = trust.clone();
    for (&id, part) in &said.parts {
        let known = next.bundles.get_mut(id);
        let (Some(known), Some(itself)) = (known, part.introductions.get(id)) else {
            continue;
        };
        let TrustBundle {
            authorities,
            succession,
            catalog_key,
            ..
        } = itself;
        if known.authorities == *authorities && known.succession == *succession {
            continue;
        }
        let refused = match (said.check)(itself) {
            Ok(()) if follows(itself, known) => {
                known.authorities.clone_from(authorities);
                known.succession.clone_from(succession);
                known.catalog_key.clone_from(catalog_key);
                continue;
            }
            Ok(()) => "its CA did not take over from the one that is known here".to_owned(),
            Err(why) => why,
        };
        problems.push(problem(ProblemKind::PeerFault, id, id, &refused));
    }
    next
}

/// With those that are vouched for, and without those that are no more.
fn introduced(trust: &TrustState, said: &Said<'_>, problems: &mut Vec<Problem>) -> TrustState {
    let claims = claims(trust, said, problems);
    let mut next = trust.clone();
    for (id, by) in &trust.introduced {
        match kept(trust, said, &claims, id, by) {
            Some(by) => next.introduced.insert(id.clone(), by),
            None => {
                next.bundles.remove(id);
                next.introduced.remove(id)
            }
        };
    }
    for (&id, claims) in &claims {
        if let Some(bundle) = next.bundles.get(id) {
            problems.extend(other_authority(said, bundle, claims));
            continue;
        }
        let Some((by, bundle)) = newcomer(trust, said, id, claims, problems) else {
            continue;
        };
        if next.bundles.len() >= PEERS {
            let why =
                format!("{PEERS} peers are the most; the cluster that it vouches for is not taken");
            problems.push(problem(ProblemKind::LimitReached, by, id, &why));
            break;
        }
        next.bundles.insert(id.clone(), bundle);
        next.introduced.insert(id.clone(), by.clone());
    }
    next
}

/// Leave was taken of this cluster, from either side: it is trusted no more, whoever vouches for it.
pub fn part(trust: &mut TrustState, id: &ClusterId) {
    trust.bundles.remove(id);
    trust.introduced.remove(id);
    if trust.parted.len() >= PEERS {
        trust.parted.pop_first();
    }
    trust.parted.insert(id.clone());
}

/// By the cluster that is vouched for, who does.
fn claims<'a>(
    trust: &TrustState,
    said: &Said<'a>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'a ClusterId, Vec<Claim<'a>>> {
    let mut claims: BTreeMap<&ClusterId, Vec<Claim<'_>>> = BTreeMap::new();
    let vouch: BTreeSet<&ClusterId> = paired(trust, said.own).map(|(id, _)| id).collect();
    for (by, part) in said.parts.iter().filter(|(by, _)| vouch.contains(**by)) {
        let others = part.introductions.iter().filter(|(id, _)| *id != *by);
        let count = others.clone().count();
        if count > INTRODUCTIONS {
            problems.push(Problem {
                kind: ProblemKind::PeerFault,
                subject: format!("peer {by}"),
                message: format!("vouches for {count} clusters; {INTRODUCTIONS} are looked at"),
            });
        }
        for (id, introduction) in others.take(INTRODUCTIONS) {
            claims.entry(id).or_default().push((*by, introduction));
        }
    }
    claims
}

/// Who vouches for one that was introduced before; `None`: nobody any more, or it may not be taken any more.
fn kept(
    trust: &TrustState,
    said: &Said<'_>,
    claims: &BTreeMap<&ClusterId, Vec<Claim<'_>>>,
    id: &ClusterId,
    by: &ClusterId,
) -> Option<ClusterId> {
    let bundle = trust.bundles.get(id)?;
    if trust.revocations.contains_key(id) || !may(said, id) || is_revoked(trust, said, id, bundle) {
        return None;
    }
    let same = claims.get(id).into_iter().flatten();
    let vouch: Vec<&ClusterId> = same
        .filter(|(_, i)| is_same(said, bundle, i))
        .map(|(by, _)| *by)
        .collect();
    // What its voucher says now is not known: as it said before.
    let unheard = !said.parts.contains_key(by) && paired(trust, said.own).any(|(p, _)| p == by);
    if unheard || vouch.contains(&by) {
        return Some(by.clone());
    }
    vouch.first().map(|by| (*by).clone())
}

/// Whether both are of one CA, or one of them took over from the other as is proven.
fn is_same(said: &Said<'_>, known: &TrustBundle, other: &TrustBundle) -> bool {
    let ca = authority_digest(other);
    ca.is_some_and(|ca| is_of(known, ca)) || (follows(other, known) && (said.check)(other).is_ok())
}

fn may(said: &Said<'_>, id: &ClusterId) -> bool {
    said.only.is_none_or(|only| only.contains(id))
}

/// Whether a peer that could vouch for it has cut it off.
fn is_revoked(trust: &TrustState, said: &Said<'_>, id: &ClusterId, bundle: &TrustBundle) -> bool {
    let mut parts = paired(trust, said.own).filter_map(|(peer, _)| said.parts.get(peer));
    parts.any(|part| {
        let cut = part.revocations.get(id);
        cut.is_some_and(|cut| is_of(bundle, cut.ca))
    })
}

/// One that is not known yet, and who vouches for it.
fn newcomer<'a>(
    trust: &TrustState,
    said: &Said<'_>,
    id: &ClusterId,
    claims: &[Claim<'a>],
    problems: &mut Vec<Problem>,
) -> Option<(&'a ClusterId, TrustBundle)> {
    // Who was cut off, or took leave, comes back by a token alone.
    let gone = trust.revocations.contains_key(id) || trust.parted.contains(id);
    if gone || id == said.own || !may(said, id) {
        return None;
    }
    // The one that knows the latest CA, where others have not heard of it yet.
    let (first, _) = *claims.first()?;
    let agree = |(_, one): &&Claim<'_>| {
        let mut cas = claims.iter().map(|(_, other)| authority_digest(other));
        cas.all(|ca| ca.is_some_and(|ca| is_of(one, ca)))
    };
    let Some(&(by, introduction)) = claims.iter().find(agree) else {
        let why = "it and another peer vouch for different CAs of the same name: neither is taken";
        problems.push(problem(ProblemKind::PeerDisagrees, first, id, why));
        return None;
    };
    let bundle = TrustBundle {
        cluster: id.clone(),
        ..introduction.clone()
    };
    if is_revoked(trust, said, id, &bundle) {
        return None;
    }
    if let Err(why) = (said.check)(&bundle) {
        problems.push(problem(ProblemKind::PeerFault, by, id, &why));
        return None;
    }
    Some((by, bundle))
}

/// Of a cluster that is known: nobody's word changes its CA.
fn other_authority(said: &Said<'_>, known: &TrustBundle, claims: &[Claim<'_>]) -> Option<Problem> {
    let (by, _) = claims.iter().find(|(_, i)| !is_same(said, known, i))?;
    let why = "vouches for another CA than the one that is known here; it is not taken";
    Some(problem(ProblemKind::PeerDisagrees, by, &known.cluster, why))
}

fn problem(kind: ProblemKind, by: &ClusterId, id: &ClusterId, why: &str) -> Problem {
    Problem {
        kind,
        subject: format!("peer {by}"),
        message: format!("cluster {id}: {why}"),
    }
}

#[cfg(test)]
mod tests;
