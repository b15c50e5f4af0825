//! Pure: the domain types. Past this border no field can be wrong.

mod address;
mod allocation;
mod catalog;
mod check;
mod enrol;
mod export;
mod follow;
mod frame;
mod id;
mod join;
mod lead;
mod problem;
mod report;
mod status;
mod trust;
mod view;

pub use address::{Address, AddressError, Mapping, Prefix, PrefixError};
pub use allocation::{Allocations, Allotted, PeerAllotment};
pub use catalog::{
    CatalogDelta, ClusterPart, Digest, GatewayAddress, Header, HeadlessEndpoint, NamespacePart,
    Part, PartKey, PartProof, Revocation, ServiceOffer, SignedHeader, SignedPart,
};
pub use check::{Check, CheckKind, Diagnosis, Outcome};
pub use enrol::{Enrolled, Offer, TokenEnrolReply, TokenEnrolment};
pub use export::{
    Affinity, Endpoint, EndpointPort, EndpointState, Export, ExportPort, Exports,
    InternalTrafficPolicy, IpFamily, Locality, LossPolicy, Node, Workload,
};
pub use follow::{
    Carriers, Carries, Enrolment, FollowHello, FollowRequest, FollowState, IssuedCertificate,
    OwnGateway, Publication, WatchScope,
};
pub use frame::{
    Ack, Beat, Bye, ByeReason, Frame, Held, Hello, Nack, NackReason, SnapshotBegin, SnapshotEnd,
    Want,
};
pub use id::{
    ClusterId, ClusterSet, GatewayName, IdentityNumber, InvalidName, Namespace, NodeName,
    PeerNumber, PortName, ProcessName, Protocol, Revision, ServiceName, Timestamp, Zone,
};
pub use join::{
    EnrolRole, Finding, JoinFacts, OfferedService, Preflight, Redeem, Redeemed, Severity,
};
pub use lead::{
    Appointment, AuthorityMaterial, ClusterSettings, InvalidSettings, Keep, LeadHello, LeadRefused,
    LeadReply, LeadRequest, LeaderState, PeerSettings, TUNNEL_PORT,
};
pub use problem::{Condition, ConditionStatus, Conflict, ConflictField, Problem, ProblemKind};
pub use report::{Report, ServiceCounters};
pub use status::{
    AddressKind, DnsRecord, GatewayStatus, NodeStatus, PathStatus, PeerStatus, PortStatus,
    Resolution, ServiceCounts, ServiceStatus, SessionStatus, ShareStatus, Transport, Whois,
};
pub use trust::{IssuedEnrolment, IssuedToken, Succession, TrustBundle, TrustState};
pub use view::{
    BackendPort, Encryption, EndpointKey, Generation, Identity, Import, ImportEndpoint, ImportPort,
    ImportShare, Liveness, Member, OwnExport, OwnHeadless, PeerView, SyncState, View, ViewRevision,
};
