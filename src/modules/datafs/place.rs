//! Where a disk's filesystem belongs. Kernel names are given anew at each boot; what has been prepared keeps its mount point,
//! which `/etc/fstab` tells by UUID, whatever its disk is called now.

use super::disk::{Refused, Wanted, no};
use crate::host::block::Disk;
use crate::host::fstab::{Entry, Fstab};
use crate::host::{FileKind, Overlay, Probe, View, ViewError};
use std::path::{Path, PathBuf};

/// A mount point.
#[derive(Debug)]
pub(super) struct Place {
    /// As the mount table has it: without links.
    pub target: PathBuf,
    /// As fstab has it.
    pub listed: PathBuf,
}

impl Place {
    /// The mount point at `asked`. An entry that fstab has for it, by this name or the real one, keeps its name.
    pub fn new(view: &dyn View, asked: &Path, fstab: &Fstab) -> Result<Self, Refused> {
        let target = real(view, asked)?;
        if target.components().any(|c| c == std::path::Component::ParentDir) {
            return no(format!("{} leads through a folder that does not exist: write it without `..`", asked.display()));
        }
        let listed = fstab.entries().into_iter().map(|e| e.target).find(|t| same(t, asked) && !same(t, &target));
        Ok(Self { listed: listed.unwrap_or_else(|| target.clone()), target })
    }
}

/// `path` without links. What a predicted mount or a dead disk's holds can't be known, but where it is can.
fn real(view: &dyn View, path: &Path) -> Result<PathBuf, ViewError> {
    let (host, mounts) = (Overlay::new(view), view.mounts()?);
    let folder = path.parent().map(|p| host.resolve(p, true)).transpose()?;
    let below = folder.zip(path.file_name()).map(|(folder, name)| folder.join(name));
    match below.filter(|below| mounts.iter().any(|m| m.target == *below)) {
        Some(target) => Ok(target),
        None => host.resolve(path, true),
    }
}

/// What the disk holds. To take a disk away it need not be readable.
pub(super) fn held(view: &dyn View, disk: &Disk, mounting: bool) -> Result<Probe, ViewError> {
    match view.probe(&disk.path) {
        Err(ViewError::Failed(_) | ViewError::NotFound(_)) if !mounting => Ok(Probe { signatures: vec![] }),
        other => other,
    }
}

/// The mount point for what the operator asks, or why that contradicts what is there.
pub(super) fn place(
    view: &dyn View,
    disks: &[Disk],
    disk: &Disk,
    held: &Probe,
    wish: &Wanted,
    fstab: &Fstab,
    warnings: &mut Vec<String>,
) -> Result<Place, Refused> {
    let asked = Place::new(view, &wish.path.clone().unwrap_or_else(|| wish.prefix.join(&disk.name)), fstab)?;
    let entries = fstab.entries();
    let own: Vec<&Entry> = entries.iter().filter(|e| means(view, e, &disk.path, held)).collect();
    for entry in &own {
        if same(&entry.target, &asked.listed) || real(view, &entry.target).is_ok_and(|t| t == asked.target) {
            return Ok(Place { listed: entry.target.clone(), ..asked });
        }
    }
    if let Some(entry) = own.first() {
        let here = match entry.fstype.as_str() {
            "swap" => format!("/etc/fstab (line {}) uses it as swap", entry.line),
            _ => format!("/etc/fstab (line {}) mounts it on {}", entry.line, entry.target.display()),
        };
        let prefix = real(view, &wish.prefix)?;
        let below = |t: &Path| t.parent().is_some_and(|p| same(p, &wish.prefix) || real(view, p).is_ok_and(|p| p == prefix));
        let prepared = entry.fstype == "xfs" && below(&entry.target);
        if wish.path.is_some() || !prepared || own.len() > 1 {
            let line = entry.line;
            return no(format!(
                "{here}, and {} is asked for: ask for that, or name it by serial number or WWN if another disk is meant; to move it, \
                 unmount it and take line {line} out first",
                asked.listed.display()
            ));
        }
        // A serial number or WWN says which disk is meant; a kernel name may have meant another one.
        if wish.device == disk.name || Path::new(&wish.device) == disk.path {
            warnings.push(format!(
                "{} is not mounted on {}: {here}, so it keeps that. Kernel names change from boot to boot; serial numbers and WWNs don't",
                disk.identity(),
                asked.listed.display()
            ));
        }
        return Ok(Place { target: real(view, &entry.target)?, listed: entry.target.clone() });
    }
    if let Some(entry) = entries.iter().find(|e| same(&e.target, &asked.listed))
        && let Some(owner) = owner(view, disks, Some(disk), entry)
    {
        return no(format!(
            "{} belongs to {owner} (/etc/fstab, line {}). Kernel names change from boot to boot: to give this disk another place, \
             name it in `filesystems` with its `path`",
            asked.listed.display(),
            entry.line
        ));
    }
    Ok(asked)
}

