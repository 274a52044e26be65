//! The closed vocabulary of changes: the only things that touch a host.

use super::block::Identity;
use super::view::Signature;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::path::PathBuf;

/// One change to a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Create or replace a file, atomically.
    WriteFile(WriteFile),
    /// Set mode, owner or group of what is there already.
    SetAttributes(SetAttributes),
    /// Make one directory (its parent exists or is made by an earlier change).
    MakeDirectory(MakeDirectory),
    /// Make or replace a symbolic link.
    MakeLink(MakeLink),
    /// Remove a file, link or directory tree (never across a mount point).
    Remove(Remove),
    /// Set timestamps, creating an empty file where there is none (`state: touch`).
    Touch(Touch),
    /// Set a kernel parameter now.
    SetSysctl(SetSysctl),
    /// Write an attribute in sysfs (`/sys/block/sda/queue/scheduler`) now.
    SetSysfs(SetSysfs),
    /// Set an interface's MTU now.
    SetMtu(SetMtu),
    /// Make a filesystem on a whole device.
    MakeFilesystem(MakeFilesystem),
    /// Mount a filesystem.
    Mount(MountChange),
    /// Change the options of a mounted filesystem.
    Remount(MountChange),
    /// Unmount.
    Unmount(Unmount),
    /// Act on a systemd unit, or reload the manager.
    Unit(UnitChange),
    /// Run a command: the one opaque kind. Nobody can predict what it does.
    Run(Run),
}

/// See [`Change::WriteFile`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteFile {
    /// The file.
    pub path: PathBuf,
    /// Its new content.
    #[serde(with = "base64_bytes")]
    pub content: Vec<u8>,
    /// Permission bits; `None`: keep, or 0666 less the umask for a new file.
    pub mode: Option<u32>,
    /// Owner; `None`: keep.
    pub uid: Option<u32>,
    /// Group; `None`: keep.
    pub gid: Option<u32>,
    /// Copy the old file to `<path>.<pid>.<date>~` first, as Ansible's `backup`.
    pub backup: bool,
    /// A check of the new content before it takes its place: a command with `%s`, as Ansible's `validate`.
    pub validate: Option<String>,
    /// Never show the content in a diff.
    pub secret: bool,
    /// Write through a symbolic link. Where not, a link is an error; to replace the link itself, remove it first.
    #[serde(default = "yes")]
    pub follow: bool,
}

/// What changes of older journals mean that don't say.
fn yes() -> bool {
    true
}

/// See [`Change::SetAttributes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAttributes {
    /// What to set them on.
    pub path: PathBuf,
    /// Permission bits (07777).
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Look through a symbolic link.
    pub follow: bool,
}

/// See [`Change::MakeDirectory`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeDirectory {
    /// The directory.
    pub path: PathBuf,
    /// Permission bits; `None`: 0777 less the umask.
    pub mode: Option<u32>,
    /// Owner; `None`: the task's user.
    pub uid: Option<u32>,
    /// Group; `None`: the task's user's.
    pub gid: Option<u32>,
}

/// See [`Change::MakeLink`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeLink {
    /// The link.
    pub path: PathBuf,
    /// What it points to, as stored.
    pub target: PathBuf,
    /// A hard link instead of a symbolic one.
    pub hard: bool,
}

/// See [`Change::Remove`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// What to remove (a link itself, not what it points to).
    pub path: PathBuf,
}

/// See [`Change::Touch`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Touch {
    /// The file.
    pub path: PathBuf,
    /// Access time in seconds since 1970; `None`: now.
    pub atime: Option<f64>,
    /// Modification time; `None`: now.
    pub mtime: Option<f64>,
}

/// See [`Change::SetSysctl`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSysctl {
    /// The key with dots, such as `net.core.somaxconn`.
    pub key: String,
    /// The value, fields separated by one space.
    pub value: String,
}

