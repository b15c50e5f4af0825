//! Shell: certificates for a projected service account token: the controller has it reviewed, and says by it who we are.

use std::io;
use std::path::Path;
use std::time::Duration;

use causeway_proto::limits::{SERVICE_TOKEN_BYTES, STATE_BYTES};
use causeway_proto::model::{
    ClusterId, Enrolled, LeaderState, Offer, Timestamp, TokenEnrolReply, TokenEnrolment,
};
use causeway_proto::wire::pb::enrolment as pb;
use causeway_proto::wire::pb::enrolment::enrolment_client::EnrolmentClient;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tonic::transport::Channel;
use tonic::{Code, Status};
use zeroize::Zeroizing;

use super::{ByToken, GatewayAt, NotIssued, Patience, Unreached, io_error, late, over_tls, tcp};
use crate::ca::LeafRequest;
use crate::enrolment::{EnrolError, Member};
use crate::name::Role;
use crate::tls::Pin;

/// How often the controller is asked again when it is not the active one, or has no CA yet; some seconds in all.
const ROUNDS: u32 = 10;
/// Pause between two rounds, and between two looks for the pin.
const PAUSE: Duration = Duration::from_millis(500);

/// What a gateway's disk holds and a leader must not lose.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The highest epoch that it has ever seen.
    pub epoch: u64,
    /// With the authority where it led last.
    pub state: LeaderState,
}

impl Holding {
    /// Whether there is anything to give.
    #[must_use]
    pub fn is_of_use(&self) -> bool {
        self.state != LeaderState::default()
    }
}

/// Reads a file of some KiB at most.
async fn small_file(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let file = tokio::fs::File::open(path).await?;
    let most = u64::try_from(SERVICE_TOKEN_BYTES).unwrap_or(u64::MAX);
    file.take(most).read_to_string(&mut text).await?;
    Ok(text)
}

/// The token as it is now: the kubelet replaces it before it ends.
///
/// # Errors
/// When it cannot be read.
pub async fn token_now(by: &ByToken) -> Result<Zeroizing<String>, NotIssued> {
    let path = &by.token_file;
    match small_file(path).await {
        Ok(text) => Ok(Zeroizing::new(text.trim().to_owned())),
        Err(source) => Err(NotIssued::File {
            path: path.clone(),
            source,
        }),
    }
}

