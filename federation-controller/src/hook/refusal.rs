//! Shell: what can go wrong in a hook, in words that say which verb on which object and what to check.

use std::time::Duration;

use super::corefile::CorefileError;
use super::definitions::Unfit;
use crate::cluster::pin::NoPin;
use crate::crd::BadDefinition;

/// Why a hook ended without having done its work.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The role of the hook's service account lacks something.
    #[error(
        "not allowed to {verb} {what}: {message}; the chart's roles grant this, so look for a role that was \
         edited or a policy of the cluster that forbids it"
    )]
    Forbidden {
        /// get, patch, ...
        verb: &'static str,
        /// Kind and name.
        what: String,
        /// In the API server's words.
        message: String,
    },
    /// The API server took it for wrong.
    #[error("the API server does not let us {verb} {what}: {message}")]
    Refused {
        /// get, patch, ...
        verb: &'static str,
        /// Kind and name.
        what: String,
        /// In the API server's words.
        message: String,
    },
    /// No answer, or none that makes sense.
    #[error("cannot {verb} {what}: {source}")]
    Unanswered {
        /// get, patch, ...
        verb: &'static str,
        /// Kind and name.
        what: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// Time is up.
    #[error("after {} s still waiting: {what}", after.as_secs())]
    TooLate {
        /// How long was waited.
        after: Duration,
        /// What for, and what to look at.
        what: String,
    },
    /// Something that must be there is not.
    #[error("{what} does not exist; {advice}")]
    Absent {
        /// Kind and name.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// CoreDNS' configuration is not as we need it.
    #[error("{what}: {source}")]
    Corefile {
        /// Which ConfigMap and key.
        what: String,
        /// What is wrong.
        source: CorefileError,
    },
    /// A definition of somebody else's.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A definition of ours.
    #[error(transparent)]
    Definition(#[from] BadDefinition),
    /// The enrolment certificate is of no use.
    #[error(transparent)]
    Certificate(NoPin),
}

/// To be mapped over the answer to `verb` on `what`.
pub fn refused(verb: &'static str, what: &str) -> impl FnOnce(kube::Error) -> HookError {
    let what = what.to_owned();
    move |error| match error {
        kube::Error::Api(status) if status.code == 403 => HookError::Forbidden {
            verb,
            what,
            message: status.message,
        },
        kube::Error::Api(status) if !passes(status.code) => HookError::Refused {
            verb,
            what,
            message: status.message,
        },
        other => HookError::Unanswered {
            verb,
            what,
            source: Box::new(other),
        },
    }
}

/// Whether an answer of this code may be another one a moment later: conflict, too many, the server's own trouble.
fn passes(code: u16) -> bool {
    matches!(code, 409 | 429) || code >= 500
}

impl HookError {
    /// Whether trying again may help.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Unanswered { .. })
    }
}
