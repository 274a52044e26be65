//! `datafs`: XFS on the named disks, mounted, in fstab by UUID.

mod content;
mod disk;
mod gone;
mod place;

use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, paths, systemd};
use crate::host::block::{self, Disk};
use crate::host::change::{SetAttributes, Unmount, WriteFile};
use crate::host::fstab::Fstab;
use crate::host::identity::{Group, User};
use crate::host::{Change, Probed, Signature, View, ambiguous, filesystems, is_other_name, refused_option};
use disk::{Chosen, Settings, Wanted};
use place::place;
use serde_json::{Map, Value as Json, json};
use std::path::{Path, PathBuf};

/// The module's description.
pub const MODULE: Module = Module {
    name: "datafs",
    collections: &["fettle"],
    aliases: &[],
    doc: "Makes an XFS filesystem on each named disk, mounts it and keeps it mounted over reboots.\n\
          A disk is used only if it is blank (zeros wherever signatures stand, and at places between) and nothing holds it: mounted, \
          partitioned, swap, LVM, RAID and read-only disks are \
          refused, all of a host together, before anything is changed. A disk that holds something is formatted only if `wipe` \
          names it, and an XFS that fettle itself has made (on another host, or before this one was installed anew) only if `wipe` names \
          its UUID, so `wipe` can stay in an inventory. What `wipe` names must be among the disks of the task, or gone. A foreign XFS is \
          mounted as it is only with `adopt`. What a mkfs of fettle's left when it was interrupted is formatted again. Filesystems are mounted by UUID, and systemd, where it runs, is made to read fstab again. The UUID is derived from \
          the host's machine id and the disk's serial number or WWN, so that a dry run can show it, and a filesystem that an \
          interrupted run has made is known as ours by the next one. What is prepared keeps the mount point it has in /etc/fstab, though \
          its disk may have another kernel name since the last boot.",
    args: &[
        Arg::new("devices", Kind::StrList, "disks: kernel names, paths (`/dev/disk/by-id/…` too), serial numbers or WWNs"),
        Arg::new("filesystems", Kind::List, "instead of `devices`: mappings of `device`, `path` and perhaps `label`"),
        Arg::new("path_prefix", Kind::Path, "where `devices` are mounted, each under its kernel name").default("/ais"),
        Arg::new(
            "state",
            Kind::Choice(&["mounted", "unmounted", "absent"]),
            "`unmounted` keeps the fstab entry, `absent` takes it out; neither touches data. What a disk that is gone has left is found \
             by its mount point",
        )
        .default("mounted"),
        Arg::new("fstype", Kind::Choice(&["xfs"]), "the filesystem").default("xfs"),
        Arg::new("options", Kind::StrList, "mount options").default(disk::OPTIONS),
        Arg::new("owner", Kind::Str, "owner of the mounted root").default("root"),
        Arg::new("group", Kind::Str, "group of the mounted root").default("root"),
        Arg::new("mode", Kind::Mode, "permissions of the mounted root").default("0750"),
        Arg::new("wipe", Kind::StrList, "disks whose content may be destroyed, named like `devices`; or filesystems, by UUID"),
        Arg::new("adopt", Kind::Bool, "mount XFS filesystems that others have made, as they are").default("no"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let view = context.view;
    let wanted = wanted(args)?;
    let state = args.str("state").unwrap_or("mounted");
    let settings = Settings {
        options: match args.str_list("options") {
            Some(options) => options.iter().flat_map(|o| o.split(',')).map(|o| o.trim().to_owned()).filter(|o| !o.is_empty()).collect(),
            None => disk::OPTIONS.split(',').map(str::to_owned).collect(),
        },
        wipe: args.str_list("wipe").unwrap_or_default(),
        adopt: args.bool("adopt").unwrap_or(false),
        machine_id: view.read_text_opt(Path::new("/etc/machine-id"))?.map(|t| t.trim().to_owned()).unwrap_or_default(),
    };
    let root = Root {
        uid: owner(view, args.str("owner").unwrap_or("root"))?,
        gid: group(view, args.str("group").unwrap_or("root"))?,
        mode: super::attributes::apply_mode(args.str("mode").unwrap_or("0750"), 0, true, 0).map_err(PlanError::failed)?,
    };
    let mounting = state == "mounted";
    if let Some(why) = refused_option("xfs", &settings.options).filter(|_| mounting) {
        return Err(PlanError::failed(why));
    }
    let mut plan = Plan::default();
    if wanted.is_empty() {
        plan.result.insert("filesystems".into(), json!([]));
        return Ok(plan);
    }
    let disks = block::disks(view)?;
    // To mount, all of them are asked what they hold: no two may hold one filesystem.
    let read: Vec<PathBuf> = if mounting { block::devices(&disks).map(|(path, _)| path).collect() } else { vec![] };
    let view: &dyn View = &Probed::new(view, &read);
    let text = view.read_text_opt(Path::new(FSTAB))?.unwrap_or_default();
    let mut fstab = Fstab::parse(&text);
    let mut refused = vec![];
    let mut steps = Steps::default();
    let mut all = vec![];
    let mut results = vec![];
    let mut chosen: Vec<Chosen<'_>> = vec![];
    let mut named: Vec<(&Disk, Vec<Signature>)> = vec![];
    let mut why = |whose: Option<&Disk>, refusal| match refusal {
        disk::Refused::No(why) => {
            refused.extend(why.into_iter().map(|w| whose.map_or_else(|| w.clone(), |d| format!("{}: {w}", d.identity()))));
            Ok(())
        }
        disk::Refused::Plan(e) => Err(e),
    };
    for wish in &wanted {
        let disk = match block::find(view, &disks, &wish.device) {
            Ok(disk) => disk,
            Err(e) if mounting => {
                why(None, disk::Refused::No(vec![e]))?;
                continue;
            }
            Err(e) => {
                match gone::gone(view, &disks, wish, &e, state == "absent", &mut fstab, &mut steps) {
                    Ok((path, uuid)) => results.push(told(Path::new(&wish.device), &path, &uuid, None)),
                    Err(e) => why(None, e)?,
                }
                continue;
            }
        };
        let held = place::held(view, disk, mounting)?;
        named.push((disk, held.signatures.clone()));
        match place(view, &disks, disk, &held, wish, &fstab, &mut steps.warnings) {
            Ok(place) => chosen.push(Chosen { disk, held, place, label: wish.label.clone() }),
            Err(e) => {
                why(Some(disk), e)?;
                continue;
            }
        }
        let Some((new, others)) = chosen.split_last() else { continue };
        let clash = others.iter().find_map(|there| {
            let (one, two) = (&new.place.target, &there.place.target);
            if there.disk.name == disk.name {
                Some(format!("{} is named twice (`{}`)", disk.name, wish.device))
            } else if one == two {
                Some(format!("{} is asked for on two disks", one.display()))
            } else if mounting && (one.starts_with(two) || two.starts_with(one)) {
                Some(format!("{} and {} are inside one another: give them folders beside one another", two.display(), one.display()))
            } else {
                None
            }
        });
        if let Some(clash) = clash {
            chosen.pop();
            why(None, disk::Refused::No(vec![clash]))?;
        }
    }
    let mut gone = vec![];
    if mounting {
        let (wrong, names) = content::misnamed(view, &disks, &named, &settings.wipe);
        gone = names;
        why(None, disk::Refused::No(wrong))?;
        why(None, disk::Refused::No(content::twins(view, &disks, &named.iter().map(|(d, _)| *d).collect::<Vec<_>>())?))?;
    }
    let held = if mounting { filesystems(view)?.known } else { vec![] };
    for one in &chosen {
        let outcome = if mounting {
            disk::mounted(view, one, &settings, &mut fstab, &mut steps)
        } else {
            disk::unmounted(view, one, state == "absent", &mut fstab, &mut steps)
        };
        let Chosen { disk, place, .. } = one;
        match outcome {
            Ok(uuid) => {
                results.push(told(&disk.path, &place.listed, &uuid, Some(disk)));
                all.push((*disk, &place.target, uuid));
            }
            Err(e) => why(Some(disk), e)?,
        }
    }
    let made = |path: &PathBuf| steps.format.iter().any(|c| matches!(c, Change::MakeFilesystem(m) if m.disk.path == *path));
    for (disk, target, uuid) in all.iter().filter(|_| mounting) {
        // As it will be: what is there and stays, and what is made.
        let stays = held.iter().filter(|(path, of)| of == uuid && !made(path)).map(|(path, _)| path);
        let new = all.iter().filter(|(other, _, of)| of == uuid && made(&other.path)).map(|(other, ..)| &other.path);
        let with = stays.chain(new).filter(|path| !is_other_name(&disks, &disk.path, path));
        let with: Vec<PathBuf> = with.cloned().collect();
        if with.len() < 2 {
            continue;
        }
        let text = ambiguous(uuid, &with);
        if steps.mount_points.contains(*target) {
            why(Some(disk), disk::Refused::No(vec![text]))?;
        } else {
            steps.warnings.push(format!("{}: {text}", disk.identity()));
        }
    }
    if !refused.is_empty() {
        // A name that is no disk's may be the reason for all others.
        refused.append(&mut gone);
        return Err(PlanError::Failed(
            format!("nothing is done on this host:\n{}", refused.join("\n")),
            Map::from_iter([("refused".to_owned(), json!(refused))]),
        ));
    }
    let new_text = fstab.text();
    plan.changes.append(&mut steps.format);
    plan.changes.append(&mut paths::missing_folders(view, steps.mount_points.iter().map(PathBuf::as_path))?);
    plan.changes.append(&mut steps.unmount.iter().map(|t| Change::Unmount(Unmount { target: t.clone() })).collect());
    let write = |content: String| {
        Change::WriteFile(WriteFile {
            path: FSTAB.into(),
            content: content.into_bytes(),
            mode: text.is_empty().then_some(0o644),
            uid: None,
            gid: None,
            backup: false,
            validate: None,
            secret: false,
            follow: true,
        })
    };
    let reload = systemd::reload(context)?;
    if let Some(reload) = reload.as_ref().filter(|_| !steps.mount_points.is_empty()) {
        // Before version 249 systemd unmounts at once what is mounted where a unit of its own, made of a line that was there when it
        // last looked, waits for another disk. The file itself says what it said until the mounts have worked: what could not be
        // mounted now may well be at the next boot.
        let places = chosen.iter().map(|c| &c.place).filter(|p| steps.mount_points.contains(&p.target));
        let without = gone::without(&text, &fstab, places.map(|p| p.listed.as_path()));
        let back = without.is_some().then(|| write(text.clone()));
        plan.changes.extend(without.map(write));
        plan.changes.push(reload.clone());
        plan.changes.extend(back);
    }
    // First what may fail: a line that can't be mounted would stay for the next boot. A run that ends between the two is
    // completed by the next one.
    plan.changes.append(&mut steps.mount);
    if new_text != text {
        plan.changes.push(write(new_text));
        plan.changes.extend(reload);
    }
    if mounting {
        for Chosen { place, .. } in &chosen {
            plan.changes.extend(root.change(view, &place.target, steps.mount_points.contains(&place.target))?);
        }
    }
    plan.warnings = steps.warnings;
    plan.warnings.append(&mut gone);
    plan.result.insert("filesystems".into(), Json::Array(results));
    Ok(plan)
}

const FSTAB: &str = "/etc/fstab";

/// A filesystem in the task's result.
fn told(device: &Path, path: &Path, uuid: &str, disk: Option<&Disk>) -> Json {
    json!({"device": device, "path": path, "uuid": uuid, "size": disk.map(|d| d.size), "serial": disk.and_then(|d| d.serial.as_deref())})
}

/// Changes by kind, so that all disks are formatted at once and fstab is written once.
#[derive(Default)]
pub(super) struct Steps {
    format: Vec<Change>,
    unmount: Vec<PathBuf>,
    mount: Vec<Change>,
    /// Mount points of filesystems that will be mounted.
    mount_points: Vec<PathBuf>,
    warnings: Vec<String>,
}

impl Steps {
    /// What is inside another mount point is unmounted before that.
    pub(super) fn unmount(&mut self, target: &Path) {
        let outer = self.unmount.iter().position(|t| target.starts_with(t));
        self.unmount.insert(outer.unwrap_or(self.unmount.len()), target.to_owned());
    }
}

/// Owner, group and mode of a mounted root.
struct Root {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Root {
    fn change(&self, view: &dyn View, target: &Path, new: bool) -> Result<Option<Change>, PlanError> {
        let change = Change::SetAttributes(SetAttributes {
            path: target.to_owned(),
            mode: Some(self.mode),
            uid: Some(self.uid),
            gid: Some(self.gid),
            follow: true,
        });
        if new {
            return Ok(Some(change));
        }
        let fine = view.stat(target, true)?.is_some_and(|s| (s.mode, s.uid, s.gid) == (self.mode, self.uid, self.gid));
        Ok((!fine).then_some(change))
    }
}

fn wanted(args: &Args) -> Result<Vec<Wanted>, PlanError> {
    let prefix = PathBuf::from(args.str("path_prefix").unwrap_or("/ais"));
    if !prefix.is_absolute() {
        return Err(PlanError::failed("`path_prefix` must be an absolute path"));
    }
    match (args.str_list("devices"), args.get("filesystems").and_then(Json::as_array)) {
        (Some(_), Some(_)) => Err(PlanError::failed("give `devices` or `filesystems`, not both")),
        (None, None) => Err(PlanError::failed("`devices` (or `filesystems`) must name the disks; an empty list means none")),
        (Some(names), None) => {
            Ok(names.into_iter().map(|device| Wanted { device, path: None, label: None, prefix: prefix.clone() }).collect())
        }
        (None, Some(items)) => items
            .iter()
            .map(|item| {
                let Json::Object(map) = item else {
                    return Err(PlanError::failed(format!("each of `filesystems` must be a mapping, not {item}")));
                };
                if let Some(stranger) = map.keys().find(|k| !["device", "path", "label"].contains(&k.as_str())) {
                    return Err(PlanError::failed(format!("unknown key `{stranger}` in `filesystems`: there are device, path and label")));
                }
                let text = |key: &str| match map.get(key) {
                    None | Some(Json::Null) => Ok(None),
                    Some(Json::String(text)) => Ok(Some(text.clone())),
                    Some(other) => {
                        Err(PlanError::failed(format!("`{key}` in `filesystems` must be a text, not {other}: put it in quotes")))
                    }
                };
                let device = text("device")?.ok_or_else(|| PlanError::failed("each of `filesystems` needs a `device`"))?;
                let path = text("path")?.map(PathBuf::from);
                if path.as_ref().is_some_and(|p| !p.is_absolute() || p == Path::new("/")) {
                    return Err(PlanError::failed(format!("the `path` of {device} must be absolute and not the root")));
                }
                let label = text("label")?;
                if label.as_ref().is_some_and(|l| l.len() > disk::LABEL_LIMIT) {
                    return Err(PlanError::failed(format!(
                        "the label of {device} is longer than the {} bytes XFS has for it",
                        disk::LABEL_LIMIT
                    )));
                }
                Ok(Wanted { device, path, label, prefix: prefix.clone() })
            })
            .collect(),
    }
}

fn owner(view: &dyn View, name: &str) -> Result<u32, PlanError> {
    User::lookup(view, name)?
        .map(|u| u.uid)
        .or_else(|| name.parse().ok())
        .ok_or_else(|| PlanError::failed(format!("there is no user {name} on this host")))
}

fn group(view: &dyn View, name: &str) -> Result<u32, PlanError> {
    Group::lookup(view, name)?
        .map(|g| g.gid)
        .or_else(|| name.parse().ok())
        .ok_or_else(|| PlanError::failed(format!("there is no group {name} on this host")))
}

#[cfg(test)]
mod tests;
