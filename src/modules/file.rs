//! `file`: directories, links, attributes, absence.

use super::attributes::{Wanted, describe, with_attributes};
use super::draft::{Draft, fields};
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, paths, times};
use crate::host::change::{MakeDirectory, MakeLink, Remove, Touch};
use crate::host::{Change, FileKind, Stat, View, umask};
use serde_json::{Value as Json, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use times::When;

/// The module's description.
pub const MODULE: Module = Module {
    name: "file",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Makes directories and links, sets attributes, removes.\n\
          `directory` makes missing parents too, with the same attributes; `absent` removes a directory with all below it, but \
          never across a mount point; `touch` always counts as changed unless both times are `preserve`.",
    args: with_attributes![
        Arg::new("path", Kind::Path, "what it is about").required().alias(&["dest", "name"]),
        Arg::new("state", Kind::Choice(&["absent", "directory", "file", "hard", "link", "touch"]), "what it should be")
            .default("what it is; of what does not exist, `file`, or `directory` with `recurse`"),
        Arg::new("src", Kind::Path, "what the link points to; a relative one counts from the link's folder"),
        Arg::new("recurse", Kind::Bool, "set attributes of everything below the directory too").default("no"),
        Arg::new("force", Kind::Bool, "make a link even if its target does not exist, or a file or empty directory is in its place")
            .default("no"),
        Arg::new("follow", Kind::Bool, "look through a link at `path`").default("yes"),
        Arg::new("access_time", Kind::Str, "`preserve`, `now`, or a local time").default("`now` for `touch`, else `preserve`"),
        Arg::new("access_time_format", Kind::Str, "how that is written: `%Y %m %d %H %M %S` and other text").default(TIME_FORMAT),
        Arg::new("modification_time", Kind::Str, "`preserve`, `now`, or a local time").default("`now` for `touch`, else `preserve`"),
        Arg::new("modification_time_format", Kind::Str, "how that is written").default(TIME_FORMAT),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

const TIME_FORMAT: &str = "%Y%m%d%H%M.%S";

/// One task's wishes.
struct Task<'c> {
    draft: Draft<'c>,
    path: PathBuf,
    wanted: Wanted,
    follow: bool,
    force: bool,
    src: Option<String>,
    times: (When, When),
}

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let given = args.required("path")?;
    if given.is_empty() {
        return Err(PlanError::failed("`path` is empty"));
    }
    let path = paths::absolute("path", given, context)?;
    let recurse = args.bool("recurse").unwrap_or(false);
    let follow = args.bool("follow").unwrap_or(true);
    let draft = Draft::new(context);
    let there = draft.host.stat(&path, false)?;
    let state = match (args.str("state"), &there) {
        (Some(state), _) => state,
        (None, Some(stat)) => match stat.kind {
            FileKind::Directory => "directory",
            FileKind::Symlink if follow && draft.host.stat(&path, true)?.is_some_and(|s| s.kind == FileKind::Directory) => "directory",
            FileKind::Symlink if args.str("src").is_some() => "link",
            _ => "file",
        },
        (None, None) if recurse => "directory",
        (None, None) => "file",
    };
    if recurse && state != "directory" {
        return Err(PlanError::failed("`recurse` is only for directories"));
    }
    let src = args.str("src").map(|src| paths::expand(src, context)).transpose()?;
    if src.is_some() && !matches!(state, "link" | "hard") {
        return Err(PlanError::failed(format!("`src` is only for links, not for `state: {state}`")));
    }
    let default = if state == "touch" { "now" } else { "preserve" };
    let time = |name: &str, format: &str| times::read(name, args.str(name).unwrap_or(default), args.str(format).unwrap_or(TIME_FORMAT));
    let times = (time("access_time", "access_time_format")?, time("modification_time", "modification_time_format")?);
    let mut task =
        Task { draft, path, wanted: Wanted::read(args, context)?, follow, force: args.bool("force").unwrap_or(false), src, times };
    match state {
        "absent" => return task.absent(there.is_some()),
        "directory" => task.directory(recurse)?,
        "link" => task.link(there)?,
        "hard" => task.hard(there)?,
        "touch" => task.touch()?,
        _ => task.file()?,
    }
    let through = follow && state != "link";
    let key = if matches!(state, "link" | "hard" | "touch") { "dest" } else { "path" };
    let mut result = fields(json!({ key: task.path }));
    describe(&task.draft.host, &task.path, through, &mut result);
    result.extend(task.src.map(|src| ("src".to_owned(), Json::from(src))));
    Ok(task.draft.finish(result))
}

fn word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "a file",
        FileKind::Directory => "a directory",
        FileKind::Symlink => "a link",
        _ => "a special file",
    }
}

