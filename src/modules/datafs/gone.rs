//! Taking away what is left of a disk that is not there any more.

use super::Steps;
use super::disk::{Refused, Wanted, mount_at, no};
use super::place::{Place, owner};
use crate::host::View;
use crate::host::block::Disk;
use crate::host::fstab::Fstab;
use std::path::{Path, PathBuf};

/// Unmounts what is left at the mount point that the operator names, and takes its entry out where `absent`, if no disk that is
/// there is meant. `missing`: that there is no such disk. Returns the mount point, and the UUID the entry had.
pub(super) fn gone(
    view: &dyn View,
    disks: &[Disk],
    wish: &Wanted,
    missing: &str,
    absent: bool,
    fstab: &mut Fstab,
    steps: &mut Steps,
) -> Result<(PathBuf, String), Refused> {
    let name = wish.device.strip_prefix("/dev/").unwrap_or(&wish.device);
    // A serial number says nothing about a mount point.
    let kernel_name = ["sd", "nvme", "vd", "xvd", "hd", "mmcblk"].iter().any(|start| name.starts_with(start))
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let asked = wish.path.clone().or_else(|| kernel_name.then(|| wish.prefix.join(name)));
    let Some(asked) = asked else {
        return no(format!("{missing}. If it is gone for good, name it in `filesystems` with the `path` it was mounted on"));
    };
    let place = Place::new(view, &asked, fstab)?;
    let entry = fstab.at(&place.listed).or_else(no)?;
    let another = |what: String| no(format!("{missing}, and what {} has is not a lost disk's: {what}", asked.display()));
    let mut uuid = String::new();
    if let Some(entry) = &entry {
        let line = format!("/etc/fstab, line {}, mounts {} ({})", entry.line, entry.source, entry.fstype);
        match entry.source.strip_prefix("UUID=") {
            Some(of) if entry.fstype == "xfs" => uuid = of.to_owned(),
            _ => return another(line),
        }
        if let Some(owner) = owner(view, disks, None, entry) {
            return another(format!("{line}, which is on {owner}"));
        }
    }
    if let Some(mount) = mount_at(view, &place.target)? {
        let mut numbers = disks.iter().map(|d| d.device).collect::<Vec<_>>();
        for part in disks.iter().flat_map(|d| &d.partitions) {
            numbers.extend(view.stat(&Path::new("/dev").join(part), true)?.map(|s| s.rdev));
        }
        if mount.fstype != "xfs" || mount.root != "/" || numbers.contains(&mount.device) {
            return another(format!("{} is mounted there", mount.source));
        }
        steps.unmount(&place.target);
    } else if entry.is_none() {
        steps.warnings.push(format!("{missing}; nothing is mounted on {}, and /etc/fstab has no line for it", asked.display()));
    }
    if absent {
        fstab.remove(&place.listed).or_else(no)?;
    }
    Ok((place.listed, uuid))
}

/// `text`, the fstab as it is, without the lines of these mount points that are about another filesystem than those of `new`; `None`:
/// there is no such line.
pub(super) fn without<'p>(text: &str, new: &Fstab, places: impl Iterator<Item = &'p Path>) -> Option<String> {
    let mut fstab = Fstab::parse(text);
    for place in places {
        let source = |of: &Fstab| of.at(place).ok().flatten().map(|e| e.source.to_ascii_lowercase());
        if source(&fstab) != source(new) {
            fstab.remove(place).ok()?;
        }
    }
    Some(fstab.text()).filter(|without| without != text)
}
