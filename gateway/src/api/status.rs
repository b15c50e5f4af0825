//! Shell: what an operator reads. Each reply is a function of the newest View and facts in `crate::status`.

use causeway_certs::name::Call;
use causeway_proto::model::{Address, ClusterId, GatewayName, ServiceName};
use causeway_proto::wire::pb::status as pb;
use tonic::{Request, Response, Status};

use crate::app::{Core, Diagnosing, NoDiagnosis, wall_clock};
use crate::status;

use super::{check, invalid};

/// The status service of one gateway.
#[derive(Debug, Clone)]
pub struct StatusService {
    core: Core,
    gateway: GatewayName,
    diagnosing: Diagnosing,
}

impl StatusService {
    /// Of the gateway of this name.
    #[must_use]
    pub fn new(core: Core, gateway: GatewayName, diagnosing: Diagnosing) -> Self {
        Self {
            core,
            gateway,
            diagnosing,
        }
    }

    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        check(request, &self.core.view().cluster, &Call::Status).map(|_| ())
    }
}

#[tonic::async_trait]
impl pb::status_server::Status for StatusService {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GatewayStatus>, Status> {
        self.check(&request)?;
        let (view, facts) = (self.core.view(), self.core.facts());
        let status = status::gateway(&self.gateway, &view, &facts, wall_clock());
        Ok(Response::new((&status).into()))
    }

    async fn list_peers(
        &self,
        request: Request<pb::ListPeersRequest>,
    ) -> Result<Response<pb::ListPeersReply>, Status> {
        self.check(&request)?;
        let peers = status::peers(&self.core.view(), &self.core.facts(), wall_clock());
        Ok(Response::new((&peers).into()))
    }

    async fn list_services(
        &self,
        request: Request<pb::ListServicesRequest>,
    ) -> Result<Response<pb::ListServicesReply>, Status> {
        self.check(&request)?;
        let only = request.into_inner().service;
        let only: Option<ServiceName> = only.map(|s| s.parse()).transpose().map_err(invalid)?;
        let found = status::services(&self.core.view(), &self.core.facts(), only.as_ref());
        match only {
            Some(name) if found.is_empty() => {
                let message = format!("no service {name} is imported or exported here");
                Err(Status::not_found(message))
            }
            _ => Ok(Response::new((&found).into())),
        }
    }

    async fn resolve(
        &self,
        request: Request<pb::ResolveRequest>,
    ) -> Result<Response<pb::Resolution>, Status> {
        self.check(&request)?;
        let asked = request.into_inner();
        let found = status::resolve(&self.core.view(), &asked.name, &asked.kind);
        let unknown = || invalid(format!("{:?} is not A, AAAA, SRV or TXT", asked.kind));
        Ok(Response::new((&found.ok_or_else(unknown)?).into()))
    }

    async fn whois(
        &self,
        request: Request<pb::WhoisRequest>,
    ) -> Result<Response<pb::WhoisReply>, Status> {
        self.check(&request)?;
        let bytes = request.into_inner().address;
        let bytes = <[u8; 16]>::try_from(bytes)
            .map_err(|b| invalid(format!("an address has 16 bytes, not {}", b.len())))?;
        let address = Address::from_bytes(bytes);
        let found = status::whois(&self.core.view(), &self.core.facts(), address);
        if found.is_empty() {
            return Err(Status::not_found(format!("{address} means nothing here")));
        }
        let meanings = found.iter().map(Into::into).collect();
        Ok(Response::new(pb::WhoisReply { meanings }))
    }

    async fn diagnose(
        &self,
        request: Request<pb::DiagnoseRequest>,
    ) -> Result<Response<pb::DiagnoseReply>, Status> {
        self.check(&request)?;
        let peer = request.into_inner().peer.map(|peer| peer.parse());
        let peer: Option<ClusterId> = peer.transpose().map_err(invalid)?;
        let found = self.diagnosing.everywhere(peer.as_ref()).await;
        let found = found.map_err(|error| match error {
            NoDiagnosis::Busy => Status::resource_exhausted(error.to_string()),
            NoDiagnosis::NoPeer(_) => Status::not_found(error.to_string()),
        })?;
        Ok(Response::new((&found).into()))
    }

    async fn get_drops(
        &self,
        request: Request<pb::GetDropsRequest>,
    ) -> Result<Response<pb::GetDropsReply>, Status> {
        self.check(&request)?;
        let drops = status::drops(&self.core.facts()).into_iter();
        let drops = drops.map(|((node, reason), packets)| pb::DropCount {
            node: node.into(),
            reason,
            packets,
        });
        Ok(Response::new(pb::GetDropsReply {
            drops: drops.collect(),
        }))
    }
}
