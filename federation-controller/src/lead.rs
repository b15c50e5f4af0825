//! Pure: the choice of a leader among the gateways; the calls to them are in [`link`].

pub mod choose;
