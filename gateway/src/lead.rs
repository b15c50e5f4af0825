//! Shell: a controller's stream: its words and acknowledgements go to the core, which answers by itself.

use causeway_proto::model::{LeadReply, LeadRequest};
use causeway_proto::wire::pb::local as pb;
use futures::StreamExt;
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::app::{Core, Input, random_u64};

/// Serves one controller until it goes.
pub async fn serve(
    core: Core,
    mut requests: Streaming<pb::LeadRequest>,
    replies: mpsc::Sender<LeadReply>,
) {
    let stream = random_u64();
    core.tell(Input::Controller(stream, replies)).await;
    while let Some(Ok(request)) = requests.next().await {
        let input = match LeadRequest::try_from(request) {
            Ok(LeadRequest::Appointment(word)) => Input::Appoint(stream, Box::new(word)),
            Ok(LeadRequest::Kept(sequence)) => Input::Stored(stream, sequence),
            Err(error) => {
                tracing::warn!(%error, "what the controller sends makes no sense; is its version another one?");
                break;
            }
        };
        if !core.tell(input).await {
            break;
        }
    }
    core.tell(Input::ControllerGone(stream)).await;
}
