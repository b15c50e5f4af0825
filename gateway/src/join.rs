//! Pure: redeeming a join token, both sides of it. The shell around it is [`link`].
//!
//! The joiner sends its proof and its facts, first as a dry run: both sides then know what would clash, and the token is
//! whole. Then for good: the issuer burns the token and takes the joiner's bundle, the joiner takes the issuer's. Every proof
//! is bound to the TLS connection, whose server the token's pin has authenticated.

mod facts;
pub mod link;

use causeway_certs::bundle::{self, authority_digest, is_of};
use causeway_certs::token::{self, JoinToken, Side};
use causeway_certs::{Secret, bundle::BundleError};
use causeway_proto::limits::PEERS;
use causeway_proto::model::{
    ClusterId, Digest, Finding, JoinFacts, Mapping, Preflight, Problem, Redeem, Redeemed, Severity,
    Timestamp, TrustBundle, TrustState,
};

pub use facts::findings;

/// Tokens that are open at one time: more is a mistake in a script.
pub const TOKENS: usize = 1000;

/// What one side says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSide {
    /// What it is.
    pub facts: JoinFacts,
    /// How it is recognised.
    pub bundle: TrustBundle,
}

/// Why a token opens nothing. Whoever holds no secret learns no more than this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Never issued here, or long gone.
    #[error(
        "{0} knows no such join token: it was issued by another cluster, was withdrawn, or has long expired; create another with `causeway token create`"
    )]
    Unknown(ClusterId),
    /// Redeemed before.
    #[error(
        "this join token was used before, and a token is good for one join; if that was not you, revoke the cluster that `causeway peers` shows on {0}, else create another with `causeway token create`"
    )]
    Used(ClusterId),
    /// Too late.
    #[error(
        "the join token expired {ago_secs} s ago by the clock of {issuer}; create another with `causeway token create`"
    )]
    Expired {
        /// Whose clock.
        issuer: ClusterId,
        /// How long ago.
        ago_secs: u64,
    },
    /// The secret is another, or the proof was made for another connection.
    #[error(
        "the proof does not fit the join token: the token was altered, or the connection is not the one it was made for"
    )]
    Proof,
}

/// A request answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What is sent.
    pub reply: Redeemed,
    /// What must be kept, and acknowledged, before it is sent; `None` changes nothing.
    pub trust: Option<TrustState>,
}

/// What stands for the joiner in both proofs.
fn joiner_digest(bundle: Option<&TrustBundle>) -> Digest {
    bundle.map(bundle::digest).unwrap_or_default()
}

/// What stands for the issuer: its bundle, or where that is not sent its CA alone.
fn issuer_digest(bundle: Option<&TrustBundle>, pin: Digest) -> Digest {
    bundle.map_or(pin, bundle::digest)
}

fn refusal(subject: &str, message: String) -> Finding {
    Finding {
        severity: Severity::Refusal,
        subject: subject.to_owned(),
        message,
    }
}

/// The issuer's decision.
///
/// # Errors
/// When the token opens nothing. What else stands in the way are findings in the reply.
pub fn redeem(
    trust: &TrustState,
    own: &OwnSide,
    request: &Redeem,
    exporter: &[u8],
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let issuer = || own.facts.cluster.clone();
    if trust.burnt.contains_key(&request.token) {
        return Err(Refusal::Used(issuer()));
    }
    let Some(issued) = trust.tokens.get(&request.token) else {
        return Err(Refusal::Unknown(issuer()));
    };
    let pin = authority_digest(&own.bundle).unwrap_or_default();
    let joiner = joiner_digest(request.bundle.as_ref());
    let key = Secret::new(issued.key);
    if !token::proof_holds(&key, Side::Joiner, exporter, joiner, pin, &request.proof) {
        return Err(Refusal::Proof);
    }
    if now >= issued.expires {
        return Err(Refusal::Expired {
            issuer: issuer(),
            ago_secs: now.since(issued.expires) / 1000,
        });
    }

    let mut findings = findings(&own.facts, &request.facts);
    let who = &request.facts.cluster;
    if let Some(only) = issued.for_cluster.as_ref().filter(|only| *only != who) {
        findings.push(refusal(
            "token",
            format!("the join token is for cluster {only}, and this is {who}"),
        ));
    }
    match &request.bundle {
        Some(bundle) => findings.extend(bundle_findings(
            trust,
            &own.facts,
            &request.facts.cluster,
            bundle,
            now,
        )),
        None if request.dry_run => {}
        None => findings.push(refusal("bundle", "the joiner sent no CA".to_owned())),
    }
    findings.sort();
    findings.reverse();

    let refused = findings.iter().any(|f| f.severity == Severity::Refusal);
    let accepted = request
        .bundle
        .as_ref()
        .filter(|_| !request.dry_run && !refused);
    let trust = accepted.map(|bundle| taken(trust, request.token, bundle, now));
    let bundle = accepted.map(|_| own.bundle.clone());
    let proof = token::proof(
        &key,
        Side::Issuer,
        exporter,
        joiner,
        issuer_digest(bundle.as_ref(), pin),
    );
    Ok(Outcome {
        reply: Redeemed {
            proof,
            facts: own.facts.clone(),
            findings,
            bundle,
        },
        trust,
    })
}

