//! Pure: who holds a service account token, by the API server's review of it, and which certificate that is good
//! for. The token itself never comes here.
//!
//! The service account says what a process is, the token's node or pod which one. What a caller asks for is only
//! compared with that; an operator alone chooses a name, since a person has no pod.

use std::collections::BTreeMap;
use std::fmt;

use causeway_certs::name::{NameError, Role};
use causeway_proto::model::{Namespace, NodeName};

/// Audience that a token must be made for: one for the API server opens nothing here.
pub const AUDIENCE: &str = "causeway";

const USER: &str = "system:serviceaccount:";
const NODE: &str = "authentication.kubernetes.io/node-name";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Longest text of a caller or of the API server that is repeated in a message.
const REPEATED: usize = 128;

/// The status of a TokenReview.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Review {
    /// Whether the token is good for one of the audiences that were asked for.
    pub authenticated: bool,
    /// Why not.
    pub error: Option<String>,
    /// For which of them it is; empty: the API server has not looked.
    pub audiences: Vec<String>,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// Pod and node of a projected token.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What a service account's holder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A gateway.
    Gateway,
    /// A node's agent.
    Agent,
    /// A controller.
    Controller,
    /// A person, by a token that was asked for on a service account that no pod has.
    Operator,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Gateway, Self::Agent, Self::Controller, Self::Operator];

    fn word(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Agent => "agent",
            Self::Controller => "controller",
            Self::Operator => "operator",
        }
    }

    /// The service account's name.
    #[must_use]
    pub fn account(self) -> &'static str {
        match self {
            Self::Gateway => "causeway-gateway",
            Self::Agent => "causeway-agent",
            Self::Controller => "causeway-controller",
            Self::Operator => "causeway-operator",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The pod that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid: a later pod of the same name is another one.
    pub uid: String,
}

/// Who holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// By the service account.
    pub kind: Kind,
    /// The pod that the token is bound to.
    pub pod: Option<Pod>,
    /// That pod's node.
    pub node: Option<NodeName>,
}

/// Why no certificate is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The API server does not know it, or no longer.
    #[error("the API server does not accept the token: {0}")]
    Token(String),
    /// Made for somebody else.
    #[error("the token is not for the audience {AUDIENCE}")]
    Audience,
    /// Not a service account of ours.
    #[error(
        "{user} is none of the service accounts {} of namespace {namespace}",
        accounts()
    )]
    Account {
        /// Who it is.
        user: String,
        /// Ours.
        namespace: Namespace,
    },
    /// Another kind of process than the service account is for.
    #[error("{asked:?} was asked for with the service account {}", kind.account())]
    Kind {
        /// As asked.
        asked: String,
        /// What the token is good for.
        kind: Kind,
    },
    /// Somebody else's name.
    #[error("{asked:?} was asked for, but the token is that of {own}")]
    OtherName {
        /// As asked.
        asked: String,
        /// Who it is.
        own: String,
    },
    /// The token does not say where its holder runs.
    #[error(
        "the token is bound to no running pod, so it does not say whose it is; a projected one of a pod of {} is needed", .0.account()
    )]
    Unbound(Kind),
    /// No name of ours.
    #[error(transparent)]
    Name(#[from] NameError),
}

fn accounts() -> String {
    Kind::ALL.map(Kind::account).join(", ")
}

/// The beginning of a text from outside, for messages and logs.
#[must_use]
pub fn beginning(text: &str) -> String {
    let mut short: String = text.chars().take(REPEATED).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

/// Who holds the reviewed token.
///
/// # Errors
/// When it is no token of ours.
pub fn holder(review: &Review, namespace: &Namespace) -> Result<Holder, Refusal> {
    if !review.authenticated {
        let why = review.error.as_deref().filter(|why| !why.is_empty());
        return Err(Refusal::Token(beginning(why.unwrap_or("no reason given"))));
    }
    if !review.audiences.iter().any(|a| a == AUDIENCE) {
        return Err(Refusal::Audience);
    }
    let account = review.user.strip_prefix(USER);
    let account = account.and_then(|rest| rest.split_once(':'));
    let kind = account
        .filter(|(of, _)| *of == namespace.as_str())
        .and_then(|(_, name)| Kind::ALL.into_iter().find(|kind| kind.account() == name))
        .ok_or_else(|| Refusal::Account {
            user: beginning(&review.user),
            namespace: namespace.clone(),
        })?;
    let one = |key: &str| match review.extra.get(key).map(Vec::as_slice) {
        Some([value]) if !value.is_empty() => Some(value.clone()),
        _ => None,
    };
    let pod = one(POD_NAME).zip(one(POD_UID));
    let node = one(NODE).map(|node| node.parse()).transpose();
    Ok(Holder {
        kind,
        pod: pod.map(|(name, uid)| Pod { name, uid }),
        node: node.map_err(NameError::from)?,
    })
}

impl Holder {
    /// The pod to ask for its node, where the token does not name it: API servers before 1.30.
    #[must_use]
    pub fn pod_to_look_up(&self) -> Option<&Pod> {
        let by_node = matches!(self.kind, Kind::Gateway | Kind::Agent);
        self.pod.as_ref().filter(|_| by_node && self.node.is_none())
    }

    /// The role that a request gets, whatever it asked for.
    ///
    /// # Errors
    /// When it asked for anything else than its own.
    pub fn grant(&self, asked: &str) -> Result<Role, Refusal> {
        let short = beginning(asked);
        let kind = self.kind;
        let (word, name) = asked.split_once('/').unwrap_or((asked, ""));
        if word != kind.word() {
            return Err(Refusal::Kind { asked: short, kind });
        }
        let own = match kind {
            Kind::Gateway | Kind::Agent => self.node.as_ref().map(|node| node.as_str()),
            Kind::Controller => self.pod.as_ref().map(|pod| pod.name.as_str()),
            Kind::Operator => Some(name),
        };
        let own = format!("{word}/{}", own.ok_or(Refusal::Unbound(kind))?);
        if asked != own {
            return Err(Refusal::OtherName { asked: short, own });
        }
        Ok(Role::parse(&own)?)
    }
}

#[cfg(test)]
mod tests;
