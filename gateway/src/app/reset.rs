//! Shell: the secret by which a process that has restarted tells peers at once that it knows nothing of their connections
//! (stateless reset, RFC 9000, section 10.3): it must outlive the process, and no other process may have it.

use std::path::Path;

use causeway_certs::files::{FileError, read_private, write_private};

use super::clock::random;
use crate::config::bytes_of;

/// Its file in the state directory.
const FILE: &str = "reset.key";

/// The one on the disk; a new one where there is none, or none that can be read as one.
///
/// # Errors
/// When the file system refuses.
pub(super) fn secret(state_dir: &Path) -> Result<[u8; 32], FileError> {
    let path = state_dir.join(FILE);
    if let Some(text) = read_private(&path)? {
        match bytes_of(text.trim()) {
            Some(secret) => return Ok(secret),
            None => tracing::warn!(path = %path.display(), "not a key: it is made anew"),
        }
    }
    let secret: [u8; 32] = random();
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(&path, text.as_bytes())?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_outlives_the_process_and_a_broken_one_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let first = secret(dir.path()).unwrap();
        assert_eq!(secret(dir.path()).unwrap(), first);
        write_private(&dir.path().join(FILE), b"0123").unwrap();
        let other = secret(dir.path()).unwrap();
        assert_ne!(other, first);
        assert_eq!(secret(dir.path()).unwrap(), other);
    }
}
