//! Block devices as sysfs shows them, and whether one may be used.

use super::{View, ViewError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

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

impl fmt::Display for Identity {
    /// How an operator recognises the disk: path, size, serial or WWN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.path.display(), human(self.size))?;
        match (&self.serial, &self.wwn) {
            (Some(serial), _) => write!(f, ", serial {serial})"),
            (None, Some(wwn)) => write!(f, ", WWN {wwn})"),
            _ => write!(f, ")"),
        }
    }
}

impl Disk {
    /// What a destructive change must find again.
    pub fn identity(&self) -> Identity {
        Identity { path: self.path.clone(), device: self.device, size: self.size, serial: self.serial.clone(), wwn: self.wwn.clone() }
    }

    /// Whether both are one disk that has two ways to it (multipath, two ports): its WWN, or without that its serial number,
    /// and its size are the same. LUNs of one array may share a serial number, never a WWN.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let alike = match (&self.wwn, &other.wwn) {
            (Some(a), Some(b)) => a == b,
            _ => self.serial.is_some() && self.serial == other.serial,
        };
        alike && self.size == other.size
    }

    /// Whether `name` names this disk: kernel name, device path, serial or WWN. Never a part of one. A WWN may stand as in
    /// sysfs (`naa.5000c500a1b2c3d4`), as lsblk has it (`0x5000c500a1b2c3d4`), or as the bare number.
    pub fn answers_to(&self, name: &str) -> bool {
        let number = name.strip_prefix("0x").unwrap_or(name);
        name == self.name
            || Path::new(name) == self.path
            || self.serial.as_deref() == Some(name)
            || self.wwn.as_deref().is_some_and(|w| w == name || w.split_once('.').is_some_and(|(_, n)| n.eq_ignore_ascii_case(number)))
    }
}

/// Bytes in binary units, as disks are spoken of: `9.1 TiB`.
pub fn human(bytes: u64) -> String {
    let units = [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, u)| bytes >= *u) {
        Some((unit, factor)) => {
            let text = format!("{:.1}", bytes as f64 / *factor as f64);
            format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
        }
        None => format!("{bytes} B"),
    }
}

const SYS_BLOCK: &str = "/sys/block";

/// All disks in `/sys/block`, by name. Devices without a medium (size 0) are left out.
pub fn disks(view: &dyn View) -> Result<Vec<Disk>, ViewError> {
    let mut all = vec![];
    for name in view.list(Path::new(SYS_BLOCK))? {
        if let Some(disk) = disk(view, &name)? {
            all.push(disk);
        }
    }
    Ok(all)
}

/// All block devices that may hold something: the disks and their partitions, each with its folder in sysfs.
pub fn devices(disks: &[Disk]) -> impl Iterator<Item = (PathBuf, PathBuf)> {
    disks.iter().flat_map(|disk| {
        let folder = Path::new(SYS_BLOCK).join(&disk.name);
        let parts: Vec<_> = disk.partitions.iter().map(|p| (Path::new("/dev").join(p), folder.join(p))).collect();
        std::iter::once((disk.path.clone(), folder)).chain(parts)
    })
}

/// The disk of this kernel name; `None`: there is none, or it has no medium.
pub fn disk(view: &dyn View, name: &str) -> Result<Option<Disk>, ViewError> {
    let base = Path::new(SYS_BLOCK).join(name);
    let get = |file: &str| -> Result<Option<String>, ViewError> {
        match view.read(&base.join(file)) {
            // Serial numbers may hold anything; NULs and spaces around them are padding.
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned())
                .filter(|t| !t.is_empty())),
            Err(ViewError::NotFound(_)) => Ok(None),
            // Some attributes of some drivers can't be read; a disk without them is still a disk.
            Err(ViewError::Failed(_)) => Ok(None),
            Err(e) => Err(e),
        }
    };
    let list = |folder: &str| match view.list(&base.join(folder)) {
        Ok(names) => Ok(names),
        Err(ViewError::NotFound(_)) => Ok(vec![]),
        Err(e) => Err(e),
    };
    // Sizes in sysfs count sectors of 512 bytes, whatever the disk's own are (Documentation/ABI/stable/sysfs-block).
    let size = get("size")?.and_then(|s| s.parse::<u64>().ok()).unwrap_or(0) * 512;
    let device = get("dev")?.and_then(|d| d.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?))));
    let (Some(device), true) = (device, size > 0) else { return Ok(None) };
    let mut partitions = vec![];
    for part in list("")? {
        if part.starts_with(name) && get(&format!("{part}/partition"))?.is_some() {
            partitions.push(part);
        }
    }
    let serial = match get("serial")? {
        Some(serial) => Some(serial),
        None => match get("device/serial")? {
            Some(serial) => Some(serial),
            // SCSI, SAS and SATA disks tell it only there.
            None => view.read(&base.join("device/vpd_pg80")).ok().and_then(|page| unit_serial_number(&page)),
        },
    };
    let wwn = match get("wwid")? {
        Some(wwn) => Some(wwn),
        None => get("device/wwid")?,
    };
    Ok(Some(Disk {
        path: Path::new("/dev").join(name.replace('!', "/")),
        name: name.to_owned(),
        device,
        size,
        serial,
        wwn,
        model: get("device/model")?,
        rotational: get("queue/rotational")?.as_deref() == Some("1"),
        removable: get("removable")?.as_deref() == Some("1"),
        read_only: get("ro")?.as_deref() == Some("1"),
        partitions,
        holders: list("holders")?,
    }))
}

