//! Pure: what commands print: a stable form for programs, and text for people made from the same form.
//!
//! Times are RFC 3339 strings, spans whole milliseconds, addresses and prefixes text. What is not known is left out.
//! Fields are only ever added.

mod address;
mod doctor;
mod drops;
mod enrolment;
mod join;
mod peers;
mod resolution;
mod services;
mod status;

use serde::Serialize;

pub use address::WhoisForm;
pub use doctor::DoctorForm;
pub use drops::DropsForm;
pub use enrolment::{EnrolmentForm, LeaveForm, RevokeForm, RotateForm, TokenForm};
pub use join::JoinForm;
pub use peers::PeersForm;
pub use resolution::ResolutionForm;
pub use services::ServicesForm;
pub use status::StatusForm;

/// Something that can be printed.
pub trait Show: Serialize {
    /// For a person.
    fn text(&self) -> String;
}
