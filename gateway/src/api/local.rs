//! Shell: the local service: Exports and reports in, Views and certificates out.

use std::pin::Pin;
use std::sync::Arc;

use causeway_certs::name::{Call, Caller, Role, Scope};
use causeway_proto::model::{ClusterId, GatewayName, Report, View, WatchScope};
use causeway_proto::wire::pb::local as pb;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tonic::{Request, Response, Status, Streaming};

use crate::app::{Core, Input};
use crate::{follow, lead};

use super::{Calling, carriers, check, invalid, scope};

/// Answers on one stream that wait for the other side to read.
const WAITING: usize = 4;

/// Gives certificates out.
#[tonic::async_trait]
pub trait Signer: Send + Sync + 'static {
    /// The first one, for a one-time secret.
    async fn enroll(&self, request: pb::EnrollRequest) -> Result<pb::EnrollReply, Status>;
    /// The next one, for the leaf that opened the connection.
    async fn renew(
        &self,
        request: pb::RenewRequest,
        calling: &Calling,
    ) -> Result<pb::RenewReply, Status>;
}

/// The local service of one gateway.
#[derive(Clone)]
pub struct LocalService {
    core: Core,
    own: ClusterId,
    gateway: GatewayName,
    signer: Arc<dyn Signer>,
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl LocalService {
    /// For one gateway of a cluster.
    #[must_use]
    pub fn new(core: Core, own: ClusterId, gateway: GatewayName, signer: Arc<dyn Signer>) -> Self {
        Self {
            core,
            own,
            gateway,
            signer,
        }
    }

    /// What only the leader can serve.
    fn leads(&self) -> Result<(), Status> {
        let leading = self.core.leading();
        if leading.leads {
            return Ok(());
        }
        Err(Status::failed_precondition(
            leading.not_leader().to_string(),
        ))
    }
}

#[tonic::async_trait]
impl pb::local_server::Local for LocalService {
    type PublishStream = Replies<pb::PublishReply>;
    type FollowStream = Replies<pb::FollowReply>;
    type LeadStream = Replies<pb::LeadReply>;
    type WatchStream = Replies<pb::WatchReply>;
    type WatchCarriersStream = Replies<pb::WatchCarriersReply>;

    async fn publish(
        &self,
        request: Request<Streaming<pb::PublishRequest>>,
    ) -> Result<Response<Self::PublishStream>, Status> {
        check(&request, &self.own, &Call::Publish)?;
        self.leads()?;
        let (replies, answers) = mpsc::channel(WAITING);
        tokio::spawn(publish(self.core.clone(), request.into_inner(), replies));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn follow(
        &self,
        request: Request<Streaming<pb::FollowRequest>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let calling = check(&request, &self.own, &Call::Follow)?;
        self.leads()?;
        let name = match calling.caller {
            Caller::Certified(name) => match name.role {
                Role::Gateway(name) => Some(name),
                _ => return Err(Status::permission_denied("only gateways follow")),
            },
            _ => None,
        };
        let (replies, answers) = mpsc::channel(WAITING);
        let core = self.core.clone();
        tokio::spawn(follow::serve(core, name, request.into_inner(), replies));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn lead(
        &self,
        request: Request<Streaming<pb::LeadRequest>>,
    ) -> Result<Response<Self::LeadStream>, Status> {
        check(&request, &self.own, &Call::Lead)?;
        let (replies, answers) = mpsc::channel(WAITING);
        tokio::spawn(lead::serve(
            self.core.clone(),
            request.into_inner(),
            replies,
        ));
        let answers = ReceiverStream::new(answers).map(|reply| Ok((&reply).into()));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn watch(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let asked = watch_scope(request.get_ref().clone())?;
        let call = match &asked {
            WatchScope::Node(node) => Scope::Node(node.clone()),
            WatchScope::Controller => Scope::Controller,
            WatchScope::Whole => Scope::Whole,
        };
        check(&request, &self.own, &Call::Watch(call))?;
        let views = WatchStream::new(self.core.views());
        let gateway = self.gateway.to_string();
        let replies = views.filter_map(move |view| {
            let reply = view_reply(&view, &asked, &gateway);
            async move { reply }
        });
        Ok(Response::new(Box::pin(replies.map(Ok))))
    }

    async fn watch_carriers(
        &self,
        request: Request<pb::WatchCarriersRequest>,
    ) -> Result<Response<Self::WatchCarriersStream>, Status> {
        let node = request.get_ref().node.parse().map_err(invalid)?;
        check(&request, &self.own, &Call::Watch(Scope::Node(node)))?;
        let views = WatchStream::new(self.core.views());
        let mut last = None;
        let replies = views.filter_map(move |view| {
            let now = carriers(&view);
            let news = last.as_ref() != Some(&now);
            let reply = news.then(|| Ok(pb::WatchCarriersReply::from(&now)));
            last = Some(now);
            async move { reply }
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn report(
        &self,
        request: Request<pb::ReportRequest>,
    ) -> Result<Response<pb::ReportReply>, Status> {
        let calling = super::calling(&request);
        let report = request.into_inner().report;
        let report = report.ok_or_else(|| invalid("report is missing"))?;
        let report = Report::try_from(report).map_err(invalid)?;
        let call = Call::Report(report.node.clone());
        causeway_certs::name::authorize(&calling.caller, &self.own, &call)
            .map_err(|e| Status::permission_denied(e.to_string()))?;
        self.core.tell(Input::Report(Box::new(report))).await;
        Ok(Response::new(pb::ReportReply {}))
    }

    async fn enroll(
        &self,
        request: Request<pb::EnrollRequest>,
    ) -> Result<Response<pb::EnrollReply>, Status> {
        check(&request, &self.own, &Call::Enroll)?;
        let reply = self.signer.enroll(request.into_inner()).await?;
        Ok(Response::new(reply))
    }

    async fn renew(
        &self,
        request: Request<pb::RenewRequest>,
    ) -> Result<Response<pb::RenewReply>, Status> {
        let calling = check(&request, &self.own, &Call::Renew)?;
        let reply = self.signer.renew(request.into_inner(), &calling).await?;
        Ok(Response::new(reply))
    }
}

/// One controller's publications, each answered when it is in force.
async fn publish(
    core: Core,
    mut requests: Streaming<pb::PublishRequest>,
    replies: mpsc::Sender<Result<pb::PublishReply, Status>>,
) {
    while let Some(request) = requests.next().await {
        let reply = match request {
            Ok(request) => publish_one(&core, request).await,
            Err(status) => Err(status),
        };
        let over = reply.is_err();
        if replies.send(reply).await.is_err() || over {
            return;
        }
    }
}

async fn publish_one(core: &Core, request: pb::PublishRequest) -> Result<pb::PublishReply, Status> {
    let (sequence, publication) = request.try_into().map_err(invalid)?;
    let published = core
        .publish(publication)
        .await
        .map_err(|e| Status::failed_precondition(e.to_string()))?;
    let reply = (sequence, published.revision, published.problems);
    Ok(pb::PublishReply::from(&reply))
}

fn watch_scope(request: pb::WatchRequest) -> Result<WatchScope, Status> {
    WatchScope::try_from(request).map_err(invalid)
}

/// Nothing before the first View is whole.
fn view_reply(view: &View, asked: &WatchScope, gateway: &str) -> Option<pb::WatchReply> {
    if view.revision.number == 0 {
        return None;
    }
    Some(pb::WatchReply {
        gateway: gateway.to_owned(),
        ..pb::WatchReply::from(&scope(view, asked))
    })
}
