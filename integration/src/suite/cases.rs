//! Shell: all cases.

mod imports;

use super::case::Case;

/// All of them; their order is that in which they start.
#[must_use]
pub fn all() -> Vec<Case> {
    [imports::CASES].concat()
}