/// The token burnt, the joiner trusted.
fn taken(trust: &TrustState, id: Digest, bundle: &TrustBundle, now: Timestamp) -> TrustState {
    let mut next = with_peer(trust, bundle);
    let expires = next.tokens.remove(&id).map_or(now, |token| token.expires);
    next.burnt.insert(id, expires);
    prune(&mut next, now);
    next
}

/// A peer taken in.
fn with_peer(trust: &TrustState, bundle: &TrustBundle) -> TrustState {
    let mut next = trust.clone();
    next.version += 1;
    next.bundles.insert(bundle.cluster.clone(), bundle.clone());
    next.introduced.remove(&bundle.cluster);
    next.parted.remove(&bundle.cluster);
    next
}

/// How long a used or expired token is remembered after its end, so that its user is told what it was.
const REMEMBER_MS: u64 = 7 * 24 * 3600 * 1000;

/// Forgets what no longer explains anything.
pub fn prune(trust: &mut TrustState, now: Timestamp) {
    let recent = |expires: Timestamp| now.since(expires) <= REMEMBER_MS;
    trust.burnt.retain(|_, expires| recent(*expires));
    trust.tokens.retain(|_, token| recent(token.expires));
    trust
        .enrolments
        .retain(|_, enrolment| recent(enrolment.expires));
}

/// What speaks against trusting this bundle as that of `cluster`.
fn bundle_findings(
    trust: &TrustState,
    own: &JoinFacts,
    cluster: &ClusterId,
    offered: &TrustBundle,
    now: Timestamp,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut refuse = |subject, message| found.push(refusal(subject, message));
    if offered.cluster != *cluster {
        refuse(
            "cluster id",
            format!("{cluster} offers the CA of {}", offered.cluster),
        );
    }
    if let Err(e) = bundle::check(offered, &own.cluster_set, now) {
        refuse("bundle", e.to_string());
    }
    let ca = authority_digest(offered);
    let cut = trust.revocations.get(cluster);
    if cut.is_some_and(|revocation| is_of(offered, revocation.ca)) {
        refuse(
            "revoked",
            format!(
                "{cluster} was revoked on {} for good; it needs a new CA to come back",
                own.cluster
            ),
        );
    }
    match trust.bundles.get(cluster) {
        Some(held) if authority_digest(held) != ca => refuse(
            "cluster id",
            format!(
                "{} already has a peer called {cluster} with another CA; if that is the same cluster set up anew, first run `causeway revoke {cluster}` there, else choose another cluster id",
                own.cluster
            ),
        ),
        None if trust.bundles.len() >= PEERS => refuse(
            "peers",
            format!("{} has {PEERS} peers, which is the most", own.cluster),
        ),
        _ => {}
    }
    found
}

/// What the joiner sends. On a dry run too it shows its CA, so that the issuer can tell what would clash.
#[must_use]
pub fn request(token: &JoinToken, own: &OwnSide, exporter: &[u8], dry_run: bool) -> Redeem {
    let key = token::proof_key(&token.secret);
    let joiner = bundle::digest(&own.bundle);
    Redeem {
        token: token::id(&token.secret),
        proof: token::proof(&key, Side::Joiner, exporter, joiner, token.pin),
        dry_run,
        facts: own.facts.clone(),
        bundle: Some(own.bundle.clone()),
    }
}