/// The serial number in a SCSI disk's page of vital product data 80h: two bytes, the length (two bytes, high byte first), the
/// number in ASCII, perhaps padded (SPC-4, 7.8.15).
fn unit_serial_number(page: &[u8]) -> Option<String> {
    let length = usize::from(u16::from_be_bytes([*page.get(2)?, *page.get(3)?]));
    let text = page.get(4..)?.get(..length)?;
    let text = std::str::from_utf8(text).ok()?.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (page.get(1) == Some(&0x80) && !text.is_empty()).then(|| text.to_owned())
}

/// The disk that `spec` names: kernel name, path (`/dev/disk/by-…` too), serial or WWN. An error lists what is there.
pub fn find<'d>(view: &dyn View, disks: &'d [Disk], spec: &str) -> Result<&'d Disk, String> {
    let mut found: Vec<&Disk> = disks.iter().filter(|d| d.answers_to(spec)).collect();
    if found.is_empty() && spec.starts_with('/') {
        // A link: the node behind it is known by its numbers.
        if let Ok(Some(stat)) = view.stat(Path::new(spec), true)
            && stat.kind == super::FileKind::Block
        {
            found = disks.iter().filter(|d| d.device == stat.rdev).collect();
            if found.is_empty() {
                return Err(format!("{spec} is not a whole disk"));
            }
        }
    }
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let there: Vec<String> = disks.iter().map(|d| d.identity().to_string()).collect();
            let there = if there.is_empty() { "none at all".to_owned() } else { there.join(", ") };
            Err(format!("there is no disk `{spec}`; there are: {there}"))
        }
        many => Err(format!(
            "`{spec}` means several disks: {}; name one of them by another property",
            many.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Why a disk must not be formatted, whatever is written on it: mounted, swapped to, partitioned, held, read-only.
/// None: nothing uses it, as far as sysfs and procfs can tell.
pub fn in_use(view: &dyn View, disk: &Disk) -> Result<Vec<String>, ViewError> {
    let mut why = vec![];
    let mut devices = vec![disk.device];
    let mut holders = disk.holders.clone();
    for part in &disk.partitions {
        match view.list(&Path::new(SYS_BLOCK).join(&disk.name).join(part).join("holders")) {
            Ok(names) => holders.extend(names),
            Err(ViewError::NotFound(_)) => {}
            Err(e) => return Err(e),
        }
        let dev = view.read_text_opt(&Path::new(SYS_BLOCK).join(&disk.name).join(part).join("dev"))?;
        devices.extend(dev.and_then(|d| d.trim().split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)))));
    }
    for mount in view.mounts()? {
        let by_name = mount.source == disk.path.to_string_lossy() || disk.partitions.iter().any(|p| mount.source == format!("/dev/{p}"));
        if devices.contains(&mount.device) || by_name {
            let what = if mount.target == Path::new("/") {
                "holds the root filesystem".to_owned()
            } else {
                format!("is mounted on {}", mount.target.display())
            };
            if !why.contains(&what) {
                why.push(what);
            }
        }
    }
    let swaps = view.read_text_opt(Path::new("/proc/swaps"))?.unwrap_or_default();
    let names: Vec<String> =
        std::iter::once(disk.path.to_string_lossy().into_owned()).chain(disk.partitions.iter().map(|p| format!("/dev/{p}"))).collect();
    if swaps.lines().skip(1).any(|l| l.split_whitespace().next().is_some_and(|n| names.iter().any(|m| m == n))) {
        why.push("is in use as swap".into());
    }
    if !disk.partitions.is_empty() {
        why.push(format!("has partitions ({})", disk.partitions.join(", ")));
    }
    if !holders.is_empty() {
        why.push(format!("is held by {} (LVM, RAID or device mapper)", holders.join(", ")));
    }
    if disk.read_only {
        why.push("is read-only".into());
    }
    Ok(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Blank, Mount, Overlay};

    fn host() -> Overlay<'static> {
        let mut o = Overlay::new(&Blank);
        for (name, size, dev) in
            [("sda", "2097152", "8:0"), ("sdb", "2097152", "8:16"), ("sdaa", "2097152", "65:160"), ("sdz", "0", "8:32")]
        {
            for (file, text) in [("size", size), ("dev", dev), ("ro", "0"), ("removable", "0"), ("queue/rotational", "1")] {
                o.set_file(format!("/sys/block/{name}/{file}"), text, 0o444, 0, 0);
            }
            o.set_file(format!("/sys/block/{name}/serial"), format!("S-{name}\n"), 0o444, 0, 0);
        }
        o.set_file("/sys/block/sdb/sdb1/partition", "1", 0o444, 0, 0);
        o.set_file("/sys/block/sdb/sdb1/dev", "8:17", 0o444, 0, 0);
        o
    }

    #[test]
    fn disks_are_named_whole_or_not_at_all() {
        let o = host();
        let all = disks(&o).unwrap();
        assert_eq!(all.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["sda", "sdaa", "sdb"]);
        assert_eq!(find(&o, &all, "sda").unwrap().name, "sda");
        assert_eq!(find(&o, &all, "/dev/sdaa").unwrap().name, "sdaa");
        assert_eq!(find(&o, &all, "S-sdb").unwrap().name, "sdb");
        assert!(find(&o, &all, "sd").unwrap_err().contains("there are: /dev/sda (1 GiB, serial S-sda)"));
        assert_eq!(all[2].partitions, ["sdb1"]);
    }

    #[test]
    fn scsi_disks_tell_serial_numbers_in_binary_and_names_in_two_ways() {
        let mut o = host();
        o.set_file("/sys/block/sda/serial", "", 0o444, 0, 0);
        o.set_file("/sys/block/sda/device/vpd_pg80", "\0\u{80}", 0o444, 0, 0);
        assert_eq!(disk(&o, "sda").unwrap().unwrap().serial, None, "cut short");
        o.set_file("/sys/block/sda/device/vpd_pg80", b"\0\x80\0\x0a  ZC1234AB".to_vec(), 0o444, 0, 0);
        o.set_file("/sys/block/sda/device/wwid", "naa.5000c500a1b2c3d4\n", 0o444, 0, 0);
        let disk = disk(&o, "sda").unwrap().unwrap();
        assert_eq!(disk.serial.as_deref(), Some("ZC1234AB"));
        for name in ["ZC1234AB", "naa.5000c500a1b2c3d4", "0x5000c500a1b2c3d4", "5000c500a1b2c3d4", "0x5000C500A1B2C3D4"] {
            assert!(disk.answers_to(name), "{name}");
        }
        for name in ["ZC1234A", "c500a1b2c3d4", "naa", "0xnaa.5000c500a1b2c3d4", ""] {
            assert!(!disk.answers_to(name), "{name}");
        }
    }

    #[test]
    fn what_is_used_is_told() {
        let mut o = host();
        let all = disks(&o).unwrap();
        assert!(in_use(&o, &all[0]).unwrap().is_empty());
        assert_eq!(in_use(&o, &all[2]).unwrap(), ["has partitions (sdb1)"]);
        o.add_mount(Mount {
            target: "/boot".into(),
            source: "/dev/sdb1".into(),
            device: (8, 17),
            root: "/".into(),
            fstype: "ext4".into(),
            options: vec![],
        });
        o.set_file("/proc/swaps", "Filename Type\n/dev/sda partition 1 0 -1\n", 0o444, 0, 0);
        assert_eq!(in_use(&o, &all[2]).unwrap()[0], "is mounted on /boot");
        assert_eq!(in_use(&o, &all[0]).unwrap(), ["is in use as swap"]);
        o.set_file("/sys/block/sdb/sdb1/holders/dm-3/dev", "253:3", 0o444, 0, 0);
        assert_eq!(in_use(&o, &all[2]).unwrap()[2], "is held by dm-3 (LVM, RAID or device mapper)");
    }

    #[test]
    fn sizes() {
        assert_eq!(human(1 << 30), "1 GiB");
        assert_eq!(human(10_000_831_348_736), "9.1 TiB");
    }
}