/// The pin as it is now; waits until there is one.
async fn pin_now(by: &ByToken) -> Result<Pin, NotIssued> {
    let path = by.ca_file.clone();
    let mut told = false;
    loop {
        match small_file(&path).await {
            // An empty one is as it is just being written.
            Ok(text) if !text.trim().is_empty() => {
                return Pin::from_pem(&text).map_err(|source| NotIssued::Pin { path, source });
            }
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(NotIssued::File { path, source });
            }
            _ => {}
        }
        if !told {
            tracing::info!(path = %path.display(), "waiting for the certificate of the controller's enrolment service; does the controller run?");
            told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn connect(by: &ByToken, patience: Patience) -> Result<EnrolmentClient<Channel>, NotIssued> {
    let at = GatewayAt::Tcp(by.controller.clone());
    let pin = pin_now(by).await?;
    let connecting = async {
        let stream = tcp(&by.controller).await.map_err(|e| io_error(&at, e))?;
        enrolment_over(&at, stream, &pin, patience).await
    };
    let connected = tokio::time::timeout(patience.connect, connecting).await;
    Ok(connected.map_err(|_| late(&at, patience))??)
}

/// A client of the enrolment service over a stream that somebody else has opened, a port-forward say. `at` is for
/// messages.
///
/// # Errors
/// When the server does not present the pinned certificate, or says nothing.
pub async fn enrolment_over<S>(
    at: &GatewayAt,
    stream: S,
    pin: &Pin,
    patience: Patience,
) -> Result<EnrolmentClient<Channel>, Unreached>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connecting = over_tls(at, stream, pin.config()?, patience);
    let channel = tokio::time::timeout(patience.connect, connecting).await;
    let channel = channel.map_err(|_| late(at, patience))??;
    Ok(EnrolmentClient::new(channel).max_encoding_message_size(STATE_BYTES))
}

/// One question, and one answer.
async fn ask(
    client: &mut EnrolmentClient<Channel>,
    at: &GatewayAt,
    request: &TokenEnrolment,
) -> Result<TokenEnrolReply, NotIssued> {
    let refused = |status: Status| NotIssued::Refused {
        at: at.clone(),
        status,
    };
    let invalid = |source| NotIssued::Invalid {
        at: at.clone(),
        source,
    };
    let reply = client.enroll(pb::TokenEnrollRequest::from(request)).await;
    let reply = reply.map_err(refused)?.into_inner();
    TokenEnrolReply::try_from(reply).map_err(invalid)
}

async fn offer(
    client: &mut EnrolmentClient<Channel>,
    at: &GatewayAt,
    request: &TokenEnrolment,
    holding: &Holding,
) -> Result<(), NotIssued> {
    tracing::warn!(
        "the controller has lost its store: giving it the cluster's state that is held here"
    );
    let offer = Offer {
        token: request.token.clone(),
        role: request.role.clone(),
        epoch: holding.epoch,
        state: holding.state.clone(),
    };
    let offered = client.offer(pb::OfferRequest::from(&offer)).await;
    offered.map(|_| ()).map_err(|status| NotIssued::Refused {
        at: at.clone(),
        status,
    })
}

/// Whether asking again later may help: nobody was there, or nobody who could answer.
#[must_use]
pub fn passes(error: &EnrolError) -> bool {
    let EnrolError::Call { source, .. } = error else {
        return false;
    };
    match source.downcast_ref::<NotIssued>() {
        Some(NotIssued::Unreached(_)) => true,
        Some(error) => in_a_moment(error),
        None => false,
    }
}

/// Whether the same question may get another answer in a moment.
fn in_a_moment(error: &NotIssued) -> bool {
    match error {
        NotIssued::Refused { status, .. } => status.code() == Code::Unavailable,
        NotIssued::WantsState(_) => true,
        _ => false,
    }
}

/// Asks over a client that is connected, and gives the controller what it has lost.
async fn once(
    client: &mut EnrolmentClient<Channel>,
    at: &GatewayAt,
    request: &TokenEnrolment,
    holding: Option<&Holding>,
) -> Result<Enrolled, NotIssued> {
    match (ask(client, at, request).await?, holding) {
        (TokenEnrolReply::Enrolled(enrolled), _) => Ok(enrolled),
        (TokenEnrolReply::WantState, None) => Err(NotIssued::WantsState(at.clone())),
        (TokenEnrolReply::WantState, Some(holding)) => {
            offer(client, at, request, holding).await?;
            match ask(client, at, request).await? {
                TokenEnrolReply::Enrolled(enrolled) => Ok(enrolled),
                TokenEnrolReply::WantState => Err(NotIssued::WantsState(at.clone())),
            }
        }
    }
}

fn question(token: &str, role: &str, csr: &[u8], holding: Option<&Holding>) -> TokenEnrolment {
    TokenEnrolment {
        token: token.to_owned(),
        csr: csr.to_vec(),
        role: role.to_owned(),
        // A controller that waits for what nobody holds would wait long.
        held_epoch: holding.filter(|h| h.is_of_use()).map(|h| h.epoch),
    }
}

/// By the configured token, from whichever controller is active.
async fn enrol(
    by: &ByToken,
    role: &str,
    csr: &[u8],
    cluster: Option<&ClusterId>,
    patience: Patience,
    holding: Option<&Holding>,
) -> Result<Enrolled, NotIssued> {
    let at = GatewayAt::Tcp(by.controller.clone());
    let mut round = 1;
    loop {
        let asked = async {
            let mut client = connect(by, patience).await?;
            let token = token_now(by).await?;
            let question = question(&token, role, csr, holding);
            once(&mut client, &at, &question, holding).await
        };
        match asked.await {
            Err(error) if in_a_moment(&error) && round < ROUNDS => round += 1,
            Ok(enrolled) => return of_cluster(enrolled, cluster, at),
            decided => return decided,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A process that is configured for one cluster is not made another's.
fn of_cluster(
    enrolled: Enrolled,
    expected: Option<&ClusterId>,
    at: GatewayAt,
) -> Result<Enrolled, NotIssued> {
    match expected {
        Some(expected) if *expected != enrolled.cluster => Err(NotIssued::OtherCluster {
            at,
            found: enrolled.cluster,
            expected: expected.clone(),
        }),
        _ => Ok(enrolled),
    }
}

fn failed(role: &str) -> impl FnOnce(NotIssued) -> EnrolError {
    move |source| EnrolError::Call {
        role: role.to_owned(),
        source: source.into(),
    }
}

/// Makes a process of this role a member, in memory, by a token and over a client that is connected: see
/// [`enrolment_over`].
///
/// # Errors
/// When the controller refuses; the source of `Call` is a [`NotIssued`].
pub async fn enrol_over(
    client: &mut EnrolmentClient<Channel>,
    at: &GatewayAt,
    role: &Role,
    token: &str,
) -> Result<Member, EnrolError> {
    let request = LeafRequest::new()?;
    let name = role.to_string();
    let question = question(token, &name, request.csr(), None);
    let enrolled = once(client, at, &question, None).await;
    Member::enrolled(None, role, request, enrolled.map_err(failed(&name))?)
}

/// Makes a process of this role a member: by its leaf in `dir` as long as that holds, else by its token. `cluster`: the only
/// one whose member it may become. `holding`: what a gateway gives to a controller that has lost its store.
///
/// # Errors
/// When there is neither; the source of `Call` is a [`NotIssued`].
pub async fn member_by_token(
    dir: &Path,
    role: &Role,
    by: &ByToken,
    cluster: Option<&ClusterId>,
    now: Timestamp,
    patience: Patience,
    holding: Option<&Holding>,
) -> Result<Member, EnrolError> {
    let name = role.to_string();
    // A node under another name, or a file that was damaged: the token is good for a new leaf in either case.
    if let Ok(Some(member)) = Member::load(dir) {
        let holds = member.tls.leaf.validity().is_some_and(|v| v.holds(now));
        let home = member.home();
        if holds && home.role == name && cluster.is_none_or(|c| *c == home.cluster) {
            return Ok(member);
        }
    }
    let request = LeafRequest::new()?;
    let enrolled = enrol(by, &name, request.csr(), cluster, patience, holding).await;
    Member::enrolled(Some(dir), role, request, enrolled.map_err(failed(&name))?)
}

/// A new leaf by the token, whatever the present one is.
///
/// # Errors
/// When the controller gives none; the present leaf then stays.
pub async fn enrol_again(
    member: &Member,
    by: &ByToken,
    cluster: Option<&ClusterId>,
    patience: Patience,
    holding: Option<&Holding>,
) -> Result<(), EnrolError> {
    let request = LeafRequest::new()?;
    let name = member.home().role;
    let enrolled = enrol(by, &name, request.csr(), cluster, patience, holding).await;
    member.take(request, enrolled.map_err(failed(&name))?)
}

#[cfg(test)]
mod tests;