/// Why a joiner does not believe the reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    /// Not from who issued the token.
    #[error("the server does not know the join token's secret: it is not the {0} that issued it")]
    Proof(ClusterId),
    /// Another name than the token's.
    #[error("the join token was issued by {token}, but {says} answered")]
    OtherCluster {
        /// By the token.
        token: ClusterId,
        /// By itself.
        says: ClusterId,
    },
    /// Another CA than the pinned one.
    #[error("the CA that {0} sent is not the one that the join token pins")]
    OtherCa(ClusterId),
    /// Its CA took over from one that was revoked here.
    #[error("{0} was revoked here for good, and its CA took over from the one that it had then")]
    Revoked(ClusterId),
    /// A bundle that is not right.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Neither a refusal nor a bundle.
    #[error("{0} neither took nor refused the join token; is it of another version?")]
    Nothing(ClusterId),
}

/// The joiner's reading of a reply, with all that either side found, and where the issuer's addresses would appear here.
///
/// # Errors
/// When it is not from the issuer.
pub fn preflight(
    trust: &TrustState,
    token: &JoinToken,
    own: &OwnSide,
    exporter: &[u8],
    reply: &Redeemed,
    (mappings, problems): (Vec<Mapping>, Vec<Problem>),
    now: Timestamp,
) -> Result<Preflight, NotBelieved> {
    let issuer = issuer_digest(reply.bundle.as_ref(), token.pin);
    let key = token::proof_key(&token.secret);
    let joiner = bundle::digest(&own.bundle);
    if !token::proof_holds(&key, Side::Issuer, exporter, joiner, issuer, &reply.proof) {
        return Err(NotBelieved::Proof(token.issuer.clone()));
    }
    if reply.facts.cluster != token.issuer {
        return Err(NotBelieved::OtherCluster {
            token: token.issuer.clone(),
            says: reply.facts.cluster.clone(),
        });
    }
    let mut found = findings(&own.facts, &reply.facts);
    found.extend(known_findings(trust, &own.facts, token));
    for finding in &reply.findings {
        // Both sides compare; what both say, in whatever words, is shown once.
        let same = |f: &Finding| f.subject == finding.subject && f.severity == finding.severity;
        if !found.iter().any(same) {
            found.push(finding.clone());
        }
    }
    found.extend(problems.into_iter().map(|problem| Finding {
        severity: Severity::Warning,
        subject: problem.subject,
        message: problem.message,
    }));
    found.sort();
    found.reverse();
    Ok(Preflight {
        clock_skew_ms: facts::skew_ms(now, reply.facts.time),
        peer: reply.facts.clone(),
        findings: found,
        mappings,
    })
}

/// What speaks against the issuer, of whom a token shows name and CA.
fn known_findings(trust: &TrustState, own: &JoinFacts, token: &JoinToken) -> Option<Finding> {
    let issuer = &token.issuer;
    let cut = trust.revocations.get(issuer);
    if cut.is_some_and(|revocation| revocation.ca == token.pin) {
        let message = format!("{issuer} was revoked on {} for good", own.cluster);
        return Some(refusal("revoked", message));
    }
    let held = trust.bundles.get(issuer).and_then(authority_digest);
    if held.is_some_and(|ca| ca != token.pin) {
        let message = format!(
            "{} already has a peer called {issuer} with another CA; if that is the same cluster set up anew, first run `causeway revoke {issuer}` here",
            own.cluster
        );
        return Some(refusal("cluster id", message));
    }
    None
}

/// The joiner's trust after a reply that took it, whose [`preflight`] was believed.
///
/// # Errors
/// When the bundle is not that of the issuer.
pub fn accept(
    trust: &TrustState,
    token: &JoinToken,
    reply: &Redeemed,
    now: Timestamp,
) -> Result<TrustState, NotBelieved> {
    let Some(offered) = &reply.bundle else {
        return Err(NotBelieved::Nothing(token.issuer.clone()));
    };
    if offered.cluster != token.issuer {
        return Err(NotBelieved::OtherCluster {
            token: token.issuer.clone(),
            says: offered.cluster.clone(),
        });
    }
    bundle::check(offered, &token.cluster_set, now)?;
    if authority_digest(offered) != Some(token.pin) {
        return Err(NotBelieved::OtherCa(token.issuer.clone()));
    }
    let cut = trust.revocations.get(&token.issuer);
    if cut.is_some_and(|revocation| is_of(offered, revocation.ca)) {
        return Err(NotBelieved::Revoked(token.issuer.clone()));
    }
    Ok(with_peer(trust, offered))
}

#[cfg(test)]
mod tests;