/// Refuses an entry for the disk's mount point that is neither the disk's nor one of a data disk that is gone.
pub(super) fn foreign(view: &dyn View, disk: &Disk, held: &Probe, entry: &Entry) -> Result<(), Refused> {
    if entry.fstype == "xfs" && (entry.source.starts_with("UUID=") || means(view, entry, &disk.path, held)) {
        return Ok(());
    }
    no(format!(
        "/etc/fstab (line {}) has {} ({}) for {}, which is not this disk's: take that line out if nobody needs it, or name the disk in \
         `filesystems` with another `path`",
        entry.line,
        entry.source,
        entry.fstype,
        entry.target.display()
    ))
}

/// Refuses a disk of which an entry uses a partition.
pub(super) fn not_in_fstab(view: &dyn View, disk: &Disk, entries: &[Entry]) -> Result<(), Refused> {
    for part in &disk.partitions {
        let path = Path::new("/dev").join(part);
        let held = view.probe(&path)?;
        if let Some(entry) = entries.iter().find(|e| means(view, e, &path, &held)) {
            let target = if entry.fstype == "swap" { "as swap".to_owned() } else { format!("on {}", entry.target.display()) };
            let line = entry.line;
            return Err(Refused::No(vec![format!(
                "/etc/fstab (line {line}) uses its partition {part} {target}: if that may go, take line {line} out first"
            )]));
        }
    }
    Ok(())
}

/// `/ais/sda` and `/ais/sda/` are one place.
fn same(a: &Path, b: &Path) -> bool {
    a.components().eq(b.components())
}

/// Whether an entry's source is this device: by its node, or by what it holds.
fn means(view: &dyn View, entry: &Entry, path: &Path, held: &Probe) -> bool {
    let source = entry.source.as_str();
    let unquoted = |text: &str| text.trim_matches('"').to_owned();
    if let Some(uuid) = source.strip_prefix("UUID=").map(unquoted) {
        return held.signatures.iter().any(|s| s.uuid.as_deref().is_some_and(|u| u.eq_ignore_ascii_case(&uuid)));
    }
    if let Some(label) = source.strip_prefix("LABEL=").map(unquoted) {
        return held.signatures.iter().any(|s| s.label.as_deref() == Some(&label));
    }
    // udev's links know partitions by their table's entries too.
    if let Some((kind @ ("PARTUUID" | "PARTLABEL"), value)) = source.split_once('=') {
        let link = Path::new("/dev/disk").join(format!("by-{}", kind.to_ascii_lowercase())).join(unquoted(value));
        return same_node(view, &link, path);
    }
    source.starts_with('/') && (Path::new(source) == path || same_node(view, Path::new(source), path))
}

/// Whether two paths lead to one block device.
fn same_node(view: &dyn View, a: &Path, b: &Path) -> bool {
    let node = |path: &Path| view.stat(path, true).ok().flatten().filter(|s| s.kind == FileKind::Block).map(|s| s.rdev);
    node(a).is_some_and(|n| node(b) == Some(n))
}

/// The other device, whole or a partition, that an entry is about. What can't be read is none: a dead disk's place may be taken.
pub(super) fn owner(view: &dyn View, disks: &[Disk], but: Option<&Disk>, entry: &Entry) -> Option<String> {
    disks.iter().filter(|d| but.is_none_or(|but| d.device != but.device)).find_map(|other| {
        let parts = other.partitions.iter().map(|p| Path::new("/dev").join(p));
        let found = std::iter::once(other.path.clone())
            .chain(parts)
            .find(|path| view.probe(path).is_ok_and(|held| means(view, entry, path, &held)))?;
        Some(if found == other.path { other.identity().to_string() } else { found.display().to_string() })
    })
}

/// A UUID for a disk that tells neither serial number nor WWN is made of its kernel name, so another disk may have it since an
/// earlier boot: the first that no other place has.
pub(super) fn free_uuid(machine_id: &str, disk: &Disk, target: &Path, fstab: &Fstab) -> String {
    let entries = fstab.entries();
    let taken = |uuid: &str| entries.iter().any(|e| e.source.eq_ignore_ascii_case(&format!("UUID={uuid}")) && !same(&e.target, target));
    let nameless = disk.serial.is_none() && disk.wwn.is_none();
    let mut tries = (0..=entries.len()).map(|n| super::disk::uuid(machine_id, disk, n));
    tries.find(|uuid| !nameless || !taken(uuid)).unwrap_or_else(|| super::disk::uuid(machine_id, disk, 0))
}
