//! Host keys: known, unknown, changed, revoked; each with the file and line that says so.

use crate::host::glob::matches_host;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ssh2::{CheckResult, KnownHostFileKind, Session};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One line of a known_hosts file that is about this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// Key type: `ssh-ed25519`, ….
    pub kind: String,
    /// The key.
    pub key: Vec<u8>,
    /// Marked `@revoked`.
    pub revoked: bool,
}

/// What known_hosts says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is known.
    Known,
    /// There is no key of this host.
    Unknown,
    /// Another key of this type is known: the host was reinstalled, or somebody sits in between.
    Changed(Entry),
    /// It is marked as revoked.
    Revoked(Entry),
}

/// All lines about `host`:`port` (hashed ones too). libssh2 compares names, so that hashes and ports count as in OpenSSH.
pub fn entries(session: &Session, files: &[PathBuf], host: &str, port: u16) -> Vec<Entry> {
    let mut all = vec![];
    for file in files {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let (revoked, rest) = match line.strip_prefix("@revoked") {
                Some(rest) => (true, rest.trim_start()),
                None => (false, line),
            };
            // Certificate authorities are of no use without certificates, which libssh2 does not check.
            if rest.is_empty() || rest.starts_with(['#', '@']) {
                continue;
            }
            let mut fields = rest.split_whitespace();
            let (Some(names), Some(kind), Some(key)) = (fields.next(), fields.next(), fields.next()) else { continue };
            let Ok(key) = STANDARD.decode(key) else { continue };
            if names_host(session, names, kind, rest, host, port) {
                all.push(Entry { file: file.clone(), line: number + 1, kind: kind.to_owned(), key, revoked });
            }
        }
    }
    all
}

fn names_host(session: &Session, names: &str, kind: &str, line: &str, host: &str, port: u16) -> bool {
    // Plain names need no library; most lines of a large file end here.
    if !names.starts_with('|') && !names.contains(['*', '?', '!']) {
        let bracketed = format!("[{host}]:{port}");
        return names.split(',').any(|n| n.eq_ignore_ascii_case(&bracketed) || (port == 22 && n.eq_ignore_ascii_case(host)));
    }
    if !names.starts_with('|') {
        let bracketed = format!("[{host}]:{port}");
        let wanted = if port == 22 { host } else { &bracketed };
        let hit = |p: &str| matches_host(p, wanted);
        return !names.split(',').filter_map(|n| n.strip_prefix('!')).any(hit) && names.split(',').filter(|n| !n.starts_with('!')).any(hit);
    }
    let _ = kind;
    let Ok(mut known) = session.known_hosts() else { return false };
    if known.read_str(line, KnownHostFileKind::OpenSSH).is_err() {
        return false;
    }
    // A key that is none: anything but "not found" means that the name matches.
    let result = if port == 22 { known.check(host, b"-") } else { known.check(&format!("[{host}]:{port}"), b"-") };
    matches!(result, CheckResult::Match | CheckResult::Mismatch)
}

/// Compares a key with what is known.
pub fn verdict(entries: &[Entry], kind: &str, key: &[u8]) -> Verdict {
    if let Some(entry) = entries.iter().find(|e| e.revoked && e.key == key) {
        return Verdict::Revoked(entry.clone());
    }
    let mut usable = entries.iter().filter(|e| !e.revoked);
    if usable.clone().any(|e| e.key == key) {
        return Verdict::Known;
    }
    // A key of another type says nothing about this one; but types were asked for in the known order, so a
    // host whose known type is not offered any more counts as changed too.
    match usable.clone().find(|e| e.kind == kind).or_else(|| usable.next()) {
        Some(entry) => Verdict::Changed(entry.clone()),
        None => Verdict::Unknown,
    }
}

/// Adds a key to the end of `file`, making file and folder where they are missing.
pub fn remember(file: &Path, host: &str, port: u16, kind: &str, key: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    let before = std::fs::read(file).unwrap_or_default();
    let gap = if before.is_empty() || before.ends_with(b"\n") { "" } else { "\n" };
    let mut out = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    out.write_all(format!("{gap}{name} {kind} {}\n", STANDARD.encode(key)).as_bytes())
}

/// `SHA256:…` as OpenSSH shows it.
pub fn fingerprint(key: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    format!("SHA256:{}", STANDARD.encode(Sha256::digest(key)).trim_end_matches('='))
}

/// The key's type as its own first field says.
pub fn kind_of(key: &[u8]) -> String {
    let length = key.first_chunk::<4>().map_or(0, |l| u32::from_be_bytes(*l) as usize);
    String::from_utf8_lossy(key.get(4..4 + length).unwrap_or_default()).into_owned()
}
