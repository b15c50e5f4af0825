//! Pure: why a command ended badly, what the operator should check, and the exit code.

use std::fmt;

/// Sorts of failure; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The gateway refused, or the work failed.
    Refused = 1,
    /// The command line asks for something that cannot be.
    Usage = 2,
    /// No gateway answered.
    Unreachable = 3,
    /// What was asked for is not there.
    NotFound = 4,
    /// It is done, and what was waited for has not come.
    Late = 5,
}

/// A failure as it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// What sort.
    pub kind: Kind,
    /// What happened.
    pub what: String,
    /// What to check; empty where the first says it all.
    pub check: String,
}

impl Failure {
    /// From its three parts.
    pub fn new(kind: Kind, what: impl Into<String>, check: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            check: check.into(),
        }
    }

    /// Refused, with nothing to add.
    pub fn refused(what: impl fmt::Display) -> Self {
        Self::new(Kind::Refused, what.to_string(), "")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.check.is_empty() {
            Ok(())
        } else {
            write!(f, "\n  check: {}", self.check)
        }
    }
}
