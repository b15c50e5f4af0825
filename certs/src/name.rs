//! Pure: the SPIFFE name of a process or key, for which cluster it may speak and what it may call.
//!
//! `spiffe://<cluster>.<clusterset>/<kind>/<name>`, or `/catalog` for the key that signs catalogs. A cluster
//! is its own trust domain. Since a cluster id may hold one dot, a name is parsed with the clusterset known.

use std::fmt;

use causeway_proto::model::{
    ClusterId, ClusterSet, GatewayName, InvalidName, NodeName, ProcessName,
};

/// Longest trust domain that SPIFFE allows.
const TRUST_DOMAIN_BYTES: usize = 255;

/// What a certificate's holder is in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A gateway.
    Gateway(GatewayName),
    /// The controller.
    Controller(ProcessName),
    /// The agent of a node.
    Agent(NodeName),
    /// A person or program with an operator's rights.
    Operator(ProcessName),
    /// The key that signs catalogs; it never opens a connection.
    Catalog,
}

impl Role {
    /// From `agent/w1` and the like, as an enrolment names it.
    ///
    /// # Errors
    /// When the kind or the name is not one of ours.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text == "catalog" {
            return Ok(Self::Catalog);
        }
        let (kind, name) = text
            .split_once('/')
            .ok_or_else(|| NameError::UnknownRole(text.to_owned()))?;
        Ok(match kind {
            "gateway" => Self::Gateway(name.parse()?),
            "controller" => Self::Controller(name.parse()?),
            "agent" => Self::Agent(name.parse()?),
            "operator" => Self::Operator(name.parse()?),
            _ => return Err(NameError::UnknownRole(text.to_owned())),
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(name) => write!(f, "gateway/{name}"),
            Self::Controller(name) => write!(f, "controller/{name}"),
            Self::Agent(name) => write!(f, "agent/{name}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
            Self::Catalog => f.write_str("catalog"),
        }
    }
}

/// A name that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not of the form.
    #[error("{0:?} is not a name of the form spiffe://CLUSTER.CLUSTERSET/ROLE")]
    Form(String),
    /// Of another clusterset.
    #[error("{name:?} is not of clusterset {cluster_set}")]
    OtherClusterSet {
        /// As presented.
        name: String,
        /// Ours.
        cluster_set: ClusterSet,
    },
    /// A role that we do not know.
    #[error("{0:?} is not a role: gateway/, controller/, agent/ or operator/NAME")]
    UnknownRole(String),
    /// A cluster id or a name that is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidName),
    /// The cluster and the clusterset together are too long for a trust domain.
    #[error("{0:?} is longer than the 255 characters of a trust domain; choose shorter names")]
    TooLong(String),
    /// A certificate that does not hold exactly one URI.
    #[error("a certificate of ours has exactly one URI name and no other; this one has {0} names")]
    NotOneUri(usize),
    /// Not a certificate.
    #[error("not an X.509 certificate")]
    NotACertificate,
}

/// A proven name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerName {
    /// Whose.
    pub cluster: ClusterId,
    /// In which clusterset.
    pub cluster_set: ClusterSet,
    /// What it is there.
    pub role: Role,
}

/// The trust domain of a cluster.
///
/// # Errors
/// When both names together are longer than SPIFFE allows.
pub fn trust_domain(cluster: &ClusterId, cluster_set: &ClusterSet) -> Result<String, NameError> {
    let domain = format!("{cluster}.{cluster_set}");
    if domain.len() > TRUST_DOMAIN_BYTES {
        return Err(NameError::TooLong(domain));
    }
    Ok(domain)
}

/// The cluster whose trust domain this is; the SPIFFE id of its CA is `spiffe://` and the domain.
///
/// # Errors
/// When it is of another clusterset, or no cluster's.
pub fn cluster_of(domain: &str, cluster_set: &ClusterSet) -> Result<ClusterId, NameError> {
    if domain.len() > TRUST_DOMAIN_BYTES {
        return Err(NameError::TooLong(domain.to_owned()));
    }
    let cluster = domain
        .strip_suffix(cluster_set.as_str())
        .and_then(|rest| rest.strip_suffix('.'))
        .ok_or_else(|| NameError::OtherClusterSet {
            name: domain.to_owned(),
            cluster_set: cluster_set.clone(),
        })?;
    Ok(cluster.parse()?)
}

