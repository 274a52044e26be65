//! Checksums, as hexadecimal text.

use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// The algorithms there are.
pub(super) const ALGORITHMS: &[&str] = &["sha1", "sha224", "sha256", "sha384", "sha512"];

/// SHA-1, by which Ansible's results tell contents apart (not for security).
pub(super) fn sha1(bytes: &[u8]) -> String {
    hex(&Sha1::digest(bytes))
}

/// The checksum by one of [`ALGORITHMS`]; SHA-1 for any other word.
pub(super) fn by(algorithm: &str, bytes: &[u8]) -> String {
    match algorithm {
        "sha224" => hex(&Sha224::digest(bytes)),
        "sha256" => hex(&Sha256::digest(bytes)),
        "sha384" => hex(&Sha384::digest(bytes)),
        "sha512" => hex(&Sha512::digest(bytes)),
        _ => sha1(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
