//! Pure: tokens, one-time files, leave, revocation and another CA.

use causeway_proto::model::Timestamp;
use causeway_proto::wire::pb::admin::RotateAuthorityReply;
use serde::Serialize;

use super::Show;
use crate::text::when;

/// What `causeway token create` prints.
#[derive(Debug, Serialize)]
pub struct TokenForm {
    token: String,
    expires: String,
}

impl TokenForm {
    /// Of a token.
    pub fn of(token: String, expires: Timestamp) -> Self {
        let expires = when(expires);
        Self { token, expires }
    }

    /// What to do with it.
    pub fn hint(&self) -> String {
        format!(
            "good until {}, once: run `causeway join TOKEN` in the other cluster",
            self.expires
        )
    }
}

impl Show for TokenForm {
    fn text(&self) -> String {
        format!("{}\n", self.token)
    }
}

/// What `causeway enroll` prints.
#[derive(Debug, Serialize)]
pub struct EnrolmentForm {
    role: &'static str,
    name: String,
    expires: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl EnrolmentForm {
    /// Of a file that was written there, or is printed.
    pub fn of(
        role: &'static str,
        name: String,
        expires: Timestamp,
        path: Option<String>,
        file: String,
    ) -> Self {
        Self {
            role,
            name,
            expires: when(expires),
            file: path.is_none().then_some(file),
            path,
        }
    }

    /// What to do with it.
    pub fn hint(&self) -> String {
        format!(
            "good until {}, once, for {}/{}: keep it readable by that process alone",
            self.expires, self.role, self.name
        )
    }
}

impl Show for EnrolmentForm {
    fn text(&self) -> String {
        match (&self.path, &self.file) {
            (Some(path), _) => format!("wrote {path}\n"),
            (None, Some(file)) => format!("{}\n", file.trim_end()),
            (None, None) => String::new(),
        }
    }
}

/// What `causeway leave` prints.
#[derive(Debug, Serialize)]
pub struct LeaveForm {
    told: Vec<String>,
    not_told: Vec<String>,
}

impl LeaveForm {
    /// Of who heard it and who did not.
    pub fn of(told: Vec<String>, not_told: Vec<String>) -> Self {
        Self { told, not_told }
    }
}

impl Show for LeaveForm {
    fn text(&self) -> String {
        let mut out = "left the clusterset\n".to_owned();
        for peer in &self.told {
            out.push_str(&format!("{peer} was told\n"));
        }
        for peer in &self.not_told {
            out.push_str(&format!(
                "{peer} was not reached: it drops our share when the lease ends\n"
            ));
        }
        out
    }
}

/// What `causeway revoke` prints.
#[derive(Debug, Serialize)]
pub struct RevokeForm {
    revoked: String,
}

impl RevokeForm {
    /// Of who is cut off.
    pub fn of(revoked: String) -> Self {
        Self { revoked }
    }
}

impl Show for RevokeForm {
    fn text(&self) -> String {
        format!("{} is cut off for good\n", self.revoked)
    }
}

/// What `causeway ca rotate` prints.
#[derive(Debug, Serialize)]
pub struct RotateForm {
    authority: String,
    former_until: String,
}

impl RotateForm {
    /// Of the CA that took over.
    pub fn of(reply: RotateAuthorityReply) -> Self {
        Self {
            authority: reply.authority.iter().map(|b| format!("{b:02x}")).collect(),
            former_until: when(Timestamp(reply.former_until_ms)),
        }
    }
}

impl Show for RotateForm {
    fn text(&self) -> String {
        let Self {
            authority,
            former_until,
        } = self;
        format!(
            "the CA is {authority}\ncertificates of the one before it are taken until {former_until}\n"
        )
    }
}
