//! Shell: `causeway join`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use causeway_proto::model::{ClusterId, PeerStatus, Preflight};
use causeway_proto::wire::pb::admin::JoinRequest;
use causeway_proto::wire::pb::status::ListPeersRequest;

use super::token::print_manifests;
use crate::args::{Global, JoinArgs};
use crate::channel::{nonsense, refusal};
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::kubernetes::Need;
use crate::print::print;
use crate::progress::Progress;
use crate::show::JoinForm;
use crate::wait::Waited;

/// Far more than a token has.
const TOKEN_BYTES: u64 = 64 << 10;
/// Between two looks at a peer that is waited for.
const LOOK: Duration = Duration::from_millis(200);

pub async fn run(
    args: JoinArgs,
    client: Client,
    global: &Global,
    progress: Progress,
) -> Result<(), Failure> {
    let request = JoinRequest {
        token: token(&args)?,
        dry_run: args.dry_run,
    };
    let reply = client.admin().join(request).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let (joined, preflight): (bool, Preflight) = reply.try_into().map_err(|e| nonsense(&e))?;
    let form = JoinForm::of(joined, args.dry_run, &preflight);
    print(&form, global.output)?;
    let peer = &preflight.peer.cluster;
    if form.failed() {
        let what = format!("{peer} was not joined");
        return Err(Failure::new(Kind::Refused, what, "the findings say why"));
    }
    match args.wait {
        Some(most) => {
            progress.say(&format!("joined {peer}"));
            wait(client, peer, most, global, progress).await
        }
        None => Ok(()),
    }
}

/// Asks no gateway.
pub fn manifests(args: &JoinArgs, global: &Global) -> Result<(), Failure> {
    print_manifests(&token(args)?, global)
}

/// Until the peer is heard and its catalog held.
async fn wait(
    mut client: Client,
    peer: &ClusterId,
    most: Duration,
    global: &Global,
    progress: Progress,
) -> Result<(), Failure> {
    let mut waited = Waited::default();
    let name = peer.to_string();
    let waiting = async {
        while !waited.is_over() {
            match status(&client, peer).await {
                Ok(status) => {
                    let news = waited.take(&name, status.as_ref());
                    news.iter().for_each(|line| progress.say(line));
                }
                // Another may lead by now.
                Err(failure) if failure.kind == Kind::Unreachable => {
                    progress.say(&failure.what);
                    client = Client::connect(global, Need::Any, progress).await?;
                }
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    match tokio::time::timeout(most, waiting).await {
        Ok(done) => done,
        Err(_) => {
            let what = format!(
                "joined, but {peer} was not heard within {} s",
                most.as_secs()
            );
            Err(Failure::new(Kind::Late, what, waited.check(&name)))
        }
    }
}

async fn status(client: &Client, peer: &ClusterId) -> Result<Option<PeerStatus>, Failure> {
    let reply = client.status().list_peers(ListPeersRequest {}).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let mut peers: BTreeMap<ClusterId, PeerStatus> = reply.try_into().map_err(|e| nonsense(&e))?;
    Ok(peers.remove(peer))
}

fn token(args: &JoinArgs) -> Result<String, Failure> {
    match args.token.as_str() {
        "-" => from_stdin(),
        token => Ok(token.trim().to_owned()),
    }
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .take(TOKEN_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| Failure::refused(format!("reading the token from standard input: {e}")))?;
    Ok(text.trim().to_owned())
}