impl Task<'_> {
    fn absent(mut self, there: bool) -> Result<Plan, PlanError> {
        if there {
            self.draft.add(Change::Remove(Remove { path: self.path.clone() }))?;
        }
        Ok(self.draft.finish(fields(json!({"path": self.path, "state": "absent"}))))
    }

    /// Attributes and times of what is there.
    fn finish(&mut self, path: &Path, follow: bool) -> Result<(), PlanError> {
        let Some(stat) = self.draft.host.stat(path, follow)? else { return Ok(()) };
        if let Some(change) = self.wanted.missing(path, &stat, follow, &self.draft.host)? {
            self.draft.add(change)?;
        }
        Ok(())
    }

    /// Times of what is there.
    fn set_times(&mut self) -> Result<(), PlanError> {
        let Some(stat) = self.draft.host.stat(&self.path, true)? else { return Ok(()) };
        // Filesystems may keep whole seconds only.
        let differs = |when: When, found: f64| match when {
            When::Preserve => false,
            When::Now => true,
            When::At(wanted) => (wanted - found).abs() >= 1.0,
        };
        if !differs(self.times.0, stat.atime) && !differs(self.times.1, stat.mtime) {
            return Ok(());
        }
        let time = |when: When, found: f64| match when {
            When::Preserve => Some(found),
            When::Now => None,
            When::At(seconds) => Some(seconds),
        };
        let (atime, mtime) = (time(self.times.0, stat.atime), time(self.times.1, stat.mtime));
        self.draft.add(Change::Touch(Touch { path: self.path.clone(), atime, mtime }))
    }

    fn file(&mut self) -> Result<(), PlanError> {
        let path = self.path.clone();
        match self.draft.host.stat(&path, self.follow)? {
            None => Err(PlanError::failed(format!(
                "{} does not exist: `state: touch` makes an empty file, `copy` and `template` make one with content",
                path.display()
            ))),
            Some(stat) if stat.kind == FileKind::Directory => {
                Err(PlanError::failed(format!("{} is a directory, not a file", path.display())))
            }
            Some(_) => {
                self.finish(&path, self.follow)?;
                self.set_times()
            }
        }
    }

    fn touch(&mut self) -> Result<(), PlanError> {
        let path = self.path.clone();
        if self.draft.host.stat(&path, true)?.is_none() {
            let time = |when: When| if let When::At(seconds) = when { Some(seconds) } else { None };
            let (atime, mtime) = (time(self.times.0), time(self.times.1));
            self.draft.add(Change::Touch(Touch { path: path.clone(), atime, mtime }))?;
        } else {
            self.set_times()?;
        }
        self.finish(&path, self.follow)
    }

    fn directory(&mut self, recurse: bool) -> Result<(), PlanError> {
        let path = self.path.clone();
        match self.draft.host.stat(&path, self.follow)? {
            Some(stat) if stat.kind == FileKind::Directory => {}
            Some(stat) => {
                return Err(PlanError::failed(format!("{} should be a directory, but is {}", path.display(), word(stat.kind))));
            }
            None => make_directories(&mut self.draft, &path, &self.wanted)?,
        }
        self.finish(&path, self.follow)?;
        if recurse {
            let mut seen = HashSet::new();
            self.below(&path, &mut seen)?;
        }
        self.set_times()
    }

    /// Attributes of everything below `folder`. Links are not entered twice, should they go in a circle.
    fn below(&mut self, folder: &Path, seen: &mut HashSet<PathBuf>) -> Result<(), PlanError> {
        if !seen.insert(self.draft.host.resolve(folder, true)?) {
            return Ok(());
        }
        for name in self.draft.host.list(folder)? {
            let child = folder.join(name);
            let Some(mut stat) = self.draft.host.stat(&child, false)? else { continue };
            if stat.kind == FileKind::Symlink {
                self.finish(&child, false)?;
                match self.draft.host.stat(&child, true)? {
                    Some(target) if self.follow => stat = target,
                    _ => continue,
                }
            }
            self.finish(&child, self.follow)?;
            if stat.kind == FileKind::Directory {
                self.below(&child, seen)?;
            }
        }
        Ok(())
    }

    fn link(&mut self, there: Option<Stat>) -> Result<(), PlanError> {
        let path = self.path.clone();
        let is_link = there.as_ref().is_some_and(|s| s.kind == FileKind::Symlink);
        let target = match &self.src {
            Some(src) if !src.is_empty() => PathBuf::from(src),
            _ if is_link => self.draft.host.read_link(&path)?,
            _ => return Err(PlanError::failed("`src` is needed: what the link points to")),
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        if self.draft.host.stat(&folder.join(&target), true)?.is_none() && !self.force {
            return Err(PlanError::failed(format!("{} does not exist; `force: true` links to it all the same", target.display())));
        }
        match &there {
            Some(_) if is_link => {
                if self.draft.host.read_link(&path)? != target {
                    self.draft.add(Change::MakeLink(MakeLink { path: path.clone(), target, hard: false }))?;
                }
            }
            Some(stat) => {
                self.make_room(&path, stat)?;
                self.draft.add(Change::MakeLink(MakeLink { path: path.clone(), target, hard: false }))?;
            }
            None => self.draft.add(Change::MakeLink(MakeLink { path: path.clone(), target, hard: false }))?,
        }
        let through = self.follow && self.draft.host.stat(&path, true)?.is_some();
        self.finish(&path, through)
    }

    /// What stands where a link should be goes, if it may.
    fn make_room(&mut self, path: &Path, stat: &Stat) -> Result<(), PlanError> {
        if !self.force {
            let what = word(stat.kind);
            return Err(PlanError::failed(format!("{} is {what}; `force: true` puts a link in its place", path.display())));
        }
        if stat.kind == FileKind::Directory {
            if !self.draft.host.list(path)?.is_empty() {
                return Err(PlanError::failed(format!("{} is a directory that is not empty: no link is put in its place", path.display())));
            }
            self.draft.add(Change::Remove(Remove { path: path.to_owned() }))?;
        }
        Ok(())
    }

    fn hard(&mut self, there: Option<Stat>) -> Result<(), PlanError> {
        let path = self.path.clone();
        let src = self.src.clone().filter(|s| !s.is_empty());
        let src = match src {
            Some(src) if src.starts_with('/') => PathBuf::from(src),
            Some(src) => return Err(PlanError::failed(format!("`src` of a hard link must be an absolute path, not `{src}`"))),
            None if there.is_some() => return self.finish(&path, self.follow),
            None => return Err(PlanError::failed("`src` is needed: the file to link")),
        };
        let Some(from) = self.draft.host.stat(&src, false)? else {
            return Err(PlanError::failed(format!("{} does not exist: it can't be linked", src.display())));
        };
        match &there {
            // Inode 0 is that of predicted files, which can't be told apart.
            Some(stat) if stat.ino != 0 && (stat.dev, stat.ino) == (from.dev, from.ino) => {}
            Some(stat) => {
                self.make_room(&path, stat)?;
                self.draft.add(Change::MakeLink(MakeLink { path: path.clone(), target: src, hard: true }))?;
            }
            None => self.draft.add(Change::MakeLink(MakeLink { path: path.clone(), target: src, hard: true }))?,
        }
        self.finish(&path, self.follow)
    }
}

/// Makes the directory and its missing parents, all with these attributes.
pub(super) fn make_directories(draft: &mut Draft<'_>, path: &Path, wanted: &Wanted) -> Result<(), PlanError> {
    let mut missing = vec![];
    for folder in path.ancestors() {
        if draft.host.stat(folder, true)?.is_some() {
            break;
        }
        missing.push(folder.to_owned());
    }
    for path in missing.into_iter().rev() {
        let mode = wanted.mode(0o777 & !umask(&draft.host), true, &draft.host)?;
        draft.add(Change::MakeDirectory(MakeDirectory { path, mode, uid: wanted.uid, gid: wanted.gid }))?;
    }
    Ok(())
}
