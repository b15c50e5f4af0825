//! Shell: the cluster's API server: what is read from it and written to it.

pub mod api;
pub mod appoint;
pub mod authority;
pub mod ca;
pub mod configuration;
pub mod execute;
pub mod follow;
pub mod gateways;
pub mod identity;
pub mod items;
pub mod keeper;
pub mod leading;
pub mod lease;
pub mod pin;
pub mod reflect;
pub mod rounds;
pub mod state;
pub mod tokens;

#[cfg(test)]
pub(crate) mod fake;
