//! Block devices as sysfs shows them.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A whole disk (or another block device that is not a partition).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Kernel name: `sdb`, `nvme0n1`.
    pub name: String,
    /// Device node.
    pub path: PathBuf,
    /// (major, minor).
    pub device: (u32, u32),
    /// Bytes.
    pub size: u64,
    /// Serial number, where the device tells one.
    pub serial: Option<String>,
    /// World-wide name (`wwid`), where the device tells one.
    pub wwn: Option<String>,
    /// Model, where the device tells one.
    pub model: Option<String>,
    /// Spinning rust.
    pub rotational: bool,
    /// Removable medium.
    pub removable: bool,
    /// Read-only.
    pub read_only: bool,
    /// Names of its partitions.
    pub partitions: Vec<String>,
    /// Devices stacked on it (LVM, md, dm): names in `holders/`.
    pub holders: Vec<String>,
}

/// What a destructive change must find again right before it acts: the disk the plan looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Device node used.
    pub path: PathBuf,
    /// (major, minor).
    pub device: (u32, u32),
    /// Bytes.
    pub size: u64,
    /// Serial, if any.
    pub serial: Option<String>,
    /// WWN, if any.
    pub wwn: Option<String>,
}