/// See [`Change::SetSysfs`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSysfs {
    /// The attribute's file, under `/sys`.
    pub path: PathBuf,
    /// The value to write.
    pub value: String,
    /// An earlier change of the task makes the kernel compute it anew: a dry run can't tell the value right before.
    #[serde(default)]
    pub reset: bool,
}

/// See [`Change::SetMtu`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMtu {
    /// Interface.
    pub link: String,
    /// Bytes.
    pub mtu: u32,
}

/// See [`Change::MakeFilesystem`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeFilesystem {
    /// The disk the plan looked at, compared again right before `mkfs`.
    pub disk: Identity,
    /// `xfs` (the only kind there is so far).
    pub fstype: String,
    /// The filesystem's UUID, chosen beforehand.
    pub uuid: String,
    /// Its label.
    pub label: Option<String>,
    /// Further arguments to mkfs.
    pub options: Vec<String>,
    /// The exact signatures that will be destroyed, which the operator has allowed by naming the
    /// disk. Empty: the disk must be blank, and mkfs gets no force flag.
    pub destroys: Vec<Signature>,
    /// What the disk's partitions hold, which is destroyed too, in words: `ext4 "backup" (sdb1)`.
    #[serde(default)]
    pub partitions: Vec<String>,
}

/// See [`Change::Mount`] and [`Change::Remount`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountChange {
    /// What to mount: `UUID=…` or a path.
    pub source: String,
    /// The device node behind `source`, where the plan knows it.
    pub device: Option<PathBuf>,
    /// Where (the directory exists or is made by an earlier change).
    pub target: PathBuf,
    /// Filesystem type.
    pub fstype: String,
    /// Options, as in fstab.
    pub options: Vec<String>,
}

/// See [`Change::Unmount`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmount {
    /// Where it is mounted.
    pub target: PathBuf,
}

/// See [`Change::Unit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitChange {
    /// The unit; empty for `DaemonReload`.
    pub unit: String,
    /// What to do.
    pub action: UnitAction,
}

/// What can be done to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitAction {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Restart it.
    Restart,
    /// Ask it to reload its configuration.
    Reload,
    /// Start it at boot.
    Enable,
    /// Don't start it at boot.
    Disable,
    /// Make it unstartable.
    Mask,
    /// Undo that.
    Unmask,
    /// Make systemd read all unit files again.
    DaemonReload,
}

/// See [`Change::Run`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The program and its arguments. For a shell: `["/bin/sh", "-c", text]`.
    pub argv: Vec<String>,
    /// Working folder.
    pub chdir: Option<PathBuf>,
    /// Standard input.
    pub stdin: Option<String>,
    /// Environment on top of the agent's.
    pub environment: Vec<(String, String)>,
    /// Kept from describe, diff and journal.
    pub secret: bool,
}

/// What a change looks like before and after, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// Name of the state before, such as a path.
    pub before_header: String,
    /// Name of the state after.
    pub after_header: String,
    /// State before.
    pub before: String,
    /// State after.
    pub after: String,
}

/// What performing a change returned beside success: fields for the task's result (`rc`, `stdout`, …).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Merged into the task's result.
    pub fields: Map<String, Json>,
}

/// Why a change failed, or what was found different after it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Serialize, Deserialize)]
#[error("{message}")]
pub struct ChangeError {
    /// One sentence: what was tried, what happened, what to do.
    pub message: String,
    /// Fields for the task's result (`rc`, `stderr`, …).
    pub fields: Map<String, Json>,
    /// Only in a dry run: it is no failure, the outcome can't be known, for this reason.
    pub unknown: Option<String>,
}

impl ChangeError {
    /// An error of these words.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), fields: Map::new(), unknown: None }
    }

    /// The same, with `message` made of the old one. What can't be known stays so.
    pub fn map(mut self, message: impl FnOnce(&str) -> String) -> Self {
        self.message = message(&self.message);
        self
    }
}

/// Bytes as base64 text on the wire and in the journal.
mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(d)?).map_err(D::Error::custom)
    }
}
