//! File contents kept on the host between runs, by hash. A convenience: where it can't be used, files
//! are simply sent again.

use sha2::{Digest, Sha256};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Contents smaller than this travel with the play and are not kept.
pub const KEEP_FROM: usize = 32 << 10;

/// Most bytes kept; the oldest files go first.
const KEEP_BYTES: u64 = 256 << 20;

/// A folder of contents named by their hash, readable by its owner only.
pub struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    /// The cache in `folder`, made with mode 0700 where it is missing. A folder that others could write to is not used.
    pub fn open(folder: &Path) -> Self {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let safe = made.is_ok()
            && std::fs::symlink_metadata(folder)
                .is_ok_and(|m| m.is_dir() && m.uid() == nix::unistd::geteuid().as_raw() && m.mode() & 0o022 == 0);
        Self { folder: safe.then(|| folder.to_owned()) }
    }

    /// A cache that keeps nothing.
    pub fn none() -> Self {
        Self { folder: None }
    }

    /// The content of this hash, checked.
    pub fn get(&self, wanted: &str) -> Option<Vec<u8>> {
        let content = std::fs::read(self.path(wanted)?).ok()?;
        (hash(&content) == wanted).then_some(content)
    }

    /// Keeps `content`. Failure only means that it is sent again next time.
    pub fn put(&self, hash: &str, content: &[u8]) {
        let Some(path) = self.path(hash) else { return };
        let new = path.with_extension(std::process::id().to_string());
        let written = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).and_then(|mut file| {
            use std::io::Write;
            file.write_all(content)
        });
        if written.and_then(|()| std::fs::rename(&new, &path)).is_err() {
            let _ = std::fs::remove_file(&new);
        }
        self.trim();
    }

    fn path(&self, hash: &str) -> Option<PathBuf> {
        let plain = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        self.folder.as_ref().filter(|_| plain).map(|f| f.join(hash))
    }

    fn trim(&self) {
        let Some(entries) = self.folder.as_ref().and_then(|f| std::fs::read_dir(f).ok()) else { return };
        let mut files: Vec<_> = entries.flatten().filter_map(|e| e.metadata().ok().map(|m| (m.mtime(), m.len(), e.path()))).collect();
        files.sort_unstable();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if total <= KEEP_BYTES {
                break;
            }
            let _ = std::fs::remove_file(path);
            total -= size;
        }
    }
}

/// SHA-256 in hexadecimal.
pub fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_by_hash_and_refuses_damage() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("files"));
        let key = hash(b"hello");
        assert_eq!(cache.get(&key), None);
        cache.put(&key, b"hello");
        assert_eq!(cache.get(&key).as_deref(), Some(b"hello".as_slice()));
        std::fs::write(folder.path().join("files").join(&key), b"evil").unwrap();
        assert_eq!(cache.get(&key), None);
    }

    #[test]
    fn a_folder_others_may_write_to_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let cache = Cache::open(folder.path());
        cache.put(&hash(b"x"), b"x");
        assert_eq!(cache.get(&hash(b"x")), None);
    }
}
