//! `mount`: filesystems on disks, mounted and in fstab.

use super::attributes::{Put, Wanted, put, refuse};
use super::draft::{Draft, fields};
use super::file::make_directories;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, paths, systemd};
use crate::host::change::{MountChange, Unmount};
use crate::host::fstab::{Entry, Fstab};
use crate::host::{Change, Mount, View, changes_on_remount, is_whole, missing_options, own_options, refused_option};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The module's description.
pub const MODULE: Module = Module {
    name: "mount",
    collections: &["ansible.posix"],
    aliases: &[],
    doc: "Mounts filesystems of disks, and keeps their lines in fstab(5).\n\
          What is mounted with other options than asked for is remounted. The filesystem is mounted before the line is written, \
          so that a line that does not work never stays. systemd, where it runs, is made to read the file again. `absent` leaves the empty folder, unlike Ansible's. Bind mounts, network \
          and memory filesystems are refused. For new data disks of AIStore, see `datafs`.",
    args: &[
        Arg::new("path", Kind::Path, "where; the folder is made if it does not exist").required().alias(&["name"]),
        Arg::new(
            "state",
            Kind::Choice(STATES),
            "`mounted`: in fstab and mounted; `present`: only in fstab; `ephemeral`: only mounted; `unmounted`: \
             not mounted; `absent_from_fstab`: not in fstab; `absent`: neither; `remounted`: remounted with the options of fstab",
        )
        .required(),
        Arg::new("src", Kind::Str, "the filesystem: `UUID=…`, or the path of a device"),
        Arg::new("fstype", Kind::Str, "its type"),
        Arg::new("opts", Kind::Str, "options, separated by commas").default("defaults"),
        Arg::new("fstab", Kind::Path, "the file").default(FSTAB),
        Arg::new("backup", Kind::Bool, "keep a copy of the old file beside it").default("no"),
        Arg::new("dump", Kind::Str, "only 0 is supported").default("0"),
        Arg::new("passno", Kind::Str, "only 0 is supported").default("0"),
        Arg::new("boot", Kind::Bool, "`false` is refused: write `noauto` into `opts`").default("yes"),
        Arg::new("opts_no_log", Kind::Bool, "`true` is refused: `no_log` on the task hides all of it").default("no"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

const FSTAB: &str = "/etc/fstab";
const STATES: &[&str] = &["mounted", "present", "ephemeral", "unmounted", "absent", "absent_from_fstab", "remounted"];

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let zero = Some(json!("0"));
    refuse(
        args,
        &[
            ("dump", zero.clone(), "only 0 is written"),
            ("passno", zero, "only 0 is written"),
            ("boot", Some(json!(true)), "write `noauto` into `opts`"),
            ("opts_no_log", Some(json!(false)), "`no_log` on the task hides all of it"),
        ],
    )?;
    let path = paths::required(args, "path", context)?;
    let file = paths::absolute("fstab", args.str("fstab").unwrap_or(FSTAB), context)?;
    let state = args.required("state")?;
    let mut draft = Draft::new(context);
    let text = draft.host.read_text_opt(&file)?;
    let mut fstab = Fstab::parse(text.as_deref().unwrap_or_default());
    let mut backup = args.bool("backup").unwrap_or(false);
    let write = |draft: &mut Draft<'_>, content: String, backup: bool| {
        let attributes = Wanted { mode: text.is_none().then(|| "0644".to_owned()), ..Wanted::default() };
        let content = Some(content.into_bytes());
        put(draft, &file, Put { content, wanted: &attributes, backup, validate: None, secret: context.secret, follow: true })
    };
    let reload = if file == Path::new(FSTAB) { systemd::reload(context)? } else { None };
    let mounts = draft.host.mounts()?;
    // What a predicted mount holds can't be known, but where it is can.
    let target = if mounts.iter().any(|m| m.target == path) { path.clone() } else { draft.host.resolve(&path, true)? };
    let now = mounts.into_iter().rev().find(|m| m.target == target);
    match state {
        "unmounted" | "absent" if now.is_some() => draft.add(Change::Unmount(Unmount { target: target.clone() }))?,
        "mounted" | "present" | "ephemeral" => {
            let entry = wanted(args, &path)?;
            let old = fstab.at(&path).map_err(PlanError::failed)?.map(|old| Entry { line: 0, ..old });
            if state != "present" {
                // A filesystem does not show all its options: the line tells which of them it has been given already.
                let known: &[String] = match &old {
                    _ if state == "ephemeral" => &entry.options,
                    Some(old) => &old.options,
                    None => &[],
                };
                if now.is_none()
                    && let Some(reload) = &reload
                {
                    // Before version 249 systemd unmounts at once what is mounted where a unit of its own, made of a line that was
                    // there when it last looked, waits for another device. The file itself says what it said until the mount has
                    // worked: a disk that could not be mounted now may well be at the next boot.
                    if state == "mounted" && old.as_ref().is_some_and(|old| !old.source.eq_ignore_ascii_case(&entry.source)) {
                        let mut without = fstab.clone();
                        without.remove(&path).map_err(PlanError::failed)?;
                        write(&mut draft, without.text(), backup)?;
                        backup = false;
                        draft.add(reload.clone())?;
                        write(&mut draft, text.clone().unwrap_or_default(), false)?;
                    } else {
                        draft.add(reload.clone())?;
                    }
                }
                mount(&mut draft, &entry, &target, now.as_ref(), known)?;
            }
            let says_the_same = old.as_ref() == Some(&entry);
            if state != "ephemeral" && !says_the_same {
                fstab.set(&entry).map_err(PlanError::failed)?;
            }
        }
        "remounted" => {
            let now = now.ok_or_else(|| PlanError::failed(format!("nothing is mounted on {}", path.display())))?;
            let options = match (args.str("opts"), fstab.at(&path).map_err(PlanError::failed)?) {
                (Some(text), _) => options(text),
                (None, Some(entry)) => entry.options,
                (None, None) => now.options.clone(),
            };
            draft.add(Change::Remount(change(&now.source, &now.fstype, options, &target)))?;
        }
        _ => {}
    }
    if matches!(state, "absent" | "absent_from_fstab") {
        fstab.remove(&path).map_err(PlanError::failed)?;
    }
    let new = fstab.text();
    if new != text.as_deref().unwrap_or_default() {
        write(&mut draft, new, backup)?;
        reload.map_or(Ok(()), |reload| draft.add(reload))?;
    }
    let mut result = fields(json!({"name": path, "fstab": file, "state": state, "dump": "0", "passno": "0"}));
    for name in ["src", "fstype", "opts"] {
        if let Some(value) = args.get(name) {
            result.insert(name.into(), value.clone());
        }
    }
    Ok(draft.finish(result))
}

fn options(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|o| !o.is_empty()).map(str::to_owned).collect()
}

