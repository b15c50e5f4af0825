//! Pure: bytes that can be made anywhere from their number alone, and their SHA-256.

use std::io::Read;

use aws_lc_rs::digest::{Context, SHA256};

/// A stream of that many bytes, the same every time.
pub struct Bytes {
    left: u64,
    state: u64,
}

impl Bytes {
    /// `count` bytes.
    #[must_use]
    pub fn new(count: u64) -> Bytes {
        Bytes {
            left: count,
            state: 0x9e37_79b9_7f4a_7c15 ^ count,
        }
    }

    /// The SHA-256 of all of them, in hexadecimal.
    #[must_use]
    pub fn sha256(count: u64) -> String {
        let mut sum = Sum::default();
        let mut bytes = Bytes::new(count);
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = bytes.read(&mut buffer) {
            sum.add(buffer.get(..read).unwrap_or_default());
        }
        sum.hex()
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = u64::try_from(buffer.len())
            .unwrap_or(u64::MAX)
            .min(self.left);
        let count = usize::try_from(room).unwrap_or(usize::MAX);
        for chunk in buffer.get_mut(..count).unwrap_or_default().chunks_mut(8) {
            // xorshift64: cheap, and no two blocks are alike.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            for (byte, value) in chunk.iter_mut().zip(self.state.to_le_bytes()) {
                *byte = value;
            }
        }
        self.left = self.left.saturating_sub(room);
        Ok(count)
    }
}

/// A SHA-256 in the making.
pub struct Sum(Context);

impl Default for Sum {
    fn default() -> Sum {
        Sum(Context::new(&SHA256))
    }
}

impl Sum {
    /// More bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The end, in hexadecimal.
    #[must_use]
    pub fn hex(self) -> String {
        self.0
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_digest() {
        let mut sum = Sum::default();
        sum.add(b"abc");
        assert_eq!(
            sum.hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn bytes_repeat_and_differ_by_count() {
        assert_eq!(Bytes::sha256(100_003), Bytes::sha256(100_003));
        assert_ne!(Bytes::sha256(8), Bytes::sha256(16));
        let mut all = Vec::new();
        Bytes::new(21).read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 21);
    }
}
