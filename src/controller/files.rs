//! The files a play refers to, as the agent gets them: small ones at once, large ones when missing there.

use crate::protocol::{FileRef, ToAgent, encode};
use crate::transport::Frame;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files up to this size travel inside the play: below it, asking costs more than sending.
const INLINE: u64 = 32 << 10;
/// Bytes of a large file in one message, which is a third longer: on a slow line others get through in between.
const CHUNK: usize = 48 << 10;

/// Files known by path and by hash. One store serves all hosts of a run, so a file is read and hashed once.
#[derive(Default)]
pub struct FileStore {
    by_path: HashMap<PathBuf, FileRef>,
    by_hash: HashMap<String, PathBuf>,
}

impl FileStore {
    /// The file at `path`, read and hashed the first time.
    pub fn reference(&mut self, path: &Path) -> Result<FileRef, String> {
        if let Some(known) = self.by_path.get(path) {
            return Ok(known.clone());
        }
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut file = std::fs::File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(format!("{} is not a regular file", path.display()));
        }
        let mut hasher = Sha256::new();
        let mut kept = Vec::new();
        let mut size = 0u64;
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            let n = file.read(&mut buffer).map_err(failed)?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            size += n as u64;
            if size <= INLINE {
                kept.extend_from_slice(&buffer[..n]);
            }
        }
        let hash: String = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
        let reference = FileRef {
            path: path.display().to_string(),
            hash: hash.clone(),
            size,
            mode: metadata.permissions().mode() & 0o7777,
            inline: (size <= INLINE).then(|| STANDARD.encode(&kept)),
        };
        self.by_hash.insert(hash, path.to_owned());
        self.by_path.insert(path.to_owned(), reference.clone());
        Ok(reference)
    }

    /// The content of the file of this hash as messages, which are read as they are taken. A file that vanished or cannot be
    /// read gives another content, which the agent finds to be of another hash and reports.
    pub fn chunks(&self, hash: &str) -> impl Iterator<Item = Frame> + Send + use<> {
        let mut file = self.by_hash.get(hash).cloned().map(std::fs::File::open).and_then(Result::ok);
        let (hash, mut over) = (hash.to_owned(), false);
        std::iter::from_fn(move || {
            if over {
                return None;
            }
            let mut piece = Vec::new();
            let read = file.as_mut().map(|file| file.take(CHUNK as u64).read_to_end(&mut piece));
            over = !matches!(read, Some(Ok(CHUNK)));
            let message = ToAgent::Chunk { hash: hash.clone(), bytes: STANDARD.encode(piece), last: over };
            Some(encode(&message).map(Into::into).map_err(|e| e.to_string()))
        })
    }
}

/// The entries below `folder`: paths relative to it, sorted, folders with a trailing slash; `None` where it is no folder.
pub fn list(folder: &Path) -> Result<Option<Vec<String>>, String> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut entries = vec![];
    let mut left = vec![PathBuf::new()];
    while let Some(below) = left.pop() {
        let here = folder.join(&below);
        let failed = |e: std::io::Error| format!("{}: {e}", here.display());
        for entry in std::fs::read_dir(&here).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let relative = below.join(entry.file_name());
            if entry.path().is_dir() {
                entries.push(format!("{}/", relative.display()));
                left.push(relative);
            } else {
                entries.push(relative.display().to_string());
            }
        }
    }
    entries.sort();
    Ok(Some(entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::decode;

    #[test]
    fn large_files_go_in_pieces_that_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        for (more, frames) in [(7, 2), (CHUNK, 3)] {
            let content: Vec<u8> = (0..(CHUNK + more)).map(|i| (i % 251) as u8).collect();
            std::fs::write(&path, &content).unwrap();
            let mut store = FileStore::default();
            let reference = store.reference(&path).unwrap();
            assert_eq!((reference.size, reference.inline.clone()), (content.len() as u64, None));
            let mut chunks = store.chunks(&reference.hash);
            let (mut got, mut lasts) = (vec![], vec![]);
            for frame in chunks.by_ref() {
                let frame = frame.unwrap();
                assert!(frame.len() < 66 << 10, "{}", frame.len());
                if let ToAgent::Chunk { bytes, last, .. } = decode(&mut frame.to_vec()).unwrap().unwrap() {
                    got.extend(STANDARD.decode(bytes).unwrap());
                    lasts.push(last);
                }
            }
            assert!(got == content && lasts.pop() == Some(true) && !lasts.contains(&true));
            assert_eq!(lasts.len() + 1, frames);
            assert!(chunks.next().is_none());
        }
        assert_eq!(FileStore::default().chunks("unknown").count(), 1, "an empty one that ends it");
    }

    #[test]
    fn a_listing_is_sorted_and_marks_folders() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        std::fs::write(folder.path().join("b/c"), "").unwrap();
        std::fs::write(folder.path().join("a"), "").unwrap();
        assert_eq!(list(folder.path()).unwrap().unwrap(), ["a", "b/", "b/c"]);
        assert_eq!(list(&folder.path().join("a")).unwrap(), None);
    }
}
