//! Causeway's vocabulary: the domain types, the protobuf contracts, the conversions between them and
//! the wire limits. No I/O; depends on no sibling.
//!
//! | Word | Means here |
//! |---|---|
//! | [`ClusterSet`](model::ClusterSet), [`ClusterId`](model::ClusterId) | the trust group; a member's stable name |
//! | Leader | the one gateway of a cluster that cuts revisions, allots and signs |
//! | Peer, Session | another cluster; one live authenticated session with one of its gateways |
//! | [`Exports`](model::Exports), [`Export`](model::Export) | all that a cluster offers; one service of it |
//! | [`Part`](model::Part), [`Header`](model::Header) | what peers may know, by namespace; its signed head |
//! | [`View`](model::View), [`Import`](model::Import) | what the merge gives to agents, DNS and controller; one service of it |
//! | [`Endpoint`](model::Endpoint) | address, ports, readiness and zone in the exporting cluster |
//! | Vip, Frontend | this cluster's address for a service; address, port and protocol that clients dial |
//! | [`Mapping`](model::Mapping) | our prefix under which a peer's addresses appear here |
//! | [`Identity`](model::Identity) | a workload as policy sees it |
//! | [`Revision`](model::Revision), Lease | a counter per cluster; how long facts hold without word |
//! | [`Conflict`](model::Conflict), [`Condition`](model::Condition) | a clash found by merge; how it is told in status |
//! | [`Problem`](model::Problem) | a bad part of a good input, or what did not fit, with its name |

pub mod limits;
pub mod model;
pub mod wire;