impl PeerName {
    /// From its parts.
    ///
    /// # Errors
    /// When the trust domain is too long.
    pub fn new(cluster: ClusterId, cluster_set: ClusterSet, role: Role) -> Result<Self, NameError> {
        trust_domain(&cluster, &cluster_set)?;
        Ok(Self {
            cluster,
            cluster_set,
            role,
        })
    }

    /// From a certificate's URI.
    ///
    /// # Errors
    /// When it is not exactly the form that [`PeerName`] prints, for this clusterset.
    pub fn parse(uri: &str, cluster_set: &ClusterSet) -> Result<Self, NameError> {
        let (domain, path) = uri
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| NameError::Form(uri.to_owned()))?;
        Ok(Self {
            cluster: cluster_of(domain, cluster_set)?,
            cluster_set: cluster_set.clone(),
            role: Role::parse(path)?,
        })
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spiffe://{}.{}/{}",
            self.cluster, self.cluster_set, self.role
        )
    }
}

/// What a Watch asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// What one node's agent needs.
    Node(NodeName),
    /// What the controller needs.
    Controller,
    /// Everything.
    Whole,
}

/// A call on the local API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Controller to leader: Exports.
    Publish,
    /// Gateway to leader.
    Follow,
    /// Controller to every gateway: who leads.
    Lead,
    /// The View.
    Watch(Scope),
    /// A node's facts and counters.
    Report(NodeName),
    /// A first leaf, against a one-time secret.
    Enroll,
    /// A next leaf, of the same name.
    Renew,
    /// Tokens and enrolments: giving rights away.
    Admin,
    /// Joining, leaving, cutting off: what a controller does for objects that say so.
    Membership,
    /// Reading status.
    Status,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish => f.write_str("publish exports"),
            Self::Follow => f.write_str("follow the leader"),
            Self::Lead => f.write_str("appoint the leader"),
            Self::Watch(Scope::Node(node)) => write!(f, "watch the view of node {node}"),
            Self::Watch(Scope::Controller) => f.write_str("watch the controller's view"),
            Self::Watch(Scope::Whole) => f.write_str("watch the whole view"),
            Self::Report(node) => write!(f, "report for node {node}"),
            Self::Enroll => f.write_str("enrol"),
            Self::Renew => f.write_str("renew a certificate"),
            Self::Admin => f.write_str("administer the cluster"),
            Self::Membership => f.write_str("change which clusters are peers"),
            Self::Status => f.write_str("read status"),
        }
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// By the Unix socket, whose file mode is the check.
    Socket,
    /// By TLS, with a certificate that was verified.
    Certified(PeerName),
    /// By TLS, without a certificate: only to get one.
    Anonymous,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket => f.write_str("a process on this host"),
            Self::Certified(name) => name.fmt(f),
            Self::Anonymous => f.write_str("a caller without a certificate"),
        }
    }
}

/// A call that the caller's role does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{caller} may not {call}")]
pub struct NotAllowed {
    caller: String,
    call: String,
}

/// May this caller make that call on a gateway of `own`?
///
/// # Errors
/// When not, with both named.
pub fn authorize(caller: &Caller, own: &ClusterId, call: &Call) -> Result<(), NotAllowed> {
    let allowed = match caller {
        Caller::Socket => true,
        Caller::Anonymous => *call == Call::Enroll,
        Caller::Certified(name) => name.cluster == *own && role_may(&name.role, call),
    };
    if allowed {
        Ok(())
    } else {
        Err(NotAllowed {
            caller: caller.to_string(),
            call: call.to_string(),
        })
    }
}

fn role_may(role: &Role, call: &Call) -> bool {
    match (role, call) {
        (Role::Catalog, _) => false,
        (_, Call::Renew) => true,
        (Role::Agent(own), Call::Watch(Scope::Node(node)) | Call::Report(node)) => own == node,
        (Role::Gateway(_), Call::Follow | Call::Watch(_)) => true,
        (
            Role::Controller(_),
            Call::Publish
            | Call::Lead
            | Call::Watch(Scope::Controller)
            | Call::Membership
            | Call::Status,
        ) => true,
        (Role::Operator(_), Call::Admin | Call::Membership | Call::Status) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
