//! A gateway that answers from samples, on a Unix socket, in a thread of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use causeway_proto::model::{Address, GatewayName, Preflight};
use causeway_proto::wire::pb::local::local_server::LocalServer;
use causeway_proto::wire::pb::{admin, status};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::operator::Signer;
use crate::samples;

/// Listens until it is dropped.
pub struct Gateway {
    dir: TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Gateway {
    /// Once this returns it listens.
    pub fn start() -> Self {
        Self::start_with(None, None)
    }

    /// One that leads, or follows another.
    pub fn start_under(leader: &str) -> Self {
        Self::start_with(None, Some(leader.parse().unwrap()))
    }

    /// One that also gives certificates.
    pub fn start_with(signer: Option<Signer>, leader: Option<GatewayName>) -> Self {
        let fake = Fake { leader };
        let dir = tempfile::tempdir().unwrap();
        let listener =
            std::os::unix::net::UnixListener::bind(dir.path().join("gateway.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serve = async move {
            let listener = UnixListener::from_std(listener).unwrap();
            Server::builder()
                .add_service(status::status_server::StatusServer::new(fake.clone()))
                .add_service(admin::admin_server::AdminServer::new(fake))
                .add_optional_service(signer.map(LocalServer::new))
                .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async {
                    stopped.await.ok();
                })
                .await
                .unwrap();
        };
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(serve);
        });
        Self {
            dir,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("gateway.sock")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.take();
        self.thread.take().unwrap().join().unwrap();
    }
}

#[derive(Clone)]
struct Fake {
    leader: Option<GatewayName>,
}

#[tonic::async_trait]
impl status::status_server::Status for Fake {
    async fn get_status(
        &self,
        _: Request<status::GetStatusRequest>,
    ) -> Result<Response<status::GatewayStatus>, Status> {
        let mut status = samples::status();
        status.leader = self.leader.clone();
        Ok(Response::new((&status).into()))
    }

    async fn list_peers(
        &self,
        _: Request<status::ListPeersRequest>,
    ) -> Result<Response<status::ListPeersReply>, Status> {
        Ok(Response::new((&samples::peers()).into()))
    }

    async fn list_services(
        &self,
        request: Request<status::ListServicesRequest>,
    ) -> Result<Response<status::ListServicesReply>, Status> {
        let mut services = samples::services();
        if let Some(only) = request.into_inner().service {
            services.retain(|name, _| name.to_string() == only);
            if services.is_empty() {
                return Err(Status::not_found(format!(
                    "no service {only} is imported or exported here"
                )));
            }
        }
        Ok(Response::new((&services).into()))
    }

    async fn resolve(
        &self,
        request: Request<status::ResolveRequest>,
    ) -> Result<Response<status::Resolution>, Status> {
        let request = request.into_inner();
        let found = samples::resolution(&request.name, &request.kind);
        Ok(Response::new((&found).into()))
    }

    async fn whois(
        &self,
        request: Request<status::WhoisRequest>,
    ) -> Result<Response<status::WhoisReply>, Status> {
        let bytes: [u8; 16] = request.into_inner().address.try_into().unwrap();
        let address = Address::from_bytes(bytes);
        if address.to_string() != "242.1.0.6" {
            return Err(Status::not_found(format!("{address} means nothing here")));
        }
        let meanings = samples::meanings().iter().map(Into::into).collect();
        Ok(Response::new(status::WhoisReply { meanings }))
    }

    async fn diagnose(
        &self,
        request: Request<status::DiagnoseRequest>,
    ) -> Result<Response<status::DiagnoseReply>, Status> {
        let found = match request.into_inner().peer.as_deref() {
            Some("nobody") => return Err(Status::not_found("nobody is not a peer")),
            Some(_) => samples::diagnosis(),
            None => samples::diagnosis().into_iter().take(1).collect(),
        };
        Ok(Response::new((&found).into()))
    }

    async fn get_drops(
        &self,
        _: Request<status::GetDropsRequest>,
    ) -> Result<Response<status::GetDropsReply>, Status> {
        let drops: BTreeMap<_, _> = samples::status().drops;
        Ok(Response::new((&drops).into()))
    }
}

#[tonic::async_trait]
impl admin::admin_server::Admin for Fake {
    async fn create_token(
        &self,
        request: Request<admin::CreateTokenRequest>,
    ) -> Result<Response<admin::CreateTokenReply>, Status> {
        let request = request.into_inner();
        Ok(Response::new(admin::CreateTokenReply {
            token: format!(
                "causeway1.for-{}",
                request.for_cluster.unwrap_or_else(|| "any".into())
            ),
            expires_ms: samples::NOW + request.ttl_secs * 1000,
        }))
    }

    async fn join(
        &self,
        request: Request<admin::JoinRequest>,
    ) -> Result<Response<admin::JoinReply>, Status> {
        let request = request.into_inner();
        let preflight: Preflight = match request.token.as_str() {
            "good" => samples::preflight(),
            "clash" => samples::preflight_refused(),
            "silent" => samples::preflight_with("north"),
            _ => {
                return Err(Status::failed_precondition(
                    "this token has been used: make a new one",
                ));
            }
        };
        Ok(Response::new(admin::JoinReply {
            joined: !request.dry_run && !preflight.refused(),
            preflight: Some((&preflight).into()),
        }))
    }

    async fn enroll(
        &self,
        request: Request<admin::EnrollRequest>,
    ) -> Result<Response<admin::EnrollReply>, Status> {
        let request = request.into_inner();
        assert_eq!(request.role, i32::from(admin::Role::Agent));
        Ok(Response::new(admin::EnrollReply {
            file: format!(
                "{{\"for\": \"agent/{} {} s\"}}",
                request.name, request.ttl_secs
            ),
            expires_ms: samples::NOW + request.ttl_secs * 1000,
        }))
    }

    async fn leave(
        &self,
        _: Request<admin::LeaveRequest>,
    ) -> Result<Response<admin::LeaveReply>, Status> {
        Ok(Response::new(admin::LeaveReply {
            told: vec!["east".into()],
            not_told: vec!["north".into()],
        }))
    }

    async fn revoke(
        &self,
        request: Request<admin::RevokeRequest>,
    ) -> Result<Response<admin::RevokeReply>, Status> {
        if request.into_inner().peer == "forbidden" {
            return Err(Status::permission_denied("agent/w1 may not revoke"));
        }
        Ok(Response::new(admin::RevokeReply {}))
    }

    async fn rotate_authority(
        &self,
        _: Request<admin::RotateAuthorityRequest>,
    ) -> Result<Response<admin::RotateAuthorityReply>, Status> {
        Ok(Response::new(admin::RotateAuthorityReply {
            authority: vec![0xab; 32],
            former_until_ms: 1_711_390_000_000,
        }))
    }
}
