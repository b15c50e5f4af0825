//! Federated DNS: names of the zone `clusterset.local` after the Multicluster DNS schema 1.0.0.
//!
//! View -> [`DnsZone`] -> [`Answer`], both pure; [`serve`] carries them over UDP and TCP.

pub mod answer;
pub mod ask;
pub mod count;
pub mod server;
pub mod wire;
pub mod zone;

pub use answer::{Answer, Code, Kind, Question, answer};
pub use count::{Answered, Counts};
pub use server::{Serving, serve};
pub use zone::DnsZone;
