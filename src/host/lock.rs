//! Two runs never change one host at once. The kernel gives the lock back when its holder ends, however that happens.

use super::identity::User;
use super::real::words;
use super::{RealHost, clock};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Root's lock file. `/run` is emptied at boot.
pub const ROOT_FILE: &str = "/run/fettle.lock";

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `user@workstation`.
    pub by: String,
    /// What it does: `apply site.yml`.
    pub purpose: String,
    /// Since when, RFC 3339 in UTC.
    pub since: String,
    /// Run id.
    pub run: String,
    /// Process on the host.
    pub pid: u32,
}

impl Holder {
    /// This process, from now on.
    pub fn me(by: &str, purpose: &str, run: &str) -> Self {
        let since = clock::utc(SystemTime::now());
        Self { by: by.into(), purpose: purpose.into(), since, run: run.into(), pid: std::process::id() }
    }
}

/// Why there is no lock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("{} ({}, process {}) has held this host since {}; wait for it to end, or end that process", .0.by, .0.purpose, .0.pid, .0.since)]
    Held(Holder),
    /// The lock file can't be used.
    #[error("{0}")]
    Failed(String),
}

/// The lock: held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Where the lock file is, by whom the process was started as: root's, or one of the user's own.
pub fn file() -> PathBuf {
    let uid = nix::unistd::getuid();
    if uid.is_root() {
        return PathBuf::from(ROOT_FILE);
    }
    // Not `$XDG_RUNTIME_DIR`: two sessions of a user must agree.
    let runtime = PathBuf::from(format!("/run/user/{uid}"));
    if runtime.is_dir() {
        return runtime.join("fettle.lock");
    }
    let home = User::by_uid(&RealHost, uid.as_raw()).ok().flatten().map(|u| u.home).or_else(|| std::env::var("HOME").ok());
    PathBuf::from(home.unwrap_or_else(|| "/".into())).join(".cache/fettle.lock")
}

/// Takes this host's lock without waiting: alone (`exclusive`, for changing it) or with others that only look.
pub fn acquire(exclusive: bool, me: &Holder) -> Result<Lock, LockError> {
    acquire_at(&file(), exclusive, me)
}

/// As [`acquire`], with the lock file named.
pub fn acquire_at(path: &Path, exclusive: bool, me: &Holder) -> Result<Lock, LockError> {
    let failed = |e: &std::io::Error| LockError::Failed(format!("this host's lock {} can't be used: {}", path.display(), words(e)));
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| failed(&e))?;
    }
    let options = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        // Who can open it can hold it.
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    let file = options.map_err(|e| failed(&e))?;
    let wanted = if exclusive { FlockArg::LockExclusiveNonblock } else { FlockArg::LockSharedNonblock };
    match Flock::lock(file, wanted) {
        Ok(mut file) => {
            // Those who only look write too, so that who wants to change the host learns whom to wait for.
            let text = serde_json::to_vec(me).unwrap_or_default();
            let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
            written.map_err(|e| failed(&e))?;
            Ok(Lock { _file: file })
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut text = vec![];
            let read = (&mut file).take(1 << 16).read_to_end(&mut text);
            let unknown =
                || Holder { by: "somebody".into(), purpose: "unknown".into(), since: "an unknown time".into(), run: String::new(), pid: 0 };
            Err(LockError::Held(
                read.ok()
                    .and_then(|_| serde_json::from_slice(&text).ok())
                    .and_then(|tree| serde_json::from_value(tree).ok())
                    .unwrap_or_else(unknown),
            ))
        }
        Err((_, e)) => Err(failed(&e.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changes_or_many_look_and_the_holder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/lock");
        let (ann, bob) = (Holder::me("ann@desk", "apply site.yml", "r1"), Holder::me("bob@desk", "plan site.yml", "r2"));
        let held = acquire_at(&path, true, &ann).unwrap();
        for exclusive in [true, false] {
            let refused = acquire_at(&path, exclusive, &bob).unwrap_err();
            assert_eq!(refused, LockError::Held(ann.clone()));
            assert!(refused.to_string().contains("ann@desk (apply site.yml, process "));
        }
        drop(held);
        let (one, two) = (acquire_at(&path, false, &bob).unwrap(), acquire_at(&path, false, &bob).unwrap());
        assert_eq!(acquire_at(&path, true, &ann).unwrap_err(), LockError::Held(bob));
        drop((one, two));
        acquire_at(&path, true, &ann).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(acquire_at(&path, true, &ann), Err(LockError::Failed(_))), "a planted link is not followed");
    }
}
