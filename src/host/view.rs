//! How a host is looked at. Everything a module may know about a host comes through [`View`].

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Why a look at the host failed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum ViewError {
    /// Nothing is there.
    #[error("{0} does not exist")]
    NotFound(PathBuf),
    /// It is there, but looking at it failed; the text names path and reason.
    #[error("{0}")]
    Failed(String),
    /// A dry run cannot know: it would depend on something that was not done. Never guess instead.
    #[error("unknown until applied: {0}")]
    Unknown(String),
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Block,
    /// A character device.
    Char,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
}

/// What `stat` tells, times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Last change of content.
    pub mtime: f64,
    /// Last access.
    pub atime: f64,
    /// Last change of attributes.
    pub ctime: f64,
    /// Inode number (0 where only predicted).
    pub ino: u64,
    /// Number of hard links.
    pub nlink: u64,
    /// Device it is on, as `st_dev`.
    pub dev: u64,
    /// For device nodes: (major, minor).
    pub rdev: (u32, u32),
}

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is mounted.
    pub target: PathBuf,
    /// What is mounted: a device path, or the filesystem's own word for it.
    pub source: String,
    /// (major, minor) of the filesystem's device.
    pub device: (u32, u32),
    /// Which folder of that filesystem is mounted, `/` unless it is a bind mount.
    pub root: String,
    /// Filesystem type.
    pub fstype: String,
    /// Mount and superblock options together, without duplicates.
    pub options: Vec<String>,
}

/// One signature found on a device, as `blkid -p`/`wipefs` would find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// What it is: `xfs`, `ext4`, `swap`, `LVM2_member`, `linux_raid_member`, `gpt`, `dos`, `crypto_LUKS`, ….
    pub kind: String,
    /// Whether it is a partition table.
    pub partition_table: bool,
    /// UUID, in lower case, where the format has one.
    pub uuid: Option<String>,
    /// Label, where it has one.
    pub label: Option<String>,
}

/// What is written on a block device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// All signatures found, or that there is data nobody knows; none: blank.
    pub signatures: Vec<Signature>,
}

/// A systemd unit's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// `LoadState`: loaded, not-found, masked, ….
    pub load: String,
    /// `ActiveState`: active, inactive, failed, activating, ….
    pub active: String,
    /// `SubState`.
    pub sub: String,
    /// `UnitFileState`: enabled, disabled, static, masked, …; empty where there is no file.
    pub file: String,
    /// All properties `systemctl show` printed, for modules that return them.
    pub properties: Vec<(String, String)>,
}

/// A read-only look at a host. `sysfs` and `procfs` are files like any other here.
///
/// Rights are those of the task's user where the body is the real host.
pub trait View {
    /// The content of the file at `path` (links followed), at most [`READ_LIMIT`] bytes.
    fn read(&self, path: &Path) -> Result<Vec<u8>, ViewError>;
    /// What is at `path`; `None`: nothing. `follow`: look through symbolic links.
    fn stat(&self, path: &Path, follow: bool) -> Result<Option<Stat>, ViewError>;
    /// Where the link at `path` points.
    fn read_link(&self, path: &Path) -> Result<PathBuf, ViewError>;
    /// The names in a directory, sorted.
    fn list(&self, path: &Path) -> Result<Vec<String>, ViewError>;
    /// Everything mounted, in mount order.
    fn mounts(&self) -> Result<Vec<Mount>, ViewError>;
    /// What is written on the block device at `path`.
    fn probe(&self, path: &Path) -> Result<Probe, ViewError>;
    /// What is written on each of these block devices: on a real host many at once, for each may take a second.
    fn probe_all(&self, paths: &[PathBuf]) -> Vec<Result<Probe, ViewError>> {
        paths.iter().map(|path| self.probe(path)).collect()
    }
    /// Whether the block device at `path` holds something with this UUID (in lower case).
    fn holds(&self, path: &Path, uuid: &str) -> Result<bool, ViewError> {
        Ok(self.probe(path)?.signatures.iter().any(|s| s.uuid.as_deref() == Some(uuid)))
    }
    /// Whether somebody has the block device at `path` for themselves alone: it is mounted, in whatever mount namespace, or a
    /// program has opened it so.
    fn is_held(&self, path: &Path) -> bool {
        let _ = path;
        false
    }
    /// State of a systemd unit. A host without systemd gives an error that says so.
    fn unit(&self, name: &str) -> Result<UnitState, ViewError>;
    /// Extended attributes of `path` (link not followed), sorted by name; empty where unsupported.
    fn xattrs(&self, path: &Path) -> Result<Vec<(String, Vec<u8>)>, ViewError>;
    /// Where the program `name` is in the standard search path; `None`: not installed.
    fn program(&self, name: &str) -> Option<PathBuf>;

    /// Whether looks are limited by the rights of the process, so that predictions are too. A made-up host has no such limits.
    fn has_rights(&self) -> bool {
        false
    }

    /// The content as text. Bytes that are not UTF-8 are an error naming the file.
    fn read_text(&self, path: &Path) -> Result<String, ViewError> {
        String::from_utf8(self.read(path)?).map_err(|_| ViewError::Failed(format!("{} is not UTF-8 text", path.display())))
    }

    /// The content as text, or `None` where there is no such file.
    fn read_text_opt(&self, path: &Path) -> Result<Option<String>, ViewError> {
        match self.read_text(path) {
            Ok(text) => Ok(Some(text)),
            Err(ViewError::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Most bytes read of one file: a bound against `/dev/zero` and the like, far above any configuration file.
pub const READ_LIMIT: u64 = 64 << 20;
