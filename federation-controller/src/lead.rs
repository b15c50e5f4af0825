//! The gateways as their controller sees them: who they are, which one leads, and with which settings.

pub mod board;
pub mod call;
pub mod choose;
pub mod office;
pub mod order;
pub mod settings;
pub mod told;