/// The line there should be.
fn wanted(args: &Args, path: &Path) -> Result<Entry, PlanError> {
    let needed =
        |name: &str| args.str(name).filter(|t| !t.is_empty()).ok_or_else(|| PlanError::failed(format!("`{name}` is needed to mount")));
    let (source, fstype) = (needed("src")?, needed("fstype")?);
    if !(source.starts_with('/') || source.starts_with("UUID=")) {
        return Err(PlanError::failed(format!("`src: {source}` is not supported: write `UUID=…`, or the path of a device")));
    }
    let mut options = options(args.str("opts").unwrap_or("defaults"));
    if options.is_empty() {
        options.push("defaults".into());
    }
    if let Some(bind) = options.iter().find(|o| ["bind", "rbind", "loop"].contains(&o.as_str()) || o.starts_with("loop=")) {
        return Err(PlanError::failed(format!("the option `{bind}` is not supported: only disks' filesystems are mounted")));
    }
    if let Some(why) = refused_option(fstype, &options) {
        return Err(PlanError::failed(why));
    }
    Ok(Entry { source: source.to_owned(), target: path.to_owned(), fstype: fstype.to_owned(), options, line: 0 })
}

fn change(source: &str, fstype: &str, options: Vec<String>, target: &Path) -> MountChange {
    let device = source.starts_with('/').then(|| PathBuf::from(source));
    MountChange { source: source.to_owned(), device, target: target.to_owned(), fstype: fstype.to_owned(), options }
}

/// Adds what is missing for `entry` to be mounted on `target`, where `now` is mounted. The filesystem has been given its own
/// options `known`.
fn mount(draft: &mut Draft<'_>, entry: &Entry, target: &Path, now: Option<&Mount>, known: &[String]) -> Result<(), PlanError> {
    let wanted = change(&entry.source, &entry.fstype, entry.options.clone(), target);
    let Some(now) = now else {
        if draft.host.stat(target, true)?.is_none() {
            make_directories(draft, target, &Wanted::default())?;
        }
        return draft.add(Change::Mount(wanted));
    };
    // A device has several names; its numbers tell.
    let device = wanted.device.clone().unwrap_or_else(|| PathBuf::from(&now.source));
    let numbers = draft.host.stat(&device, true)?.map(|s| s.rdev);
    if numbers.is_some_and(|numbers| !is_whole(now, &device, numbers)) {
        let folder = if now.root == "/" { "" } else { &now.root };
        return Err(PlanError::failed(format!(
            "{} holds {}{}{folder}, not {}: unmount it first",
            target.display(),
            now.source,
            if folder.is_empty() { "" } else { ":" },
            entry.source
        )));
    }
    if let Some(uuid) = entry.source.strip_prefix("UUID=") {
        let found: Vec<String> = draft.host.probe(Path::new(&now.source))?.signatures.into_iter().filter_map(|s| s.uuid).collect();
        if !found.iter().any(|f| f.eq_ignore_ascii_case(uuid)) {
            return Err(PlanError::failed(format!(
                "{} holds {}, whose UUID is not {uuid}: unmount it first",
                target.display(),
                now.source
            )));
        }
    }
    if now.fstype != entry.fstype && entry.fstype != "auto" {
        return Err(PlanError::failed(format!("{} holds a filesystem of type {}, not {}", target.display(), now.fstype, entry.fstype)));
    }
    let mut missing = missing_options(&entry.options, now);
    if now.fstype != "xfs" {
        missing.extend(own_options(&entry.options).filter(|o| !known.contains(o) && !now.options.contains(o)).cloned());
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !changes_on_remount(&now.fstype, &missing) {
        return Err(PlanError::failed(format!(
            "{} must be mounted anew for {}: `state: unmounted` first, when nothing uses it",
            target.display(),
            missing.join(",")
        )));
    }
    draft.add(Change::Remount(wanted))
}
