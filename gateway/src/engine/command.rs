//! Pure: what a gateway wants done.

use std::sync::Arc;

use causeway_proto::model::{
    Allocations, Appointment, CatalogDelta, ClusterId, Publication, TrustState, View,
};

use super::SessionId;
use crate::session::End;

/// Something for the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Answer with [`Gateway::kept`](super::Gateway::kept) once it is there.
    Allocations(Allocations),
    /// What the controller published.
    Publication(Publication),
    /// Who is trusted.
    Trust(TrustState),
    /// The own catalog.
    Own(CatalogDelta),
    /// Who leads by a controller's word; without state.
    Appointment(Appointment),
    /// A peer's; `None`: it is no member any more.
    Peer(ClusterId, Option<CatalogDelta>),
}

/// Something for the shell to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// There is a new View.
    View(Arc<View>),
    /// Write this.
    Keep(Keep),
    /// Send what [`Gateway::poll_frame`](super::Gateway::poll_frame) still has, then close the connection.
    Closed {
        /// Which.
        session: SessionId,
        /// Whom it was with.
        cluster: ClusterId,
        /// Why.
        end: End,
    },
}
