//! Pure: the gateways as their controller sees them: who they are, which one leads, and with which settings. Calls to them are in
//! [`call`], which is a shell.

pub mod board;
pub mod call;
pub mod choose;
pub mod office;
pub mod order;
pub mod settings;
pub mod told;
