//! Shell: runs the writes that `diff` gave, against the kernel or, in tests, a fake that fails.

use crate::image::{MapImage, MapOp};

/// Something that holds maps.
pub trait Maps {
    /// Why a write failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Makes one write.
    ///
    /// # Errors
    /// When the write was not made.
    fn write(&mut self, op: &MapOp) -> Result<(), Self::Error>;
}

/// A write that failed; those before it are made.
#[derive(Debug, thiserror::Error)]
#[error("write {done} of {of} failed: {op}")]
pub struct Stopped<E: std::error::Error + 'static> {
    /// Writes made before.
    pub done: usize,
    /// Writes in all.
    pub of: usize,
    /// Which one.
    pub op: String,
    /// Why.
    #[source]
    pub source: E,
}

/// Makes the writes in order and keeps `image` in step with what was made, so that after a failure the
/// next `diff` starts from the truth.
///
/// # Errors
/// At the first write that fails.
pub fn execute<M: Maps>(
    maps: &mut M,
    ops: &[MapOp],
    image: &mut MapImage,
) -> Result<(), Stopped<M::Error>> {
    let mut made = Ok(());
    for (done, op) in ops.iter().enumerate() {
        if let Err(source) = maps.write(op) {
            made = Err(Stopped {
                done,
                of: ops.len(),
                op: op.to_string(),
                source,
            });
            break;
        }
        image.apply(op);
    }
    image.forget_unnamed_rings();
    made
}
