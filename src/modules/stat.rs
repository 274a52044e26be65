//! `stat`: what a path is.

use super::attributes::refuse;
use super::draft::just;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, checksum, paths};
use crate::host::identity::{Group, User};
use crate::host::view::READ_LIMIT;
use crate::host::{FileKind, Stat, ViewError};
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// The module's description.
pub const MODULE: Module = Module {
    name: "stat",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Tells what a path is, under `stat` in its result: `exists`, `isdir`, `isreg`, `islnk`, `mode`, `uid`, `size`, `checksum`, ….\n\
          Files above 64 MiB get no checksum, and a warning instead.",
    args: &[
        Arg::new("path", Kind::Path, "what to look at").required().alias(&["dest", "name"]),
        Arg::new("follow", Kind::Bool, "look through a symbolic link").default("no"),
        Arg::new("get_checksum", Kind::Bool, "read the file and return its checksum").default("yes"),
        Arg::new("checksum_algorithm", Kind::Choice(checksum::ALGORITHMS), "which checksum; there is no md5")
            .alias(&["checksum", "checksum_algo"])
            .default("sha1"),
        Arg::new("get_mime", Kind::Bool, "`true` is refused: types are not guessed")
            .alias(&["mime", "mime_type", "mime-type"])
            .default("no"),
        Arg::new("get_attributes", Kind::Bool, "`true` is refused: attributes of chattr(1) are not read")
            .alias(&["attr", "attributes"])
            .default("no"),
        Arg::new("get_selinux_context", Kind::Bool, "`true` is refused: SELinux contexts are not read").default("no"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let no = Some(json!(false));
    refuse(
        args,
        &[
            ("get_mime", no.clone(), "types are not guessed"),
            ("get_attributes", no.clone(), "attributes of chattr(1) are not read"),
            ("get_selinux_context", no, "SELinux contexts are not read"),
        ],
    )?;
    let path = paths::required(args, "path", context)?;
    let follow = args.bool("follow").unwrap_or(false);
    let Some(stat) = context.view.stat(&path, follow)? else { return Ok(just(json!({"stat": {"exists": false}}))) };
    let mut all = describe(&path, &stat, context)?;
    let mut warnings = vec![];
    if stat.kind == FileKind::Symlink {
        link(&path, context, &mut all)?;
    }
    if stat.kind == FileKind::File && args.bool("get_checksum").unwrap_or(true) && may(&stat, 4, context)? {
        if stat.size > READ_LIMIT {
            warnings.push(format!(
                "{} is over 64 MiB: no checksum of it is made; `get_checksum: false` says that none is needed",
                path.display()
            ));
        } else {
            let bytes = context.view.read(&path)?;
            all.insert("checksum".into(), json!(checksum::by(args.str("checksum_algorithm").unwrap_or("sha1"), &bytes)));
        }
    }
    Ok(Plan { warnings, ..just(json!({"stat": all})) })
}

/// What results say about a path.
pub(super) fn describe(path: &Path, stat: &Stat, context: &Context<'_>) -> Result<Map<String, Json>, PlanError> {
    let mode = stat.mode;
    let mut all = super::draft::fields(json!({
        "exists": true,
        "path": path,
        "mode": format!("{mode:04o}"),
        "isdir": stat.kind == FileKind::Directory,
        "isreg": stat.kind == FileKind::File,
        "islnk": stat.kind == FileKind::Symlink,
        "isblk": stat.kind == FileKind::Block,
        "ischr": stat.kind == FileKind::Char,
        "isfifo": stat.kind == FileKind::Fifo,
        "issock": stat.kind == FileKind::Socket,
        "uid": stat.uid,
        "gid": stat.gid,
        "size": stat.size,
        "inode": stat.ino,
        "dev": stat.dev,
        "device_type": nix::sys::stat::makedev(u64::from(stat.rdev.0), u64::from(stat.rdev.1)),
        "nlink": stat.nlink,
        "atime": stat.atime,
        "mtime": stat.mtime,
        "ctime": stat.ctime,
        "isuid": mode & 0o4000 != 0,
        "isgid": mode & 0o2000 != 0,
    }));
    for (class, shift) in [("usr", 6), ("grp", 3), ("oth", 0)] {
        for (letter, bit) in [('r', 4), ('w', 2), ('x', 1)] {
            all.insert(format!("{letter}{class}"), json!((mode >> shift) & bit != 0));
        }
    }
    for (name, bit) in [("readable", 4), ("writeable", 2), ("executable", 1)] {
        all.insert(name.into(), json!(may(stat, bit, context)?));
    }
    if let Some(user) = User::by_uid(context.view, stat.uid)? {
        all.insert("pw_name".into(), json!(user.name));
    }
    if let Some(group) = Group::by_gid(context.view, stat.gid)? {
        all.insert("gr_name".into(), json!(group.name));
    }
    Ok(all)
}

/// Where a link points: as stored, and the path it leads to.
fn link(path: &Path, context: &Context<'_>, all: &mut Map<String, Json>) -> Result<(), ViewError> {
    all.insert("lnk_target".into(), json!(context.view.read_link(path)?));
    let source = crate::host::Overlay::new(context.view).resolve(path, true)?;
    all.insert("lnk_source".into(), json!(source));
    Ok(())
}

/// Whether the task's user may do `bit` (4 read, 2 write, 1 execute or search) by the mode.
fn may(stat: &Stat, bit: u32, context: &Context<'_>) -> Result<bool, PlanError> {
    let (uid, gid, ..) = context.user;
    if uid == 0 {
        return Ok(bit != 1 || stat.kind == FileKind::Directory || stat.mode & 0o111 != 0);
    }
    let bits = if uid == stat.uid {
        stat.mode >> 6
    } else if gid == stat.gid || User::by_uid(context.view, uid)?.is_some_and(|u| u.groups.contains(&stat.gid)) {
        stat.mode >> 3
    } else {
        stat.mode
    };
    Ok(bits & bit != 0)
}
