//! Hashes as text.
//!
//! Input: the bytes of a hash. Output: their hexadecimal digits, as records, journals and file names have them.

/// The bytes as lower-case hexadecimal digits, two for each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
